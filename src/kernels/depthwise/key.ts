/** The key of the depthwise kernels in depthwise.ts and filter-gradient.ts, and its checks. */

import { checkExtents, checkPadding } from '../extents.ts'
import type { ConvGeometry, GeometryExtent } from '../geometry.ts'
import { plainestGeometry } from '../geometry.ts'
import { capabilities } from '../kernel.ts'

/** The key of a depthwise convolution. The kernel tensor is [kernelHeight, kernelWidth, channels, multiplier]. */
export interface DepthwiseKey extends ConvGeometry {
  /** Output channels per input channel: channel c gives output channels c * multiplier + m. */
  readonly multiplier: number
}

type DepthwiseFeature = Exclude<keyof DepthwiseKey, GeometryExtent>

/** See `capabilities`. */
export const depthwiseSupports = /* @__PURE__ */ capabilities<DepthwiseKey, DepthwiseFeature>({
  ...plainestGeometry,
  multiplier: 1,
})

/** Counts one multiplication and one addition per output and tap. */
export function depthwiseFlops({ batch, outHeight, outWidth, channels, multiplier, ...kernel }: DepthwiseKey): number {
  return 2 * batch * outHeight * outWidth * channels * multiplier * kernel.kernelHeight * kernel.kernelWidth
}

/** Whether a lane can take four neighbouring channels at once: whole vectors of four, and no multiplier. */
export function fourChannels({ channels }: DepthwiseKey): boolean {
  return channels % 4 === 0
}

/** Whether neighbouring outputs read neighbouring inputs, so that the taps of a row can stay in registers. */
export function slides({ strides, dilation }: DepthwiseKey): boolean {
  return strides[0] === 1 && strides[1] === 1 && dilation[0] === 1 && dilation[1] === 1
}

/** A convolution with stride and dilation 1. The input gradient is one too, with a flipped kernel. */
export interface Slide {
  readonly inHeight: number
  readonly inWidth: number
  readonly outHeight: number
  readonly outWidth: number
  readonly padTop: number
  readonly padLeft: number
  readonly flipped: boolean
}

export function forwardSlide({ inputHeight, inputWidth, outHeight, outWidth, padTop, padLeft }: DepthwiseKey): Slide {
  return { inHeight: inputHeight, inWidth: inputWidth, outHeight, outWidth, padTop, padLeft, flipped: false }
}

export function gradientSlide(key: DepthwiseKey): Slide {
  return {
    inHeight: key.outHeight,
    inWidth: key.outWidth,
    outHeight: key.inputHeight,
    outWidth: key.inputWidth,
    padTop: key.kernelHeight - 1 - key.padTop,
    padLeft: key.kernelWidth - 1 - key.padLeft,
    flipped: true,
  }
}

/** Checks the key and returns it. Throws 'shape' or 'limit' if no such convolution exists. */
export function checked(family: string, key: DepthwiseKey): DepthwiseKey {
  const { batch, inputHeight, inputWidth, channels, multiplier, kernelHeight, kernelWidth, outHeight, outWidth } = key
  const elements = Math.max(
    batch * inputHeight * inputWidth * channels,
    batch * outHeight * outWidth * channels * multiplier,
    kernelHeight * kernelWidth * channels * multiplier,
  )
  checkExtents(family, key, elements)
  checkPadding(family, key)
  return key
}
