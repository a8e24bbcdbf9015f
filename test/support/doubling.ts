/** A user's operator that doubles its input. */
import { bytesOf } from '../../src/graph/plan/plan.ts'
import type { OpDefinition } from '../../src/index.ts'

const doublingText = `@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x < arrayLength(&y)) {
    y[id.x] = 2.0 * x[id.x];
  }
}
`

export function doubling(wgsl = doublingText): OpDefinition {
  return {
    name: 'doubling',
    shape: (inputs) => inputs,
    plan: (_, outputs) => ({
      variant: 'plain',
      dispatches: [
        {
          label: 'doubling',
          wgsl,
          bindings: [
            { name: 'x', element: 'f32', access: 'read', operand: { role: 'input', index: 0 } },
            { name: 'y', element: 'f32', access: 'read_write', operand: { role: 'output', index: 0 } },
          ],
          uniforms: new Uint32Array(),
          workgroups: [Math.ceil(bytesOf(outputs[0] ?? { shape: [], dtype: 'f32' }) / 256), 1, 1],
        },
      ],
      scratchBytes: [],
      flops: 0,
    }),
  }
}
