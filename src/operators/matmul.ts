/** Matrix products. */

import type { Shape } from '../graph/node.ts'
import { inputOf, sameShape } from '../graph/node.ts'
import { elementCount } from '../kernels/kernel.ts'
import { matmul as matmulKernels } from '../kernels/matmul/matmul.ts'
import { aFlag, checkOptions } from '../options.ts'
import { broadcast, extentOf, f32, refuse, take } from './checks.ts'
import { fuseColumnSums, fuseMask } from './fusion/matmul.ts'
import { broadcastTo, reshape } from './movement.ts'
import type { Operator } from './operator.ts'
import { apply } from './operator.ts'
import type { Tensor } from './tensor.ts'

export interface MatmulAttributes {
  readonly transposeA: boolean
  readonly transposeB: boolean
}

const expected = 'it takes [..., m, k] and [..., k, n], whose batch extents must be equal or 1'

/** [..., m, k] x [..., k, n] with equal batch extents; an operand of rank 2 serves every batch. */
const matmulOp: Operator<MatmulAttributes, [a: Tensor, b: Tensor]> = {
  name: 'matmul',
  shape(inputs, { transposeA, transposeB }) {
    take('matmul', inputs, [])
    const [{ shape: a }, { shape: b }] = inputs
    if (a.length < 2 || b.length < 2) refuse('matmul', inputs, expected)
    const [m, k] = lastTwo(a, transposeA)
    const [k2, n] = lastTwo(b, transposeB)
    const [batchA, batchB] = [a.slice(0, -2), b.slice(0, -2)]
    if (k !== k2 || (batchA.length > 0 && batchB.length > 0 && !sameShape(batchA, batchB)))
      refuse('matmul', inputs, expected)
    return [f32([...(batchA.length > 0 ? batchA : batchB), m, n])]
  },
  lower(node, kernels) {
    const { transposeA, transposeB } = node.attributes
    const [a, b] = [inputOf(node, 0).type.shape, inputOf(node, 1).type.shape]
    const [m, k] = lastTwo(a, transposeA)
    const [, n] = lastTwo(b, transposeB)
    const plain = { n, k, transposeA, transposeB, bias: false, activation: 'linear' } as const
    const batch = elementCount((a.length > 2 ? a : b).slice(0, -2))
    // With a single right operand, the rows of all batches form one long matrix.
    if (b.length === 2 && !transposeA)
      return kernels.plan(matmulKernels, { ...plain, batch: 1, m: batch * m, batchedA: false, batchedB: false })
    return kernels.plan(matmulKernels, { ...plain, batch, m, batchedA: a.length > 2, batchedB: b.length > 2 })
  },
  fuse: (node, graph) => [...fuseColumnSums(node, graph), ...fuseMask(node, graph)],
  vjp({ cotangent, inputs: [a, b], attributes: { transposeA, transposeB } }) {
    return [
      transposeA
        ? matmul(b, cotangent, { transposeA: transposeB, transposeB: true })
        : matmul(cotangent, b, { transposeB: !transposeB }),
      transposeB
        ? matmul(cotangent, a, { transposeA: true, transposeB: transposeA })
        : matmul(a, cotangent, { transposeA: !transposeA }),
    ]
  },
}

function lastTwo(shape: Shape, transposed: boolean): [number, number] {
  const [rows, columns] = [extentOf(shape, -2), extentOf(shape, -1)]
  return transposed ? [columns, rows] : [rows, columns]
}

/**
 * Matrix product: [..., m, k] x [..., k, n] -> [..., m, n]. Batch extents broadcast as in numpy: [3, 1, m, k] x [2, k,
 * n] -> [3, 2, m, n]. A single matrix serves all batches without a copy; other operands that broadcast are copied.
 * `transposeA` and `transposeB` read an operand with its last two axes swapped, without a copy. Derivatives: dA = dC
 * Bᵀ, dB = Aᵀ dC, summed over broadcast extents.
 * @throws WeftgradError 'shape' if the inner extents differ, the batches do not broadcast, or an operand has rank 1 or
 * is not f32.
 */
export function matmul(
  a: Tensor,
  b: Tensor,
  options: { readonly transposeA?: boolean; readonly transposeB?: boolean } = {},
): Tensor {
  const kinds = { transposeA: aFlag, transposeB: aFlag }
  const { transposeA = false, transposeB = false } = checkOptions('matmul', options, kinds)
  const types = [a.value.type, b.value.type]
  const batch = broadcast(types.map(({ shape }) => shape.slice(0, -2))) ?? refuse('matmul', types, expected)
  return apply(matmulOp, [inBatches(a, batch), inBatches(b, batch)], { transposeA, transposeB })
}

/** Expands x to one matrix per batch, or leaves a single matrix for all of them. */
function inBatches(x: Tensor, batch: Shape): Tensor {
  const [own, matrix] = [x.shape.slice(0, -2), x.shape.slice(-2)]
  if (own.length === 0 || sameShape(own, batch)) return x
  return elementCount(own) === 1 ? reshape(x, matrix) : broadcastTo(x, [...batch, ...matrix])
}
