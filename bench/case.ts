/**
 * A kernel to be benchmarked: how it is planned, what it reads, and what it must have left behind when the timing is
 * over. The table of them is in cases.ts; whole training steps are in lenet.ts.
 */

import type { Family, KernelPlan, Target } from '../src/kernels/kernel.ts'
import { planKernel } from '../src/kernels/kernel.ts'
import type { Definition } from './reference.ts'
import type { TensorFlow, TensorFlowWork } from './tensorflow.ts'

/** What a case is measured against: the adapter's GFLOP/s or its GB/s. */
export type Bound = 'arithmetic' | 'memory'

export type HostNumbers = Float32Array<ArrayBuffer> | Uint32Array<ArrayBuffer> | Uint8Array<ArrayBuffer>

/** |actual - expected| <= atol + rtol * |expected| */
export interface Tolerance {
  readonly rtol: number
  readonly atol: number
}

export interface ExpectedOutput {
  readonly dtype: 'f32' | 'u32'
  readonly length: number
  /** What an output that is updated in place starts from; it is then verified after a single run. */
  readonly initial?: Float32Array<ArrayBuffer>
  /** The result by definition, in float64. */
  readonly expected: Definition
}

/** The numbers of a case: made when it runs, from a seed of its own. */
export interface CaseData {
  readonly inputs: readonly HostNumbers[]
  readonly outputs: readonly ExpectedOutput[]
  readonly tolerance: Tolerance
  /** Bytes that have to be moved at least, where that is not all inputs and outputs once. */
  readonly traffic?: number
  /** The same work on the same numbers; its result is compared with the first output. */
  readonly tensorflow: (tf: TensorFlow) => TensorFlowWork
}

export interface KernelCase {
  readonly name: string
  readonly bound: Bound
  /** Names of the variants that can do it, the plain one first. */
  variants(target: Target): readonly string[]
  preferred(target: Target): string
  plan(target: Target, variant: string): KernelPlan
  data(): CaseData
}

export function kernelCase<Key>(
  name: string,
  bound: Bound,
  family: Family<Key>,
  key: Key,
  data: (key: Key) => CaseData,
): KernelCase {
  return {
    name,
    bound,
    variants: (target) => family.variants.filter((variant) => variant.supports(key, target)).map(({ name }) => name),
    preferred: (target) => family.variants[family.prefer(key, target)]?.name ?? '',
    plan: (target, variant) => planKernel(family, key, target, variant),
    data: () => data(key),
  }
}

/** Bytes that have to be moved at least: every input read once, every output written once, and read if it is updated. */
export function leastTraffic(data: CaseData): number {
  if (data.traffic !== undefined) return data.traffic
  const read = data.inputs.reduce((sum, numbers) => sum + numbers.byteLength, 0)
  const written = data.outputs.reduce((sum, { length, initial }) => sum + length * 4 * (initial ? 2 : 1), 0)
  return read + written
}
