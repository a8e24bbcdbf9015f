/**
 * Whole training steps of LeNet-5, as `fit` runs them: gather a batch, forward, backward, record, check, Adam. The
 * images are random (a kernel's time does not depend on its numbers). The first steps train on one batch, so that the
 * losses of other implementations can be compared.
 */

import type { LayersModel } from '@tensorflow/tfjs'
import type { ImageDataset } from '../src/data/dataset.ts'
import { residentImages } from '../src/data/dataset.ts'
import type { Device } from '../src/gpu/device.ts'
import type { KernelTask, VariantTable } from '../src/graph/plan/choice.ts'
import type { Program } from '../src/graph/run/program.ts'
import { notFiniteWord, stepRecordColumns, trainingStateWords } from '../src/kernels/training/state.ts'
import { BatchOrder } from '../src/nn/batch-order.ts'
import type { Model } from '../src/nn/model.ts'
import type { WeightNumbers } from '../src/nn/model-weights.ts'
import { lenet5 } from '../src/nn/models/lenet5.ts'
import { adam } from '../src/nn/optimizers.ts'
import { createTrainingStep, TrainingMemory } from '../src/nn/training-step.ts'
import { trainingTasks } from '../src/nn/tune.ts'
import { Random } from '../src/random.ts'
import type { TensorFlow } from '../test/support/tfjs.ts'
import type { BenchCase, OpenCase } from './case.ts'
import type { Subject } from './measure.ts'
import type { PytorchWork } from './pytorch.ts'
import type { TensorFlowSide } from './tensorflow.ts'
import { verifyEqual, WrongResult } from './verify.ts'

/** Steps of an epoch, and so the most in one sample. */
const steps = 256
/** Steps whose losses are compared, all on the first batch. */
const comparedSteps = 3
const imageCount = 10_000
const classes = 10

/**
 * Operations per image: two for every multiply-add of conv1, conv2 and the dense layers, three times (forward, weight
 * gradient, input gradient), without the input gradient of conv1, which is not needed.
 */
const conv1Flops = 2 * 28 * 28 * 6 * 25
const otherFlops = 2 * (10 * 10 * 16 * 150 + 400 * 256 + 256 * 32 + 32 * 10)
const flopsPerImage = 2 * conv1Flops + 3 * otherFlops

export const lenetCases: readonly BenchCase[] = [32, 128, 512].map(
  (batch): BenchCase => ({
    name: `lenet training step, batch ${batch}`,
    bound: 'arithmetic',
    variants: () => ['planned'],
    preferred: () => 'planned',
    open: (device) => openLenetStep(device, batch),
  }),
)

/** Opens a training step on a device, with the adapter's preferred kernels or the given ones. */
export function openLenetStep(device: Device, batch: number, variants: VariantTable = {}): Promise<OpenCase> {
  return LenetStep.open(device, batch, variants)
}

/** The kernels of a step, for tuning. Needs no images. */
export function lenetStepTasks(device: Device, batch: number): readonly KernelTask[] {
  using model = lenet5({}, { seed: 1 })
  const images = new Uint8Array(imageCount * 28 * 28)
  const labels = new Uint8Array(imageCount)
  using data = residentImages(device, { images, labels, height: 28, width: 28, channels: 1, classes })
  return trainingTasks(model, data, { optimizer: adam(), batchSize: batch }).step
}

class LenetStep implements OpenCase {
  readonly flops: number
  readonly bytes = 0
  readonly maxRepeats = steps
  readonly #device: Device
  readonly #batch: number
  readonly #owned: readonly { dispose(): void }[]
  readonly #model: Model
  readonly #initial: WeightNumbers
  readonly #data: ImageDataset
  readonly #order: BatchOrder
  readonly #memory: TrainingMemory
  readonly #program: Program
  /** The first batch, as the first kernel makes it. */
  readonly #first: { readonly images: Float32Array<ArrayBuffer>; readonly labels: Uint8Array }

  private constructor(
    device: Device,
    batch: number,
    made: {
      owned: readonly { dispose(): void }[]
      model: Model
      initial: WeightNumbers
      data: ImageDataset
      order: BatchOrder
      memory: TrainingMemory
      program: Program
      first: { images: Float32Array<ArrayBuffer>; labels: Uint8Array }
    },
  ) {
    this.#device = device
    this.#batch = batch
    this.flops = batch * flopsPerImage
    this.#owned = made.owned
    this.#model = made.model
    this.#initial = made.initial
    this.#data = made.data
    this.#order = made.order
    this.#memory = made.memory
    this.#program = made.program
    this.#first = made.first
  }

  static async open(device: Device, batch: number, variants: VariantTable): Promise<LenetStep> {
    const owned: { dispose(): void }[] = []
    const own = <T extends { dispose(): void }>(resource: T): T => {
      owned.push(resource)
      return resource
    }
    try {
      const model = own(lenet5({}, { seed: 1 }))
      const initial = await model.weightNumbers()
      model.to(device)
      const random = new Random(1, 'images')
      const images = Uint8Array.from({ length: imageCount * 28 * 28 }, () => random.below(256))
      const labels = Uint8Array.from({ length: imageCount }, () => random.below(classes))
      const data = own(residentImages(device, { images, labels, height: 28, width: 28, channels: 1, classes }))
      const memory = own(TrainingMemory.of(model, adam(), steps))
      memory.writeTables(0, steps, steps)
      const order = new BatchOrder(device, batch, steps)
      own(order.buffer)
      const indices = Uint32Array.from({ length: steps * batch }, () => random.below(imageCount))
      for (let step = 1; step < comparedSteps; step++) indices.copyWithin(step * batch, 0, batch)
      order.write(indices)
      const program = own(await createTrainingStep(model, data, order, memory, variants))
      const first = firstBatch(indices.subarray(0, batch), images, labels)
      return new LenetStep(device, batch, { owned, model, initial, data, order, memory, program, first })
    } catch (error) {
      for (const resource of owned.toReversed()) resource.dispose()
      throw error
    }
  }

  get variant(): string {
    return `${this.#program.commands.length} dispatches`
  }

  get pytorch(): PytorchWork {
    return { kind: 'lenet', batch: this.#batch }
  }

  /** Starts an epoch: steps read their number from the state, and advance it. */
  #startEpoch(): void {
    this.#device.write(this.#memory.state.slice(), new Uint32Array(trainingStateWords))
  }

  async run(repeats: number): Promise<void> {
    this.#startEpoch()
    this.#device.submitNow(this.#program.commands, repeats)
    await this.#device.idle()
  }

  async onDevice(repeats: number): Promise<number> {
    this.#startEpoch()
    return (await this.#device.timeOnDevice(this.#program.commands, repeats)) / repeats
  }

  /** Trains from the initial weights. Returns the gradients of the first step and the losses of the first few. */
  async #firstSteps(
    program: Program,
  ): Promise<{ gradients: Float32Array<ArrayBuffer>; losses: Float32Array<ArrayBuffer> }> {
    const device = this.#device
    const memory = this.#memory
    this.#model.setWeights(this.#initial)
    for (const moment of memory.moments) device.write(moment.slice(), new Uint8Array(moment.bytes))
    this.#startEpoch()
    device.submitNow(program.commands)
    const gradients = new Float32Array(await device.read(memory.gradients.slice()))
    device.submitNow(program.commands, comparedSteps - 1)
    const [record, state] = await device.readAll([memory.record, memory.state.slice()])
    if (new Uint32Array(state ?? new ArrayBuffer(4 * trainingStateWords))[notFiniteWord] !== 0)
      throw new WrongResult(`LeNet-5, batch ${this.#batch}: a number is not finite in the first ${comparedSteps} steps`)
    const rows = new Float32Array(record ?? new ArrayBuffer(0))
    const losses = Float32Array.from({ length: comparedSteps }, (_, i) => rows[i * stepRecordColumns] ?? Number.NaN)
    return { gradients, losses }
  }

  /** Compares with the plain variant of every kernel: gradients to 1e-4 of the largest, losses to 1e-4. */
  async verify(): Promise<void> {
    const state = new Uint32Array(await this.#device.read(this.#memory.state.slice()))
    if (state[notFiniteWord] !== 0)
      throw new WrongResult(`LeNet-5, batch ${this.#batch}: a number was not finite while the step was timed`)
    const plain = Object.fromEntries(
      this.#program.choices.map(({ family, variant, alternatives }) => [family, alternatives[0] ?? variant]),
    )
    const plainProgram = await createTrainingStep(this.#model, this.#data, this.#order, this.#memory, plain)
    try {
      const expected = await this.#firstSteps(plainProgram)
      const actual = await this.#firstSteps(this.#program)
      const largest = expected.gradients.reduce((most, x) => Math.max(most, Math.abs(x)), 0)
      const what = `LeNet-5, batch ${this.#batch}`
      verifyEqual(`${what}: gradients`, { rtol: 0, atol: 1e-4 * largest }, actual.gradients, expected.gradients)
      verifyEqual(`${what}: losses`, { rtol: 1e-4, atol: 0 }, actual.losses, expected.losses)
    } finally {
      plainProgram.dispose()
    }
  }

  /** Trains only on the first batch, which it has as float32: it does not gather batches. */
  async rival(side: TensorFlowSide): Promise<Subject> {
    const { tf } = side
    const model = tensorFlowLenet(tf)
    model.setWeights([...this.#initial.values()].map(({ shape, data }) => tf.tensor(data, [...shape])))
    const x = tf.tensor4d(this.#first.images, [this.#batch, 32, 32, 1])
    const y = tf.oneHot(tf.tensor1d(Int32Array.from(this.#first.labels), 'int32'), classes)
    const train = async (): Promise<number> => {
      const loss = await model.trainOnBatch(x, y)
      return typeof loss === 'number' ? loss : Number.NaN
    }
    const { losses } = await this.#firstSteps(this.#program)
    for (const ours of losses) {
      const theirs = await train()
      if (!(Math.abs(theirs - ours) <= 1e-3 * Math.abs(ours)))
        throw new Error(`its loss is ${theirs} where ours is ${ours}`)
    }
    return {
      maxRepeats: steps,
      run: async (repeats) => {
        for (let i = 0; i < repeats; i++) await train() // waits for the loss, as every caller of trainOnBatch does
        await side.settle()
      },
    }
  }

  dispose(): void {
    for (const resource of this.#owned.toReversed()) resource.dispose()
  }
}

/** A batch as the step's first kernel makes it: 32x32, zero-padded, in [0, 1]. */
function firstBatch(
  indices: Uint32Array,
  images: Uint8Array,
  labels: Uint8Array,
): { images: Float32Array<ArrayBuffer>; labels: Uint8Array } {
  const padded = new Float32Array(indices.length * 32 * 32)
  indices.forEach((image, i) => {
    for (let y = 0; y < 28; y++) {
      const row = images.subarray((image * 28 + y) * 28, (image * 28 + y + 1) * 28)
      padded.set(
        Float32Array.from(row, (byte) => byte / 255),
        (i * 32 + y + 2) * 32 + 2,
      )
    }
  })
  return { images: padded, labels: Uint8Array.from(indices, (image) => labels[image] ?? 0) }
}

function tensorFlowLenet(tf: TensorFlow): LayersModel {
  const { conv2d, dense, flatten, maxPooling2d } = tf.layers
  const model = tf.sequential({
    layers: [
      conv2d({ inputShape: [32, 32, 1], filters: 6, kernelSize: 5, activation: 'relu' }),
      maxPooling2d({ poolSize: 2 }),
      conv2d({ filters: 16, kernelSize: 5, activation: 'relu' }),
      maxPooling2d({ poolSize: 2 }),
      flatten(),
      dense({ units: 256, activation: 'relu' }),
      dense({ units: 32, activation: 'relu' }),
      dense({ units: classes }),
    ],
  })
  model.compile({
    optimizer: tf.train.adam(1e-3, 0.9, 0.999, 1e-7),
    loss: (wanted, logits) => tf.losses.softmaxCrossEntropy(wanted, logits),
  })
  return model
}
