/** The key of the matrix products, and how their variants say what they can. */

import { capabilities } from '../kernel.ts'
import type { FusedActivation } from '../wgsl/activation.ts'

export interface MatmulKey {
  readonly batch: number
  readonly m: number
  readonly n: number
  readonly k: number
  /** The left operand is stored [k, m]. */
  readonly transposeA: boolean
  /** The right operand is stored [n, k]. */
  readonly transposeB: boolean
  /** False where one operand serves every batch. */
  readonly batchedA: boolean
  readonly batchedB: boolean
  /** A third input [n] is added. */
  readonly bias: boolean
  readonly activation: FusedActivation
  /** A third input of the result's shape: where it is not positive the result is 0. Not together with a bias. */
  readonly mask?: boolean
  /** A second output [n]: the sums of the right operand's columns. See `canSumColumns`. */
  readonly columnSums?: boolean
}

type MatmulFeature = Exclude<keyof MatmulKey, 'batch' | 'm' | 'n' | 'k'>

/** See `capabilities`. */
export const matmulSupports = /* @__PURE__ */ capabilities<MatmulKey, MatmulFeature>({
  ...{ transposeA: false, transposeB: false, batchedA: false, batchedB: false },
  ...{ bias: false, activation: 'linear', mask: false, columnSums: false },
})
