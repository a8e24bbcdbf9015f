/** Gradient clipping by norm, traced on the gradients of a step. */

import { add, maximum, mul, reciprocal, sqrt, square, sum } from '../operators/index.ts'
import type { Tensor } from '../operators/tensor.ts'

/**
 * Scales gradients whose norm is larger than `clipNorm` down to it, and then all of them if their common norm is larger
 * than `globalClipNorm` (Pascanu et al., "On the difficulty of training recurrent neural networks", 2013).
 */
export function clippedByNorm(
  gradients: readonly Tensor[],
  limits: { readonly clipNorm?: number | undefined; readonly globalClipNorm?: number | undefined },
): readonly Tensor[] {
  const { clipNorm, globalClipNorm } = limits
  const each = clipNorm === undefined ? gradients : gradients.map((g) => mul(g, shrink(squares(g), clipNorm)))
  if (globalClipNorm === undefined || each.length === 0) return each
  const factor = shrink(each.map(squares).reduce(add), globalClipNorm)
  return each.map((g) => mul(g, factor))
}

const squares = (x: Tensor): Tensor => sum(square(x))

/** limit / max(norm, limit): 1 up to the limit. */
const shrink = (squaredNorm: Tensor, limit: number): Tensor => mul(reciprocal(maximum(sqrt(squaredNorm), limit)), limit)
