/**
 * One training step as a program: gather a batch, forward, backward, record, check, update. Everything that changes
 * from step to step (the position in the epoch, the permutation, the rates) is in device memory and advanced by the
 * kernels, so replaying a step needs nothing from the host.
 */

import { gradients } from '../autograd/grad.ts'
import type { Dataset } from '../data/contract.ts'
import { WeftgradError } from '../errors.ts'
import type { BufferSlice, Device, DeviceBuffer } from '../gpu/device.ts'
import type { KernelTask, VariantTable } from '../graph/plan/choice.ts'
import type { Wanted } from '../graph/plan/plan.ts'
import { bytesOf } from '../graph/plan/plan.ts'
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
import { mean, slice } from '../operators/index.ts'
import type { Tensor } from '../operators/tensor.ts'
import type { BatchOrder } from './batch-order.ts'
import { u32Leaf } from './batch-order.ts'
import type { StepChances } from './gather-inputs.ts'
import { gatherInputs } from './gather-inputs.ts'
import type { Layer } from './layers.ts'
import type { Model } from './model.ts'
import type { Objective, TracedRows } from './objective.ts'
import { objectiveOf, recordInputs, traceRows, wantedRows } from './objective.ts'
import type { Optimizer, OptimizerGroup } from './optimizers.ts'
import { optimizerTable } from './optimizers.ts'
import type { Trainable, TrainableWeight, Update } from './trainable.ts'
import { trainableOf, updatesOf } from './trainable.ts'

/** The number of classes: the last extent of the model's output. Throws 'shape' for an output without axes. */
export function classesOf({ name, outputShape }: Pick<Model, 'name' | 'outputShape'>): number {
  const classes = outputShape.at(-1)
  if (classes === undefined)
    throw new WeftgradError('shape', `${name} outputs one number per example; a classifier outputs one per class.`)
  return classes
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

/** Memory for what steps record. */
interface RecordSizes {
  readonly recordColumns: number
  readonly numbersBytes: number
}

/**
 * Device memory of a training run that its programs share. Word offsets of `state` are in kernels/training/state.ts.
 */
export class TrainingMemory {
  readonly device: Device
  readonly gradients: DeviceBuffer
  readonly moments: readonly DeviceBuffer[]
  readonly state: DeviceBuffer
  /** What each optimizer updates, and its table of rates: a row for each step. */
  readonly updates: readonly (Update & { readonly table: DeviceBuffer })[]
  /** Exactly one row per step: nothing beyond its end is written. */
  readonly record: BufferSlice
  /** The numbers of a batch's rows, if there are metrics. */
  readonly numbers: DeviceBuffer | undefined
  readonly #buffers: readonly DeviceBuffer[]

  /**
   * `steps`: rows of the tables and of the record, which has `recordColumns` floats in each. `numbersBytes`: see {@link
   * RecordReader}.
   */
  constructor(
    { buffer: { bytes, device } }: Trainable,
    updates: readonly Update[],
    { steps, recordColumns, numbersBytes }: RecordSizes & { readonly steps: number },
  ) {
    this.device = device
    const owned: DeviceBuffer[] = []
    const allocate = (bytes: number, label: string): DeviceBuffer => {
      const buffer = device.allocate(bytes, label)
      owned.push(buffer)
      return buffer
    }
    const moments = Math.max(...updates.map(({ optimizer }) => optimizer.moments))
    try {
      this.gradients = allocate(bytes, 'gradients')
      this.moments = Array.from({ length: moments }, (_, i) => allocate(bytes, `optimizer moment ${i}`))
      this.state = allocate(trainingStateWords * 4, 'training state')
      this.updates = updates.map((update) => ({
        ...update,
        table: allocate(steps * optimizerTableColumns * 4, 'optimizer table'),
      }))
      this.numbers = numbersBytes === 0 ? undefined : allocate(numbersBytes, 'numbers of rows')
      const recordBytes = steps * recordColumns * 4
      this.record = allocate(recordBytes, 'step record').slice(0, recordBytes)
    } catch (error) {
      for (const buffer of owned) buffer.dispose()
      throw error
    }
    this.#buffers = owned
  }

  /** The memory of a model's training; by default without further metrics. */
  static of(
    model: Model,
    optimizer: Optimizer | readonly OptimizerGroup[],
    steps: number,
    sizes: RecordSizes = { recordColumns: stepRecordColumns, numbersBytes: 0 },
  ): TrainingMemory {
    const trainable = trainableOf(model)
    return new TrainingMemory(trainable, updatesOf(trainable, optimizer), { steps, ...sizes })
  }

  /**
   * Writes the tables' rows from row 0 on for some steps: `first` counts all steps from 0, `total` is the length of the
   * training. All rates are multiplied by `scale`.
   */
  writeTables(first: number, steps: number, total: number, scale = 1): void {
    for (const { optimizer, table } of this.updates)
      this.device.write(table.slice(), optimizerTable(optimizer, first, steps, total, scale))
  }

  /** Replaces the weights by their averages, where an optimizer keeps these. */
  useAverages(weights: DeviceBuffer): void {
    for (const { optimizer, ranges } of this.updates) {
      const average = optimizer.average === undefined ? undefined : this.moments[optimizer.average]
      if (average === undefined) continue
      for (const { from, bytes } of ranges) this.device.copy(average.slice(from, bytes), weights.slice(from, bytes))
    }
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

/** How a step computes its loss. */
export interface StepSettings {
  readonly objective: Objective
  readonly chances: StepChances
}

/** New numbers for a weight that no gradient updates. */
export interface WeightUpdate {
  readonly weight: Tensor
  readonly value: Tensor
}

const defaultSettings = (model: Model): StepSettings => ({
  objective: objectiveOf({}),
  chances: { seed: model.seed },
})

/** What one step computes, as tensors. */
export interface TracedStep {
  /** What is recorded. */
  readonly rows: TracedRows
  /** In the order of the trainable weights. */
  readonly gradients: readonly Tensor[]
  readonly updates: readonly WeightUpdate[]
}

/** What one step of `fit` computes. A diagnosis evaluates its parts. */
export interface TracedFitStep extends TracedStep {
  readonly loss: Tensor
  readonly layerOutputs: readonly { readonly layer: Layer; readonly output: Tensor }[]
}

export function traceStep(
  model: Model,
  data: Dataset,
  order: BatchOrder,
  memory: TrainingMemory,
  { objective, chances }: StepSettings = defaultSettings(model),
): TracedFitStep {
  const state = u32Leaf(memory.state, trainingStateWords)
  const { seed } = chances
  const batch = gatherInputs(model, data, order, state, chances)
  const updates: WeightUpdate[] = []
  const layerOutputs: { layer: Layer; output: Tensor }[] = []
  const output = model.call(batch.x, {
    training: true,
    seed,
    counter: slice(state, [globalStepWord], [1]),
    update: (weight, value) => updates.push({ weight, value }),
    tap: (layer, result) => layerOutputs.push({ layer, output: result }),
  })
  const rows = traceRows(objective, output, batch, model.penalty())
  const loss = mean(rows.rows)
  const gradients = traceGradients(loss, model.trainableWeights, memory)
  return { rows, gradients, updates, loss, layerOutputs }
}

/** The gradients of the loss with respect to the weights, as the optimizers take them. */
export function traceGradients(
  loss: Tensor,
  weights: readonly TrainableWeight[],
  { updates }: Pick<TrainingMemory, 'updates'>,
): readonly Tensor[] {
  const slopes = gradients(
    loss,
    weights.map((weight) => weight.tensor),
  )
  for (const { optimizer, weights: own } of updates) {
    const transformed = optimizer.transform?.(own.flatMap((i) => slopes[i] ?? [])) ?? []
    transformed.forEach((slope, i) => {
      slopes[own[i] ?? 0] = slope
    })
  }
  return slopes
}

/** The results that the graph's kernels compute in a step: what is recorded, one gradient per weight, updates. */
function wantedOf(traced: TracedStep, weights: readonly TrainableWeight[], memory: TrainingMemory): Wanted[] {
  return [
    ...wantedRows(traced.rows, memory.numbers),
    ...traced.gradients.map(({ value }, i): Wanted => {
      const weight = weights[i]
      if (weight === undefined) throw new RangeError()
      return { value, destination: memory.gradients.slice(weight.offset, bytesOf(weight.tensor.value.type)) }
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
  settings: StepSettings,
): readonly KernelTask[] {
  const wanted = wantedOf(traceStep(model, data, order, memory, settings), model.trainableWeights, memory)
  return planFor(memory.device, wanted, { record: true }).tasks
}

/** Compiles the program of one step at this batch size. Running it once trains on one batch. */
export function createTrainingStep(
  model: Model,
  data: Dataset,
  order: BatchOrder,
  memory: TrainingMemory,
  variants: VariantTable = {},
  settings: StepSettings = defaultSettings(model),
): Promise<Program> {
  const traced = traceStep(model, data, order, memory, settings)
  const places = updatePlaces(model, traced.updates)
  return createStep(trainableOf(model), traced, places, memory, { variants, label: `training step of ${order.batch}` })
}

/** The memory of the weights that updates give new numbers. Throws 'argument' for one that is not the model's. */
export function updatePlaces(model: Model | undefined, updates: readonly WeightUpdate[]): BufferSlice[] {
  return updates.map(({ weight }) => {
    const target = model?.weights.find((candidate) => candidate.tensor === weight)
    if (model === undefined || target === undefined)
      throw new WeftgradError('argument', 'A layer updates a tensor that is not a weight of the model.')
    return model.sliceOf(target)
  })
}

/** Compiles a traced step: its graph, then record and checks, updates without a gradient, and the optimizers. */
export function createStep(
  { buffer, weights }: Trainable,
  traced: TracedStep,
  updatePlaces: readonly BufferSlice[],
  memory: TrainingMemory,
  { variants, label }: { readonly variants: VariantTable; readonly label: string },
): Promise<Program> {
  const { device } = memory
  const wanted = wantedOf(traced, weights, memory)
  const firstUpdate = wanted.length - updatePlaces.length
  const target = targetOf(device)
  const count = memory.gradients.bytes / 4
  const whole = (buffer: DeviceBuffer): BufferSlice => buffer.slice()
  const plan = planFor(device, wanted, { variants, deferSums: mostSplitSums })
  const sums = plan.deferred.map(
    ({ splits, count, targets }): GradientSplitSum => ({
      splits,
      count,
      targets: targets.map(({ slice, ...part }) => ({ ...part, to: slice.offset / 4 })),
    }),
  )
  return Program.create(device, plan, label, (results, partials) => [
    {
      plan: planKernel(finishStep, { ...traced.rows.key, count, sums }, target),
      inputs: [...recordInputs(traced.rows, results, memory.numbers), ...partials],
      outputs: [memory.record, whole(memory.state), whole(memory.gradients)],
    },
    ...updatePlaces.map((slice, i) => ({
      plan: planKernel(gatedCopy, { count: slice.bytes / 4 }, target),
      inputs: [...results.slice(firstUpdate + i, firstUpdate + i + 1), whole(memory.state)],
      outputs: [slice],
    })),
    ...memory.updates.flatMap(({ optimizer, ranges, table }) =>
      ranges.map(({ from, bytes }) => ({
        plan: optimizer.plan(bytes / 4, target),
        inputs: [memory.gradients.slice(from, bytes), whole(table)],
        outputs: [
          ...[buffer, ...memory.moments.slice(0, optimizer.moments)].map((flat) => flat.slice(from, bytes)),
          whole(memory.state),
        ],
      })),
    ),
  ])
}
