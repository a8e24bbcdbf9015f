/**
 * The kept and reduced axes of a reduction, neighbours of one kind merged, and the axis along which vec4 loads are
 * possible.
 */

import { WeftgradError } from '../../errors.ts'
import { at, checkShape } from '../extents.ts'
import type { Shape } from '../kernel.ts'
import { elementCount, stridesOf } from '../kernel.ts'

export interface ReduceKey {
  readonly operation: 'sum' | 'max' | 'min'
  readonly shape: Shape
  /** The reduced axes, sorted and unique; they are missing in the output. */
  readonly axes: readonly number[]
  /** The factor of a sum: 1 / count makes it a mean. */
  readonly scale?: number
}

export interface Axis {
  readonly extent: number
  readonly stride: number
}

/** The kept and the reduced axes, neighbours of one kind merged. */
export interface Split {
  readonly kept: readonly Axis[]
  readonly reduced: readonly Axis[]
}

export function splitAxes({ operation, shape, axes, scale }: ReduceKey): Split {
  checkShape('reduce', shape)
  const sorted = axes.every(
    (axis, i) => Number.isInteger(axis) && axis >= 0 && axis < shape.length && axis > (axes[i - 1] ?? -1),
  )
  if (!sorted) {
    throw new WeftgradError(
      'shape',
      `reduce: axes [${axes.join(', ')}] are not sorted, unique axes of [${shape.join(', ')}].`,
      {
        shape,
        axes,
      },
    )
  }
  if (scale !== undefined && (operation !== 'sum' || !Number.isFinite(scale))) {
    throw new WeftgradError(
      'argument',
      `reduce: only a sum has a scale, and it is finite; not ${operation} times ${scale}.`,
    )
  }
  const strides = stridesOf(shape)
  const merged: { gone: boolean; extent: number; stride: number }[] = []
  shape.forEach((extent, axis) => {
    if (extent === 1) return
    const gone = axes.includes(axis)
    const stride = at(strides, axis)
    const last = merged.at(-1)
    if (last?.gone === gone) {
      last.extent *= extent
      last.stride = stride
    } else merged.push({ gone, extent, stride })
  })
  return { kept: merged.filter((axis) => !axis.gone), reduced: merged.filter((axis) => axis.gone) }
}

export const extentsOf = (axes: readonly Axis[]): number[] => axes.map((axis) => axis.extent)
export const countOf = (axes: readonly Axis[]): number => elementCount(extentsOf(axes))

/** The axis of a vec4 load: neighbours along the reduced axis, neighbouring outputs (along the kept axis), or none. */
export type VectorAxis = 'none' | 'reduced' | 'kept'

export function vectorAxisOf({ kept, reduced }: Split): VectorAxis | undefined {
  const innerReduced = reduced.at(-1)
  // A tensor that is reduced completely may have any length: its tail is masked.
  if (innerReduced?.stride === 1) return kept.length === 0 || innerReduced.extent % 4 === 0 ? 'reduced' : undefined
  const innerKept = kept.at(-1)
  return innerKept?.stride === 1 && innerKept.extent % 4 === 0 ? 'kept' : undefined
}

/** The axes, the last one in steps of vec4 if it is contiguous. */
export function axesInVectors(axes: readonly Axis[]): Axis[] {
  return axes.map(({ extent, stride }) =>
    stride === 1 ? { extent: Math.ceil(extent / 4), stride } : { extent, stride: stride / 4 },
  )
}

/** Whether the reduction is over contiguous rows or the whole tensor. */
export function isRows({ kept, reduced }: Split): boolean {
  return reduced.length === 1 && reduced[0]?.stride === 1 && kept.length <= 1
}
