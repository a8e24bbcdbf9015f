/**
 * The plain convolution kernels: each lane computes one element. They run on every adapter, and the other variants are
 * checked against them.
 */

import { checkExtents } from '../extents.ts'
import type { ConvGeometry, GeometryExtent } from '../geometry.ts'
import { plainestGeometry } from '../geometry.ts'
import type { Binding, KernelPlan, Target, UniformValue, Variant } from '../kernel.ts'
import { capabilities, dispatch, input, output, reads, writes } from '../kernel.ts'
import { plainWorkgroupSize } from '../schedule/occupancy.ts'
import type { FusedActivation } from '../wgsl/activation.ts'
import { activationFunction } from '../wgsl/activation.ts'
import type { LongSum, SumExtents } from '../wgsl/long-sum.ts'
import { longSum } from '../wgsl/long-sum.ts'
import { storedType } from '../wgsl/text.ts'

export interface Conv2dKey extends ConvGeometry {
  readonly filters: number
  /**
   * Number of groups. Filters read only the channels of their own group: the kernel is [h, w, channels / groups,
   * filters].
   */
  readonly groups: number
  /** Whether to add a third input [filters]. */
  readonly bias: boolean
  readonly activation: FusedActivation
  /** Whether the kernel is stored as f16: forward only. Sums are f32. */
  readonly halfKernel?: boolean | undefined
}

type Conv2dFeature = Exclude<keyof Conv2dKey, GeometryExtent | 'filters'>

/** See `capabilities`. The gradients ignore bias and activation. */
export const conv2dSupports = /* @__PURE__ */ capabilities<Conv2dKey, Conv2dFeature>({
  ...plainestGeometry,
  groups: 1,
  bias: false,
  activation: 'linear',
  halfKernel: false,
})

/** What kernels do that slide by one pixel over one group of channels; padding aside. */
export const oneGroupByOne = {
  ...{ strides: false, dilation: false, groups: false },
  ...{ bias: true, activation: true, halfKernel: false },
} as const

/** Throws 'shape' unless every extent is a positive whole number. */
export function checkConv(key: Conv2dKey): void {
  checkExtents('conv2d', key)
}

function plainPlan(
  name: string,
  key: Conv2dKey,
  target: Target,
  count: number,
  bindings: readonly Binding[],
  extents: SumExtents,
  store: string,
  body: (loop: LongSum['loop']) => string,
): KernelPlan {
  const workgroupSize = plainWorkgroupSize(target)
  const total = longSum('f32', ['sum'], extents)
  const { groupChannels, groupFilters } = groupOf(key)
  const uniforms: Record<string, UniformValue> = {
    count,
    inputHeight: key.inputHeight,
    inputWidth: key.inputWidth,
    channels: key.channels,
    batch: key.batch,
    outHeight: key.outHeight,
    outWidth: key.outWidth,
    filters: key.filters,
    groupChannels,
    groupFilters,
    kernelHeight: key.kernelHeight,
    kernelWidth: key.kernelWidth,
    strideY: { i32: key.strides[0] },
    strideX: { i32: key.strides[1] },
    dilationY: { i32: key.dilation[0] },
    dilationX: { i32: key.dilation[1] },
    padTop: { i32: key.padTop },
    padLeft: { i32: key.padLeft },
  }
  return {
    variant: 'plain',
    scratchBytes: [],
    flops:
      2 * key.batch * key.outHeight * key.outWidth * key.filters * key.kernelHeight * key.kernelWidth * groupChannels,
    dispatches: [
      dispatch({
        label: `${name}/plain`,
        f16: key.halfKernel,
        bindings,
        uniforms,
        workgroupSize,
        workgroups: Math.ceil(count / workgroupSize),
        declarations: activationFunction(key.activation, 'f32'),
        body: `
  if (index >= u.count) { return; }
${total.declare}
${body(total.loop)}
${total.finish}
  result[index] = ${store};`,
      }),
    ],
  }
}

/** Channels and filters per group. */
function groupOf({ channels, filters, groups }: Conv2dKey): { groupChannels: number; groupFilters: number } {
  return { groupChannels: channels / groups, groupFilters: filters / groups }
}

const canAll = {
  strides: true,
  dilation: true,
  padTop: true,
  padLeft: true,
  groups: true,
  bias: true,
  activation: true,
}
const supports = /* @__PURE__ */ conv2dSupports({ ...canAll, halfKernel: false })

export const plainForward: Variant<Conv2dKey, 'plain'> = {
  name: 'plain',
  supports: /* @__PURE__ */ conv2dSupports({ ...canAll, halfKernel: true }),
  plan: (key, target) =>
    plainPlan(
      'conv2d',
      key,
      target,
      key.batch * key.outHeight * key.outWidth * key.filters,
      [
        reads('image', input(0)),
        reads('kernel', input(1), storedType('f32', key.halfKernel)),
        writes('result', output(0)),
        ...(key.bias ? [reads('bias', input(2))] : []),
      ],
      {
        terms: key.kernelHeight * key.kernelWidth * groupOf(key).groupChannels,
        iterations: groupOf(key).groupChannels,
      },
      `activate(sum${key.bias ? ' + bias[index % u.filters]' : ''})`,
      (loop) => `
  let filter_ = index % u.filters;
  let outX = (index / u.filters) % u.outWidth;
  let outY = (index / (u.filters * u.outWidth)) % u.outHeight;
  let sample = index / (u.filters * u.outWidth * u.outHeight);
  let firstChannel = filter_ / u.groupFilters * u.groupChannels;
  for (var ky = 0u; ky < u.kernelHeight; ky++) {
    let y = i32(outY) * u.strideY + i32(ky) * u.dilationY - u.padTop;
    if (y < 0 || u32(y) >= u.inputHeight) { continue; }
    for (var kx = 0u; kx < u.kernelWidth; kx++) {
      let x = i32(outX) * u.strideX + i32(kx) * u.dilationX - u.padLeft;
      if (x < 0 || u32(x) >= u.inputWidth) { continue; }
      let pixel = ((sample * u.inputHeight + u32(y)) * u.inputWidth + u32(x)) * u.channels + firstChannel;
      let tap = (ky * u.kernelWidth + kx) * u.groupChannels;
${loop(
  ['channel', '0u', 'u.groupChannels'],
  '        sum += image[pixel + channel] * f32(kernel[(tap + channel) * u.filters + filter_]);',
)}
    }
  }`,
    ),
}

export const plainInputGradient: Variant<Conv2dKey, 'plain'> = {
  name: 'plain',
  supports,
  plan: (key, target) =>
    plainPlan(
      'conv2d.inputGradient',
      key,
      target,
      key.batch * key.inputHeight * key.inputWidth * key.channels,
      [reads('gradient', input(0)), reads('kernel', input(1)), writes('result', output(0))],
      {
        terms: key.kernelHeight * key.kernelWidth * groupOf(key).groupFilters,
        iterations: groupOf(key).groupFilters,
      },
      'sum',
      (loop) => `
  let channel = index % u.channels;
  let x = (index / u.channels) % u.inputWidth;
  let y = (index / (u.channels * u.inputWidth)) % u.inputHeight;
  let sample = index / (u.channels * u.inputWidth * u.inputHeight);
  let firstFilter = channel / u.groupChannels * u.groupFilters;
  for (var ky = 0u; ky < u.kernelHeight; ky++) {
    let scaledY = i32(y) + u.padTop - i32(ky) * u.dilationY;
    if (scaledY < 0 || scaledY % u.strideY != 0 || u32(scaledY / u.strideY) >= u.outHeight) { continue; }
    for (var kx = 0u; kx < u.kernelWidth; kx++) {
      let scaledX = i32(x) + u.padLeft - i32(kx) * u.dilationX;
      if (scaledX < 0 || scaledX % u.strideX != 0 || u32(scaledX / u.strideX) >= u.outWidth) { continue; }
      let pixel = ((sample * u.outHeight + u32(scaledY / u.strideY)) * u.outWidth + u32(scaledX / u.strideX)) * u.filters + firstFilter;
      let tap = ((ky * u.kernelWidth + kx) * u.groupChannels + channel % u.groupChannels) * u.filters + firstFilter;
${loop(['f', '0u', 'u.groupFilters'], '        sum += gradient[pixel + f] * kernel[tap + f];')}
    }
  }`,
    ),
}

export const plainFilterGradient: Variant<Conv2dKey, 'plain'> = {
  name: 'plain',
  supports,
  plan: (key, target) =>
    plainPlan(
      'conv2d.filterGradient',
      key,
      target,
      key.kernelHeight * key.kernelWidth * groupOf(key).groupChannels * key.filters,
      [reads('image', input(0)), reads('gradient', input(1)), writes('result', output(0))],
      { terms: key.batch * key.outHeight * key.outWidth, iterations: key.outWidth },
      'sum',
      (loop) => `
  let filter_ = index % u.filters;
  let channel = filter_ / u.groupFilters * u.groupChannels + (index / u.filters) % u.groupChannels;
  let kx = (index / (u.filters * u.groupChannels)) % u.kernelWidth;
  let ky = index / (u.filters * u.groupChannels * u.kernelWidth);
  for (var sample = 0u; sample < u.batch; sample++) {
    for (var outY = 0u; outY < u.outHeight; outY++) {
      let y = i32(outY) * u.strideY + i32(ky) * u.dilationY - u.padTop;
      if (y < 0 || u32(y) >= u.inputHeight) { continue; }
${loop(
  ['outX', '0u', 'u.outWidth'],
  `        let x = i32(outX) * u.strideX + i32(kx) * u.dilationX - u.padLeft;
        if (x < 0 || u32(x) >= u.inputWidth) { continue; }
        sum += image[((sample * u.inputHeight + u32(y)) * u.inputWidth + u32(x)) * u.channels + channel]
             * gradient[((sample * u.outHeight + outY) * u.outWidth + outX) * u.filters + filter_];`,
)}
    }
  }`,
    ),
}
