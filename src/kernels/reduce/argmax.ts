/**
 * The position of the largest number along an axis, as u32. If several are equal, the first wins; +0 equals -0, and NaN
 * counts as the maximum, as in numpy. Every lane computes one output.
 */

import { WeftgradError } from '../../errors.ts'
import { at, checkShape } from '../extents.ts'
import type { Family, KernelPlan, Shape, Target } from '../kernel.ts'
import { dispatch, elementCount, input, output, reads, writes } from '../kernel.ts'
import { gridFor, gridStrideLoop, laneCoordinates, mergeAxes, offsetText } from '../schedule/grid-stride.ts'
import { declareFunctions, nanKey, orderedKey, scalar } from '../wgsl/functions.ts'

export interface ArgmaxKey {
  readonly shape: Shape
  /** The reduced axis, missing in the output. */
  readonly axis: number
}

function plan({ shape, axis }: ArgmaxKey, target: Target): KernelPlan {
  checkShape('argmax', shape)
  const extent = shape[axis]
  if (extent === undefined) {
    throw new WeftgradError('shape', `argmax: [${shape.join(', ')}] has no axis ${axis}.`, { shape, axis })
  }
  const inner = elementCount(shape.slice(axis + 1))
  const space = mergeAxes([elementCount(shape.slice(0, axis)), inner], [[extent * inner, 1]])
  const grid = gridFor(elementCount(space.extents), target, extent)
  const coordinates = laneCoordinates(space.extents, grid)
  const base = offsetText('kept', at(space.strides, 0))
  return {
    variant: 'plain',
    dispatches: [
      dispatch({
        label: 'argmax/plain',
        bindings: [reads('x', input(0)), writes('result', output(0), 'u32')],
        uniforms: { ...coordinates.uniforms, ...base.uniforms, extent, stride: inner },
        workgroupSize: grid.workgroupSize,
        workgroups: grid.workgroups,
        declarations: `${declareFunctions([orderedKey], scalar)}
fn rank(x: f32) -> u32 {
  let zero = (bitcast<u32>(x) << 1u) == 0u;
  return select(orderedKey(x, ${nanKey.max}), 0x80000000u, zero);
}`,
        body: gridStrideLoop(
          coordinates,
          `      var offset = ${base.text};
      var best = rank(x[offset]);
      var position = 0u;
      for (var i = 1u; i < u.extent; i++) {
        offset += u.stride;
        let candidate = rank(x[offset]);
        position = select(position, i, candidate > best);
        best = max(best, candidate);
      }
      result[item] = position;`,
        ),
      }),
    ],
    scratchBytes: [],
    flops: 0,
  }
}

/** Argmax. Throws 'shape' for an axis that the shape does not have. */
export const argmax: Family<ArgmaxKey, 'plain'> = {
  name: 'argmax',
  variants: [{ name: 'plain', supports: () => true, plan }],
  prefer: () => 'plain',
}
