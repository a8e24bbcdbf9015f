/**
 * One training from its first to its last step, through pauses, changes of the learning rate and lost devices.
 *
 * Promises: however often it is stopped, the numbers are those of an uninterrupted training. A lost device costs at most
 * the unfinished epoch, which is then repeated.
 */
import { type data, nn, WeftgradError } from 'weftgrad'
import { refusalOf } from '../refusals.ts'
import type { Listener, PauseReason, TrainingSettings, TrainingState } from '../session.ts'

/** The model and the data, on one device. */
export interface TrainingParts {
  readonly model: nn.Model
  readonly train: data.Dataset
  readonly validation: data.Dataset
}

export type TrainingListener = Pick<Listener, 'state' | 'progress' | 'epoch' | 'failed'> & {
  /** Some steps are done. */
  moved(): void
}

/** Why it stops: to pause or to end. Without a reason it continues at once, with another rate. */
type Stop = { readonly kind: 'pause'; readonly reason: PauseReason } | { readonly kind: 'end' }

/** Small data sets report progress more often than the page needs. */
const progressEveryMs = 190

/** @throws WeftgradError 'argument' for invalid settings. */
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

  /** Where it resumes: the last stop, or the end of an epoch. */
  get checkpoint(): nn.TrainingCheckpoint | undefined {
    return this.#checkpoint
  }

  /**
   * Starts with the model's weights, or resumes from the checkpoint if there is one. Resolves when it has stopped, for
   * whatever reason, and never rejects.
   */
  run(parts: TrainingParts): Promise<void> {
    this.#running ??= this.#untilStopped(parts).finally(() => {
      this.#running = undefined
    })
    return this.#running
  }

  /** Resolves when the training is not running. */
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

  /** The epoch's rates are already on the device, so the remaining steps are restarted with the new rate. */
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

  /** Trains to the end. Returns false if interrupted only to change the rate; throws if it has to stop. */
  async #isFinished(model: nn.Model, train: data.Dataset, evaluator: nn.Evaluator): Promise<boolean> {
    const { epochs, batchSize, seed } = this.#settings
    this.#interrupt = new AbortController()
    // A request that came before anything could be interrupted.
    if (this.#stop !== undefined) this.#interrupt.abort()
    // The name stays the same, because a checkpoint resumes only with its own optimizer.
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
    // Continuing with another rate is not reported.
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

  /** Validates here and not in `fit`, to get the confusion matrix. */
  async #endEpoch(
    { epoch, loss, accuracy = Number.NaN, learningRate, seconds }: nn.EpochLogs,
    evaluator: nn.Evaluator,
  ) {
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
