/**
 * Training. The host shuffles, uploads an epoch's table of rates, submits dozens of steps at a time, and reads the
 * record at the epoch's end; everything else happens on the device. Runs are reproducible bit for bit, even across a
 * stop and a resumption: an epoch depends only on the seed, its number and the weights.
 */

import { evaluate as evaluateTensors } from '../autograd/tensors.ts'
import type { Dataset } from '../data/contract.ts'
import { WeftgradError } from '../errors.ts'
import type { Device } from '../gpu/device.ts'
import type { Choice } from '../graph/plan/choice.ts'
import { tableOf } from '../graph/plan/choice.ts'
import type { Program } from '../graph/run/program.ts'
import { stepRecordColumns } from '../kernels/training/state.ts'
import { Random } from '../random.ts'
import type { Batches } from './batch-order.ts'
import { cutIntoBatches, writeOrder } from './batch-order.ts'
import { bestEpochOf } from './best-epoch.ts'
import type { EpochLogs, FitOptions, History, TrainingCheckpoint, TrainingSettings } from './contract.ts'
import { Evaluator, summarizeRecord } from './evaluate.ts'
import { checkCheckpoint, checkedData, settingsOf } from './fit-options.ts'
import { ProgressReporter } from './fit-progress.ts'
import { median } from './metrics.ts'
import type { Model } from './model.ts'
import type { WeightNumbers } from './model-weights.ts'
import { optimizerTable } from './optimizers.ts'
import type { StepChances, StepRecords } from './training-step.ts'
import { createTrainingStep, TrainingMemory, traceStep } from './training-step.ts'

/** The target length of a submission: long enough to hide its cost, short enough to stop soon. */
const submissionMs = 100
const mostStepsPerSubmission = 64

/**
 * Trains the model on the data set with softmax cross-entropy. The model may end in logits or in a softmax; the loss
 * uses the logits of either: see {@link Model.logits}.
 *
 * A step never touches the host: images, their order, rates, optimizer state and metrics are on the device, and the
 * host submits the same list of dispatches again. The same seed, adapter and variants give the same weights, bit for
 * bit.
 * @throws WeftgradError 'argument' and 'shape' for options and data that do not fit, before anything is changed;
 * 'mismatch' if `resume` belongs to another run; 'aborted' when the signal fires, after handing out a checkpoint;
 * 'not-finite' naming the step, the loss and the first tensor that went bad, with the weights from before that step;
 * 'device-lost'.
 */
export async function fit(model: Model, train: Dataset, options: FitOptions): Promise<History> {
  const run = await TrainingRun.create(model, train, options)
  try {
    return await run.train()
  } finally {
    run.dispose()
  }
}

/** The batches of one size, and the step that trains on them. */
interface Part extends Batches {
  readonly program: Program
}

class TrainingRun {
  readonly #model: Model
  readonly #device: Device
  readonly #train: Dataset
  readonly #options: FitOptions
  readonly #chances: StepChances
  readonly #steps: number
  readonly #memory: TrainingMemory
  readonly #parts: readonly Part[]
  readonly #evaluator: Evaluator | undefined
  readonly #settings: TrainingSettings
  readonly #progress: ProgressReporter
  readonly #started: number
  readonly #history: EpochLogs[] = []
  readonly #stepTimes: number[] = []
  #globalStep = 0
  #best: { epoch: number; weights: WeightNumbers } | undefined
  #firstStepSeconds = Number.NaN
  #stepsPerSubmission = 1

  private constructor(
    model: Model,
    train: Dataset,
    options: FitOptions,
    made: {
      settings: TrainingSettings
      chances: StepChances
      memory: TrainingMemory
      parts: readonly Part[]
      evaluator: Evaluator | undefined
      started: number
    },
  ) {
    this.#model = model
    this.#device = train.device
    this.#train = train
    this.#options = options
    this.#memory = made.memory
    this.#parts = made.parts
    this.#evaluator = made.evaluator
    this.#started = made.started
    this.#steps = made.parts.reduce((sum, part) => sum + part.steps, 0)
    this.#settings = made.settings
    this.#chances = made.chances
    this.#progress = new ProgressReporter(
      { epochs: options.epochs, steps: this.#steps, batch: Math.min(options.batchSize, train.count) },
      options.callbacks?.onProgress,
      async (steps) => {
        const bytes = await this.#device.read({ ...made.memory.record, bytes: steps * stepRecordColumns * 4 })
        return summarizeRecord(new Float32Array(bytes), steps)
      },
    )
  }

  static async create(model: Model, whole: Dataset, options: FitOptions): Promise<TrainingRun> {
    const started = performance.now()
    const data = checkedData(model, whole, options)
    const { train, validation } = data
    const { device } = train
    model.to(device)
    const owned: { dispose(): void }[] = []
    const own = <T extends { dispose(): void }>(resource: T): T => {
      owned.push(resource)
      return resource
    }
    try {
      const { variants = {}, optimizer, batchSize } = options
      const batches = cutIntoBatches(device, train.count, batchSize, own)
      const steps = batches.reduce((sum, one) => sum + one.steps, 0)
      const memory = own(new TrainingMemory(device, model, optimizer, steps))
      const settings = settingsOf(model, data, options)
      const chances: StepChances = { seed: settings.seed, augmentation: options.augmentation }
      const makingParts = batches.map(async ({ order, steps }): Promise<Part> => {
        const program = own(await createTrainingStep(model, train, order, memory, optimizer, variants, chances))
        return { program, order, steps }
      })
      const makingEvaluator =
        validation === undefined ? undefined : Evaluator.create(model, validation, { variants }).then(own)
      // Waits for all of them, even if one fails, so that what the others allocated is released.
      await Promise.allSettled([makingEvaluator, ...makingParts])
      const [evaluator, ...parts] = await Promise.all([makingEvaluator, ...makingParts])
      const run = new TrainingRun(model, train, options, { settings, chances, memory, parts, evaluator, started })
      if (options.resume !== undefined) run.#restore(options.resume)
      return run
    } catch (error) {
      for (const resource of owned) resource.dispose()
      throw error
    }
  }

  dispose(): void {
    for (const { program, order } of this.#parts) {
      program.dispose()
      order.buffer.dispose()
    }
    this.#evaluator?.dispose()
    this.#memory.dispose()
  }

  #restore(checkpoint: TrainingCheckpoint): void {
    const { moments, record } = this.#memory
    checkCheckpoint(checkpoint, {
      settings: this.#settings,
      steps: this.#steps,
      momentSizes: moments.map((buffer) => buffer.bytes / 4),
    })
    if (checkpoint.best !== undefined) this.#model.checkWeights(checkpoint.best.weights)
    this.#model.setWeights(checkpoint.weights)
    moments.forEach((buffer, i) => {
      const moment = checkpoint.moments[i]
      if (moment !== undefined) this.#device.write(buffer.slice(), Float32Array.from(moment))
    })
    if (checkpoint.record.length > 0) this.#device.write(record, Float32Array.from(checkpoint.record))
    this.#globalStep = checkpoint.globalStep
    this.#history.push(...checkpoint.history)
    this.#best = checkpoint.best
  }

  async train(): Promise<History> {
    const { epochs, callbacks, resume } = this.#options
    const { trainCount, validationCount } = this.#settings
    callbacks?.onBegin?.({
      device: this.#device,
      parameters: this.#model.parameterCount,
      trainCount,
      validationCount,
      stepsPerEpoch: this.#steps,
      ...this.#stepFacts(),
      variants: tableOf([...this.#parts.flatMap((part) => part.program.choices), ...(this.#evaluator?.choices ?? [])]),
    })
    let { epoch, step } = resume ?? { epoch: 0, step: 0 }
    for (; epoch < epochs && !this.#isStalled(); epoch++) {
      await this.#stopIfAsked(epoch, step)
      await this.#trainEpoch(epoch, step)
      step = 0
    }
    if (this.#restoresBest && this.#best !== undefined) this.#model.setWeights(this.#best.weights)
    return {
      epochs: this.#history,
      bestEpoch: bestEpochOf(this.#history),
      firstStepSeconds: this.#firstStepSeconds,
      millisecondsPerStep: median(this.#stepTimes),
      ...this.#stepFacts(),
    }
  }

  /** Facts about the step on whole batches. */
  #stepFacts(): { readonly dispatchesPerStep: number; readonly choices: readonly Choice[] } {
    const [first] = this.#parts
    if (first === undefined) throw new RangeError('a training without steps')
    const { commands, choices } = first.program
    return { dispatchesPerStep: commands.length, choices }
  }

  get #restoresBest(): boolean {
    return this.#options.restoreBest ?? this.#options.earlyStopping !== undefined
  }

  /** Depends only on the history, so that a resumed run stops where the uninterrupted one does. */
  #isStalled(): boolean {
    const { earlyStopping } = this.#options
    return earlyStopping !== undefined && this.#history.length - bestEpochOf(this.#history) >= earlyStopping.patience
  }

  async #trainEpoch(epoch: number, firstStep: number): Promise<void> {
    const device = this.#device
    const began = performance.now()
    const random = new Random(this.#settings.seed, `epoch ${epoch}`)
    writeOrder(this.#parts, random.shuffle(Uint32Array.from(this.#train.indices)))
    const totalSteps = this.#options.epochs * this.#steps
    const { optimizer } = this.#options
    device.write(this.#memory.table.slice(), optimizerTable(optimizer, epoch * this.#steps, this.#steps, totalSteps))
    device.write(this.#memory.state.slice(), new Uint32Array([firstStep, 0, this.#globalStep, 0]))

    let step = firstStep
    let partEnd = 0
    this.#progress.beginEpoch(began, step)
    for (const { program, steps } of this.#parts) {
      partEnd += steps
      while (step < partEnd) {
        const repeats = Math.min(this.#stepsPerSubmission, partEnd - step)
        const underWay = await this.#submit(program, repeats)
        step += repeats
        this.#globalStep += repeats
        // At the epoch's end nothing more is submitted, so the last report counts all steps.
        this.#progress.report(epoch, step < this.#steps ? step - underWay : step)
        if (step < this.#steps) await this.#stopIfAsked(epoch, step)
      }
    }
    await this.#progress.settled()
    const { loss, accuracy } = summarizeRecord(await this.#readRecord(epoch), this.#steps)
    this.#stepTimes.push((performance.now() - began) / Math.max(1, step - firstStep))

    const validation = await this.#evaluator?.run()
    const logs: EpochLogs = {
      epoch: epoch + 1,
      loss,
      accuracy,
      ...(validation === undefined ? {} : { validationLoss: validation.loss, validationAccuracy: validation.accuracy }),
      learningRate: optimizer.schedule.rate(epoch * this.#steps, totalSteps),
      seconds: (performance.now() - began) / 1000,
    }
    this.#history.push(logs)
    const { callbacks } = this.#options
    const isBest = bestEpochOf(this.#history) === logs.epoch
    if (isBest && (this.#restoresBest || callbacks?.onCheckpoint !== undefined))
      this.#best = { epoch: epoch + 1, weights: await this.#model.weightNumbers() }
    await callbacks?.onEpochEnd?.(logs)
    if (callbacks?.onCheckpoint !== undefined) await callbacks.onCheckpoint(await this.#checkpoint(epoch + 1, 0))
  }

  /** Submits steps, adapts the number per submission, and returns the number of steps that are still running. */
  async #submit(program: Program, repeats: number): Promise<number> {
    const began = performance.now()
    await program.run(repeats)
    if (Number.isNaN(this.#firstStepSeconds)) {
      await this.#device.idle()
      this.#firstStepSeconds = (performance.now() - this.#started) / 1000
      this.#options.callbacks?.onFirstStep?.(this.#firstStepSeconds)
      return 0
    }
    const elapsed = performance.now() - began
    const grows = elapsed < submissionMs && repeats === this.#stepsPerSubmission
    if (grows) this.#stepsPerSubmission = Math.min(mostStepsPerSubmission, this.#stepsPerSubmission * 2)
    else if (elapsed > 3 * submissionMs)
      this.#stepsPerSubmission = Math.max(1, Math.floor(this.#stepsPerSubmission / 2))
    return repeats
  }

  /** Waits for the epoch and returns its record. Throws 'not-finite' if a step went bad. */
  async #readRecord(epoch: number): Promise<Float32Array> {
    const records = await this.#memory.read()
    if (!records.isFinite) await this.#explainNotFinite(epoch, records)
    return records.record
  }

  /** Repeats the bad step with the weights from before it, and names the first tensor that is not finite. */
  async #explainNotFinite(epoch: number, { record, ...counters }: StepRecords): Promise<never> {
    // The counters stay one past the bad step.
    const [step, globalStep] = [counters.stepInEpoch - 1, counters.globalStep - 1]
    const loss = record[step * stepRecordColumns] ?? Number.NaN
    let before = 0
    const part = this.#parts.find((candidate) => {
      before += candidate.steps
      return step < before
    })
    let culprit = 'unknown'
    if (part !== undefined) {
      this.#device.write(this.#memory.state.slice(), new Uint32Array([step, 0, globalStep, 0]))
      const traced = traceStep(this.#model, this.#train, part.order, this.#memory, this.#chances)
      const suspects = [
        ...this.#model.weights.map(({ name, tensor }) => ({ name: `the weight ${name}`, tensor })),
        ...traced.layerOutputs.map(({ layer, output }) => ({ name: `the output of ${layer.name}`, tensor: output })),
        { name: 'the loss', tensor: traced.loss },
        ...traced.gradients.map((tensor, i) => ({
          name: `the gradient of ${this.#model.trainableWeights[i]?.name}`,
          tensor,
        })),
      ]
      const numbers = await evaluateTensors(suspects.map((suspect) => suspect.tensor))
      culprit = suspects.find((_, i) => numbers[i]?.some((x) => !Number.isFinite(x)))?.name ?? culprit
    }
    throw new WeftgradError(
      'not-finite',
      `Training stopped in epoch ${epoch + 1} at step ${step + 1}: ${culprit} is not finite (loss ${loss}). The weights are those from before that step. Try a lower learning rate.`,
      { epoch: epoch + 1, step: step + 1, loss, tensor: culprit },
    )
  }

  async #stopIfAsked(epoch: number, step: number): Promise<void> {
    const { signal, callbacks } = this.#options
    if (signal?.aborted !== true) return
    await this.#progress.settled()
    // A resumed run would skip a bad step: report it first.
    if (step > 0) await this.#readRecord(epoch)
    await callbacks?.onCheckpoint?.(await this.#checkpoint(epoch, step))
    throw new WeftgradError('aborted', `Training was stopped after ${epoch} epochs and ${step} steps.`, { epoch, step })
  }

  async #checkpoint(epoch: number, step: number): Promise<TrainingCheckpoint> {
    const weights = await this.#model.weightNumbers()
    const [record, ...moments] = await this.#device.readAll([
      { ...this.#memory.record, bytes: step * stepRecordColumns * 4 },
      ...this.#memory.moments.map((buffer) => buffer.slice()),
    ])
    return {
      epoch,
      step,
      globalStep: this.#globalStep,
      weights,
      moments: moments.map((bytes) => new Float32Array(bytes)),
      record: new Float32Array(record),
      history: [...this.#history],
      ...(this.#best === undefined ? {} : { best: this.#best }),
      settings: this.#settings,
    }
  }
}
