/**
 * One training, from its first step to its end, with all stops between: pauses, changes of the rate, a device that is lost.
 *
 * Promises: however often it is stopped, the numbers are those of a training that never was; what a lost device takes away
 * is at most the unfinished epoch, which is then done again.
 */
import { type data, nn, WeftgradError } from 'weftgrad'
import { refusalOf } from '../refusals.ts'
import type { Listener, PauseReason, TrainingSettings, TrainingState } from '../session.ts'

/** What is trained, on one device. */
export interface TrainingParts {
  readonly model: nn.Model
  readonly train: data.Dataset
  readonly validation: data.Dataset
}

export type TrainingListener = Pick<Listener, 'state' | 'progress' | 'epoch' | 'failed'> & {
  /** Some steps have been done. */
  moved(): void
}

/** Why it stops: it pauses, it ends; without a reason it goes on at once, with another rate. */
type Stop = { readonly kind: 'pause'; readonly reason: PauseReason } | { readonly kind: 'end' }

/** Epochs of a small sample pass faster than a page needs to hear of them. */
const progressEveryMs = 190

/** Throws WeftgradError 'argument' for settings that make no training. */
export function checkSettings({ epochs, batchSize, seed, learningRate }: TrainingSettings): void {
  for (const [name, value, least] of [
    ['epochs', epochs, 1],
    ['batchSize', batchSize, 1],
    ['seed', seed, 0],
  ] as const)
    if (!Number.isSafeInteger(value) || value < least)
      throw new WeftgradError('argument', `${name} must be a whole number from ${least}, not ${value}.`, { value })
  nn.constantRate(learningRate)
}

export class Training {
  readonly #settings: TrainingSettings
  readonly #listener: TrainingListener
  #state: TrainingState = { kind: 'compiling' }
  #learningRate: number
  #checkpoint: nn.TrainingCheckpoint | undefined
  #stop: Stop | undefined
  #interrupt = new AbortController()
  #running: Promise<void> | undefined
  #lastProgress = 0

  /** The settings must have passed `checkSettings`. */
  constructor(settings: TrainingSettings, listener: TrainingListener) {
    this.#settings = settings
    this.#listener = listener
    this.#learningRate = settings.learningRate
  }

  get state(): TrainingState {
    return this.#state
  }

  /** From where it goes on: the last stop, or the end of an epoch. */
  get checkpoint(): nn.TrainingCheckpoint | undefined {
    return this.#checkpoint
  }

  /**
   * Begins, or goes on from the checkpoint; a training without one begins with the model's weights. Resolves when it has
   * stopped, for whatever reason, and never rejects.
   */
  run(parts: TrainingParts): Promise<void> {
    this.#running ??= this.#untilStopped(parts).finally(() => {
      this.#running = undefined
    })
    return this.#running
  }

  /** Resolves when it does not run. */
  async settled(): Promise<void> {
    await this.#running
  }

  async pause(reason: PauseReason): Promise<void> {
    await this.#halt({ kind: 'pause', reason })
  }

  /** Stops for good. */
  async end(): Promise<void> {
    await this.#halt({ kind: 'end' })
  }

  async #halt(stop: Stop): Promise<void> {
    if (this.#running === undefined) return
    this.#stop = stop
    this.#interrupt.abort()
    await this.#running
  }

  /** An epoch's rates are on the device already: the steps that are left begin again with the new one. */
  setLearningRate(rate: number): void {
    this.#learningRate = rate
    this.#interrupt.abort()
  }

  async #untilStopped({ model, train, validation }: TrainingParts): Promise<void> {
    this.#stop = undefined
    this.#become({ kind: 'compiling' })
    let evaluator: nn.Evaluator | undefined
    let state: TrainingState = { kind: 'finished' }
    try {
      evaluator = await nn.Evaluator.create(model, validation)
      while (!(await this.#isFinished(model, train, evaluator))) {}
    } catch (error) {
      state = this.#stateAfter(error, train.device.usable)
    } finally {
      evaluator?.dispose()
    }
    this.#become(state)
  }

  /** Trains until the end. False where it was interrupted only to take another rate; throws where it has to stop. */
  async #isFinished(model: nn.Model, train: data.Dataset, evaluator: nn.Evaluator): Promise<boolean> {
    const { epochs, batchSize, seed } = this.#settings
    this.#interrupt = new AbortController()
    // A wish that came while nothing could be interrupted yet.
    if (this.#stop !== undefined) this.#interrupt.abort()
    // The name stays the same, because a checkpoint only goes on with the optimizer that it is of.
    const learningRate: nn.Schedule = { name: 'set by hand', rate: () => this.#learningRate }
    try {
      await nn.fit(model, train, {
        optimizer: nn.adam({ learningRate }),
        epochs,
        batchSize,
        seed,
        signal: this.#interrupt.signal,
        ...(this.#checkpoint === undefined ? {} : { resume: this.#checkpoint }),
        callbacks: {
          onFirstStep: () => this.#become({ kind: 'running' }),
          onProgress: (progress) => this.#report(progress),
          onEpochEnd: (logs) => this.#endEpoch(logs, evaluator),
          onCheckpoint: (checkpoint) => {
            this.#checkpoint = checkpoint
          },
        },
      })
      return true
    } catch (error) {
      if (error instanceof WeftgradError && error.code === 'aborted' && this.#stop === undefined) return false
      throw error
    }
  }

  #stateAfter(error: unknown, isDeviceUsable: boolean): TrainingState {
    if (this.#stop?.kind === 'end') return { kind: 'none' }
    if (!isDeviceUsable) return { kind: 'paused', reason: 'device-lost' }
    if (this.#stop?.kind === 'pause' && error instanceof WeftgradError && error.code === 'aborted')
      return { kind: 'paused', reason: this.#stop.reason }
    this.#listener.failed(refusalOf(error))
    return this.#checkpoint === undefined ? { kind: 'none' } : { kind: 'paused', reason: 'user' }
  }

  #become(state: TrainingState): void {
    // Going on with another rate is no news.
    const isNews = state.kind !== 'running' || this.#state.kind !== 'running'
    this.#state = state
    if (isNews) this.#listener.state(state)
  }

  #report(progress: nn.Progress): void {
    this.#listener.moved()
    const now = performance.now()
    const isLast = progress.step === progress.steps && progress.epoch === progress.epochs
    if (now - this.#lastProgress < progressEveryMs && !isLast) return
    this.#lastProgress = now
    this.#listener.progress({ ...progress, globalStep: (progress.epoch - 1) * progress.steps + progress.step })
  }

  /** Validates here rather than in `fit`, for the confusion matrix. */
  async #endEpoch({ epoch, loss, accuracy, learningRate, seconds }: nn.EpochLogs, evaluator: nn.Evaluator) {
    const began = performance.now()
    const validation = await evaluator.run()
    this.#listener.epoch({
      ...{ epoch, loss, accuracy, learningRate },
      validationLoss: validation.loss,
      validationAccuracy: validation.accuracy,
      seconds: seconds + (performance.now() - began) / 1000,
      confusion: validation.confusion,
    })
  }
}
