/**
 * Stores what a training step computed besides the gradients (moving statistics), unless the training state's
 * not-finite flag is set: like the optimizers' updates, these must not change in a bad step.
 *
 * Inputs: staged f32 [count], state u32 (see state.ts). Output: kept f32 [count]. Both are read and written in
 * whole vec4s.
 */

import { checkShape } from '../extents.ts'
import type { Family, KernelPlan, Target } from '../kernel.ts'
import { dispatch, input, output, reads, writes } from '../kernel.ts'
import { gridFor, gridStrideLoop, laneCoordinates } from '../schedule/grid-stride.ts'
import { notFiniteWord } from './state.ts'

export interface GatedCopyKey {
  readonly count: number
}

function plan({ count }: GatedCopyKey, target: Target): KernelPlan {
  checkShape('gatedCopy', [count])
  const items = Math.ceil(count / 4)
  const grid = gridFor(items, target)
  const coordinates = laneCoordinates([items], grid)
  return {
    variant: 'plain',
    dispatches: [
      dispatch({
        label: 'gatedCopy/plain',
        bindings: [
          reads('staged', input(0), 'vec4f'),
          reads('state', input(1), 'u32'),
          writes('kept', output(0), 'vec4f'),
        ],
        uniforms: coordinates.uniforms,
        workgroupSize: grid.workgroupSize,
        workgroups: grid.workgroups,
        body: `
  if (state[${notFiniteWord}] != 0u) {
    return;
  }
${gridStrideLoop(coordinates, '      kept[item] = staged[item];')}`,
      }),
    ],
    scratchBytes: [],
    flops: 0,
  }
}

/** The gated copy. Throws 'shape' for an empty tensor. */
export const gatedCopy: Family<GatedCopyKey, 'plain'> = {
  name: 'gatedCopy',
  variants: [{ name: 'plain', supports: () => true, plan }],
  prefer: () => 'plain',
}
