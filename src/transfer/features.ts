/**
 * Extracts frozen features: raw images on the device are resized, preprocessed as in the network's training and run
 * through it; the outputs of the named layers are pooled, concatenated and read back. Every batch runs the same
 * program; the next one is submitted before the last is read, so that the device never waits for the host.
 */

import type { ImageDataset } from '../data/dataset.ts'
import { WeftgradError } from '../errors.ts'
import type { Device } from '../gpu/device.ts'
import type { Shape } from '../graph/node.ts'
import { shapeText } from '../graph/node.ts'
import type { KernelTask, VariantTable } from '../graph/plan/choice.ts'
import { Program, planFor } from '../graph/run/program.ts'
import { BatchOrder } from '../nn/batch-order.ts'
import { withFittingBatch } from '../nn/fitting-batch.ts'
import type { Model } from '../nn/model.ts'
import { type PreprocessingMode, preprocessInput, scaledPixels } from '../nn/preprocessing.ts'
import { averagePool, concatenate, flatten, globalAveragePool, max, resize } from '../operators/index.ts'
import { type Tensor, tensor } from '../operators/tensor.ts'
import type { FeaturePooling, FeatureTap } from '../tasks/feature-taps.ts'

/** The columns of a tap's numbers in a row of features. */
export interface FeatureColumns extends FeatureTap {
  readonly from: number
  readonly count: number
}

/** The columns of a row, in the order of the taps. Throws 'argument' for a missing layer, or none, with likely ones. */
export function featureColumns(base: Model, taps: readonly FeatureTap[]): readonly FeatureColumns[] {
  if (taps.length === 0) {
    const layers = likelyTaps(base)
    throw new WeftgradError(
      'argument',
      `Features need layers to come from: name one or more with --layers. Likely ones of ${base.name} are ${layers.join(', ')}.`,
      { layers },
    )
  }
  let from = 0
  return taps.map((tap) => {
    const shape = base.layers[base.positionOf(tap.layer)]?.outputShape ?? []
    const [count] = pooledShape(shape, tap.pooling)
    from += count
    return { ...tap, from: from - count, count }
  })
}

/** Layers that only prepare the next one's input. */
const preparing = /^(ZeroPadding2D|Rescaling|Normalization)$/

/**
 * Layers that summarise an image at each of the sizes that a network reduces it to, and the last one of images: what comes after
 * them depends on nothing before them. Where a layer is followed by its normalisation or activation, the latter is meant.
 */
export function likelyTaps({ layers }: Pick<Model, 'layers'>): readonly string[] {
  const lastUse = layers.map((_, i) => layers.findLastIndex(({ inputs }) => inputs.includes(i)))
  const firstOfSize = new Map<string, string>()
  let last: string | undefined
  let reach = layers.findLastIndex(({ inputs }) => inputs.includes(-1))
  for (const [i, { layer, outputShape }] of layers.entries()) {
    const isBypassed = reach > i
    reach = Math.max(reach, lastUse[i] ?? -1)
    const next = lastUse[i] === i + 1 ? (layers[i + 1]?.layer.className ?? '') : ''
    const isContinued =
      (/Activation|ReLU/.test(next) && /Conv|BatchNormalization|Add/.test(layer.className)) ||
      (next === 'BatchNormalization' && /Conv/.test(layer.className))
    if (isBypassed || isContinued || outputShape.length !== 3 || preparing.test(layer.className)) continue
    const size = outputShape.slice(0, 2).join()
    if (!firstOfSize.has(size)) firstOfSize.set(size, layer.name)
    last = layer.name
  }
  return [...new Set([...firstOfSize.values(), ...(last === undefined ? [] : [last])])]
}

export function featureWidth(columns: readonly FeatureColumns[]): number {
  return columns.reduce((sum, { count }) => sum + count, 0)
}

/** The number of parameters that these layers' outputs depend on, their own included. */
export function usedParameters(base: Model, names: readonly string[]): number {
  const used = new Set<number>()
  const open = names.map((name) => base.positionOf(name))
  for (let position = open.pop(); position !== undefined; position = open.pop()) {
    if (position < 0 || used.has(position)) continue
    used.add(position)
    open.push(...(base.layers[position]?.inputs ?? []))
  }
  const weights = base.layers.filter((_, i) => used.has(i)).flatMap((layer) => layer.weights)
  return weights.reduce((sum, { tensor }) => sum + tensor.size, 0)
}

/** The shape after pooling an image [height, width, channels]; other shapes are flattened. */
export function pooledShape(shape: Shape, pooling: FeaturePooling): readonly [features: number] {
  const [height = 1, width = 1, channels = 1] = shape
  if (shape.length !== 3 || pooling === 'none') return [shape.reduce((product, extent) => product * extent, 1)]
  return [pooling === 'avg2' ? Math.min(2, height) * Math.min(2, width) * channels : channels]
}

/** Pools [n, h, w, c] to [n, features]. */
export function pooled(x: Tensor, pooling: FeaturePooling): Tensor {
  const [, height = 1, width = 1] = x.shape
  if (x.shape.length !== 4 || pooling === 'none') return flatten(x)
  if (pooling === 'avg') return globalAveragePool(x)
  if (pooling === 'max') return max(x, { axes: [1, 2] })
  const half = (extent: number): number => Math.ceil(extent / 2)
  return flatten(
    averagePool(x, {
      poolSize: [half(height), half(width)],
      strides: [Math.max(1, Math.floor(height / 2)), Math.max(1, Math.floor(width / 2))],
    }),
  )
}

export interface ExtractorOptions {
  readonly preprocessing: PreprocessingMode
  /** Images at a time; `extractionBatch` by default. */
  readonly batch?: number
  /** Kernel variants to use instead of the preferred ones. */
  readonly variants?: VariantTable
}

export interface ExtractOptions {
  readonly signal?: AbortSignal | undefined
  /** Called with the number of images done. */
  readonly onProgress?: ((done: number) => void) | undefined
}

export class FeatureExtractor {
  readonly columns: readonly FeatureColumns[]
  /** Numbers per row. */
  readonly width: number
  /** Images at a time. */
  readonly batch: number
  readonly #images: ImageDataset
  readonly #order: BatchOrder
  readonly #program: Program

  private constructor(images: ImageDataset, columns: readonly FeatureColumns[], order: BatchOrder, program: Program) {
    this.#images = images
    this.columns = columns
    this.width = featureWidth(columns)
    this.batch = order.batch
    this.#order = order
    this.#program = program
  }

  /**
   * Makes an extractor; the base must have its weights. Takes fewer images at a time if memory does not suffice. Throws
   * 'argument' for layers the base lacks, 'limit', 'device'.
   */
  static async create(
    base: Model,
    images: ImageDataset,
    taps: readonly FeatureTap[],
    options: ExtractorOptions,
  ): Promise<FeatureExtractor> {
    const { batch = extractionBatch(base, taps, images.device) } = options
    return withFittingBatch(Math.min(images.count, batch), (fitting) =>
      FeatureExtractor.#of(base, images, taps, { ...options, batch: fitting }),
    )
  }

  static async #of(
    base: Model,
    images: ImageDataset,
    taps: readonly FeatureTap[],
    options: ExtractorOptions & { readonly batch: number },
  ): Promise<FeatureExtractor> {
    const { device } = images
    const { batch } = options
    const columns = featureColumns(base, taps)
    const order = new BatchOrder(device, batch, 1)
    try {
      const value = traced(base, images, taps, order, options.preprocessing).value
      const { variants = {} } = options
      const program = await Program.create(device, planFor(device, [{ value }], { variants }), `features of ${batch}`)
      return new FeatureExtractor(images, columns, order, program)
    } catch (error) {
      order.buffer.dispose()
      throw error
    }
  }

  /** Extracts the features of `count` images of the data set from `first` on, row by row. Throws 'aborted'. */
  async extract(first: number, count: number, { signal, onProgress }: ExtractOptions = {}): Promise<Float32Array> {
    const { indices, device } = this.#images
    const rows = new Float32Array(count * this.width)
    const arrive = async (start: number, reading: Promise<ArrayBuffer[]>): Promise<void> => {
      const [bytes = new ArrayBuffer(0)] = await reading
      const taken = Math.min(this.batch, count - start)
      rows.set(new Float32Array(bytes, 0, taken * this.width), start * this.width)
      onProgress?.(start + taken)
    }
    let underWay: Promise<void> = Promise.resolve()
    for (let start = 0; start < count; start += this.batch) {
      if (signal?.aborted) break
      // An incomplete last batch repeats its last image.
      const wanted = Uint32Array.from({ length: this.batch }, (_, i) => {
        return indices[first + Math.min(start + i, count - 1)] ?? 0
      })
      this.#order.write(wanted)
      await this.#program.run()
      const reading = arrive(start, device.readAll(this.#program.results))
      reading.catch(() => undefined) // awaited in the next turn, or below
      await underWay
      underWay = reading
    }
    await underWay
    if (signal?.aborted) throw new WeftgradError('aborted', 'The extraction of features was stopped.')
    return rows
  }

  dispose(): void {
    this.#program.dispose()
    this.#order.buffer.dispose()
  }

  [Symbol.dispose](): void {
    this.dispose()
  }
}

/** The features of the images that `order` names: f32 [batch, width]. */
function traced(
  base: Model,
  images: ImageDataset,
  taps: readonly FeatureTap[],
  order: BatchOrder,
  preprocessing: PreprocessingMode,
): Tensor {
  const [height, width, channels] = images.imageShape
  const [size = 0, outWidth = 0, depth = 3] = base.inputShape
  if (channels !== 1 && (channels !== 3 || depth === 1))
    throw new WeftgradError(
      'shape',
      `${base.name} takes ${depth === 1 ? 'grey' : 'grey or RGB'} images, not ${shapeText(images.imageShape)}. ${depth === 1 ? 'Read them with --channels 1.' : ''}`.trimEnd(),
    )
  const firstStep = tensor([0, 0, 0, 0], [4], 'u32')
  const whole = { padTop: 0, padLeft: 0, outHeight: height, outWidth: width }
  const { x: bytes } = images.pixels(order, firstStep, { ...whole, divisor: 1 })
  const x = prepared(resize(bytes, { height: size, width: outWidth }), depth, preprocessing)
  const outputs = base.features(
    x,
    taps.map(({ layer }) => layer),
  )
  const [first, ...rest] = outputs.map((output, i) => pooled(output, taps[i]?.pooling ?? 'none'))
  if (first === undefined) throw new RangeError('there is at least one tap')
  return rest.length === 0 ? first : concatenate([first, ...rest], 1)
}

/** Pixels as a network of images with `depth` channels takes them. */
function prepared(pixels: Tensor, depth: number, mode: PreprocessingMode): Tensor {
  if (depth !== 1) return preprocessInput(pixels, mode)
  if (mode !== 'caffe' && mode !== 'torch') return scaledPixels(pixels, mode)
  throw new WeftgradError('argument', `The preprocessing '${mode}' is for RGB; the network takes grey. Use another.`, {
    mode,
  })
}

/** The kernels of a batch, for tuning. */
export function extractionTasks(
  base: Model,
  images: ImageDataset,
  taps: readonly FeatureTap[],
  { preprocessing, batch = extractionBatch(base, taps, images.device) }: ExtractorOptions,
): readonly KernelTask[] {
  const order = new BatchOrder(images.device, Math.min(batch, images.count), 1)
  using _buffer = order.buffer
  const { value } = traced(base, images, taps, order, preprocessing)
  return planFor(images.device, [{ value }], { record: true }).tasks
}

/**
 * The most images per batch. Enough to keep a CPU's cores busy without using more memory: on two cores VGG16 at 32
 * pixels does 146, 147, 150 and 146 images/s by 16, 32, 64 and 128 at a time (the last make activations of 32 MiB),
 * Xception at 71 does 119, 125, 128 and 129 by 8, 16, 32 (18 MiB) and 64. A GPU should gain from larger batches (not
 * measured): its limits are guesses, with 16 images of VGG16 at 224 pixels, 0.5 TFLOP, the most that fit into 256 MiB.
 */
const mostImages = { cpu: 64, gpu: 256 } as const
const largestBytes = { cpu: 32 * 2 ** 20, gpu: 256 * 2 ** 20 } as const

/** The number of images per batch, a power of two. Throws 'limit' if even one image is too large for the adapter. */
export function extractionBatch(base: Model, taps: readonly FeatureTap[], device: Device): number {
  const last = Math.max(...taps.map(({ layer }) => base.positionOf(layer)))
  const shapes = [base.inputShape, ...base.layers.slice(0, last + 1).map(({ outputShape }) => outputShape)]
  const largest = Math.max(...shapes.map((shape) => shape.reduce((product, extent) => product * extent, 4)))
  const { maxStorageBufferBindingSize: visible } = device.limits
  if (largest > visible)
    throw new WeftgradError(
      'limit',
      `${base.name} needs ${largest} bytes for one image, more than a kernel on this adapter can bind. Use a smaller size.`,
      { largest },
    )
  const kind = device.facts.class
  const most = Math.min(mostImages[kind], Math.min(visible, largestBytes[kind]) / largest)
  return Math.max(1, 2 ** Math.floor(Math.log2(most)))
}
