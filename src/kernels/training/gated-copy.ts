/**
 * Puts in place what a training step computed beside the gradients (moving statistics), unless the training state's
 * not-finite flag is set: like the optimizers' updates, these must not change in a step that went bad.
 *
 * Inputs: staged f32 [count], state u32 (see training-state.ts). Output: kept f32 [count]. Both are read and written in
 * whole vec4s.
 */

import type { Family, KernelPlan, Target } from '../kernel.ts'
import { dispatch, input, output, reads, writes } from '../kernel.ts'
import { odometer, refuseExtents, shareOut, walkLoop } from '../schedule/grid-stride.ts'
import { notFiniteWord } from './state.ts'

export interface CommitKey {
  readonly count: number
}

function plan({ count }: CommitKey, target: Target): KernelPlan {
  refuseExtents('commit', [count])
  const units = Math.ceil(count / 4)
  const share = shareOut(units, target)
  const counter = odometer([units], share)
  return {
    variant: 'vec4',
    dispatches: [
      dispatch({
        label: 'commit/vec4',
        bindings: [
          reads('staged', input(0), 'vec4f'),
          reads('state', input(1), 'u32'),
          writes('kept', output(0), 'vec4f'),
        ],
        uniforms: counter.uniforms,
        workgroupSize: share.workgroupSize,
        workgroups: share.workgroups,
        body: `
  if (state[${notFiniteWord}] != 0u) {
    return;
  }
${walkLoop(counter, '      kept[unit] = staged[unit];')}`,
      }),
    ],
    scratchBytes: [],
    flops: 0,
  }
}

/** Throws 'shape' for an empty tensor. */
export const commit: Family<CommitKey> = {
  name: 'commit',
  variants: [{ name: 'vec4', supports: () => true, plan }],
  prefer: () => 0,
}
