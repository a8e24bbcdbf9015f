/**
 * Fusions around a matrix product, for the backward pass of dense layers:
 * - `where(h > 0, a x b, 0)`, relu's gradient, is applied while storing the product;
 * - the column sums of a right operand, the gradient of the bias, are computed by the product that reads it anyway.
 */

import type { Build, GraphView, Node, Operation, Replacement } from '../../graph/node.ts'
import { inputOf, isNode, makeNode, outputsOf, sameShape } from '../../graph/node.ts'
import { sharedHeads } from '../../graph/rewrite/shared-heads.ts'
import type { MatmulKey } from '../../kernels/matmul/matmul.ts'
import { canSumColumns, matmul } from '../../kernels/matmul/matmul.ts'
import { extentOf, f32 } from '../checks.ts'
import { greaterOp, whereOp } from '../elementwise.ts'
import { isZero } from '../operator.ts'
import { sumOp } from '../reduce.ts'

interface Transposes {
  readonly transposeA: boolean
  readonly transposeB: boolean
}

/** A product of two matrices. */
type Product = Operation<MatmulKey>

/**
 * The product with a mask. Inputs: a, b and a mask of the result's shape; the result is 0 where the mask is not
 * positive. Rank 2.
 */
const maskedMatmulOp: Product = {
  name: 'maskedMatmul',
  shape: (_, { m, n }) => [f32([m, n])],
  lower: ({ attributes }, kernels) => kernels.plan(matmul, { ...attributes, mask: true }),
}

/** The product of a and b [k, n], together with the sums of b's columns. Rank 2. */
const matmulWithColumnSumsOp: Product = {
  name: 'matmulWithColumnSums',
  shape: (_, { m, n }) => [f32([m, n]), f32([n])],
  lower: ({ attributes }, kernels) => kernels.plan(matmul, { ...attributes, columnSums: true }),
}

/** The key of a product of two matrices. */
function keyOf(node: Node<Transposes>): MatmulKey {
  const [a, b] = [inputOf(node, 0).type.shape, inputOf(node, 1).type.shape]
  const { transposeA, transposeB } = node.attributes
  const m = extentOf(a, transposeA ? 1 : 0)
  const k = extentOf(a, transposeA ? 0 : 1)
  const n = extentOf(b, transposeB ? 0 : 1)
  const single = { batch: 1, batchedA: false, batchedB: false, bias: false, activation: 'linear' } as const
  return { ...single, m, n, k, transposeA, transposeB }
}

/** Fuses a product that only `where(h > 0, product, 0)` reads. */
export function fuseMask(product: Node<Transposes>, { readers, wants }: GraphView): Replacement[] {
  const [choice, ...others] = readers(product)
  if (!isNode(choice, whereOp) || others.length > 0 || wants(product) || !isZero(choice.inputs[2])) return []
  const comparison = inputOf(choice, 0).node
  const mask = comparison.inputs[0]
  if (inputOf(choice, 1).node !== product || !isNode(comparison, greaterOp) || !isZero(comparison.inputs[1])) return []
  const isPlain = product.inputs.every(({ type }) => type.shape.length === 2)
  const fits = mask !== undefined && sameShape(mask.type.shape, product.outputs[0]?.shape ?? [])
  if (!fits || !isPlain || readers(comparison).length !== 1 || wants(comparison)) return []
  const key = keyOf(product)
  const build: Build = (map) => outputsOf(makeNode(maskedMatmulOp, [...product.inputs, mask].map(map), key))
  return [{ absorbed: [product, comparison], heads: new Map([[choice, build]]) }]
}

/** Fuses a product with a sum over the columns of its right operand. */
export function fuseColumnSums(product: Node<Transposes>, { readers }: GraphView): Replacement[] {
  const [left, right] = [inputOf(product, 0), inputOf(product, 1)]
  if (product.attributes.transposeB || left.type.shape.length !== 2 || right.type.shape.length !== 2) return []
  const sum = readers(right.node, right.index).find(
    (node) =>
      isNode(node, sumOp) &&
      node.attributes.axes.join() === '0' &&
      node.attributes.scale === 1 &&
      // Built after the product, so that all operands exist whichever of the two is asked for first.
      node.id > product.id,
  )
  const key = keyOf(product)
  if (sum === undefined || !canSumColumns(key)) return []
  const build: Build = (map) => outputsOf(makeNode(matmulWithColumnSumsOp, [left, right].map(map), key))
  return [{ absorbed: [], heads: sharedHeads([product], [sum], build) }]
}
