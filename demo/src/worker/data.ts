/**
 * The data of a session: the bundled sample, or the user's files, recognised by their contents. The bytes also stay on the
 * host, so that they can be uploaded to another device.
 *
 * Promises: files are refused as a whole, with a message that names the wrong one.
 */
import { type Device, data, WeftgradError } from 'weftgrad'
import { pixelsPerImage, sampleCounts, sampleRowBytes } from '../../sample/layout.ts'
import type { DataSummary } from '../session.ts'

/** Labelled images in host memory. */
export interface HostData {
  /** The bundled sample, or the names of the files, for display. */
  readonly source: string
  readonly train: data.LabelledImages
  /** Undefined if a share of the training images is held back instead. */
  readonly validation: data.LabelledImages | undefined
  readonly droppedLines: number
}

/** Kaggle's CSV of the training images has 133 MB. */
const mostFileBytes = 512 * 2 ** 20
const heldBack = 0.2
const splitSeed = 1

/** @throws WeftgradError 'format' if the bytes are not the sample that the build makes. */
export async function sampleData(bytes: Uint8Array): Promise<HostData> {
  const source = 'the bundled sample'
  // With some servers the browser has already unpacked it.
  const unpacked = data.isGzip(bytes) ? await data.gunzip(bytes, { source }) : bytes
  const { shape, data: rows } = data.parseIdx(unpacked, source)
  const count = sampleCounts.train + sampleCounts.test
  if (shape.length !== 2 || shape[0] !== count || shape[1] !== sampleRowBytes)
    throw new WeftgradError('format', `${source} has the shape ${shape.join('x')}. Reload the page.`, { shape })
  const half = (first: number, length: number): data.LabelledImages => {
    const images = new Uint8Array(length * pixelsPerImage)
    const labels = new Uint8Array(length)
    for (let i = 0; i < length; i++) {
      const row = rows.subarray((first + i) * sampleRowBytes, (first + i + 1) * sampleRowBytes)
      labels[i] = row[0] ?? 0
      images.set(row.subarray(1), i * pixelsPerImage)
    }
    return { images, labels, count: length, height: 28, width: 28, channels: 1, classes: 10 }
  }
  return {
    source: `${count.toLocaleString('en-US')} images of Fashion-MNIST`,
    train: half(0, sampleCounts.train),
    validation: half(sampleCounts.train, sampleCounts.test),
    droppedLines: 0,
  }
}

/**
 * Reads IDX files in pairs of images and labels, or Kaggle's CSV, gzipped or not: one set, or a training and a test set.
 * @throws WeftgradError 'data' or 'format' for anything else, 'file' if a file cannot be read.
 */
export async function dataOfFiles(files: readonly File[]): Promise<HostData> {
  const images: IdxFile[] = []
  const labels: IdxFile[] = []
  const sets: NamedSet[] = []
  for (const file of files) {
    const bytes = await bytesOf(file)
    const { name } = file
    if (bytes[0] === 0 && bytes[1] === 0) {
      const { shape } = data.parseIdx(bytes, name)
      const kind = shape.length === 1 ? labels : images
      kind.push({ source: name, bytes, count: shape[0] ?? 0 })
    } else {
      if (bytes.length === 0 || bytes.subarray(0, 1024).includes(0))
        throw new WeftgradError(
          'format',
          `${name} is neither an IDX file nor a CSV. ` +
            'Drop IDX files of images and labels, gzipped or not, or a CSV with the columns label, pixel1 ... pixel784.',
          { source: name },
        )
      sets.push({ names: [name], set: data.parseFashionMnistCsv(bytes, { missing: 'drop', source: name }) })
    }
  }
  return halves([...paired(images, labels), ...sets])
}

interface IdxFile extends data.NamedIdx {
  readonly count: number
}

interface NamedSet {
  readonly names: readonly string[]
  readonly set: data.LabelledImages
}

async function bytesOf(file: File): Promise<Uint8Array> {
  if (file.size > mostFileBytes)
    throw new WeftgradError(
      'file',
      `${file.name} has ${file.size} bytes, far more than any Fashion-MNIST file. Check that this is the right file.`,
    )
  let bytes: Uint8Array
  try {
    bytes = new Uint8Array(await file.arrayBuffer())
  } catch (cause) {
    throw new WeftgradError(
      'file',
      `${file.name} could not be read: ${cause instanceof Error ? cause.message : String(cause)}. Choose it again.`,
      {},
      cause,
    )
  }
  return data.isGzip(bytes) ? await data.gunzip(bytes, { source: file.name, maxBytes: mostFileBytes }) : bytes
}

function saysTest(name: string): boolean {
  return /t10k|test|valid/i.test(name)
}

/** Pairs images with labels of the same count, and of the same set if the names tell. */
function paired(images: readonly IdxFile[], labels: readonly IdxFile[]): NamedSet[] {
  const free = new Set(labels)
  const sets = images.map((own): NamedSet => {
    const fitting = [...free].filter(({ count }) => count === own.count)
    const partner = fitting.find(({ source }) => saysTest(source) === saysTest(own.source)) ?? fitting[0]
    if (partner === undefined)
      throw new WeftgradError(
        'data',
        `${own.source} has ${own.count} images, but no file has ${own.count} labels. Drop both files together.`,
        { source: own.source, count: own.count },
      )
    free.delete(partner)
    return { names: [own.source, partner.source], set: data.parseFashionMnistPair(own, partner) }
  })
  const [left] = free
  if (left !== undefined)
    throw new WeftgradError(
      'data',
      `${left.source} has ${left.count} labels, but no file has ${left.count} images. Drop both files together.`,
      { source: left.source, count: left.count },
    )
  return sets
}

/** Picks the training and the test set by name; otherwise the larger one is for training. */
function halves(sets: readonly NamedSet[]): HostData {
  const names = sets.flatMap((one) => one.names).join(', ')
  const isTest = ({ names }: NamedSet): boolean => names.some(saysTest)
  const [train, validation, ...more] = [...sets].sort(
    (a, b) => Number(isTest(a)) - Number(isTest(b)) || b.set.count - a.set.count,
  )
  if (train === undefined || more.length > 0)
    throw new WeftgradError(
      'data',
      `${names === '' ? 'No files' : names}: drop one data set, or one for training and one for testing, not ${sets.length}.`,
    )
  if (validation === undefined && train.set.count < 2)
    throw new WeftgradError('data', `${names}: one image is too few for training and validation. Use a larger set.`)
  const droppedLines = sets.reduce((sum, { set }) => sum + (set.droppedLines?.length ?? 0), 0)
  return { source: names, train: train.set, validation: validation?.set, droppedLines }
}

/** Data uploaded to a device. */
export class PlacedData {
  readonly host: HostData
  readonly train: data.Dataset
  readonly validation: data.Dataset
  readonly #owned: readonly data.ImageDataset[]

  /** @throws WeftgradError 'limit' if the device cannot hold the data. */
  constructor(device: Device, host: HostData) {
    this.host = host
    const images = data.residentImages(device, host.train)
    if (host.validation === undefined) {
      const { rest, held } = data.randomSplit(images.count, heldBack, splitSeed)
      this.train = images.subset(rest)
      this.validation = images.subset(held)
      this.#owned = [images]
      return
    }
    try {
      const held = data.residentImages(device, host.validation)
      this.train = images
      this.validation = held
      this.#owned = [images, held]
    } catch (error) {
      images.dispose()
      throw error
    }
  }

  get summary(): DataSummary {
    return {
      source: this.host.source,
      trainCount: this.train.count,
      validationCount: this.validation.count,
      classNames: data.fashionMnistClasses,
      samples: this.#firstOfEach(),
      droppedLines: this.host.droppedLines,
    }
  }

  /** The first validation image of each class. */
  #firstOfEach(): DataSummary['samples'] {
    const { images } = this.host.validation ?? this.host.train
    const labels = this.validation.labelsOf()
    return data.fashionMnistClasses.flatMap((_, label) => {
      const index = this.validation.indices[labels.indexOf(label)]
      if (index === undefined) return []
      return [{ pixels: images.slice(index * pixelsPerImage, (index + 1) * pixelsPerImage), label }]
    })
  }

  dispose(): void {
    for (const set of this.#owned) set.dispose()
  }
}
