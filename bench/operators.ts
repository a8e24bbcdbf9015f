/**
 * The benchmarks of the table of cases (test/cases/): the kernel that computes a case's result, or one of its
 * gradients, at the sizes that the case names. The engine computes the inputs, and the float64 reference defines the
 * expected results.
 */

import { gradients } from '../src/autograd/grad.ts'
import { evaluate } from '../src/autograd/tensors.ts'
import type { Device } from '../src/gpu/device.ts'
import type { Node, Storage } from '../src/graph/node.ts'
import { makeNode, outputOf } from '../src/graph/node.ts'
import type { KernelTask } from '../src/graph/plan/choice.ts'
import { planFor } from '../src/graph/run/program.ts'
import { elementCount } from '../src/kernels/kernel.ts'
import { mul, sum } from '../src/operators/index.ts'
import { leaf, Tensor, tensor } from '../src/operators/tensor.ts'
import type { Benchmark, Case, InputSpec } from '../test/cases/case.ts'
import { cotangentOf, inputsOf } from '../test/cases/case.ts'
import { cases } from '../test/cases.ts'
import { elementOf } from '../test/reference/array64.ts'
import { tensorFlowTensor } from '../test/support/tfjs.ts'
import type { BenchCase } from './case.ts'
import { kernelCase } from './case.ts'
import type { CaseData, ExpectedOutput } from './case-data.ts'

export const operatorCases: readonly BenchCase[] = cases.flatMap((testCase) =>
  (testCase.bench ?? []).map((benchmark) =>
    kernelCase(benchmark.name, benchmark.bound, {
      task: (device) => taskOf(device, testCase, benchmark),
      data: (device) => dataOf(device, testCase, benchmark),
    }),
  ),
)

function specsOf(testCase: Case, { name, shapes }: Benchmark): InputSpec[] {
  return testCase.inputs.map((spec, i) => {
    const shape = shapes[i]
    if (shape === undefined) throw new RangeError(`${name}: input ${i} has no shape`)
    return { ...spec, shape }
  })
}

/** The node to time. `cotangent` makes the weights of a result of this shape. */
function timedNode(
  testCase: Case,
  { name, gradient }: Benchmark,
  inputs: readonly Tensor[],
  cotangent: (shape: readonly number[]) => Tensor,
): Node {
  const y = testCase.run(...inputs)
  if (gradient === undefined) return withItsActivation(y.value.node)
  const wanted = inputs[gradient.input]
  if (wanted === undefined) throw new RangeError(`${name}: there is no input ${gradient.input}`)
  const [dx = y] = gradients(sum(mul(y, cotangent(y.shape))), [wanted])
  return dx.value.node
}

/** A layer and its activation are two traced nodes; the kernel that fusion makes of both is timed. */
function withItsActivation(node: Node): Node {
  const host = node.inputs[0]?.node
  const both = host?.op.absorb?.(host, node)
  return host === undefined || both === undefined ? node : makeNode(both.op, host.inputs, both.attributes)
}

/** A tensor without numbers: enough to plan with. */
function placeholder(shape: readonly number[], dtype: 'f32' | 'u32' = 'f32'): Tensor {
  return new Tensor(leaf(noNumbers, { shape, dtype }))
}

const noNumbers: Storage = {
  device: undefined,
  transient: false,
  on() {
    throw new RangeError('a benchmark is planned before it has numbers')
  },
}

function taskOf(device: Device, testCase: Case, benchmark: Benchmark): KernelTask {
  const inputs = specsOf(testCase, benchmark).map(({ shape, dtype }) => placeholder(shape, dtype))
  const node = timedNode(testCase, benchmark, inputs, placeholder)
  const wanted = node.outputs.map((_, i) => ({ value: outputOf(node, i) }))
  // The node comes last: everything else in the graph is an input.
  const task = planFor(device, wanted, { record: true, fuse: false }).tasks.at(-1)
  if (task === undefined) throw new RangeError(`${benchmark.name}: no kernel computes it`)
  return task
}

async function dataOf(device: Device, testCase: Case, benchmark: Benchmark): Promise<CaseData> {
  const { gradient, tolerance } = benchmark
  const inputs = inputsOf(specsOf(testCase, benchmark))
  const exact = inputs.map((input) => input.exact)
  const result = testCase.reference(...exact)
  const cotangent = cotangentOf(result.shape)
  const weights = { shape: result.shape, data: Float32Array.from(cotangent.data) }
  const leaves = inputs.map(({ data, shape, dtype }) => tensor(data, [...shape], dtype))
  const node = timedNode(testCase, benchmark, leaves, (shape) => tensor(weights.data, [...shape]))
  const reads = node.inputs.map((value) => new Tensor(value))
  const expected = gradient === undefined ? result : gradient.reference(cotangent, ...exact)
  return {
    inputs: await evaluate(reads, { device }),
    outputs: node.outputs.map(
      ({ shape, dtype }, i): ExpectedOutput => ({
        dtype: dtype === 'f32' ? 'f32' : 'u32',
        length: elementCount(shape),
        ...(i === 0 ? { expected: (place: number) => elementOf(expected, place) } : {}),
      }),
    ),
    tolerance,
    ...(node.op.name === 'matmul' && gradient === undefined
      ? { pytorch: { kind: 'matmul', shapes: inputs.map(({ shape }) => shape) } }
      : {}),
    tensorflow: (tf) => {
      const tensors = inputs.map((input) => tensorFlowTensor(tf, input))
      if (gradient !== undefined) return gradient.tfjs(tf, tensorFlowTensor(tf, weights), ...tensors)
      if (benchmark.tfjs !== undefined) return benchmark.tfjs(tf, ...tensors)
      const { tfjs } = testCase
      if (typeof tfjs === 'string') throw new Error(tfjs)
      return () => tfjs(tf, ...tensors)
    },
  }
}
