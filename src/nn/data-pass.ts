/** A pass of a model over a data set, batch by batch, with a record of its loss and metrics on the device. */

import type { Batch, Dataset } from '../data/contract.ts'
import type { BufferSlice, Device, DeviceBuffer } from '../gpu/device.ts'
import type { Choice, KernelTask, VariantTable } from '../graph/plan/choice.ts'
import type { Wanted } from '../graph/plan/plan.ts'
import type { PlacedKernel } from '../graph/run/bound-kernel.ts'
import { Program, planFor, targetOf } from '../graph/run/program.ts'
import { planKernel } from '../kernels/kernel.ts'
import { recordStep, trainingStateWords } from '../kernels/training/state.ts'
import type { Tensor } from '../operators/tensor.ts'
import type { Batches } from './batch-order.ts'
import { BatchOrder, cutIntoBatches, u32Leaf, writeOrder } from './batch-order.ts'
import { withFittingBatch } from './fitting-batch.ts'
import { gatherInputs } from './gather-inputs.ts'
import type { Model } from './model.ts'
import type { RecordReader, Scores, TracedRows } from './objective.ts'
import { recordInputs, wantedRows } from './objective.ts'

/** What a pass computes from each batch. */
export interface TracedPass {
  /** What it records. */
  readonly rows: TracedRows
  /** Further results, which `each` may read. */
  readonly further?: readonly Tensor[]
}

/** What a pass does. */
export interface PassSettings {
  readonly model: Model
  readonly data: Dataset
  readonly reader: RecordReader
  /** Examples per batch. 256 by default, fewer if the outputs of 256 do not fit into one binding, or into memory. */
  readonly batchSize?: number | undefined
  readonly variants?: VariantTable | undefined
  /** Traces a batch. `mirrored` gathers its images as mirror images. */
  trace(batch: Batch, mirrored: () => Batch): TracedPass
  /** Kernels that run after a batch's own; gets what the record's kernel reads and the key of that kernel. */
  after?(inputs: readonly BufferSlice[], rows: TracedRows['key']): readonly PlacedKernel[]
}

/** The batches of one size, and the program that evaluates them. */
interface Part extends Batches {
  readonly program: Program
  /** Results before the further ones. */
  readonly recorded: number
}

interface PassBuffers {
  readonly state: DeviceBuffer
  readonly record: DeviceBuffer
  /** The numbers of a batch's rows, if there are metrics. */
  readonly numbers: DeviceBuffer | undefined
}

/** Plans, compiles and runs passes with the same programs and memory. */
export class DataPass {
  readonly #settings: PassSettings
  readonly #buffers: PassBuffers
  readonly #parts: readonly Part[]

  private constructor(settings: PassSettings, buffers: PassBuffers, parts: readonly Part[]) {
    this.#settings = settings
    this.#buffers = buffers
    this.#parts = parts
  }

  /**
   * Plans and compiles, so that `run` does not have to. Without a batch size, it takes as many examples at a time as
   * memory allows.
   * @throws WeftgradError 'shape' if the examples do not fit the model, 'limit' if there is no memory.
   */
  static async create(settings: PassSettings): Promise<DataPass> {
    const { model, data, batchSize } = settings
    data.refuseMisfits(model.inputShape, model.name)
    model.to(data.device)
    const make = (size: number): Promise<DataPass> => DataPass.#bound(settings, size)
    return batchSize === undefined ? withFittingBatch(defaultBatch(model, data), make) : make(batchSize)
  }

  static async #bound(settings: PassSettings, batchSize: number): Promise<DataPass> {
    const { data, reader } = settings
    const { device } = data
    const owned: { dispose(): void }[] = []
    const own = <T extends { dispose(): void }>(resource: T): T => {
      owned.push(resource)
      return resource
    }
    try {
      const batches = cutIntoBatches(device, data.count, batchSize, own)
      const steps = batches.reduce((sum, one) => sum + one.steps, 0)
      const { numbersBytes } = reader.sizes(Math.min(batchSize, data.count))
      const buffers: PassBuffers = {
        state: own(device.allocate(trainingStateWords * 4, 'evaluation state')),
        record: own(device.allocate(steps * reader.width * 4, 'evaluation record')),
        numbers: numbersBytes === 0 ? undefined : own(device.allocate(numbersBytes, 'numbers of rows')),
      }
      const making = batches.map(async (batch): Promise<Part> => {
        const { program, recorded } = await createPart(settings, batch.order, buffers, steps)
        return { ...batch, program: own(program), recorded }
      })
      // Waits for all of them, even if one fails, so that what the others allocated is released.
      await Promise.allSettled(making)
      const parts = await Promise.all(making)
      writeOrder(parts, data.indices)
      return new DataPass(settings, buffers, parts)
    } catch (error) {
      for (const resource of owned) resource.dispose()
      throw error
    }
  }

  /** Makes one pass. `each` gets the further results of each batch; reading them costs one read-back per batch. */
  async run(each?: (further: readonly ArrayBuffer[]) => void): Promise<Scores> {
    const { data, reader } = this.#settings
    const { device, source } = data
    device.write(this.#buffers.state.slice(), new Uint32Array(trainingStateWords))
    let first = 0
    for (const { program, steps, order, recorded } of this.#parts) {
      // 16 batches per submission: few enough to stop early, enough to hide its cost.
      const most = each === undefined ? Math.min(16, source?.stepsAtOnce ?? 16) : 1
      for (let step = 0; step < steps; step += most) {
        const count = Math.min(most, steps - step)
        await source?.load({ epoch: 0, first: first + step, count, batch: order.batch })
        if (each === undefined) await program.run(count)
        else {
          program.runNow()
          each(await device.readAll(program.results.slice(recorded)))
        }
      }
      first += steps
    }
    const record = await device.read(this.#buffers.record.slice(0, first * reader.width * 4))
    return reader.read(new Float32Array(record), first)
  }

  /** The kernel variants it uses, including those for the last, smaller batch. */
  get choices(): readonly Choice[] {
    return this.#parts.flatMap(({ program }) => program.choices)
  }

  /** Frees programs and memory, but not the model and the data set. */
  dispose(): void {
    for (const { program, order } of this.#parts) {
      program.dispose()
      order.buffer.dispose()
    }
    const { state, record, numbers } = this.#buffers
    for (const buffer of [state, record, numbers]) buffer?.dispose()
  }
}

function traceBatch({ model, data, trace }: PassSettings, order: BatchOrder, stateBuffer: DeviceBuffer): TracedPass {
  const state = u32Leaf(stateBuffer, trainingStateWords)
  const mirrored = (): Batch =>
    gatherInputs(model, data, order, state, { seed: model.seed, augmentation: { flip: 'always' } })
  return trace(gatherInputs(model, data, order, state), mirrored)
}

const wantedOf = ({ rows, further = [] }: TracedPass, numbers: DeviceBuffer | undefined): Wanted[] => [
  ...wantedRows(rows, numbers),
  ...further.map(({ value }) => ({ value })),
]

async function createPart(
  settings: PassSettings,
  order: BatchOrder,
  { state, record, numbers }: PassBuffers,
  steps: number,
): Promise<{ readonly program: Program; readonly recorded: number }> {
  const { data, reader, variants = {}, after } = settings
  const { device } = data
  const traced = traceBatch(settings, order, state)
  const { key, metrics, counted } = traced.rows
  const plan = planFor(device, wantedOf(traced, numbers), { variants })
  const program = await Program.create(device, plan, `evaluation of ${order.batch}`, (results) => [
    ...(after?.(recordInputs(traced.rows, results, numbers), key) ?? []),
    {
      plan: planKernel(recordStep, key, targetOf(device)),
      inputs: recordInputs(traced.rows, results, numbers),
      outputs: [record.slice(0, steps * reader.width * 4), state.slice()],
    },
  ])
  return { program, recorded: 1 + metrics.length + counted.length }
}

const defaultBatchSize = 256

/** 256, or as many examples as fit their outputs into one binding. */
function defaultBatch({ outputShape }: Model, { device }: Dataset): number {
  const bytes = 4 * outputShape.reduce((product, extent) => product * extent, 1)
  return Math.max(1, Math.min(defaultBatchSize, Math.floor(device.limits.maxStorageBufferBindingSize / bytes)))
}

/** The graph's kernels of a pass' whole batches, for tuning. */
export function passTasks(settings: PassSettings): readonly KernelTask[] {
  const { model, data } = settings
  const device: Device = data.device
  using state = device.allocate(trainingStateWords * 4, 'evaluation state')
  const order = new BatchOrder(device, Math.min(settings.batchSize ?? defaultBatch(model, data), data.count), 1)
  using _buffer = order.buffer
  return planFor(device, wantedOf(traceBatch(settings, order, state), undefined), { record: true }).tasks
}
