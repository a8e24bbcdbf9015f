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
import { lanesPerSum, plainWorkgroupSize, splitWorkgroups } from './occupancy.ts'
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
  const vectors = sum.count / width
  const { splits, count } = sum
  const share = partialsShare(
    { type, splits: sum.splits, partial: 'partial', vectors: 'u.vectors', count: 'u.splits' },
    target,
  )
  const text = dispatch({
    label: `${sum.label}/sumPartials`,
    bindings: [
      reads('partial', scratch(0), type),
      writes('result', output(0), type),
      ...(sum.bias === undefined ? [] : [reads('bias', sum.bias.operand, type)]),
    ],
    uniforms: { vectors, splits: sum.splits, biasVectors: (sum.bias?.columns ?? width) / width },
    workgroupSize: share.workgroupSize,
    workgroups: Math.ceil(vectors / share.vectorsPerGroup),
    declarations: share.declarations + activationFunction(sum.activation, type),
    body: share.body(
      'group',
      (index) =>
        `result[${index}] = activate(total${sum.bias === undefined ? '' : ` + bias[${index} % u.biasVectors]`});`,
    ),
  })
  const made = { ...text, flops: splits * count }
  if (sum.bias !== undefined || sum.activation !== 'linear') return made
  return { ...made, splitSum: { splits, count, targets: [{ output: 0, from: 0, count }] } }
}

export interface Partials {
  readonly type: FloatType
  readonly splits: number
  /** WGSL expressions: the buffer, the vectors in each partial result, and the number of partial results. */
  readonly partial: string
  readonly vectors: string
  readonly count: string
}

/** How the lanes of a workgroup add up partial results. */
export interface PartialsShare {
  readonly workgroupSize: number
  /** The number of vectors that a workgroup adds up. */
  readonly vectorsPerGroup: number
  readonly declarations: string
  /**
   * Statements for a workgroup, in uniform control flow. `group` is a WGSL expression, its number; `store` writes the
   * statements that use the sum `total` of the vector at an index. They run in one lane per vector.
   */
  body(group: string, store: (index: string) => string): string
}

/**
 * Shares the sums among the lanes of a workgroup: a lane for each vector, or several, whose sums a tree adds. Of these,
 * neighbouring lanes take neighbouring vectors.
 */
export function partialsShare({ type, splits, partial, vectors, count }: Partials, target: Target): PartialsShare {
  const workgroupSize = plainWorkgroupSize(target)
  const lanes = lanesPerSum(splits, target)
  const vectorsPerGroup = workgroupSize / lanes
  const sum = longSum(type, ['total'], { terms: Math.ceil(splits / lanes) })
  const term = `    total += ${partial}[split * ${vectors} + i];`
  if (lanes === 1)
    return {
      ...{ workgroupSize, vectorsPerGroup, declarations: '' },
      body: (group, store) => `
  let i = ${group} * ${workgroupSize}u + lane;
  if (i < ${vectors}) {
${sum.whole(['split', '0u', count], term)}
    ${store('i')}
  }`,
    }
  const half = workgroupSize / 2
  return {
    ...{ workgroupSize, vectorsPerGroup },
    declarations: `var<workgroup> ${partial}Shared: array<${type}, ${half}>;\n`,
    body: (group, store) => `
  let wanted = ${group} * ${vectorsPerGroup}u + lane % ${vectorsPerGroup}u;
  let i = min(wanted, ${vectors} - 1u);
${sum.whole(['split', `lane / ${vectorsPerGroup}u`, count, lanes], term)}
  for (var half = ${half}u; half >= ${vectorsPerGroup}u; half /= 2u) {
    if (lane >= half && lane < 2u * half) { ${partial}Shared[lane - half] = total; }
    workgroupBarrier();
    if (lane < half) { total += ${partial}Shared[lane]; }
    workgroupBarrier();
  }
  if (lane < ${vectorsPerGroup}u && wanted < ${vectors}) {
    ${store('i')}
  }`,
  }
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
