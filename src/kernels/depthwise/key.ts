/** What the depthwise kernels of depthwise.ts and filter-gradient.ts have in common: their key and its checks. */

import { checkExtents, checkPadding } from '../extents.ts'

export interface DepthwiseKey {
  readonly batch: number
  readonly height: number
  readonly width: number
  readonly channels: number
  /** Output channels for each input channel: channel c gives c * multiplier + m. */
  readonly multiplier: number
  /** Height and width; the kernel tensor is [height, width, channels, multiplier]. */
  readonly kernel: readonly [number, number]
  readonly strides: readonly [number, number]
  readonly dilation: readonly [number, number]
  /** Padding above and to the left; below and to the right it is what the outputs reach beyond the image. */
  readonly padTop: number
  readonly padLeft: number
  readonly outHeight: number
  readonly outWidth: number
}

/** One multiplication and one addition for each output and tap. */
export function depthwiseFlops({ batch, outHeight, outWidth, channels, multiplier, kernel }: DepthwiseKey): number {
  return 2 * batch * outHeight * outWidth * channels * multiplier * kernel[0] * kernel[1]
}

/** Four neighbouring channels can be worked on at once. */
export function fourChannels({ channels, multiplier }: DepthwiseKey): boolean {
  return multiplier === 1 && channels % 4 === 0
}

/** Neighbouring outputs read neighbouring inputs, and the taps of a row can stay in registers. */
export function slides({ strides, dilation }: DepthwiseKey): boolean {
  return strides[0] === 1 && strides[1] === 1 && dilation[0] === 1 && dilation[1] === 1
}

/** A convolution with stride and dilation 1; the input gradient is one as well, with a flipped kernel. */
export interface Slide {
  readonly inHeight: number
  readonly inWidth: number
  readonly outHeight: number
  readonly outWidth: number
  readonly padTop: number
  readonly padLeft: number
  readonly flipped: boolean
}

export function forwardSlide({ height, width, outHeight, outWidth, padTop, padLeft }: DepthwiseKey): Slide {
  return { inHeight: height, inWidth: width, outHeight, outWidth, padTop, padLeft, flipped: false }
}

export function gradientSlide({ height, width, outHeight, outWidth, padTop, padLeft, kernel }: DepthwiseKey): Slide {
  return {
    inHeight: outHeight,
    inWidth: outWidth,
    outHeight: height,
    outWidth: width,
    padTop: kernel[0] - 1 - padTop,
    padLeft: kernel[1] - 1 - padLeft,
    flipped: true,
  }
}

/** The key itself. Throws 'shape' or 'limit' where no such convolution exists. */
export function checked(family: string, key: DepthwiseKey): DepthwiseKey {
  const { batch, height, width, channels, multiplier, kernel, outHeight, outWidth } = key
  const [[kernelHeight, kernelWidth], [strideY, strideX], [dilationY, dilationX]] = [kernel, key.strides, key.dilation]
  const extents = { batch, height, width, channels, multiplier, outHeight, outWidth, kernelHeight, kernelWidth }
  const elements = Math.max(
    batch * height * width * channels,
    batch * outHeight * outWidth * channels * multiplier,
    kernelHeight * kernelWidth * channels * multiplier,
  )
  checkExtents(family, { ...extents, strideY, strideX, dilationY, dilationX }, elements)
  checkPadding(family, key)
  return key
}
