/** Users' operators: elementwise scaling with any rule for its derivative. */
import type { OpDefinition } from '../../src/autograd/define-op.ts'
import { defineOp } from '../../src/autograd/define-op.ts'
import type { Tensor } from '../../src/index.ts'
import { mul } from '../../src/index.ts'
import { elementCount } from '../../src/kernels/kernel.ts'

/** The first result of a user's operator. */
export function run(op: OpDefinition, ...inputs: Tensor[]): Tensor {
  const [result] = defineOp(op)(...inputs)
  if (result === undefined) throw new Error('the operator has a result')
  return result
}

/** y = factor * x, with its own WGSL, plan and derivative. */
export function scaling(name: string, factor: number, vjp?: NonNullable<OpDefinition['vjp']>): OpDefinition {
  const wgsl = `struct Uniforms { count: u32 }
@group(0) @binding(0) var<uniform> u: Uniforms;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@compute @workgroup_size(32)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x < u.count) {
    y[id.x] = ${factor.toFixed(8)} * x[id.x];
  }
}
`
  return {
    name,
    shape: (inputs) => inputs,
    plan: (_, [output]) => {
      const count = elementCount(output?.shape ?? [])
      return {
        variant: 'plain',
        dispatches: [
          {
            label: name,
            wgsl,
            bindings: [
              { name: 'x', element: 'f32', access: 'read', operand: { role: 'input', index: 0 } },
              { name: 'y', element: 'f32', access: 'read_write', operand: { role: 'output', index: 0 } },
            ],
            uniforms: new Uint32Array([count, 0, 0, 0]),
            workgroups: [Math.ceil(count / 32), 1, 1],
          },
        ],
        scratchBytes: [],
        flops: count,
      }
    },
    ...(vjp === undefined ? {} : { vjp }),
  }
}

/** A rule that multiplies the cotangent by a given number. */
export const timesCotangent =
  (factor: number | Tensor): NonNullable<OpDefinition['vjp']> =>
  (_inputs, _outputs, [cotangent]) => [cotangent === undefined ? undefined : mul(cotangent, factor)]
