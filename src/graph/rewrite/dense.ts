/**
 * Fusions around matrix products and the loss, as backward passes of dense layers make them:
 * - `where(h > 0, a x b, 0)`, relu's gradient, is applied as the product is stored;
 * - the sum of a right operand's columns, the bias' gradient, comes along with the product that reads it anyway;
 * - cross-entropy and its gradient share one kernel, where every row's loss has the same cotangent.
 */

import { canSumColumns } from '../../kernels/matmul/matmul.ts'
import { plainProduct } from '../lower.ts'
import type { Node } from '../node.ts'
import { sameShape } from '../node.ts'
import type { Build, Readers, Replacement } from './replacement.ts'
import { isZero, outputsOf, sameValue, sharedHeads } from './replacement.ts'

/** `uniform` tells the number that a value holds everywhere, where that is known. */
export function fuseDense(
  order: readonly Node[],
  readers: Readers,
  uniform: (node: Node) => number | undefined,
): Replacement[] {
  return order.flatMap((node) => {
    const replacement = matchMask(node, readers) ?? matchColumnSums(node, readers) ?? matchLoss(node, readers, uniform)
    return replacement === undefined ? [] : [replacement]
  })
}

function matchMask(choice: Node, readers: Readers): Replacement | undefined {
  if (choice.kind !== 'where' || !isZero(choice.inputs[2])) return undefined
  const [condition, chosen] = choice.inputs
  const [comparison, product] = [condition?.node, chosen?.node]
  const mask = comparison?.inputs[0]
  if (comparison?.kind !== 'greater' || !isZero(comparison.inputs[1]) || product?.kind !== 'matmul') return undefined
  const isPrivate = (node: Node): boolean => readers.of(node).length === 1 && !readers.wants(node)
  const isPlain = product.inputs.every(({ type }) => type.shape.length === 2)
  const fits = mask !== undefined && sameShape(mask.type.shape, product.outputs[0]?.shape ?? [])
  if (!fits || !isPlain || !isPrivate(product) || !isPrivate(comparison)) return undefined
  const build: Build = (map) => outputsOf('maskedMatmul', [...product.inputs, mask].map(map), product.attributes)
  return { absorbed: [product, comparison], heads: new Map([[choice, build]]) }
}

function matchColumnSums(product: Node, readers: Readers): Replacement | undefined {
  if (product.kind !== 'matmul' || product.attributes.transposeB) return undefined
  const [left, right] = product.inputs
  if (left?.type.shape.length !== 2 || right?.type.shape.length !== 2) return undefined
  const sum = readers
    .of(right.node, right.index)
    // Made after the product, so that all operands are there whichever of the two is asked for first.
    .find((n) => n.kind === 'sum' && n.attributes.axes.join() === '0' && n.attributes.scale === 1 && n.id > product.id)
  const { transposeA } = product.attributes
  if (sum === undefined || !canSumColumns(plainProduct(product, transposeA, false))) return undefined
  const build: Build = (map) => outputsOf('matmulWithColumnSums', [left, right].map(map), { transposeA })
  return { absorbed: [], heads: sharedHeads([product], [sum], build) }
}

function matchLoss(
  gradient: Node,
  readers: Readers,
  uniform: (node: Node) => number | undefined,
): Replacement | undefined {
  if (gradient.kind !== 'crossEntropyGradient') return undefined
  const [logits, labels, cotangent] = gradient.inputs
  const scale = cotangent === undefined ? undefined : uniform(cotangent.node)
  if (logits === undefined || labels?.type.dtype !== 'u32' || scale === undefined) return undefined
  const loss = readers
    .of(logits.node, logits.index)
    .find((n) => n.kind === 'crossEntropy' && sameValue(n.inputs[1], labels))
  if (loss === undefined) return undefined
  const build: Build = (map) => outputsOf('crossEntropyWithGradient', [logits, labels].map(map), { scale })
  return { absorbed: [], heads: sharedHeads([loss], [gradient], build) }
}
