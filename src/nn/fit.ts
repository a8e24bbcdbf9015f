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
import { Random } from '../random.ts'
import { median } from '../statistics.ts'
import type { Batches } from './batch-order.ts'
import { cutIntoBatches, writeOrder } from './batch-order.ts'
import { bestEpochOf } from './best-epoch.ts'
import type {
  Callbacks,
  Decision,
  EpochLogs,
  FitOptions,
  History,
  Monitor,
  TrainingCheckpoint,
  TrainingFacts,
  TrainingSettings,
} from './contract.ts'
import { DataPass } from './data-pass.ts'
import { scoring } from './evaluate.ts'
import { callbacksOf, checkCheckpoint, checkedData, monitorOf, settingsOf, validationName } from './fit-options.ts'
import { ProgressReporter } from './fit-progress.ts'
import type { Model } from './model.ts'
import type { WeightNumbers } from './model-weights.ts'
import { objectiveOf, RecordReader } from './objective.ts'
import type { StepRecords, StepSettings } from './training-step.ts'
import { createTrainingStep, TrainingMemory, traceStep } from './training-step.ts'

/** The target length of a submission: long enough to hide its cost, short enough to stop soon. */
const submissionMs = 100
const mostStepsPerSubmission = 64

/**
 * Trains the model on the data set, by default with softmax cross-entropy. For a cross-entropy the model may end in logits
 * or in its activation; the loss uses the logits of either: see {@link Model.logits}.
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
  readonly #callbacks: readonly Callbacks[]
  readonly #step: StepSettings
  readonly #reader: RecordReader
  readonly #monitor: Monitor | undefined
  readonly #steps: number
  readonly #memory: TrainingMemory
  readonly #parts: readonly Part[]
  readonly #validation: DataPass | undefined
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
      callbacks: readonly Callbacks[]
      step: StepSettings
      reader: RecordReader
      monitor: Monitor | undefined
      memory: TrainingMemory
      parts: readonly Part[]
      validation: DataPass | undefined
      started: number
    },
  ) {
    this.#model = model
    this.#device = train.device
    this.#train = train
    this.#options = options
    this.#memory = made.memory
    this.#parts = made.parts
    this.#validation = made.validation
    this.#started = made.started
    this.#steps = made.parts.reduce((sum, part) => sum + part.steps, 0)
    this.#settings = made.settings
    this.#callbacks = made.callbacks
    this.#step = made.step
    this.#reader = made.reader
    this.#monitor = made.monitor
    this.#progress = new ProgressReporter(
      { epochs: options.epochs, steps: this.#steps, batch: Math.min(options.batchSize, train.count) },
      made.callbacks,
      async (steps) => {
        const bytes = await this.#device.read({ ...made.memory.record, bytes: steps * made.reader.width * 4 })
        const { loss, accuracy } = made.reader.read(new Float32Array(bytes), steps)
        return accuracy === undefined ? { loss } : { loss, accuracy }
      },
    )
  }

  static async create(model: Model, whole: Dataset, options: FitOptions): Promise<TrainingRun> {
    const started = performance.now()
    const data = checkedData(model, whole, options)
    const { train, validation } = data
    const { device } = train
    const callbacks = callbacksOf(options)
    const objective = objectiveOf(options)
    const monitor = monitorOf(options, objective, validation !== undefined)
    const reader = new RecordReader(objective, model, train, options.augmentation)
    const judging =
      validation === undefined ? undefined : scoring(model, validation, objective, { variants: options.variants })
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
      const memory = own(TrainingMemory.of(model, optimizer, steps, reader.sizes(Math.min(batchSize, train.count))))
      const settings = settingsOf(model, data, options, objective, monitor)
      const step: StepSettings = { objective, chances: { seed: settings.seed, augmentation: options.augmentation } }
      const makingParts = batches.map(async ({ order, steps }): Promise<Part> => {
        const program = own(await createTrainingStep(model, train, order, memory, variants, step))
        return { program, order, steps }
      })
      const makingValidation = judging === undefined ? undefined : DataPass.create(judging).then(own)
      // Waits for all of them, even if one fails, so that what the others allocated is released.
      await Promise.allSettled([makingValidation, ...makingParts])
      const [passes, ...parts] = await Promise.all([makingValidation, ...makingParts])
      const made = { settings, callbacks, step, reader, monitor, memory, parts, validation: passes, started }
      const run = new TrainingRun(model, train, options, made)
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
    this.#validation?.dispose()
    this.#memory.dispose()
  }

  #restore(checkpoint: TrainingCheckpoint): void {
    const { moments, record } = this.#memory
    checkCheckpoint(checkpoint, {
      settings: this.#settings,
      steps: this.#steps,
      reader: this.#reader,
      memory: this.#memory,
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
    const { epochs, resume } = this.#options
    const { trainCount, validationCount } = this.#settings
    const facts: TrainingFacts = {
      device: this.#device,
      parameters: this.#model.parameterCount,
      trainCount,
      validationCount,
      stepsPerEpoch: this.#steps,
      ...this.#stepFacts(),
      variants: tableOf([...this.#parts.flatMap((part) => part.program.choices), ...(this.#validation?.choices ?? [])]),
    }
    for (const one of this.#callbacks) one.onBegin?.(facts)
    let { epoch, step } = resume ?? { epoch: 0, step: 0 }
    for (; epoch < epochs && !this.#isOver(); epoch++) {
      await this.#stopIfAsked(epoch, step)
      await this.#trainEpoch(epoch, step)
      step = 0
    }
    if (this.#restoresBest && this.#best !== undefined) this.#model.setWeights(this.#best.weights)
    else if (this.#globalStep > 0) this.#memory.useAverages(this.#model.trainableBuffer)
    return {
      epochs: this.#history,
      bestEpoch: bestEpochOf(this.#history, this.#monitor),
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
  #isOver(): boolean {
    const { earlyStopping } = this.#options
    const stalled = this.#history.length - bestEpochOf(this.#history, this.#monitor)
    return (
      (earlyStopping !== undefined && stalled >= earlyStopping.patience) || this.#decisions().some(({ stop }) => stop)
    )
  }

  #decisions(): Decision[] {
    if (this.#history.length === 0) return []
    return this.#callbacks.flatMap((one) => one.decide?.(this.#history) ?? [])
  }

  async #trainEpoch(epoch: number, firstStep: number): Promise<void> {
    const device = this.#device
    const began = performance.now()
    const random = new Random(this.#settings.seed, `epoch ${epoch}`)
    writeOrder(this.#parts, random.shuffle(Uint32Array.from(this.#train.indices)))
    const totalSteps = this.#options.epochs * this.#steps
    const rateScale = this.#decisions().reduce((product, { rateScale = 1 }) => product * rateScale, 1)
    this.#memory.writeTables(epoch * this.#steps, this.#steps, totalSteps, rateScale)
    device.write(this.#memory.state.slice(), new Uint32Array([firstStep, 0, this.#globalStep, 0]))

    let step = firstStep
    let partEnd = 0
    this.#progress.beginEpoch(began, step)
    const { source } = this.#train
    for (const { program, steps, order } of this.#parts) {
      partEnd += steps
      while (step < partEnd) {
        const most = Math.min(this.#stepsPerSubmission, source?.stepsAtOnce ?? mostStepsPerSubmission)
        const repeats = Math.min(most, partEnd - step)
        await source?.load({ epoch, first: step, count: repeats, batch: order.batch })
        const underWay = await this.#submit(program, repeats)
        step += repeats
        this.#globalStep += repeats
        // At the epoch's end nothing more is submitted, so the last report counts all steps.
        this.#progress.report(epoch, step < this.#steps ? step - underWay : step)
        if (step < this.#steps) await this.#stopIfAsked(epoch, step)
      }
    }
    await this.#progress.settled()
    const scores = this.#reader.read(await this.#readRecord(epoch), this.#steps)
    this.#stepTimes.push((performance.now() - began) / Math.max(1, step - firstStep))

    const validation = Object.entries((await this.#validation?.run()) ?? {})
    const [first] = this.#memory.updates
    const logs: EpochLogs = {
      epoch: epoch + 1,
      ...scores,
      ...Object.fromEntries(validation.map(([name, value]) => [validationName(name), value])),
      learningRate: (first?.optimizer.schedule.rate(epoch * this.#steps, totalSteps) ?? 0) * rateScale,
      seconds: (performance.now() - began) / 1000,
    }
    this.#history.push(logs)
    const isBest = bestEpochOf(this.#history, this.#monitor) === logs.epoch
    if (isBest && (this.#restoresBest || this.#callbacks.some((one) => one.onCheckpoint !== undefined)))
      this.#best = { epoch: epoch + 1, weights: await this.#model.weightNumbers() }
    for (const one of this.#callbacks) await one.onEpochEnd?.(logs)
    await this.#handOut(epoch + 1, 0)
  }

  /** Gives a checkpoint to the callbacks that take one. */
  async #handOut(epoch: number, step: number): Promise<void> {
    const takers = this.#callbacks.filter((one) => one.onCheckpoint !== undefined)
    if (takers.length === 0) return
    const checkpoint = await this.#checkpoint(epoch, step)
    for (const one of takers) await one.onCheckpoint?.(checkpoint)
  }

  /** Submits steps, adapts the number per submission, and returns the number of steps that are still running. */
  async #submit(program: Program, repeats: number): Promise<number> {
    const began = performance.now()
    await program.run(repeats)
    if (Number.isNaN(this.#firstStepSeconds)) {
      await this.#device.idle()
      this.#firstStepSeconds = (performance.now() - this.#started) / 1000
      for (const one of this.#callbacks) one.onFirstStep?.(this.#firstStepSeconds)
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
    const loss = record[step * this.#reader.width] ?? Number.NaN
    let before = 0
    const part = this.#parts.find((candidate) => {
      before += candidate.steps
      return step < before
    })
    let culprit = 'unknown'
    if (part !== undefined) {
      this.#device.write(this.#memory.state.slice(), new Uint32Array([step, 0, globalStep, 0]))
      await this.#train.source?.load({ epoch, first: step, count: 1, batch: part.order.batch })
      const traced = traceStep(this.#model, this.#train, part.order, this.#memory, this.#step)
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
    if (this.#options.signal?.aborted !== true) return
    await this.#progress.settled()
    // A resumed run would skip a bad step: report it first.
    if (step > 0) await this.#readRecord(epoch)
    await this.#handOut(epoch, step)
    throw new WeftgradError('aborted', `Training was stopped after ${epoch} epochs and ${step} steps.`, { epoch, step })
  }

  async #checkpoint(epoch: number, step: number): Promise<TrainingCheckpoint> {
    const weights = await this.#model.weightNumbers()
    const [record, ...moments] = await this.#device.readAll([
      { ...this.#memory.record, bytes: step * this.#reader.width * 4 },
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
