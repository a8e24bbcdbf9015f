/**
 * One training step as a program: gather a batch, forward, backward, record, check, update. Everything that changes
 * from step to step (the position in the epoch, the permutation, the rates) is in device memory and advanced by the
 * kernels, so replaying a step needs nothing from the host.
 */

import { gradients } from '../autograd/grad.ts'
import type { Augmentation, Batch, BatchRows, Dataset } from '../data/contract.ts'
import { WeftgradError } from '../errors.ts'
import type { BufferSlice, Device, DeviceBuffer } from '../gpu/device.ts'
import type { KernelTask, VariantTable } from '../graph/plan/choice.ts'
import type { Wanted } from '../graph/plan/plan.ts'
import { Program, planFor, targetOf } from '../graph/run/program.ts'
import { planKernel } from '../kernels/kernel.ts'
import { gatedCopy } from '../kernels/training/gated-copy.ts'
import { optimizerTableColumns } from '../kernels/training/optimizer.ts'
import type { GradientSplitSum } from '../kernels/training/state.ts'
import {
  finishStep,
  globalStepWord,
  mostSplitSums,
  notFiniteWord,
  stepInEpochWord,
  stepRecordColumns,
  trainingStateWords,
} from '../kernels/training/state.ts'
import { mean, slice, softmaxCrossEntropy } from '../operators/index.ts'
import type { Tensor } from '../operators/tensor.ts'
import type { BatchOrder } from './batch-order.ts'
import { u32Leaf } from './batch-order.ts'
import type { Layer } from './layers.ts'
import type { Model } from './model.ts'
import type { Optimizer } from './optimizers.ts'

/** The number of classes: the last extent of the model's output. Throws 'shape' for an output without axes. */
export function classesOf({ name, outputShape }: Pick<Model, 'name' | 'outputShape'>): number {
  const classes = outputShape.at(-1)
  if (classes === undefined)
    throw new WeftgradError('shape', `${name} outputs one number per example; a classifier outputs one per class.`)
  return classes
}

/** Throws 'shape' if the examples do not fit the model's input, 'mismatch' if they have more classes. */
export function refuseMisfits(model: Model, data: Dataset): void {
  data.refuseMisfits(model.inputShape, model.name)
  const classes = classesOf(model)
  if (data.classes !== undefined && data.classes > classes)
    throw new WeftgradError('mismatch', `${model.name} has ${classes} classes, and the data set has ${data.classes}.`)
}

/** The batch that the training state points to. Throws as `refuseMisfits`. */
export function gatherInputs(
  model: Model,
  data: Dataset,
  order: BatchRows,
  state: Tensor,
  augmentation?: Augmentation,
): Batch {
  refuseMisfits(model, data)
  return data.batch(order, state, model.inputShape, augmentation)
}

/** The record of an epoch's steps, and the state after them. */
export interface StepRecords {
  /** A row for each step of the epoch. */
  readonly record: Float32Array
  /** False if a step's numbers were not finite; the counters then stay one past that step. */
  readonly isFinite: boolean
  readonly stepInEpoch: number
  readonly globalStep: number
}

/**
 * Device memory of a training run that its programs share. Word offsets of `state` are in kernels/training/state.ts.
 */
export class TrainingMemory {
  readonly device: Device
  readonly gradients: DeviceBuffer
  readonly moments: readonly DeviceBuffer[]
  readonly state: DeviceBuffer
  readonly table: DeviceBuffer
  /** Exactly one row per step: nothing beyond its end is written. */
  readonly record: BufferSlice
  readonly #buffers: readonly DeviceBuffer[]

  /** The model must be on the device; `steps` is the length of an epoch. */
  constructor(device: Device, model: Model, optimizer: Optimizer, steps: number) {
    this.device = device
    const owned: DeviceBuffer[] = []
    const allocate = (bytes: number, label: string): DeviceBuffer => {
      const buffer = device.allocate(bytes, label)
      owned.push(buffer)
      return buffer
    }
    const { bytes } = model.trainableBuffer
    try {
      this.gradients = allocate(bytes, 'gradients')
      this.moments = Array.from({ length: optimizer.moments }, (_, i) => allocate(bytes, `optimizer moment ${i}`))
      this.state = allocate(trainingStateWords * 4, 'training state')
      this.table = allocate(steps * optimizerTableColumns * 4, 'optimizer table')
      const recordBytes = steps * stepRecordColumns * 4
      this.record = allocate(recordBytes, 'step record').slice(0, recordBytes)
    } catch (error) {
      for (const buffer of owned) buffer.dispose()
      throw error
    }
    this.#buffers = owned
  }

  /** Waits for the steps submitted so far and reads their records and the state. */
  async read(): Promise<StepRecords> {
    const [record, words] = await this.device.readAll([this.record, this.state.slice(0, trainingStateWords * 4)])
    const view = new DataView(words)
    const word = (index: number): number => view.getUint32(index * 4, true)
    return {
      record: new Float32Array(record),
      isFinite: word(notFiniteWord) === 0,
      stepInEpoch: word(stepInEpochWord),
      globalStep: word(globalStepWord),
    }
  }

  dispose(): void {
    for (const buffer of this.#buffers) buffer.dispose()
  }

  [Symbol.dispose](): void {
    this.dispose()
  }
}

/** The random parts of a step. */
export interface StepChances {
  /** Random seed of dropout masks and augmentation. */
  readonly seed: number
  readonly augmentation?: Omit<Augmentation, 'seed'> | undefined
}

/** What one step computes, as tensors. A diagnosis evaluates them. */
export interface TracedStep {
  readonly x: Tensor
  readonly target: Tensor
  readonly logits: Tensor
  /** Cross-entropy of each row. */
  readonly rows: Tensor
  readonly loss: Tensor
  /** In the order of the model's trainable weights. */
  readonly gradients: readonly Tensor[]
  readonly updates: readonly { readonly weight: Tensor; readonly value: Tensor }[]
  readonly layerOutputs: readonly { readonly layer: Layer; readonly output: Tensor }[]
}

export function traceStep(
  model: Model,
  data: Dataset,
  order: BatchOrder,
  memory: TrainingMemory,
  chances: StepChances = { seed: model.seed },
): TracedStep {
  const state = u32Leaf(memory.state, trainingStateWords)
  const { seed } = chances
  const augmentation = chances.augmentation === undefined ? undefined : { ...chances.augmentation, seed }
  const { x, target } = gatherInputs(model, data, order, state, augmentation)
  const updates: { weight: Tensor; value: Tensor }[] = []
  const layerOutputs: { layer: Layer; output: Tensor }[] = []
  const logits = model.logits(x, {
    training: true,
    seed,
    counter: slice(state, [globalStepWord], [1]),
    update: (weight, value) => updates.push({ weight, value }),
    tap: (layer, output) => layerOutputs.push({ layer, output }),
  })
  const rows = softmaxCrossEntropy(logits, target, { reduction: 'none' })
  const loss = mean(rows)
  const slopes = gradients(
    loss,
    model.trainableWeights.map((weight) => weight.tensor),
  )
  return { x, target, logits, rows, loss, gradients: slopes, updates, layerOutputs }
}

/**
 * The results that the graph's kernels compute in a step: rows, logits, labels, one gradient per trainable weight,
 * updates.
 */
function wantedOf(traced: TracedStep, model: Model, memory: TrainingMemory): Wanted[] {
  const trainable = model.trainableWeights
  return [
    { value: traced.rows.value },
    { value: traced.logits.value },
    { value: traced.target.value },
    ...traced.gradients.map(({ value }, i): Wanted => {
      const weight = trainable[i]
      if (weight === undefined) throw new RangeError()
      const { bytes } = model.sliceOf(weight)
      return { value, destination: memory.gradients.slice(weight.offset, bytes) }
    }),
    ...traced.updates.map(({ value }): Wanted => ({ value: value.value })),
  ]
}

/** The graph's kernels of a step, for tuning. */
export function trainingStepTasks(
  model: Model,
  data: Dataset,
  order: BatchOrder,
  memory: TrainingMemory,
  chances: StepChances = { seed: model.seed },
): readonly KernelTask[] {
  const wanted = wantedOf(traceStep(model, data, order, memory, chances), model, memory)
  return planFor(memory.device, wanted, { record: true }).tasks
}

/** Compiles the program of one step at this batch size. Running it once trains on one batch. */
export async function createTrainingStep(
  model: Model,
  data: Dataset,
  order: BatchOrder,
  memory: TrainingMemory,
  optimizer: Optimizer,
  variants: VariantTable = {},
  chances: StepChances = { seed: model.seed },
): Promise<Program> {
  const { device } = memory
  const traced = traceStep(model, data, order, memory, chances)
  const wanted = wantedOf(traced, model, memory)
  const updated = traced.updates.map(({ weight }) => {
    const target = model.weights.find((candidate) => candidate.tensor === weight)
    if (target === undefined)
      throw new WeftgradError('argument', 'A layer updates a tensor that is not a weight of the model.')
    return model.sliceOf(target)
  })
  const firstUpdate = wanted.length - updated.length
  const target = targetOf(device)
  const count = memory.gradients.bytes / 4
  const classes = classesOf(model)
  const whole = (buffer: DeviceBuffer): BufferSlice => buffer.slice()
  const plan = planFor(device, wanted, { variants, deferSums: mostSplitSums })
  const sums = plan.deferred.map(
    ({ splits, count, targets }): GradientSplitSum => ({
      splits,
      count,
      targets: targets.map(({ slice, ...part }) => ({ ...part, to: slice.offset / 4 })),
    }),
  )
  return Program.create(device, plan, `training step of ${order.batch}`, (results, partials) => [
    {
      plan: planKernel(finishStep, { batch: order.batch, classes, count, sums }, target),
      inputs: [...results.slice(0, 3), ...partials],
      outputs: [memory.record, whole(memory.state), whole(memory.gradients)],
    },
    ...updated.map((slice, i) => ({
      plan: planKernel(gatedCopy, { count: slice.bytes / 4 }, target),
      inputs: [...results.slice(firstUpdate + i, firstUpdate + i + 1), whole(memory.state)],
      outputs: [slice],
    })),
    {
      plan: optimizer.plan(count, target),
      inputs: [whole(memory.gradients), whole(memory.table)],
      outputs: [whole(model.trainableBuffer), ...memory.moments.map(whole), whole(memory.state)],
    },
  ])
}
