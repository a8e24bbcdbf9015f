/** The work of a model, on paper. */
import type { Shape } from '../graph/node.ts'
import { elementCount } from '../kernels/kernel.ts'

/** What counting needs of a layer. */
interface CountedLayer {
  readonly outputShape: Shape
  readonly weights: readonly { readonly name: string; readonly shape: Shape }[]
}

/**
 * Multiply-adds of one example in convolutions and dense layers, which take nearly all the time; other layers count as
 * nothing. Each number of a kernel is used once for each position of the output.
 */
export function multiplyAdds(layers: readonly CountedLayer[]): number {
  let total = 0
  for (const { outputShape, weights } of layers) {
    const positions = elementCount(outputShape) / (outputShape.at(-1) ?? 1)
    for (const { name, shape } of weights) if (/kernel$/.test(name)) total += positions * elementCount(shape)
  }
  return total
}
