/** The key of the matrix products, and what their variants support. */

import { capabilities } from '../kernel.ts'
import type { FusedActivation } from '../wgsl/activation.ts'

export interface MatmulKey {
  readonly batch: number
  readonly m: number
  readonly n: number
  readonly k: number
  /** Whether the left operand is stored as [k, m]. */
  readonly transposeA: boolean
  /** Whether the right operand is stored as [n, k]. */
  readonly transposeB: boolean
  /** False if all batches share one operand. */
  readonly batchedA: boolean
  readonly batchedB: boolean
  /** Whether to add a third input [n]. */
  readonly bias: boolean
  readonly activation: FusedActivation
  /**
   * Whether a third input of the result's shape masks the result: it is 0 where the mask is not positive. Not together
   * with a bias.
   */
  readonly mask?: boolean
  /** Whether a second output [n] holds the sums of the right operand's columns. See `canSumColumns`. */
  readonly columnSums?: boolean
  /** Whether the right operand is stored as f16. Sums are f32. */
  readonly halfB?: boolean | undefined
}

type MatmulFeature = Exclude<keyof MatmulKey, 'batch' | 'm' | 'n' | 'k'>

/** See `capabilities`. */
export const matmulSupports = /* @__PURE__ */ capabilities<MatmulKey, MatmulFeature>({
  ...{ transposeA: false, transposeB: false, batchedA: false, batchedB: false },
  ...{ bias: false, activation: 'linear', mask: false, columnSums: false, halfB: false },
})
