/**
 * The second pass of kernels that split a long sum over workgroups: adds the partial results in order, then applies
 * bias and activation. Partial results are one after the other in scratch 0.
 */

import type { Dispatch, Operand, Target } from '../kernel.ts'
import { dispatch, output, reads, scratch, writes } from '../kernel.ts'
import type { FusedActivation } from '../wgsl/activation.ts'
import { activationFunction } from '../wgsl/activation.ts'
import type { FloatType } from '../wgsl/functions.ts'
import { longSum } from '../wgsl/long-sum.ts'
import { plainWorkgroupSize, splitWorkgroups } from './occupancy.ts'
import { vectorType, widestVector } from './subgroup-tile.ts'

/** The work of {@link sumPartials}: the partial results, and bias and activation of the sum. */
export interface SumPass {
  readonly label: string
  readonly count: number
  readonly splits: number
  /** The bias of `columns` numbers, repeated along the result. */
  readonly bias?: { readonly operand: Operand; readonly columns: number } | undefined
  readonly activation: FusedActivation
}

/** Sums `splits` partial results of `count` numbers into output 0. */
export function sumPartials(sum: SumPass, target: Target): Dispatch {
  const width = widestVector(sum.count, sum.bias?.columns ?? sum.count)
  const type = vectorType(width)
  const workgroupSize = plainWorkgroupSize(target)
  const vectors = sum.count / width
  const { splits, count } = sum
  const text = dispatch({
    label: `${sum.label}/sumPartials`,
    bindings: [
      reads('partial', scratch(0), type),
      writes('result', output(0), type),
      ...(sum.bias === undefined ? [] : [reads('bias', sum.bias.operand, type)]),
    ],
    uniforms: { vectors, splits: sum.splits, biasVectors: (sum.bias?.columns ?? width) / width },
    workgroupSize,
    workgroups: Math.ceil(vectors / workgroupSize),
    declarations: activationFunction(sum.activation, type),
    body: `
  if (index >= u.vectors) { return; }
${partialsText({ type, splits: sum.splits, partial: 'partial', vectors: 'u.vectors', count: 'u.splits', index: 'index' })}
  result[index] = activate(total${sum.bias === undefined ? '' : ' + bias[index % u.biasVectors]'});`,
  })
  const made = { ...text, flops: splits * count }
  if (sum.bias !== undefined || sum.activation !== 'linear') return made
  return { ...made, splitSum: { splits, count, targets: [{ output: 0, from: 0, count }] } }
}

export interface Partials {
  readonly type: FloatType
  readonly splits: number
  /**
   * WGSL expressions: the buffer, the vectors in each partial result, the number of partial results, and the index of
   * the needed vector.
   */
  readonly partial: string
  readonly vectors: string
  readonly count: string
  readonly index: string
}

/** Statements that leave the sum of the partial results in a new variable `total`. */
export function partialsText({ type, splits, partial, vectors, count, index }: Partials): string {
  const sum = longSum(type, ['total'], { terms: splits })
  return `${sum.whole(['split', '0u', count], `    total += ${partial}[split * ${vectors} + ${index}];`)}`
}

/**
 * The number of parts to split a sum into: enough that `tiles * splits` is about the number of workgroups wanted, while
 * each part still has `least` terms to add.
 */
export function splitCount(
  tiles: number,
  terms: number,
  least: number,
  target: Target,
  wanted = splitWorkgroups(target),
): number {
  return Math.max(1, Math.min(Math.ceil(wanted / tiles), Math.floor(terms / least)))
}
