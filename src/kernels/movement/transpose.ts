/** Transposes by the copies of copy.ts, or by `blocks`: 4 x 4 elements per lane, read and written in whole vec4. */

import { WeftgradError } from '../../errors.ts'
import { at, checkShape } from '../extents.ts'
import type { Family, KernelPlan, Shape, Target, UniformValue, Variant } from '../kernel.ts'
import { dispatch, elementCount, input, output, reads, stridesOf, writes } from '../kernel.ts'
import { gridFor, gridStrideLoop, laneCoordinates, mergeAxes, offsetText } from '../schedule/grid-stride.ts'
import { type Copy, copyVariants, preferLast } from './copy.ts'

export interface TransposeKey {
  readonly shape: Shape
  /** Axis i of the output is axis permutation[i] of the input. */
  readonly permutation: readonly number[]
}

function transposeCopy({ shape, permutation }: TransposeKey): Copy {
  checkShape('transpose', shape)
  const valid = permutation.length === shape.length && shape.every((_, axis) => permutation.includes(axis))
  if (!valid) {
    throw new WeftgradError(
      'shape',
      `transpose: [${permutation.join(', ')}] is not a permutation of the axes of [${shape.join(', ')}].`,
      { shape, permutation },
    )
  }
  const strides = stridesOf(shape)
  const space = mergeAxes(
    permutation.map((axis) => at(shape, axis)),
    [permutation.map((axis) => at(strides, axis))],
  )
  return { label: 'transpose', space, begin: 0 }
}

/**
 * The output's axis along which the input is contiguous, if it and the output's last axis are both divisible by four.
 * Every other stride is then a multiple of four, in the input and the output.
 */
function blockAxis({ space }: Copy): number | undefined {
  const last = space.extents.length - 1
  const axis = at(space.strides, 0).indexOf(1)
  if (axis < 0 || axis === last) return undefined
  return at(space.extents, axis) % 4 === 0 && at(space.extents, last) % 4 === 0 ? axis : undefined
}

function planBlocks(key: TransposeKey, target: Target): KernelPlan {
  const copy = transposeCopy(key)
  const across = blockAxis(copy) ?? 0
  const { extents } = copy.space
  const last = extents.length - 1
  const isCut = (axis: number): boolean => axis === across || axis === last
  const blocks = extents.map((extent, axis) => (isCut(axis) ? extent / 4 : extent))
  // Strides between blocks, in vec4: a block covers four elements along both of its axes.
  const between = (strides: readonly number[]): number[] =>
    strides.map((stride, axis) => (isCut(axis) ? stride : stride / 4))
  const fromStrides = at(copy.space.strides, 0)
  const toStrides = stridesOf(extents)
  const grid = gridFor(elementCount(blocks), target, 4)
  const coordinates = laneCoordinates(blocks, grid)
  const from = offsetText('from', between(fromStrides))
  const to = offsetText('to', between(toStrides))
  const uniforms: Record<string, UniformValue> = {
    ...coordinates.uniforms,
    ...from.uniforms,
    ...to.uniforms,
    fromRow: at(fromStrides, last) / 4,
    toRow: at(toStrides, across) / 4,
  }
  return {
    variant: 'blocks',
    dispatches: [
      dispatch({
        label: 'transpose/blocks',
        bindings: [reads('x', input(0), 'vec4u'), writes('result', output(0), 'vec4u')],
        uniforms,
        workgroupSize: grid.workgroupSize,
        workgroups: grid.workgroups,
        body: gridStrideLoop(
          coordinates,
          `      let source = ${from.text};
      let a = x[source];
      let b = x[source + u.fromRow];
      let c = x[source + 2u * u.fromRow];
      let d = x[source + 3u * u.fromRow];
      let sink = ${to.text};
      result[sink] = vec4u(a.x, b.x, c.x, d.x);
      result[sink + u.toRow] = vec4u(a.y, b.y, c.y, d.y);
      result[sink + 2u * u.toRow] = vec4u(a.z, b.z, c.z, d.z);
      result[sink + 3u * u.toRow] = vec4u(a.w, b.w, c.w, d.w);`,
        ),
      }),
    ],
    scratchBytes: [],
    flops: 0,
  }
}

const transposeVariants: readonly Variant<TransposeKey, 'plain' | 'vec4' | 'blocks'>[] = [
  ...copyVariants(transposeCopy),
  {
    name: 'blocks',
    supports: (key) => blockAxis(transposeCopy(key)) !== undefined,
    plan: planBlocks,
  },
]

/** Transposes. Throws 'shape' for an invalid `permutation`. */
export const transpose: Family<TransposeKey, 'plain' | 'vec4' | 'blocks'> = {
  name: 'transpose',
  variants: transposeVariants,
  prefer: preferLast(transposeVariants),
}
