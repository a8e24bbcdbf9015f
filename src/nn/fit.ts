/**
 * Training. The host shuffles, uploads an epoch's table of rates, submits steps by the dozen, and reads the record at the
 * epoch's end; everything else happens on the device. Runs are reproducible bit for bit, also across a stop and a resume:
 * what an epoch does depends on the seed, the epoch's number and the weights alone.
 */

import { evaluate as evaluateTensors } from '../autograd/tensors.ts'
import { aDataset, augmentationKinds, type Dataset } from '../data/contract.ts'
import { randomSplit } from '../data/split.ts'
import { WeftgradError } from '../errors.ts'
import type { Device } from '../gpu/device.ts'
import { tableOf } from '../graph/plan/choice.ts'
import type { Program } from '../graph/run/program.ts'
import {
  globalStepWord,
  notFiniteWord,
  stepInEpochWord,
  stepRecordColumns,
  trainingStateWords,
} from '../kernels/training/state.ts'
import {
  aFlag,
  aFunction,
  aNumber,
  anObject,
  aSignal,
  checkOptions,
  checkValue,
  countFrom1,
  required,
} from '../options.ts'
import { Random } from '../random.ts'
import type { EpochLogs, FitOptions, History, TrainingCheckpoint, TrainingSettings } from './contract.ts'
import { Evaluator, summarizeRecord } from './evaluate.ts'
import { median } from './metrics.ts'
import type { Model } from './model.ts'
import type { WeightNumbers } from './model-weights.ts'
import { anOptimizer, optimizerTable } from './optimizers.ts'
import type { StepChances } from './training-step.ts'
import { BatchOrder, createTrainingStep, refuseMisfits, TrainingMemory, traceStep } from './training-step.ts'

/** A submission should take about this long: long enough to hide its cost, short enough to stop soon. */
const submissionMs = 100
const mostStepsPerSubmission = 64
const progressEveryMs = 200
const recordEveryMs = 1000
const defaultSeed = 1

/**
 * Trains the model on the data set with softmax cross-entropy. The model ends in logits or in a softmax, whose logits the loss
 * takes then: see {@link Model.logits}.
 *
 * A step touches the host not at all: images, their order, rates, optimizer state and metrics are on the device, and the host
 * submits the same list of dispatches again. The same seed, adapter and variants give the same weights, bit for bit.
 * @throws WeftgradError 'argument' and 'shape' for options and data that do not fit, before anything is changed; 'mismatch'
 * where `resume` belongs to another run; 'aborted' when the signal fires, after handing out a checkpoint; 'not-finite' naming
 * the step, the loss and the first tensor that went bad, with the weights as they were before that step; 'device-lost'.
 */
export async function fit(model: Model, train: Dataset, options: FitOptions): Promise<History> {
  const run = await TrainingRun.create(model, train, options)
  try {
    return await run.train()
  } finally {
    run.dispose()
  }
}

/** Those of {@link FitOptions}; `tuneTraining` takes them as well. */
export const fitKinds = {
  ...{ optimizer: required(anOptimizer), epochs: required(countFrom1), batchSize: required(countFrom1) },
  ...{ validation: aDataset, validationSplit: aNumber, augmentation: augmentationKinds, seed: aNumber },
  ...{ earlyStopping: { patience: required(countFrom1) }, restoreBest: aFlag, resume: anObject, signal: aSignal },
  callbacks: {
    ...{ onBegin: aFunction, onFirstStep: aFunction, onProgress: aFunction },
    ...{ onEpochEnd: aFunction, onCheckpoint: aFunction },
  },
  variants: anObject,
}

/** Training and validation images. */
export function splitData(
  data: Dataset,
  options: Pick<FitOptions, 'validation' | 'validationSplit' | 'seed'>,
): { train: Dataset; validation: Dataset | undefined } {
  const { validation, validationSplit, seed = defaultSeed } = options
  if (validation !== undefined && validationSplit !== undefined)
    throw new WeftgradError('argument', 'Give validation or validationSplit, not both.')
  if (validation !== undefined || validationSplit === undefined || validationSplit === 0)
    return { train: data, validation }
  const { rest, held } = randomSplit(data.count, validationSplit, seed)
  return { train: data.subset(rest), validation: data.subset(held) }
}

function chancesOf({ seed = defaultSeed, augmentation }: FitOptions): StepChances {
  return { seed, augmentation }
}

/** Equal text for equal changes. */
function augmentationText({ flip, shift = 0 }: NonNullable<FitOptions['augmentation']>): string {
  return `flip ${flip ?? 'none'}, shift ${shift}`
}

interface Part {
  readonly program: Program
  readonly order: BatchOrder
  readonly steps: number
}

class TrainingRun {
  readonly #model: Model
  readonly #device: Device
  readonly #train: Dataset
  readonly #options: FitOptions
  readonly #seed: number
  readonly #steps: number
  readonly #memory: TrainingMemory
  readonly #parts: readonly Part[]
  readonly #evaluator: Evaluator | undefined
  readonly #settings: TrainingSettings
  readonly #started: number
  readonly #history: EpochLogs[] = []
  readonly #stepTimes: number[] = []
  #globalStep = 0
  #best: { epoch: number; weights: WeightNumbers } | undefined
  #firstStepSeconds = Number.NaN
  #stepsPerSubmission = 1
  #lastProgress = 0
  #lastRecord = 0
  #running: { loss: number; accuracy: number } | undefined
  #reading: Promise<void> | undefined
  /** From where the rate of the steps is counted: the epoch's beginning, or the end of the first step, which compiles. */
  #rateFrom = { ms: 0, step: 0 }
  #isFirstReport = true

  private constructor(
    model: Model,
    train: Dataset,
    options: FitOptions,
    made: { memory: TrainingMemory; parts: readonly Part[]; evaluator: Evaluator | undefined; started: number },
  ) {
    this.#model = model
    this.#device = train.device
    this.#train = train
    this.#options = options
    this.#seed = options.seed ?? defaultSeed
    this.#memory = made.memory
    this.#parts = made.parts
    this.#evaluator = made.evaluator
    this.#started = made.started
    this.#steps = made.parts.reduce((sum, part) => sum + part.steps, 0)
    this.#settings = {
      seed: this.#seed,
      batchSize: options.batchSize,
      epochs: options.epochs,
      trainCount: train.count,
      validationCount: made.evaluator?.count ?? 0,
      optimizer: options.optimizer.name,
      model: model.name,
      ...(options.augmentation === undefined ? {} : { augmentation: augmentationText(options.augmentation) }),
    }
  }

  static async create(model: Model, data: Dataset, options: FitOptions): Promise<TrainingRun> {
    const started = performance.now()
    checkOptions('fit', options, fitKinds)
    checkValue('fit: the data', data, aDataset)
    const { train, validation } = splitData(data, options)
    if (options.earlyStopping !== undefined && validation === undefined)
      throw new WeftgradError(
        'argument',
        'earlyStopping needs validation or validationSplit: without one there is no better and no worse.',
      )
    const { device } = train
    for (const images of [train, validation]) if (images !== undefined) refuseMisfits(model, images)
    if (validation !== undefined && validation.device !== device)
      throw new WeftgradError('argument', 'The validation images are on another device than the training images.')
    const batch = Math.min(options.batchSize, train.count)
    const whole = Math.floor(train.count / batch)
    const rest = train.count - whole * batch
    model.to(device)
    const owned: { dispose(): void }[] = []
    const own = <T extends { dispose(): void }>(resource: T): T => {
      owned.push(resource)
      return resource
    }
    try {
      const memory = own(new TrainingMemory(device, model, options.optimizer, whole + (rest > 0 ? 1 : 0)))
      const plannedOrder = (size: number, steps: number, skip = 0): { order: BatchOrder; steps: number } => {
        const order = new BatchOrder(device, size, steps, skip)
        own(order.buffer)
        return { order, steps }
      }
      const orders = [plannedOrder(batch, whole), ...(rest > 0 ? [plannedOrder(rest, 1, whole)] : [])]
      const { variants = {}, optimizer } = options
      const chances = chancesOf(options)
      const makingParts = orders.map(async ({ order, steps }): Promise<Part> => {
        const program = own(await createTrainingStep(model, train, order, memory, optimizer, variants, chances))
        return { program, order, steps }
      })
      const makingEvaluator =
        validation === undefined ? undefined : Evaluator.create(model, validation, { variants }).then(own)
      // All are waited for, also where one fails, so that what the others made is released.
      await Promise.allSettled([makingEvaluator, ...makingParts])
      const [evaluator, ...parts] = await Promise.all([makingEvaluator, ...makingParts])
      const run = new TrainingRun(model, train, options, { memory, parts, evaluator, started })
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
    const counts = ['batchSize', 'trainCount', 'validationCount'] as const
    const shared = ['seed', ...counts, 'optimizer', 'model', 'augmentation'] as const
    for (const name of shared) {
      const [own, theirs] = [this.#settings[name], checkpoint.settings[name]]
      if (own !== theirs)
        throw new WeftgradError(
          'mismatch',
          `The checkpoint was written with ${name} ${theirs ?? 'none'}, and this run has ${own ?? 'none'}.`,
          { name },
        )
    }
    const sizes = this.#memory.moments.map((buffer) => buffer.bytes / 4)
    const { epoch, step, globalStep, moments, record, best } = checkpoint
    if (moments.length !== sizes.length || moments.some((m, i) => m.length !== sizes[i]))
      throw new WeftgradError('mismatch', 'The checkpoint does not hold the moments of this optimizer and model.')
    const isPlace = step < this.#steps && globalStep === epoch * this.#steps + step
    if (!isPlace || record.length !== step * stepRecordColumns || checkpoint.history.length !== epoch)
      throw new WeftgradError(
        'mismatch',
        `The checkpoint's place, epoch ${epoch} and step ${step}, is none of a run with ${this.#steps} steps an epoch.`,
        { epoch, step, globalStep },
      )
    if (best !== undefined) this.#model.checkWeights(best.weights)
    this.#model.setWeights(checkpoint.weights)
    moments.forEach((moment, i) => {
      const buffer = this.#memory.moments[i]
      if (buffer !== undefined) this.#device.write(buffer.slice(), Float32Array.from(moment))
    })
    if (record.length > 0) this.#device.write(this.#memory.record, Float32Array.from(record))
    this.#globalStep = globalStep
    this.#history.push(...checkpoint.history)
    this.#best = best
  }

  async train(): Promise<History> {
    const { epochs, callbacks, resume } = this.#options
    const [first] = this.#parts
    callbacks?.onBegin?.({
      device: this.#device,
      parameters: this.#model.parameterCount,
      trainCount: this.#train.count,
      validationCount: this.#evaluator?.count ?? 0,
      stepsPerEpoch: this.#steps,
      dispatchesPerStep: first?.program.commands.length ?? 0,
      choices: first?.program.choices ?? [],
      variants: tableOf([...this.#parts.flatMap((part) => part.program.choices), ...(this.#evaluator?.choices ?? [])]),
    })
    let step = resume?.step ?? 0
    for (let epoch = resume?.epoch ?? 0; epoch < epochs && !this.#isStalled(); epoch++) {
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
      dispatchesPerStep: first?.program.commands.length ?? 0,
      choices: first?.program.choices ?? [],
    }
  }

  get #restoresBest(): boolean {
    return this.#options.restoreBest ?? this.#options.earlyStopping !== undefined
  }

  /** By the history alone, so that a resumed run stops where the uninterrupted one does. */
  #isStalled(): boolean {
    const { earlyStopping } = this.#options
    return earlyStopping !== undefined && this.#history.length - bestEpochOf(this.#history) >= earlyStopping.patience
  }

  async #trainEpoch(epoch: number, firstStep: number): Promise<void> {
    const device = this.#device
    const began = performance.now()
    const order = new Random(this.#seed, `epoch ${epoch}`).shuffle(Uint32Array.from(this.#train.indices))
    let start = 0
    for (const part of this.#parts) {
      const end = start + part.steps * part.order.batch
      part.order.write(order.subarray(start, end))
      start = end
    }
    const totalSteps = this.#options.epochs * this.#steps
    const { optimizer } = this.#options
    device.write(this.#memory.table.slice(), optimizerTable(optimizer, epoch * this.#steps, this.#steps, totalSteps))
    device.write(this.#memory.state.slice(), new Uint32Array([firstStep, 0, this.#globalStep, 0]))

    let step = firstStep
    let partEnd = 0
    this.#rateFrom = { ms: began, step }
    this.#running = undefined
    for (const { program, steps } of this.#parts) {
      partEnd += steps
      while (step < partEnd) {
        const repeats = Math.min(this.#stepsPerSubmission, partEnd - step)
        const underWay = await this.#submit(program, repeats)
        step += repeats
        this.#globalStep += repeats
        // At the epoch's end nothing more is submitted: the last report says so.
        this.#reportProgress(epoch, step < this.#steps ? step - underWay : step)
        if (step < this.#steps) await this.#stopIfAsked(epoch, step)
      }
    }
    await this.#reading
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

  /** Submits steps and adapts how many go together. Gives the number of steps that are still under way. */
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

  #reportProgress(epoch: number, step: number): void {
    const { onProgress } = this.#options.callbacks ?? {}
    if (onProgress === undefined || step <= this.#rateFrom.step) return
    const now = performance.now()
    if (now - this.#lastRecord > recordEveryMs && this.#reading === undefined) {
      this.#lastRecord = now
      this.#reading = this.#readRunning(step)
    }
    if (now - this.#lastProgress < progressEveryMs && step < this.#steps) return
    this.#lastProgress = now
    const stepsPerSecond = ((step - this.#rateFrom.step) / (now - this.#rateFrom.ms)) * 1000
    if (this.#isFirstReport) {
      this.#isFirstReport = false
      this.#rateFrom = { ms: now, step }
    }
    const left = (this.#options.epochs - epoch) * this.#steps - step
    onProgress({
      epoch: epoch + 1,
      epochs: this.#options.epochs,
      step,
      steps: this.#steps,
      imagesPerSecond: stepsPerSecond * Math.min(this.#options.batchSize, this.#train.count),
      etaSeconds: left / stepsPerSecond,
      ...this.#running,
    })
  }

  /** Reads the running means without holding up the submissions. A failure shows at the next submission. */
  async #readRunning(step: number): Promise<void> {
    try {
      const bytes = await this.#device.read({ ...this.#memory.record, bytes: step * stepRecordColumns * 4 })
      this.#running = summarizeRecord(new Float32Array(bytes), step)
    } catch {
      this.#running = undefined
    } finally {
      this.#reading = undefined
    }
  }

  /** Waits for the epoch and gives its record. Throws 'not-finite' if a step went bad. */
  async #readRecord(epoch: number): Promise<Float32Array> {
    const [record, state] = await this.#device.readAll([
      this.#memory.record,
      this.#memory.state.slice(0, trainingStateWords * 4),
    ])
    const words = new Uint32Array(state ?? new ArrayBuffer(0))
    const numbers = new Float32Array(record ?? new ArrayBuffer(0))
    if (words[notFiniteWord] !== 0) await this.#explainNotFinite(epoch, words, numbers)
    return numbers
  }

  /** Repeats the bad step's arithmetic, the weights being as they were before it, and names what went bad first. */
  async #explainNotFinite(epoch: number, state: Uint32Array, record: Float32Array): Promise<never> {
    // The counters stay one beyond the step that went bad.
    const [step, globalStep] = [(state[stepInEpochWord] ?? 1) - 1, (state[globalStepWord] ?? 1) - 1]
    const loss = record[step * stepRecordColumns] ?? Number.NaN
    let before = 0
    const part = this.#parts.find((candidate) => {
      before += candidate.steps
      return step < before
    })
    let culprit = 'unknown'
    if (part !== undefined) {
      this.#device.write(this.#memory.state.slice(), new Uint32Array([step, 0, globalStep, 0]))
      const traced = traceStep(this.#model, this.#train, part.order, this.#memory, chancesOf(this.#options))
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
      `Training stopped in epoch ${epoch + 1} at step ${step + 1}: ${culprit} is not finite (loss ${loss}). The weights are those before that step. Try a lower learning rate.`,
      { epoch: epoch + 1, step: step + 1, loss, tensor: culprit },
    )
  }

  async #stopIfAsked(epoch: number, step: number): Promise<void> {
    const { signal, callbacks } = this.#options
    if (signal?.aborted !== true) return
    await this.#reading
    // A step that went bad must not be skipped by going on after it.
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
      record: new Float32Array(record ?? new ArrayBuffer(0)),
      history: [...this.#history],
      ...(this.#best === undefined ? {} : { best: this.#best }),
      settings: this.#settings,
    }
  }
}

/** The epoch with the highest validation accuracy, the lower loss at a tie; without validation the last. */
function bestEpochOf(history: readonly EpochLogs[]): number {
  let best: EpochLogs | undefined
  for (const logs of history) if (best === undefined || isBetterEpoch(logs, best)) best = logs
  return best?.epoch ?? 0
}

/** Whether an epoch beats one before it: the higher validation accuracy, the lower loss at a tie; without validation, always. */
export function isBetterEpoch(own: EpochLogs, other: EpochLogs): boolean {
  if (own.validationAccuracy === undefined || other.validationAccuracy === undefined) return true
  const isTie = own.validationAccuracy === other.validationAccuracy
  return isTie
    ? (own.validationLoss ?? 0) < (other.validationLoss ?? 0)
    : own.validationAccuracy > other.validationAccuracy
}
