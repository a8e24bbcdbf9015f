/**
 * The geometry that convolution, depthwise convolution and pooling share: a kernel that moves over NHWC images. Output
 * pixel (y, x) sees input row `y * strides[0] + ky * dilation[0] - padTop` under row ky of the kernel, and columns
 * likewise. Positions outside the image count as zeros, or are left out of a pool.
 */

export interface ConvGeometry {
  readonly batch: number
  readonly inputHeight: number
  readonly inputWidth: number
  readonly channels: number
  readonly kernelHeight: number
  readonly kernelWidth: number
  readonly outHeight: number
  readonly outWidth: number
  /** Strides down and across. */
  readonly strides: readonly [number, number]
  /** Dilation down and across; 1 if the kernel's taps are neighbours. */
  readonly dilation: readonly [number, number]
  /** Padding above and to the left; below and to the right it follows from the outputs. */
  readonly padTop: number
  readonly padLeft: number
}

/** The optional features of a geometry, with the values that every kernel supports: see `capabilities`. */
export const plainestGeometry = { strides: [1, 1], dilation: [1, 1], padTop: 0, padLeft: 0 } as const

/** The fields that give the size of the work. */
export type GeometryExtent = Exclude<keyof ConvGeometry, keyof typeof plainestGeometry>
