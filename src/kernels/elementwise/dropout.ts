/**
 * Dropout: zeros elements with probability `rate` and divides the others by 1 - rate (Srivastava et al., JMLR 15, 2014;
 * "inverted"). The mask depends only on seed, stream, the step in `counter`, and the element's position. The same
 * kernel applied to the gradient is therefore the derivative, and nothing needs to be saved. Dropped elements are
 * exactly 0, NaN included.
 *
 * Inputs: x f32 [count], counter u32 (element 0 is the step). Output: f32 [count], zeros up to the end of its last
 * vec4.
 */

import { checkValue, fraction } from '../../options.ts'
import { checkShape } from '../extents.ts'
import type { Family, KernelPlan, Target } from '../kernel.ts'
import { dispatch, input, output, reads, writes } from '../kernel.ts'
import { gridFor, gridStrideLoop, laneCoordinates } from '../schedule/grid-stride.ts'
import { randomKeyFunction, randomKeyUniforms, threefryFunction } from '../wgsl/random.ts'

export interface DropoutKey {
  readonly count: number
  /** Dropout rate in [0, 1). */
  readonly rate: number
  /** Random seed; see `randomKeyUniforms`. */
  readonly seed: number
  readonly stream: number
}

function plan({ count, rate, seed, stream }: DropoutKey, target: Target): KernelPlan {
  checkShape('dropout', [count])
  checkValue('dropout: rate', rate, fraction)
  const items = Math.ceil(count / 4)
  const grid = gridFor(items, target, 4) // the generator costs as much as three or four loads
  const coordinates = laneCoordinates([items], grid)
  return {
    variant: 'plain',
    dispatches: [
      dispatch({
        label: 'dropout/plain',
        bindings: [
          reads('x', input(0), 'vec4f'),
          reads('counter', input(1), 'u32'),
          writes('result', output(0), 'vec4f'),
        ],
        uniforms: {
          ...coordinates.uniforms,
          ...randomKeyUniforms(seed, stream),
          count,
          // Words below this number out of 2^32 drop their element: exact to 2^-32.
          dropped: Math.min(2 ** 32 - 1, Math.round(rate * 2 ** 32)),
          scale: { f32: 1 / (1 - rate) },
        },
        workgroupSize: grid.workgroupSize,
        workgroups: grid.workgroups,
        declarations: `${threefryFunction}\n${randomKeyFunction}`,
        body: `
  let step = counter[0];
${gridStrideLoop(
  coordinates,
  `      let words = threefry4x32(vec4u(item, step, 0u, 0u), randomKey());
      let within = item * 4u + vec4u(0u, 1u, 2u, 3u) < vec4u(u.count);
      let keep = (words >= vec4u(u.dropped)) & within;
      result[item] = select(vec4f(0.0), x[item] * u.scale, keep);`,
)}`,
      }),
    ],
    scratchBytes: [],
    flops: 0,
  }
}

/** Dropout. Throws 'shape' for an empty tensor, 'argument' for a rate, seed or stream out of range. */
export const dropout: Family<DropoutKey, 'plain'> = {
  name: 'dropout',
  variants: [{ name: 'plain', supports: () => true, plan }],
  prefer: () => 'plain',
}
