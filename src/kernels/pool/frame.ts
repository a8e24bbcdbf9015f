/**
 * Code shared by the pooling kernels of pool.ts, average.ts and gradient.ts: their key, the vectors of channels that
 * lanes work on, the checks, and the frame of a kernel around its window loops.
 */

import { WeftgradError } from '../../errors.ts'
import { checkExtents } from '../extents.ts'
import type { ConvGeometry, GeometryExtent } from '../geometry.ts'
import { plainestGeometry } from '../geometry.ts'
import { type Binding, capabilities, dispatch, type KernelPlan, type Target, type Variant } from '../kernel.ts'
import type { RowStride } from '../schedule/row-stride.ts'
import { pair, scalar, vector, type Width } from '../wgsl/functions.ts'

/** The key of pooling; the kernel's extent is that of the window, its dilation is 1. */
export type PoolKey = ConvGeometry

/** Number of neighbouring channels per lane, by the variant's name. */
const vectors = { plain: scalar, vec2: pair, vec4: vector } as const satisfies Record<string, Width>

export type VectorName = keyof typeof vectors

/** The name of the widest vector that divides the channels. */
export function widest({ channels }: PoolKey): VectorName {
  return channels % 4 === 0 ? 'vec4' : channels % 2 === 0 ? 'vec2' : 'plain'
}

/** A request to a planner for one of its variants. */
export interface PoolRequest {
  readonly key: PoolKey
  readonly target: Target
  readonly vector: Width
  readonly variant: string
  /** `family/variant`. */
  readonly label: string
}

const supports = /* @__PURE__ */ capabilities<PoolKey, Exclude<keyof PoolKey, GeometryExtent>>(plainestGeometry)

function poolVariant<Name extends string>(
  family: string,
  name: Name,
  fits: (key: PoolKey) => boolean,
  vectorFor: (key: PoolKey) => Width,
  plan: (request: PoolRequest) => KernelPlan,
): Variant<PoolKey, Name> {
  return {
    name,
    supports: supports({ strides: true, dilation: false, padTop: true, padLeft: true }, fits),
    plan: (key, target) =>
      plan({
        ...{ key: checked(family, key), target, vector: vectorFor(key) },
        ...{ variant: name, label: `${family}/${name}` },
      }),
  }
}

/** Makes a variant for every vector width. */
export function vectorVariants(
  family: string,
  plan: (request: PoolRequest) => KernelPlan,
): Variant<PoolKey, VectorName>[] {
  const names: VectorName[] = ['plain', 'vec2', 'vec4']
  return names.map((name) =>
    poolVariant(
      family,
      name,
      ({ channels }) => channels % vectors[name].lanes === 0,
      () => vectors[name],
      plan,
    ),
  )
}

/** Makes a variant with the given name, on the widest vectors that divide the channels. */
export function widestVariant<Name extends string>(
  family: string,
  name: Name,
  fits: (key: PoolKey) => boolean,
  plan: (request: PoolRequest) => KernelPlan,
): Variant<PoolKey, Name> {
  return poolVariant(family, name, fits, (key) => vectors[widest(key)], plan)
}

function ownStrides({ outHeight, outWidth, kernelHeight, kernelWidth, strides }: PoolKey): readonly [number, number] {
  return [outHeight === 1 ? kernelHeight : strides[0], outWidth === 1 ? kernelWidth : strides[1]]
}

/** Whether windows neither overlap nor leave gaps. */
export function sideBySide(key: PoolKey): boolean {
  const strides = ownStrides(key)
  return strides[0] === key.kernelHeight && strides[1] === key.kernelWidth
}

/** Whether all windows are inside the image, so that bounds need no checks. */
export function inside(key: PoolKey): boolean {
  const fits = (size: number, out: number, stride: number, kernel: number) => (out - 1) * stride + kernel <= size
  const [strideY, strideX] = key.strides
  return (
    key.padTop === 0 &&
    key.padLeft === 0 &&
    fits(key.inputHeight, key.outHeight, strideY, key.kernelHeight) &&
    fits(key.inputWidth, key.outWidth, strideX, key.kernelWidth)
  )
}

export interface PoolText {
  readonly bindings: readonly Binding[]
  readonly declarations: string
  readonly uniforms: Readonly<Record<string, number>>
  readonly schedule: RowStride
  readonly setup: string
  readonly each: string
}

/**
 * The most window positions with constant bounds, which compilers unroll: 2x2 maxima of 28x28x6 at batch 128 take 0.50
 * against 0.87 ms on a CPU. 7x7 would take a second to compile.
 */
const unrolledPlaces = 9

export function planPool({ key, vector, variant, label }: PoolRequest, text: PoolText): KernelPlan {
  const { inputHeight, inputWidth, outHeight, outWidth, padTop, padLeft } = key
  const channelVectors = key.channels / vector.lanes
  const unrolled = key.kernelHeight * key.kernelWidth <= unrolledPlaces
  const sizes = { inputHeight, inputWidth, outHeight, outWidth, channelVectors, padTop, padLeft }
  return {
    variant,
    dispatches: [
      dispatch({
        label,
        bindings: text.bindings,
        uniforms: {
          ...text.schedule.uniforms,
          ...sizes,
          ...text.uniforms,
          ...(unrolled ? {} : { kernelHeight: key.kernelHeight, kernelWidth: key.kernelWidth }),
        },
        workgroupSize: text.schedule.workgroupSize,
        workgroups: text.schedule.workgroups,
        // Strides are constants because they divide.
        declarations: `
const strideY = ${key.strides[0]}u;
const strideX = ${key.strides[1]}u;${
          unrolled
            ? `
const kernelHeight = ${key.kernelHeight}u;
const kernelWidth = ${key.kernelWidth}u;`
            : ''
        }${text.declarations}`,
        body: text.schedule.body(
          `${
            unrolled
              ? ''
              : `
  let kernelHeight = u.kernelHeight;
  let kernelWidth = u.kernelWidth;`
          }${text.setup}`,
          text.each,
        ),
      }),
    ],
    scratchBytes: [],
    flops: key.batch * outHeight * outWidth * key.channels * key.kernelHeight * key.kernelWidth,
  }
}

/**
 * Checks the key, and sets the stride of an axis with a single window to the window, so that windows count as side by
 * side. Throws 'shape' or 'limit' for invalid keys.
 */
function checked(family: string, key: PoolKey): PoolKey {
  const { batch, inputHeight, inputWidth, channels, outHeight, outWidth, kernelHeight, kernelWidth } = key
  const elements = batch * channels * Math.max(inputHeight * inputWidth, outHeight * outWidth)
  checkExtents(family, key, elements)
  const [strideY, strideX] = key.strides
  const axes = [
    { name: 'row', pad: key.padTop, size: inputHeight, out: outHeight, extent: kernelHeight, stride: strideY },
    { name: 'column', pad: key.padLeft, size: inputWidth, out: outWidth, extent: kernelWidth, stride: strideX },
  ]
  for (const { name, pad, size, out, extent, stride } of axes) {
    if (!Number.isInteger(pad) || pad < 0 || pad >= extent || (out - 1) * stride - pad >= size) {
      throw new WeftgradError(
        'shape',
        `${family}: the first or last window of ${extent} ${name}s is entirely in the padding.`,
      )
    }
  }
  return { ...key, strides: ownStrides(key) }
}
