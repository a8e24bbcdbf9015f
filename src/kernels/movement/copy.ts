/**
 * Moves elements without computing: slice and pad; see also transpose.ts and concatenate.ts. Elements are copied as
 * 32-bit words, so f32 and u32 tensors use the same kernels and every NaN keeps its bits. The rank is not limited.
 *
 * Variants: `plain` moves one element per lane, `vec4` four neighbours if contiguous runs are long and aligned enough.
 */

import { WeftgradError } from '../../errors.ts'
import { at, checkShape } from '../extents.ts'
import type { Family, KernelPlan, Shape, Target, UniformValue, Variant } from '../kernel.ts'
import { dispatch, elementCount, input, output, reads, stridesOf, writes } from '../kernel.ts'
import type { IterationSpace } from '../schedule/grid-stride.ts'
import { gridFor, gridStrideLoop, inVectors, laneCoordinates, mergeAxes, offsetText } from '../schedule/grid-stride.ts'

export type { ConcatenateKey } from './concatenate.ts'
export { concatenate } from './concatenate.ts'

export interface SliceKey {
  readonly shape: Shape
  readonly begin: readonly number[]
  readonly size: readonly number[]
}

export interface PadKey {
  readonly shape: Shape
  readonly before: readonly number[]
  readonly after: readonly number[]
  /** The padding value; infinities and NaN are allowed. */
  readonly value: number
  /** The type of `value`; f32 by default. */
  readonly dtype?: 'f32' | 'u32'
}

/** A strided copy: operand 0 of the space is the input, and `begin` its first element; the output is contiguous. */
export interface Copy {
  readonly label: string
  readonly space: IterationSpace
  readonly begin: number
}

function planCopy({ label, space: elements, begin }: Copy, vectors: boolean, target: Target): KernelPlan {
  const variant = vectors ? 'vec4' : 'plain'
  const space = vectors ? inVectors(elements) : elements
  const grid = gridFor(elementCount(space.extents), target)
  const coordinates = laneCoordinates(space.extents, grid)
  const from = offsetText('stride', at(space.strides, 0))
  const element = vectors ? 'vec4u' : 'u32'
  return {
    variant,
    dispatches: [
      dispatch({
        label: `${label}/${variant}`,
        bindings: [reads('x', input(0), element), writes('result', output(0), element)],
        uniforms: { ...coordinates.uniforms, ...from.uniforms, begin: vectors ? begin / 4 : begin },
        workgroupSize: grid.workgroupSize,
        workgroups: grid.workgroups,
        body: gridStrideLoop(coordinates, `      result[item] = x[u.begin + ${from.text}];`),
      }),
    ],
    scratchBytes: [],
    flops: 0,
  }
}

/** Whether the copy can use vec4: the contiguous runs along the last axis all start and end at a vec4 boundary. */
function copiesVectors({ space, begin }: Copy): boolean {
  const strides = at(space.strides, 0)
  const last = space.extents.length - 1
  const aligned = strides.every((stride, axis) => (axis === last ? stride === 1 : stride % 4 === 0))
  return aligned && begin % 4 === 0 && at(space.extents, last) % 4 === 0
}

export function copyVariants<Key>(copyOf: (key: Key) => Copy): Variant<Key, 'plain' | 'vec4'>[] {
  return [
    { name: 'plain', supports: () => true, plan: (key, target) => planCopy(copyOf(key), false, target) },
    {
      name: 'vec4',
      supports: (key) => copiesVectors(copyOf(key)),
      plan: (key, target) => planCopy(copyOf(key), true, target),
    },
  ]
}

/** The last of the variants that supports the key: they are listed from the plainest to the fastest. */
export function preferLast<Key, Name extends string>(
  variants: readonly Variant<Key, Name | 'plain'>[],
): (key: Key, target: Target) => Name | 'plain' {
  return (key, target) => variants.findLast((variant) => variant.supports(key, target))?.name ?? 'plain'
}

function sliceCopy({ shape, begin, size }: SliceKey): Copy {
  checkShape('slice', shape)
  checkShape('slice', size)
  const within =
    begin.length === shape.length &&
    size.length === shape.length &&
    shape.every((extent, axis) => {
      const first = at(begin, axis)
      return Number.isInteger(first) && first >= 0 && first + at(size, axis) <= extent
    })
  if (!within) {
    throw new WeftgradError(
      'shape',
      `slice: begin [${begin.join(', ')}] and size [${size.join(', ')}] leave [${shape.join(', ')}].`,
      { shape, begin, size },
    )
  }
  const strides = stridesOf(shape)
  return {
    label: 'slice',
    space: mergeAxes(size, [strides]),
    begin: strides.reduce((sum, stride, axis) => sum + stride * at(begin, axis), 0),
  }
}

const sliceVariants = copyVariants(sliceCopy)

/** Slices. Throws 'shape' if the slice is empty or exceeds the tensor. */
export const slice: Family<SliceKey, 'plain' | 'vec4'> = {
  name: 'slice',
  variants: sliceVariants,
  prefer: preferLast(sliceVariants),
}

interface PadAxis {
  extent: number
  before: number
  after: number
}

/** Merges axes without padding into the axis before them, which is then padded by multiples. */
function padAxes({ shape, before, after }: PadKey): PadAxis[] {
  checkShape('pad', shape)
  const amounts = [...before, ...after]
  const valid = before.length === shape.length && after.length === shape.length
  if (!valid || !amounts.every((amount) => Number.isInteger(amount) && amount >= 0)) {
    throw new WeftgradError(
      'shape',
      `pad: before [${before.join(', ')}] and after [${after.join(', ')}] are not one amount for each axis of [${shape.join(', ')}].`,
      { shape, before, after },
    )
  }
  const merged: PadAxis[] = [{ extent: 1, before: 0, after: 0 }]
  shape.forEach((extent, axis) => {
    const own: PadAxis = { extent, before: at(before, axis), after: at(after, axis) }
    const last = merged.at(-1)
    if (last !== undefined && own.before === 0 && own.after === 0) {
      last.extent *= extent
      last.before *= extent
      last.after *= extent
    } else if (last?.extent === 1 && last.before === 0 && last.after === 0) merged[merged.length - 1] = own
    else merged.push(own)
  })
  return merged
}

function padsVectors(key: PadKey): boolean {
  const last = padAxes(key).at(-1)
  return last !== undefined && [last.extent, last.before, last.after].every((n) => n % 4 === 0)
}

function planPad(key: PadKey, vectors: boolean, target: Target): KernelPlan {
  const { value, dtype = 'f32' } = key
  if (dtype === 'u32' && !(Number.isInteger(value) && value >= 0 && value < 2 ** 32)) {
    throw new WeftgradError('argument', `pad: ${value} is not a u32.`, { value })
  }
  const variant = vectors ? 'vec4' : 'plain'
  const item = vectors ? 4 : 1
  const all = padAxes(key)
  const axes = all.map((axis, i) =>
    i === all.length - 1 ? { extent: axis.extent / item, before: axis.before / item, after: axis.after / item } : axis,
  )
  const extents = axes.map((axis) => axis.before + axis.extent + axis.after)
  const strides = stridesOf(axes.map((axis) => axis.extent))
  const grid = gridFor(elementCount(extents), target)
  const coordinates = laneCoordinates(extents, grid)
  const uniforms: Record<string, UniformValue> = { ...coordinates.uniforms }
  uniforms.value = dtype === 'u32' ? value : at(new Uint32Array(Float32Array.of(value).buffer), 0)
  // Unsigned arithmetic: positions before the tensor wrap around to beyond its end.
  const inside = axes.map((axis, i) => {
    uniforms[`before${i}`] = axis.before
    uniforms[`extent${i}`] = axis.extent
    uniforms[`stride${i}`] = at(strides, i)
    return `      let p${i} = d${i} - u.before${i};`
  })
  const element = vectors ? 'vec4u' : 'u32'
  return {
    variant,
    dispatches: [
      dispatch({
        label: `pad/${variant}`,
        bindings: [reads('x', input(0), element), writes('result', output(0), element)],
        uniforms,
        workgroupSize: grid.workgroupSize,
        workgroups: grid.workgroups,
        body: gridStrideLoop(
          coordinates,
          `${inside.join('\n')}
      var value = ${element}(u.value);
      if (${axes.map((_, i) => `p${i} < u.extent${i}`).join(' && ')}) {
        value = x[${axes.map((_, i) => `p${i} * u.stride${i}`).join(' + ')}];
      }
      result[item] = value;`,
        ),
      }),
    ],
    scratchBytes: [],
    flops: 0,
  }
}

const padVariants: readonly Variant<PadKey, 'plain' | 'vec4'>[] = [
  { name: 'plain', supports: () => true, plan: (key, target) => planPad(key, false, target) },
  { name: 'vec4', supports: padsVectors, plan: (key, target) => planPad(key, true, target) },
]

/** Padding. Throws 'shape' for negative or missing amounts, 'argument' for a value of another type. */
export const pad: Family<PadKey, 'plain' | 'vec4'> = {
  name: 'pad',
  variants: padVariants,
  prefer: preferLast(padVariants),
}
