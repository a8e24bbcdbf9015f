/** Dense layers: a matrix product with bias and activation. */

import type { NoAttributes, Node, Operation, TensorType } from '../graph/node.ts'
import { inputOf } from '../graph/node.ts'
import { elementCount } from '../kernels/kernel.ts'
import { matmul as matmulKernels } from '../kernels/matmul/matmul.ts'
import type { FusedActivation } from '../kernels/wgsl/activation.ts'
import { checkOptions } from '../options.ts'
import type { Activation } from './activation.ts'
import { activate, activationOf, anActivation } from './activation.ts'
import { extentOf, f32, isHalf, refuse, take } from './checks.ts'
import { matmul } from './matmul.ts'
import { reshape } from './movement.ts'
import type { Operator, TypesOf } from './operator.ts'
import { apply } from './operator.ts'
import { sum } from './reduce.ts'
import type { Tensor } from './tensor.ts'

type Operands = [x: Tensor, kernel: Tensor, bias?: Tensor]

/** A dense layer. Inputs: x [..., in], kernel [in, out], optional bias [out]. */
const denseOp: Operator<NoAttributes, Operands> = {
  name: 'dense',
  half: 1,
  shape: denseShape,
  lower: (node, kernels) => kernels.plan(matmulKernels, keyOf(node, 'linear')),
  absorb(_, reader) {
    const activation = activationOf(reader)
    return activation && { op: activatedDenseOp, attributes: { activation } }
  },
  vjp({ cotangent, inputs: [x, kernel, bias] }) {
    const [features, units] = [extentOf(kernel.shape, 0), extentOf(kernel.shape, 1)]
    const rows = reshape(cotangent, [-1, units])
    return [
      reshape(matmul(rows, kernel, { transposeB: true }), x.shape),
      matmul(reshape(x, [-1, features]), rows, { transposeA: true }),
      bias && sum(rows, { axes: 0 }),
    ]
  },
}

/** A dense layer with its activation, in one kernel. Made by fusion. */
const activatedDenseOp: Operation<{ readonly activation: FusedActivation }> = {
  name: 'dense',
  half: 1,
  shape: (inputs) => denseShape(inputs as TypesOf<Operands>),
  lower: (node, kernels) => kernels.plan(matmulKernels, keyOf(node, node.attributes.activation)),
}

function denseShape(inputs: TypesOf<Operands>): TensorType[] {
  take('dense', inputs, [{}, { rank: 2 }, { rank: 1 }])
  const [{ shape }, kernel, bias] = inputs
  const [features, units] = kernel.shape
  if (units === undefined || shape.length < 2 || shape.at(-1) !== features || (bias && bias.shape[0] !== units))
    refuse('dense', inputs, 'it takes [..., in], [in, out] and optionally [out]')
  return [f32([...shape.slice(0, -1), units])]
}

function keyOf(node: Node, activation: FusedActivation): Parameters<typeof matmulKernels.prefer>[0] {
  const { type } = inputOf(node, 1)
  const [k, n] = [extentOf(type.shape, 0), extentOf(type.shape, 1)]
  return {
    ...{ batch: 1, m: elementCount(inputOf(node, 0).type.shape) / k, n, k },
    ...{ transposeA: false, transposeB: false, batchedA: false, batchedB: false },
    ...{ bias: node.inputs.length === 3, activation, halfB: isHalf(type) },
  }
}

/**
 * A dense layer in one kernel: activation(x [..., in] x kernel [in, out] + bias [out]) -> [..., out]. x must have a
 * rank of at least 2; the bias is optional, the activation 'linear' by default.
 * @throws WeftgradError 'shape' for operands that do not fit, 'argument' for an unknown activation.
 */
export function dense(
  x: Tensor,
  kernel: Tensor,
  bias?: Tensor,
  options: { readonly activation?: Activation } = {},
): Tensor {
  const { activation = 'linear' } = checkOptions('dense', options, { activation: anActivation })
  return activate(activation, apply(denseOp, bias === undefined ? [x, kernel] : [x, kernel, bias], {}))
}
