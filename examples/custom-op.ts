/** An operator of your own: WGSL, shape rule and derivative. Run it: `npx tsx examples/custom-op.ts` */

// #region readme
import { add, custom, gradCheck, mul, open, sigmoid, sub, sum, Tensor, tensor } from '../src/node.ts'

using _device = await open()

const wgsl = `
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x < arrayLength(&y)) {
    y[id.x] = x[id.x] / (1.0 + exp(-x[id.x]));
  }
}`

/** x * sigmoid(x), for up to 4 million elements: one dimension of 65,535 workgroups. */
function swish(x: Tensor): Tensor {
  const [y] = custom(
    {
      name: 'swish',
      shape: (inputs) => inputs,
      plan: () => ({
        variant: 'plain',
        dispatches: [
          {
            label: 'swish/plain',
            wgsl,
            bindings: [
              { name: 'x', element: 'f32', access: 'read', operand: { role: 'input', index: 0 } },
              { name: 'y', element: 'f32', access: 'read_write', operand: { role: 'output', index: 0 } },
            ],
            uniforms: new Uint32Array(),
            workgroups: [Math.ceil(x.size / 64), 1, 1],
          },
        ],
        scratchBytes: [],
        flops: 4 * x.size,
      }),
      vjp: (_inputs, _outputs, [cotangent]) => {
        if (cotangent === undefined) return [undefined]
        const s = sigmoid(x)
        return [mul(new Tensor(cotangent), mul(s, add(1, mul(x, sub(1, s))))).value]
      },
    },
    [x],
  )
  if (y === undefined) throw new Error('swish has one output')
  return y
}

const x = tensor([-2, -1, 0, 1, 2])
console.log('swish', await swish(x).data())
const { error } = await gradCheck((x) => sum(swish(x)), [x])
console.log(`its derivative differs from central differences by ${error.toExponential(1)}`)
// #endregion readme
