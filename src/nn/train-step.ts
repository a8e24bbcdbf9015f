/**
 * A training loop of one's own: `trainStep` traces a loss once for each set of input shapes, and every call replays it with
 * the optimizer, as `fit` does. Inputs are copied to the device. Numbers that change from step to step, such as a
 * temperature, are inputs too, so that nothing is planned again.
 */

import { WeftgradError } from '../errors.ts'
import { currentDevice } from '../gpu/current-device.ts'
import type { Device, DeviceBuffer } from '../gpu/device.ts'
import { isDevice } from '../gpu/webgpu-device.ts'
import type { TensorType } from '../graph/node.ts'
import { shapeText } from '../graph/node.ts'
import type { VariantTable } from '../graph/plan/choice.ts'
import { bytesOf } from '../graph/plan/plan.ts'
import type { Program } from '../graph/run/program.ts'
import { globalStepWord, stepRecordColumns, trainingStateWords } from '../kernels/training/state.ts'
import { mean, reshape, slice } from '../operators/index.ts'
import { DeviceStorage, leaf, storageOf, Tensor } from '../operators/tensor.ts'
import { aNumber, anObject, checkOptions, checkValue, countFrom1, positive } from '../options.ts'
import { u32Leaf } from './batch-order.ts'
import type { ModelCall } from './model.ts'
import { Model } from './model.ts'
import type { Loss } from './objective.ts'
import { aLossOrMetric, traceRows } from './objective.ts'
import type { Optimizer, OptimizerGroup } from './optimizers.ts'
import { anOptimizer } from './optimizers.ts'
import { Parameters, trainableOf, updatesOf } from './trainable.ts'
import type { WeightUpdate } from './training-step.ts'
import { createStep, TrainingMemory, traceGradients, updatePlaces } from './training-step.ts'

/**
 * The inputs of a step by name: tensors, or numbers, which the loss gets as tensors of shape []. Some may be left out.
 */
export type StepInputs<Names extends string = string, Optional extends string = never> = Readonly<
  Record<Names, Tensor | number> & Partial<Record<Optional, Tensor | number>>
>

/**
 * Traces the loss of a step, one number, from its inputs. Pass `training` on to `model.call` or `model.logits`, so that
 * dropout and normalisation know that this is training.
 */
export type StepLoss<Names extends string = string> = (
  inputs: Readonly<Record<Names, Tensor>>,
  training: ModelCall,
) => Tensor

/** Options of {@link trainStep}. */
export interface TrainStepOptions {
  /** Where to train. The model's device or, before it is on one, the device opened last. */
  readonly device?: Device
  /** Random seed of dropout. The model's seed by default, 1 without a model. */
  readonly seed?: number
  /** Steps of the whole training, for schedules that depend on it. A schedule stays at its start by default. */
  readonly steps?: number
  /** Kernel variants to use instead of the preferred ones. */
  readonly variants?: VariantTable
}

/** Steps between two readings of their losses: rows of the record and of the tables. */
const stepsPerChunk = 256

/** A step for inputs of certain shapes: where it reads them, and its program. */
interface Replay {
  readonly inputs: ReadonlyMap<string, DeviceBuffer>
  readonly program: Program
}

/** Training steps that are replayed on new inputs: made by {@link trainStep}. */
export class TrainStep<Names extends string = string, Optional extends string = never> {
  readonly #device: Device
  readonly #model: Model | undefined
  readonly #trainable: Model | Parameters
  readonly #loss: StepLoss
  readonly #options: TrainStepOptions
  readonly #memory: TrainingMemory
  readonly #replays = new Map<string, Promise<Replay>>()
  /** Losses that were read already. */
  readonly #losses: number[] = []
  #steps = 0
  /** Steps whose losses were read. */
  #read = 0
  #rateScale = 1
  #queue: Promise<unknown> = Promise.resolve()

  /**
   * Use `nn.trainStep`.
   * @internal
   */
  constructor(
    trainable: Model | Parameters,
    loss: StepLoss,
    optimizer: Optimizer | readonly OptimizerGroup[],
    options: TrainStepOptions,
  ) {
    this.#trainable = trainable
    this.#model = trainable instanceof Model ? trainable : undefined
    this.#loss = loss
    this.#options = options
    const own = trainable instanceof Model ? trainable.device : trainable.buffer.device
    this.#device = options.device ?? own ?? currentDevice()
    const weights = this.#weights()
    this.#memory = new TrainingMemory(weights, updatesOf(weights, optimizer), {
      ...{ steps: stepsPerChunk, recordColumns: stepRecordColumns, numbersBytes: 0 },
    })
  }

  #weights() {
    return this.#trainable instanceof Model ? trainableOf(this.#trainable.to(this.#device)) : this.#trainable
  }

  /** Number of steps that were run. */
  get steps(): number {
    return this.#steps
  }

  /** A factor of all learning rates, from the next step on. 1 at first. */
  get rateScale(): number {
    return this.#rateScale
  }
  /** Changes it. @throws WeftgradError 'argument' for a factor that is not positive. */
  set rateScale(scale: number) {
    checkValue('rateScale', scale, positive)
    this.#rateScale = scale
    this.#writeTables()
  }

  /**
   * Trains on these inputs. Resolves when the step is submitted, not when it is done. The first call with inputs of these
   * shapes traces, plans and compiles.
   * @throws WeftgradError 'shape' if the loss is not one number, 'argument' for inputs that are neither tensors nor
   * numbers, 'not-finite' as {@link TrainStep.losses}, and what tracing and compiling throw. The weights are then as they
   * were.
   */
  run(inputs: StepInputs<Names, Optional>): Promise<void> {
    const turn = this.#queue.then(() => this.#run(inputs))
    this.#queue = turn.catch(() => undefined)
    return turn
  }

  /**
   * The losses of the steps since the last call, in order. Waits for them.
   * @throws WeftgradError 'not-finite' if a loss or gradient was NaN or infinite: the weights are those from before that
   * step, and later steps changed nothing.
   */
  losses(): Promise<Float32Array> {
    const turn = this.#queue.then(async () => {
      await this.#readLosses()
      return Float32Array.from(this.#losses.splice(0))
    })
    this.#queue = turn.catch(() => undefined)
    return turn
  }

  /** Replaces the weights by their averages, if the optimizer has `emaMomentum`. */
  useAverages(): void {
    if (this.#steps > 0) this.#memory.useAverages(this.#weights().buffer)
  }

  /** Frees programs and memory, but not the weights. */
  dispose(): void {
    for (const making of this.#replays.values())
      making.then(
        ({ program, inputs }) => {
          program.dispose()
          for (const buffer of inputs.values()) buffer.dispose()
        },
        () => undefined,
      )
    this.#memory.dispose()
  }

  /** `dispose`, for `using`. */
  [Symbol.dispose](): void {
    this.dispose()
  }

  /** Steps since the record and the tables begin. */
  get #inChunk(): number {
    return this.#steps % stepsPerChunk
  }

  async #run(inputs: StepInputs): Promise<void> {
    const given = Object.entries(inputs).filter(([, value]) => value !== undefined)
    const types = given.map(([name, value]): readonly [string, TensorType] => [name, typeOf(name, value)])
    const key = types.map(([name, { dtype, shape }]) => `${name} ${dtype}${shapeText(shape)}`).join(', ')
    let making = this.#replays.get(key)
    if (making === undefined) {
      making = this.#replay(types, key)
      this.#replays.set(key, making)
      making.catch(() => this.#replays.delete(key))
    }
    const replay = await making
    if (this.#steps > 0 && this.#inChunk === 0) await this.#readLosses()
    if (this.#inChunk === 0) {
      this.#device.write(this.#memory.state.slice(0, 4), Uint32Array.of(0))
      this.#writeTables()
    }
    for (const [name, buffer] of replay.inputs) await this.#send(inputs[name] ?? 0, buffer)
    await replay.program.run()
    this.#steps++
  }

  #writeTables(): void {
    const { steps = Number.POSITIVE_INFINITY } = this.#options
    this.#memory.writeTables(this.#steps - this.#inChunk, stepsPerChunk, steps, this.#rateScale)
  }

  async #send(value: Tensor | number, buffer: DeviceBuffer): Promise<void> {
    const device = this.#device
    if (typeof value === 'number') {
      device.write(buffer.slice(0, 4), Float32Array.of(value))
      return
    }
    const slice = buffer.slice(0, bytesOf(value.value.type))
    const storage = storageOf(value)
    if (storage?.numbers !== undefined) device.write(slice, storage.numbers)
    else if (storage?.device === device) device.copy(storage.on(device), slice)
    else {
      using kept = await value.keep({ device })
      device.copy(kept.slice, slice)
    }
  }

  async #replay(types: readonly (readonly [string, TensorType])[], key: string): Promise<Replay> {
    const inputs = new Map<string, DeviceBuffer>()
    try {
      const tensors: Record<string, Tensor> = {}
      for (const [name, type] of types) {
        const buffer = this.#device.allocate(bytesOf(type), `input ${name}`)
        inputs.set(name, buffer)
        tensors[name] = new Tensor(leaf(new DeviceStorage(buffer.slice(0, bytesOf(type))), type))
      }
      return { inputs, program: await this.#program(tensors, key) }
    } catch (error) {
      for (const buffer of inputs.values()) buffer.dispose()
      throw error
    }
  }

  #program(inputs: Readonly<Record<string, Tensor>>, key: string): Promise<Program> {
    const weights = this.#weights()
    const { seed = this.#model?.seed ?? 1, variants = {} } = this.#options
    const updates: WeightUpdate[] = []
    const state = u32Leaf(this.#memory.state, trainingStateWords)
    const loss = this.#loss(inputs, {
      ...{ training: true, seed, counter: slice(state, [globalStepWord], [1]) },
      update: (weight, value) => updates.push({ weight, value }),
    })
    if (!(loss instanceof Tensor) || loss.size !== 1 || loss.dtype !== 'f32')
      throw new WeftgradError('shape', `trainStep: the loss must be one f32 number, not ${loss}; average it first.`)
    const traced = {
      rows: { rows: reshape(loss, [1]), metrics: [], counted: [], key: { batch: 1, classes: 0, metrics: [] } },
      gradients: traceGradients(reshape(loss, []), weights.weights, this.#memory),
      updates,
    }
    const places = updatePlaces(this.#model, updates)
    return createStep(weights, traced, places, this.#memory, { variants, label: `training step of ${key}` })
  }

  /** Reads the record of the steps since the last reading. */
  async #readLosses(): Promise<void> {
    const done = this.#steps - this.#read
    if (done === 0) return
    const { record, globalStep, ...state } = await this.#memory.read()
    if (!state.isFinite)
      throw new WeftgradError(
        'not-finite',
        `trainStep: the loss or a gradient of step ${globalStep} is not finite. The weights are those from before it. Try a lower learning rate.`,
        { step: globalStep },
      )
    const end = this.#inChunk === 0 ? stepsPerChunk : this.#inChunk
    for (let row = end - done; row < end; row++) this.#losses.push(record[row * stepRecordColumns] ?? Number.NaN)
    this.#read = this.#steps
  }
}

/** The type of an input. Throws 'argument' for what is none. */
function typeOf(name: string, value: Tensor | number): TensorType {
  if (typeof value === 'number') return { shape: [], dtype: 'f32' }
  if (value instanceof Tensor) return value.value.type
  throw new WeftgradError('argument', `trainStep: the input ${name} is neither a tensor nor a number; use tensor(...).`)
}

/**
 * Training steps for a loop of one's own. `trainable`: a model, or {@link parameters} without one. `loss`: a loss like
 * `meanSquaredError()` for inputs `x`, `y` and perhaps `sampleWeight`, or a function that traces one number from the inputs
 * that `run` gets.
 *
 * ```ts
 * const step = nn.trainStep(model, nn.meanSquaredError(), nn.adam())
 * for (const { x, y } of batches) await step.run({ x, y })
 * console.log(await step.losses())
 * ```
 * @throws WeftgradError 'argument' for options of another kind, and for groups that do not fit the weights.
 */
export function trainStep(
  trainable: Model,
  loss: Loss,
  optimizer: Optimizer | readonly OptimizerGroup[],
  options?: TrainStepOptions,
): TrainStep<'x' | 'y', 'sampleWeight'>
export function trainStep<Names extends string>(
  trainable: Model | Parameters,
  loss: StepLoss<Names>,
  optimizer: Optimizer | readonly OptimizerGroup[],
  options?: TrainStepOptions,
): TrainStep<Names>
export function trainStep(
  trainable: Model | Parameters,
  loss: Loss | StepLoss,
  optimizer: Optimizer | readonly OptimizerGroup[],
  options: TrainStepOptions = {},
): TrainStep {
  const kinds = { device: ['a device', isDevice] as const, seed: aNumber, steps: countFrom1, variants: anObject }
  checkOptions('trainStep', options, kinds)
  checkValue('trainStep: the loss', loss, aLossOrMetric)
  checkValue('trainStep: the optimizer', optimizer, anOptimizer)
  checkValue('trainStep: what to train', trainable, [
    'a model or parameters({ ... })',
    (value) => value instanceof Model || value instanceof Parameters,
  ])
  return new TrainStep(trainable, typeof loss === 'function' ? loss : lossOfInputs(trainable, loss), optimizer, options)
}

function lossOfInputs(trainable: Model | Parameters, loss: Loss): StepLoss {
  if (!(trainable instanceof Model))
    throw new WeftgradError('argument', 'trainStep: without a model, give a function that traces the loss.')
  return ({ x, y, sampleWeight }, training) => {
    if (x === undefined || y === undefined)
      throw new WeftgradError('argument', `trainStep: ${loss.name} takes inputs { x, y }.`)
    const batch = { x, target: y, ...(sampleWeight && { sampleWeight }) }
    const { rows } = traceRows({ loss, metrics: [] }, trainable.call(x, training), batch, trainable.penalty())
    return mean(rows)
  }
}
