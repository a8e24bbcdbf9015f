/**
 * The pretrained networks as frozen feature extractors: a forward pass without a top, at a small size and at the one they
 * were trained on, with as many images at a time as the extractor of features takes. Weights are made up from their names
 * (a kernel's time does not depend on its numbers), so that TensorFlow.js can be given the same.
 */

import { DeviceStorage, leaf, Tensor } from '../src/autograd/tensor.ts'
import type { Device, DeviceBuffer } from '../src/gpu/device.ts'
import { Program, planFor } from '../src/graph/program.ts'
import { elementCount } from '../src/kernels/kernel.ts'
import type { FrozenModel } from '../src/nn/freeze.ts'
import { freeze } from '../src/nn/freeze.ts'
import type { Model } from '../src/nn/model.ts'
import type { PretrainedName } from '../src/nn/models/pretrained.ts'
import { pretrained } from '../src/nn/models/pretrained.ts'
import { Random } from '../src/random.ts'
import { extractionBatch } from '../src/study/features.ts'
import { hashedGains, hashedReader } from '../src/weights/hashed.ts'
import { hashedLayersModel } from '../test/support/layers-model.ts'
import type { BenchCase, OpenCase } from './case.ts'
import { verifyEqual } from './kernel-run.ts'
import type { Subject } from './measure.ts'
import type { TensorFlowSide } from './tensorflow.ts'

interface Size {
  readonly pixels: number
  /** `extractionBatch` by default; at large sizes few, since a pass takes seconds. */
  readonly batch?: number
  /** Where a pass of TensorFlow.js would take minutes. */
  readonly isLarge?: boolean
}

const sizes: { readonly [name in PretrainedName]: readonly Size[] } = {
  vgg16: [{ pixels: 32 }, { pixels: 224, batch: 8, isLarge: true }],
  xception: [{ pixels: 71 }, { pixels: 299, batch: 4, isLarge: true }],
  resnet152v2: [{ pixels: 32 }, { pixels: 224, batch: 4, isLarge: true }],
}

export const networkCases: readonly BenchCase[] = (Object.keys(sizes) as PretrainedName[]).flatMap((name) =>
  sizes[name].map(
    (size): BenchCase => ({
      name: `${name} features at ${size.pixels} px`,
      bound: 'arithmetic',
      variants: () => ['planned'],
      preferred: () => 'planned',
      open: (device) => NetworkForward.open(device, name, size),
    }),
  ),
)

/** Two operations for each multiply-add of the convolutions, for one image. */
export function flopsOfImage(model: Model): number {
  let flops = 0
  for (const { outputShape, weights } of model.layers) {
    const positions = elementCount(outputShape) / (outputShape.at(-1) ?? 1)
    for (const { name, shape } of weights) if (/kernel$/.test(name)) flops += 2 * positions * elementCount(shape)
  }
  return flops
}

interface Pass {
  readonly program: Program
  readonly input: DeviceBuffer
  readonly images: Float32Array<ArrayBuffer>
}

class NetworkForward implements OpenCase {
  readonly bytes = 0
  readonly maxRepeats = 64
  readonly flops: number
  readonly imagesPerRepeat: number
  readonly variant: string
  readonly notes: readonly string[]
  readonly #device: Device
  readonly #name: PretrainedName
  readonly #size: Size
  readonly #frozen: FrozenModel
  readonly #pass: Pass

  private constructor(
    device: Device,
    name: PretrainedName,
    size: Size,
    made: { model: Model; frozen: FrozenModel; pass: Pass; batch: number },
  ) {
    const { model, frozen, pass, batch } = made
    this.#device = device
    this.#name = name
    this.#size = size
    this.#frozen = frozen
    this.#pass = pass
    this.flops = batch * flopsOfImage(model)
    this.imagesPerRepeat = batch
    this.variant = `batch ${batch}`
    this.notes = [memoryNote(frozen, pass, batch)]
  }

  static async open(device: Device, name: PretrainedName, size: Size): Promise<NetworkForward> {
    const model = pretrained[name].build({ size: size.pixels, pooling: 'avg' })
    const frozen = freeze(model)
    try {
      await frozen.load(device, hashedReader(hashedGains[name]))
      const last = frozen.layers.at(-1)?.layer.name ?? ''
      const batch = size.batch ?? extractionBatch(frozen, [{ layer: last, pooling: 'none' }], device)
      return new NetworkForward(device, name, size, {
        model,
        frozen,
        batch,
        pass: await makePass(device, frozen, batch),
      })
    } catch (error) {
      frozen.dispose()
      throw error
    }
  }

  async run(repeats: number): Promise<void> {
    this.#device.submitNow(this.#pass.program.commands, repeats)
    await this.#device.idle()
  }

  async onDevice(repeats: number): Promise<number> {
    return (await this.#device.timeOnDevice(this.#pass.program.commands, repeats)) / repeats
  }

  async #features(pass: Pass): Promise<Float32Array<ArrayBuffer>> {
    this.#device.submitNow(pass.program.commands)
    const [bytes] = await this.#device.readAll(pass.program.results)
    return new Float32Array(bytes ?? new ArrayBuffer(0))
  }

  /** The first image's features against those it gets alone, by the plain kernels where that takes seconds only. */
  async verify(): Promise<void> {
    const actual = await this.#features(this.#pass)
    const alone = await makePass(this.#device, this.#frozen, 1, {
      images: this.#pass.images,
      isPlain: this.#size.isLarge !== true,
    })
    try {
      const expected = await this.#features(alone)
      const largest = expected.reduce((most, x) => Math.max(most, Math.abs(x)), 0)
      const what = `${this.#name} at ${this.#size.pixels} px`
      verifyEqual(what, { rtol: 0, atol: 2e-5 * largest }, actual.subarray(0, expected.length), expected)
    } finally {
      release(alone)
    }
  }

  async rival(side: TensorFlowSide): Promise<Subject> {
    const { pixels, isLarge } = this.#size
    if (isLarge) throw new Error('a pass takes minutes')
    const { tf } = side
    const model = await hashedLayersModel(tf, this.#name, pixels)
    const x = tf.tensor4d(this.#pass.images, [this.imagesPerRepeat, pixels, pixels, 3])
    const work = () => tf.mean(model.predict(x) as ReturnType<typeof tf.tensor4d>, [1, 2])
    const theirs = await side.firstResult(work)
    const ours = await this.#features(this.#pass)
    const largest = ours.reduce((most, value) => Math.max(most, Math.abs(value)), 0)
    verifyEqual(`${this.#name} against TensorFlow.js`, { rtol: 0, atol: 2e-5 * largest }, ours, theirs)
    return side.subject(work)
  }

  dispose(): void {
    release(this.#pass)
    this.#frozen.dispose()
  }
}

interface PassOptions {
  readonly images?: Float32Array<ArrayBuffer>
  readonly isPlain?: boolean
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
    const x = new Tensor(leaf(new DeviceStorage(input.slice(0, images.byteLength)), { shape, dtype: 'f32' }))
    const wanted = [{ value: frozen.call(x).value }]
    const { choices } = planFor(device, wanted)
    const plain = Object.fromEntries(
      choices.map(({ family, variant, alternatives }) => [family, alternatives[0] ?? variant]),
    )
    const plan = options.isPlain ? planFor(device, wanted, { variants: plain }) : planFor(device, wanted)
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

/** What is on the device, beside what it cannot do without: the weights and the two largest activations. */
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
