/** Classifies pictures with a pretrained network's own classifier: ImageNet's classes. Downloads and prints nothing. */
import { residentImages } from '../data/dataset.ts'
import { picturePixels } from '../data/pictures.ts'
import { WeftgradError } from '../errors.ts'
import { readHostText } from '../format/host-file.node.ts'
import { parsedJson } from '../format/json.ts'
import { type PretrainedName, pretrained } from '../nn/models/pretrained.ts'
import { decodePredictions } from '../nn/preprocessing.ts'
import { openForCommand } from '../runs/device.node.ts'
import { type ClassShare, type FailedPicture, readPictures } from '../runs/read-pictures.node.ts'
import { findClassIndex } from '../weights/find.node.ts'
import { FeatureExtractor } from './features.ts'
import { openBase } from './pretrained-base.node.ts'

export interface ClassifyOptions {
  readonly model: PretrainedName
  /** A file of weights with the classifier, `hashed` for made-up ones; looked for by default. */
  readonly weights?: string | null | undefined
  readonly onNote?: ((line: string) => void) | undefined
  /**
   * Height and width of the images; the network's usual ones by default. Tests use smaller ones.
   * @internal
   */
  readonly size?: number | undefined
}

export interface ClassifiedPicture {
  /** The path of the picture, as given. */
  readonly image: string
  /** The most probable classes, in order. */
  readonly top: readonly ClassShare[]
}

export interface Classification {
  readonly model: PretrainedName
  /** The source of the network's weights. */
  readonly weights: string
  /** True for made-up weights: the classes mean nothing. */
  readonly meaningless: boolean
  readonly predictions: readonly ClassifiedPicture[]
  readonly failed: readonly FailedPicture[]
}

const topCount = 5

/** The layer of the probabilities, in each network. */
const lastLayer = 'predictions'

/**
 * Classifies pictures, stretched to the network's usual size. Returns unreadable ones separately.
 * @throws WeftgradError 'fetch', with `areWeightsMissing`, that says in one line which files are missing and where to put them;
 * 'file', 'format', 'mismatch' and 'data' for weights of another network or without the classifier, or another list of names.
 */
export async function classifyPictures(
  paths: readonly string[],
  { model: name, weights = null, onNote, size = pretrained[name].sizes.usual }: ClassifyOptions,
): Promise<Classification> {
  const [found, opened] = await Promise.allSettled([
    findClassIndex({ provision: false }),
    openBase(name, { size, weights, withTop: true, provision: false, onNote }),
  ])
  if (opened.status === 'rejected')
    throw found.status === 'rejected' ? both(opened.reason, found.reason) : opened.reason
  const base = opened.value
  try {
    if (found.status === 'rejected') throw missing(found.reason)
    const classIndex = parsedJson(readHostText(found.value.path))
    const { pictures, failed } = await readPictures(paths)
    const facts = { model: name, weights: base.weights, meaningless: base.isMeaningless, failed }
    if (pictures.length === 0) return { ...facts, predictions: [] }
    const shape = { height: size, width: size, channels: 3 } as const
    const images = new Uint8Array(pictures.length * size * size * 3)
    for (const [i, { picture }] of pictures.entries()) images.set(picturePixels(picture, shape), i * size * size * 3)
    using device = await openForCommand(onNote)
    using network = await base.frozen(device, [lastLayer])
    using data = residentImages(device, { ...shape, images, labels: new Uint8Array(pictures.length), classes: 1 })
    const taps = [{ layer: lastLayer, pooling: 'none' }] as const
    using extractor = await FeatureExtractor.create(network, data, taps, { preprocessing: base.preprocessing })
    const rows = decodePredictions(await extractor.extract(0, pictures.length), classIndex, { top: topCount })
    return {
      ...facts,
      predictions: pictures.map(({ path }, i) => ({
        image: path,
        top: (rows[i] ?? []).map(({ className, probability }) => ({ class: className, probability })),
      })),
    }
  } finally {
    base.close()
  }
}

/** The error as one about missing weights. */
function missing(error: unknown): unknown {
  if (!(error instanceof WeftgradError) || error.code !== 'fetch') return error
  return new WeftgradError(error.code, error.message, { ...error.details, weightsMissing: true }, error)
}

/** Both errors in one line, if both are about missing files. */
function both(weights: unknown, names: unknown): unknown {
  if (!(weights instanceof WeftgradError && names instanceof WeftgradError) || weights.code !== 'fetch') return weights
  return new WeftgradError(weights.code, `${weights.message} ${names.message}`, weights.details, weights)
}
