/** Runs VGG16 as a frozen network on photos, one at a time, with weights from a file. */
import { type Device, evaluate, nn, resize, slice, tensor, WeftgradError, weights } from 'weftgrad'
import type { PhotoNetworkSummary, PhotoResult } from '../session.ts'

/** The middle square of a photo. */
export interface SquarePhoto {
  /** In pixels. */
  readonly side: number
  /** `side * side * 4` bytes: red, green, blue and alpha of each pixel, row by row. */
  readonly rgba: ArrayLike<number> & Iterable<number>
}

/** The input size of VGG16, in pixels. */
const side = 224
const features = 'block5_pool'
const top = 'predictions'
const shown = 5

export class PhotoNetwork {
  readonly device: Device
  readonly file: File
  readonly summary: PhotoNetworkSummary
  readonly #model: nn.FrozenModel

  private constructor(device: Device, file: File, model: nn.FrozenModel, hasTop: boolean) {
    this.device = device
    this.file = file
    this.summary = { source: file.name, hasTop, side }
    this.#model = model
  }

  /**
   * Streams the file to the device.
   * @throws WeftgradError 'format' or 'file' if the file cannot be read, 'mismatch' for the weights of another network,
   * 'limit' if the device is too small.
   */
  static async load(device: Device, file: File, onProgress: (fraction: number) => void): Promise<PhotoNetwork> {
    const opened = await weights.open(file)
    try {
      const classes = classesOf(opened)
      const hasTop = classes !== undefined
      const model = nn.freeze(nn.vgg16(hasTop ? { includeTop: true, classes } : { size: side }), { keep: [features] })
      await weights.loadWeights(model, device, opened, {
        onProgress: ({ bytes, totalBytes }) => onProgress(bytes / totalBytes),
      })
      return new PhotoNetwork(device, file, model, hasTop)
    } finally {
      opened.close()
    }
  }

  /** @param classIndex the text of Keras' imagenet_class_index.json. @throws WeftgradError 'format' if it is not JSON. */
  async describe(photo: SquarePhoto, classIndex: string | undefined): Promise<PhotoResult> {
    const index = classIndex === undefined ? undefined : parsed(classIndex)
    const began = performance.now()
    const rgba = tensor(Float32Array.from(photo.rgba), [1, photo.side, photo.side, 4])
    const rgb = slice(rgba, [0, 0, 0, 0], [1, photo.side, photo.side, 3])
    const input = nn.preprocessInput(resize(rgb, { height: side, width: side }), 'caffe')
    const names = this.summary.hasTop ? [features, top] : [features]
    const [maps, probabilities] = await evaluate(this.#model.features(input, names))
    const [height = 0, width = 0, channels = 0] =
      this.#model.layers[this.#model.positionOf(features)]?.outputShape ?? []
    return {
      featureShape: [height, width, channels],
      features: Float32Array.from(maps ?? []),
      ...(probabilities === undefined ? {} : { top5: likeliest(Float32Array.from(probabilities), index) }),
      milliseconds: performance.now() - began,
    }
  }

  dispose(): void {
    this.#model.dispose()
  }
}

/** The photo's middle square, at most twice the network's input size; the GPU does the rest of the resizing. */
export function middleSquare(photo: ImageBitmap): SquarePhoto {
  const whole = Math.min(photo.width, photo.height)
  const size = Math.min(whole, 2 * side)
  const context = new OffscreenCanvas(size, size).getContext('2d', { willReadFrequently: true })
  if (context === null) throw new WeftgradError('file', 'This browser cannot draw a photo in a worker.')
  context.imageSmoothingQuality = 'high'
  const [left, upper] = [(photo.width - whole) / 2, (photo.height - whole) / 2]
  context.drawImage(photo, left, upper, whole, whole, 0, 0, size, size)
  return { side: size, rgba: context.getImageData(0, 0, size, size).data }
}

/** Number of classes of the file's last dense layer; undefined for a file without the top. */
function classesOf({ groups }: weights.WeightFile): number | undefined {
  const matrices = groups
    .flatMap((group) => group.weights.map(({ shape }) => shape))
    .filter(({ length }) => length === 2)
  return matrices.at(-1)?.[1]
}

function parsed(classIndex: string): unknown {
  try {
    return JSON.parse(classIndex)
  } catch (cause) {
    throw new WeftgradError(
      'format',
      "The class names file is not JSON. Use Keras' imagenet_class_index.json.",
      {},
      cause,
    )
  }
}

function likeliest(probabilities: Float32Array, index: unknown): NonNullable<PhotoResult['top5']> {
  const numbers = Array.from(probabilities, (_, i) => [String(i), ['', `class ${i}`]])
  const [best = []] = nn.decodePredictions(probabilities, index ?? Object.fromEntries(numbers), { top: shown })
  return best.map(({ className, probability }) => ({ name: className.replaceAll('_', ' '), probability }))
}
