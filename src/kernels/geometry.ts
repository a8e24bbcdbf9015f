/**
 * The geometry that convolution, depthwise convolution and pooling share: a kernel that moves over NHWC images. Output pixel
 * (y, x) sees input row `y * strides[0] + ky * dilation[0] - padTop` under row ky of the kernel, and columns likewise. What
 * lies beyond the image counts as zeros, or is left out of a pool.
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
  /** Down and across. */
  readonly strides: readonly [number, number]
  /** Down and across; 1 where the kernel's taps are neighbours. */
  readonly dilation: readonly [number, number]
  /** Padding above and to the left; below and to the right it is what the outputs reach beyond the image. */
  readonly padTop: number
  readonly padLeft: number
}

/** The features of a geometry that a kernel may lack, with the values that every kernel can do: see `capabilities`. */
export const plainestGeometry = { strides: [1, 1], dilation: [1, 1], padTop: 0, padLeft: 0 } as const

/** The fields that say how large the work is. */
export type GeometryExtent = Exclude<keyof ConvGeometry, keyof typeof plainestGeometry>
