/** Splits a dataset of any number of dimensions into boxes, and puts the boxes' numbers back in order. */

/** A box within a dataset. */
export interface Slice {
  readonly start: readonly number[]
  readonly extent: readonly number[]
}

/**
 * Splits the dataset into boxes of at most `mostNumbers` numbers, as long as possible in the last dimensions. Boxes consist
 * of whole chunks, so that none is unpacked twice; a single chunk may exceed the limit.
 */
export function* slicesOf(shape: readonly number[], chunk: readonly number[], mostNumbers: number): Generator<Slice> {
  if (shape.includes(0)) return
  const box = shape.map((extent, axis) => Math.min(extent, chunk[axis] ?? 1))
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    const others = product(box.filter((_, i) => i !== axis))
    const [whole = 1, step = 1] = [shape[axis], box[axis]]
    box[axis] = Math.min(whole, step * Math.max(1, Math.floor(mostNumbers / (others * step))))
  }
  const start = shape.map(() => 0)
  for (;;) {
    yield { start: [...start], extent: box.map((extent, i) => Math.min(extent, (shape[i] ?? 0) - (start[i] ?? 0))) }
    let axis = shape.length - 1
    for (; axis >= 0; axis--) {
      const next = (start[axis] ?? 0) + (box[axis] ?? 1)
      start[axis] = next < (shape[axis] ?? 0) ? next : 0
      if (start[axis] !== 0) break
    }
    if (axis < 0) return
  }
}

/** Copies a box's numbers, row by row, to their positions in the dataset. */
export function scatter(
  box: Float32Array | Float64Array,
  shape: readonly number[],
  { start, extent }: Slice,
  numbers: Float32Array,
): void {
  // After the last dimension that the box does not span completely, numbers are contiguous.
  const split = Math.max(
    0,
    shape.findLastIndex((whole, axis) => extent[axis] !== whole),
  )
  const tail = product(shape.slice(split + 1))
  const run = (extent[split] ?? 1) * tail
  const rows = product(extent.slice(0, split))
  for (let row = 0; row < rows; row++) {
    let rest = row
    let place = (start[split] ?? 0) * tail
    let stride = (shape[split] ?? 1) * tail
    for (let axis = split - 1; axis >= 0; axis--) {
      const [count = 1, first = 0, whole = 1] = [extent[axis], start[axis], shape[axis]]
      place += (first + (rest % count)) * stride
      rest = Math.floor(rest / count)
      stride *= whole
    }
    numbers.set(box.subarray(row * run, (row + 1) * run), place)
  }
}

export function product(sizes: readonly number[]): number {
  return sizes.reduce((total, size) => total * size, 1)
}
