/** Rounding of sizes and offsets in device memory, all in bytes. */

/** Bindings start at multiples of this: WebGPU's default limit for uniform and storage offsets. */
export const sliceAlignment = 256

/** The next multiple of `alignment`. */
export function alignUp(bytes: number, alignment: number = sliceAlignment): number {
  return Math.ceil(bytes / alignment) * alignment
}

/** Rounds up to whole 4-byte words, as WebGPU's copies require. */
export function wordBytes(bytes: number): number {
  return alignUp(bytes, 4)
}
