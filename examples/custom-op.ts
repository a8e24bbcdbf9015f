/** Defines an operator: WGSL, shape rule and derivative. Run it: `node --import ./scripts/tsx.mjs examples/custom-op.ts` */
import {
  add,
  defineOp,
  dispatch,
  gradCheck,
  input,
  mul,
  open,
  output,
  reads,
  sigmoid,
  sub,
  sum,
  type Tensor,
  tensor,
  writes,
} from 'weftgrad/node'

/** x * sigmoid(x) */
const swish = defineOp<[x: Tensor], [y: Tensor]>({
  name: 'swish',
  shape: ([x]) => [x], // the result has the operand's shape
  plan(_inputs, [y]) {
    const count = y.shape.reduce((a, b) => a * b, 1)
    const kernel = dispatch({
      label: 'swish/plain',
      bindings: [reads('x', input(0)), writes('y', output(0))],
      uniforms: { count },
      workgroupSize: 64,
      workgroups: Math.ceil(count / 64),
      body: 'if (index < u.count) { y[index] = x[index] / (1 + exp(-x[index])); }',
    })
    return { variant: 'plain', dispatches: [kernel], scratchBytes: [], flops: 0 }
  },
  vjp([x], _outputs, [cotangent]) {
    const s = sigmoid(x)
    return [mul(cotangent, mul(s, add(1, mul(x, sub(1, s)))))]
  },
})

await open() // tensors run on the most recently opened device
const x = tensor([-2, -1, 0, 1, 2])
const [y] = swish(x)
console.log('swish', await y.data())

const { error } = await gradCheck((x) => sum(swish(x)[0]), [x])
console.log(`its derivative differs from central differences by ${error.toExponential(1)}`)
