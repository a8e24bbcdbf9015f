/** The report of `pytorch.py`: the same work as in a check's report, by PyTorch on the same machine. */

/** Milliseconds of one repeat, by mode. */
export type PytorchTimes = Readonly<Record<string, number>>

export interface PytorchReport {
  readonly what: 'weftgrad check, PyTorch'
  readonly device: string
  readonly torch: string
  /** By batch size: `eager`, `compiled`, `graph` (CUDA graphs). */
  readonly lenet: Readonly<Record<string, PytorchTimes>>
  /** By size: `fp32`, `tf32`. */
  readonly matmul: Readonly<Record<string, PytorchTimes>>
  /** By the name of the convolution: `fp32`, `tf32`. */
  readonly convolutions: Readonly<Record<string, PytorchTimes>>
  /** What was not measured, and why. */
  readonly left: readonly string[]
}
