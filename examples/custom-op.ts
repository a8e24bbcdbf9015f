/** An operator of your own: WGSL, shape rule and derivative. Run it: `npx tsx examples/custom-op.ts` */

// #region readme
import { add, custom, gradCheck, mul, open, sigmoid, sub, sum, Tensor, tensor } from '../src/node.ts'

const wgsl = `
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x < arrayLength(&y)) {
    y[id.x] = x[id.x] / (1.0 + exp(-x[id.x]));
  }
}`

/** x * sigmoid(x), for up to 4 million elements: 65,535 workgroups of 64. */
const swishOp: Parameters<typeof custom>[0] = {
  name: 'swish',
  shape: (inputs) => inputs, // one input, one output of its shape
  plan: (_inputs, [y]) => ({
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
        workgroups: [Math.ceil((y?.shape ?? []).reduce((a, b) => a * b, 1) / 64), 1, 1],
      },
    ],
    scratchBytes: [],
    flops: 0,
  }),
  vjp: ([x], _outputs, [cotangent]) => {
    if (x === undefined || cotangent === undefined) return [undefined]
    const s = sigmoid(new Tensor(x))
    const slope = mul(s, add(1, mul(new Tensor(x), sub(1, s))))
    return [mul(new Tensor(cotangent), slope).value]
  },
}

await open() // tensors run on the device that was opened last
const x = tensor([-2, -1, 0, 1, 2])
const [y] = custom(swishOp, [x])
console.log('swish', await y?.data())

const { error } = await gradCheck((x) => sum(custom(swishOp, [x])[0] ?? x), [x])
console.log(`its derivative differs from central differences by ${error.toExponential(1)}`)
// #endregion readme
