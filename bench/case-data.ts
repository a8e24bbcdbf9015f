/** The numbers of a benchmarked kernel: what it reads, what it must write, and the same work in TensorFlow.js. */

import type { Tolerance } from '../test/support/compare.ts'
import type { TensorFlow } from '../test/support/tfjs.ts'
import type { TimedTensorFlow } from './tensorflow.ts'

export type HostNumbers = Float32Array<ArrayBuffer> | Uint32Array<ArrayBuffer> | Uint8Array<ArrayBuffer>

export interface ExpectedOutput {
  readonly dtype: 'f32' | 'u32'
  readonly length: number
  /** What an output that is updated in place starts from. It is then verified after a single run. */
  readonly initial?: HostNumbers
  /**
   * The result at a place, by definition, in float64. Without it a variant is compared with the plain one only: the codes of
   * pooling, whose definition is that of the gradient that reads them.
   */
  readonly expected?: (place: number) => number
}

export interface CaseData {
  readonly inputs: readonly HostNumbers[]
  readonly outputs: readonly ExpectedOutput[]
  readonly tolerance: Tolerance
  /** The least bytes that have to be moved, where that is not every input and output once. */
  readonly traffic?: number
  /** The same work on the same numbers. Its result is compared with the first output. */
  readonly tensorflow: (tf: TensorFlow) => TimedTensorFlow
}
