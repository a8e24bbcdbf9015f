/**
 * The pretrained networks as frozen feature extractors: a forward pass without the top, at a small image size and at
 * the one they were trained on, in batches as large as feature extraction uses. Weights are hashed from their names (a
 * kernel's time does not depend on its numbers), so that TensorFlow.js gets the same.
 */

import type { Device, DeviceBuffer } from '../src/gpu/device.ts'
import type { Value } from '../src/graph/node.ts'
import type { KernelTask, VariantTable } from '../src/graph/plan/choice.ts'
import { Program, planFor } from '../src/graph/run/program.ts'
import { elementCount } from '../src/kernels/kernel.ts'
import type { FrozenModel } from '../src/nn/freeze.ts'
import { freeze } from '../src/nn/freeze.ts'
import type { Model } from '../src/nn/model.ts'
import type { PretrainedName } from '../src/nn/models/pretrained.ts'
import { pretrained } from '../src/nn/models/pretrained.ts'
import { multiplyAdds } from '../src/nn/work.ts'
import { DeviceStorage, leaf, Tensor } from '../src/operators/tensor.ts'
import { Random } from '../src/random.ts'
import { extractionBatch } from '../src/transfer/features.ts'
import { hashedGains, hashedReader } from '../src/weights/hashed.ts'
import { hashedLayersModel } from '../test/support/layers-model.ts'
import type { BenchCase, OpenCase } from './case.ts'
import type { Subject } from './measure.ts'
import type { PytorchWork } from './pytorch.ts'
import type { TensorFlowSide } from './tensorflow.ts'
import { verifyEqual } from './verify.ts'

export interface NetworkSize {
  /** Height and width of an image. */
  readonly pixels: number
  /** Images per pass: `extractionBatch` by default, fewer at large sizes, where a pass takes seconds. */
  readonly batch?: number
  /** True where a pass of TensorFlow.js would take minutes. */
  readonly isLarge?: boolean
}

export const networkSizes: { readonly [name in PretrainedName]: readonly NetworkSize[] } = {
  vgg16: [{ pixels: 32 }, { pixels: 224, batch: 8, isLarge: true }],
  xception: [{ pixels: 71 }, { pixels: 299, batch: 4, isLarge: true }],
  resnet152v2: [{ pixels: 32 }, { pixels: 224, batch: 4, isLarge: true }],
}

export const networkCases: readonly BenchCase[] = (Object.keys(networkSizes) as PretrainedName[]).flatMap((name) =>
  networkSizes[name].map(
    (size): BenchCase => ({
      name: `${name} features at ${size.pixels} px`,
      bound: 'arithmetic',
      variants: () => ['planned'],
      preferred: () => 'planned',
      open: (device) => openNetwork(device, name, size),
    }),
  ),
)

interface Pass {
  readonly program: Program
  readonly input: DeviceBuffer
  readonly images: Float32Array<ArrayBuffer>
}

/** A network on a device, with the adapter's preferred kernels. */
export interface OpenNetwork extends OpenCase {
  /** The kernels of a pass, for tuning. */
  readonly tasks: readonly KernelTask[]
  /** The same network on the same images with other kernels. Dispose this one first. */
  withVariants(variants: VariantTable): Promise<OpenCase>
}

export function openNetwork(device: Device, name: PretrainedName, size: NetworkSize): Promise<OpenNetwork> {
  return NetworkForward.open(device, name, size)
}

interface OpenedNetwork {
  readonly device: Device
  readonly name: PretrainedName
  readonly size: NetworkSize
  readonly model: Model
  readonly frozen: FrozenModel
  readonly batch: number
}

class NetworkForward implements OpenNetwork {
  readonly bytes = 0
  readonly maxRepeats = 64
  readonly flops: number
  readonly imagesPerRepeat: number
  readonly variant: string
  readonly notes: readonly string[]
  readonly #network: OpenedNetwork
  readonly #ownsNetwork: boolean
  readonly #pass: Pass

  private constructor(network: OpenedNetwork, pass: Pass, ownsNetwork: boolean) {
    const { model, frozen, batch } = network
    this.#network = network
    this.#ownsNetwork = ownsNetwork
    this.#pass = pass
    this.flops = 2 * batch * multiplyAdds(model.layers)
    this.imagesPerRepeat = batch
    this.variant = `batch ${batch}`
    this.notes = [memoryNote(frozen, pass, batch)]
  }

  static async open(device: Device, name: PretrainedName, size: NetworkSize): Promise<NetworkForward> {
    const model = pretrained[name].build({ size: size.pixels, pooling: 'avg' })
    const frozen = freeze(model)
    try {
      await frozen.load(device, hashedReader(hashedGains[name]))
      const batch = networkBatch(frozen, size, device)
      const pass = await makePass(device, frozen, batch)
      return new NetworkForward({ device, name, size, model, frozen, batch }, pass, true)
    } catch (error) {
      frozen.dispose()
      throw error
    }
  }

  get pytorch(): PytorchWork | undefined {
    const { name, size, batch } = this.#network
    return name === 'vgg16' ? { kind: name, pixels: size.pixels, batch } : undefined
  }

  get tasks(): readonly KernelTask[] {
    const { device, frozen, batch } = this.#network
    return planFor(device, tracePass(frozen, batch, this.#pass.input), { record: true }).tasks
  }

  async withVariants(variants: VariantTable): Promise<NetworkForward> {
    const { device, frozen, batch } = this.#network
    const pass = await makePass(device, frozen, batch, { images: this.#pass.images, variants })
    return new NetworkForward(this.#network, pass, false)
  }

  async run(repeats: number): Promise<void> {
    this.#network.device.submitNow(this.#pass.program.commands, repeats)
    await this.#network.device.idle()
  }

  async onDevice(repeats: number): Promise<number> {
    return (await this.#network.device.timeOnDevice(this.#pass.program.commands, repeats)) / repeats
  }

  async #features(pass: Pass): Promise<Float32Array<ArrayBuffer>> {
    this.#network.device.submitNow(pass.program.commands)
    const [bytes] = await this.#network.device.readAll(pass.program.results)
    return new Float32Array(bytes ?? new ArrayBuffer(0))
  }

  /**
   * Compares the first image's features with those of a separate pass, with the plain kernels unless that is too slow.
   */
  async verify(): Promise<void> {
    const actual = await this.#features(this.#pass)
    const alone = await makePass(this.#network.device, this.#network.frozen, 1, {
      images: this.#pass.images,
      isPlain: this.#network.size.isLarge !== true,
    })
    try {
      const expected = await this.#features(alone)
      const largest = expected.reduce((most, x) => Math.max(most, Math.abs(x)), 0)
      const what = `${this.#network.name} at ${this.#network.size.pixels} px`
      verifyEqual(what, { rtol: 0, atol: 2e-5 * largest }, actual.subarray(0, expected.length), expected)
    } finally {
      release(alone)
    }
  }

  async rival(side: TensorFlowSide): Promise<Subject> {
    const { name, size } = this.#network
    const { pixels, isLarge } = size
    if (isLarge) throw new Error('a pass takes minutes')
    const { tf } = side
    const model = await hashedLayersModel(tf, name, pixels)
    const x = tf.tensor4d(this.#pass.images, [this.imagesPerRepeat, pixels, pixels, 3])
    const work = () => tf.mean(model.predict(x) as ReturnType<typeof tf.tensor4d>, [1, 2])
    const theirs = await side.firstResult(work)
    const ours = await this.#features(this.#pass)
    const largest = ours.reduce((most, value) => Math.max(most, Math.abs(value)), 0)
    verifyEqual(`${name} against TensorFlow.js`, { rtol: 0, atol: 2e-5 * largest }, ours, theirs)
    return side.subject(work)
  }

  dispose(): void {
    release(this.#pass)
    if (this.#ownsNetwork) this.#network.frozen.dispose()
  }
}

/** The number of operations in a pass. Needs no weights. */
export function flopsOfPass(device: Device, name: PretrainedName, size: NetworkSize): number {
  const model = pretrained[name].build({ size: size.pixels, pooling: 'avg' })
  using frozen = freeze(model)
  return 2 * networkBatch(frozen, size, device) * multiplyAdds(model.layers)
}

/** The number of images per pass. */
export function networkBatch(frozen: FrozenModel, { batch }: NetworkSize, device: Device): number {
  const last = frozen.layers.at(-1)?.layer.name ?? ''
  return batch ?? extractionBatch(frozen, [{ layer: last, pooling: 'none' }], device)
}

/** The features of the images in `input`, traced. */
function tracePass(frozen: Model, batch: number, input: DeviceBuffer): readonly { readonly value: Value }[] {
  const shape = [batch, ...frozen.inputShape]
  const x = new Tensor(leaf(new DeviceStorage(input.slice(0, 4 * elementCount(shape))), { shape, dtype: 'f32' }))
  return [{ value: frozen.call(x).value }]
}

interface PassOptions {
  readonly images?: Float32Array<ArrayBuffer>
  readonly isPlain?: boolean
  readonly variants?: VariantTable
}

/** A program that pushes `batch` images through the network. */
async function makePass(device: Device, frozen: Model, batch: number, options: PassOptions = {}): Promise<Pass> {
  const shape = [batch, ...frozen.inputShape]
  const random = new Random(1, 'images')
  const images =
    options.images?.slice(0, elementCount(shape)) ??
    Float32Array.from({ length: elementCount(shape) }, () => random.uniform() * 2 - 1)
  const input = device.allocate(images.byteLength, 'images')
  try {
    device.write(input.slice(), images)
    const wanted = tracePass(frozen, batch, input)
    const { choices } = planFor(device, wanted)
    const plain = Object.fromEntries(
      choices.map(({ family, variant, alternatives }) => [family, alternatives[0] ?? variant]),
    )
    const plan = planFor(device, wanted, { variants: options.isPlain ? plain : options.variants })
    return { program: await Program.create(device, plan, `${frozen.name} of ${batch}`), input, images }
  } catch (error) {
    input.dispose()
    throw error
  }
}

function release({ program, input }: Pass): void {
  program.dispose()
  input.dispose()
}

/** The memory in use, compared with the least possible: the weights and the two largest activations. */
function memoryNote(frozen: Model, { program, input }: Pass, batch: number): string {
  const weights = frozen.parameterCount * 4
  const activations = [frozen.inputShape, ...frozen.layers.map(({ outputShape }) => outputShape)]
    .map((shape) => 4 * batch * elementCount(shape))
    .toSorted((a, b) => b - a)
  const least = weights + (activations[0] ?? 0) + (activations[1] ?? 0)
  const all = weights + program.arenaBytes + input.bytes
  const mb = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`
  return `memory: weights ${mb(weights)}, activations ${mb(program.arenaBytes)}, images ${mb(input.bytes)}: ${(all / least).toFixed(2)} times the weights and the two largest activations`
}
