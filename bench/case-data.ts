/** The numbers of a benchmarked kernel: its inputs, its expected results, and the same work in TensorFlow.js. */

import type { Tolerance } from '../test/support/compare.ts'
import type { TensorFlow } from '../test/support/tfjs.ts'
import type { PytorchWork } from './pytorch.ts'
import type { TimedTensorFlow } from './tensorflow.ts'

export type HostNumbers = Float32Array<ArrayBuffer> | Uint32Array<ArrayBuffer> | Uint8Array<ArrayBuffer>

export interface ExpectedOutput {
  readonly dtype: 'f32' | 'u32'
  readonly length: number
  /** The initial contents of an output that is updated in place. It is then verified after a single run. */
  readonly initial?: HostNumbers
  /**
   * The result at a position, by definition, in float64. If missing, a variant is only compared with the plain one.
   * This is so for the codes of pooling, which are defined by the gradient that reads them.
   */
  readonly expected?: (place: number) => number
}

export interface CaseData {
  readonly inputs: readonly HostNumbers[]
  readonly outputs: readonly ExpectedOutput[]
  readonly tolerance: Tolerance
  /** The least bytes that must be moved, if not every input and output once. */
  readonly traffic?: number
  /** The same work on the same numbers. Its result is compared with the first output. */
  readonly tensorflow: (tf: TensorFlow) => TimedTensorFlow
  readonly pytorch?: PytorchWork
}
