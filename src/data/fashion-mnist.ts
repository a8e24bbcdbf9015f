/**
 * Fashion-MNIST: 60,000 training and 10,000 test images of clothes, 28x28 grey bytes, ten classes
 * (Xiao, Rasul, Vollgraf: Fashion-MNIST, arXiv:1708.07747). Lists the published files, and reads images and labels from them.
 *
 * Works on bytes, so it runs in a browser too; `fashion-mnist.node.ts` finds or downloads the files.
 */

import { WeftgradError } from '../errors.ts'
import { parseLabelledCsv } from '../format/csv.ts'
import { parseIdx } from '../format/idx.ts'
import { aFlag, anObject, aString, checkOptions, checkValue, oneOf, theBytes } from '../options.ts'

/** The names of the classes 0 to 9. */
export const fashionMnistClasses = [
  'T-shirt/top',
  'Trouser',
  'Pullover',
  'Dress',
  'Coat',
  'Sandal',
  'Shirt',
  'Sneaker',
  'Bag',
  'Ankle boot',
] as const

/** The published parts of the set, one IDX file each. */
export type FashionMnistPart = 'trainImages' | 'trainLabels' | 'testImages' | 'testLabels'

export interface PublishedFile {
  /** The file's name, without `.gz`. */
  readonly name: string
  /** SHA-256 of the decompressed bytes, in hex. */
  readonly sha256: string
  readonly shape: readonly number[]
}

export const fashionMnistFiles: Readonly<Record<FashionMnistPart, PublishedFile>> = {
  trainImages: {
    name: 'train-images-idx3-ubyte',
    sha256: 'c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888',
    shape: [60000, 28, 28],
  },
  trainLabels: {
    name: 'train-labels-idx1-ubyte',
    sha256: 'bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9',
    shape: [60000],
  },
  testImages: {
    name: 't10k-images-idx3-ubyte',
    sha256: '5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b',
    shape: [10000, 28, 28],
  },
  testLabels: {
    name: 't10k-labels-idx1-ubyte',
    sha256: '0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34',
    shape: [10000],
  },
}

export const fashionMnistParts = ['trainImages', 'trainLabels', 'testImages', 'testLabels'] as const

/** The addresses of `NAME.gz`, in the order in which to try them. */
export const fashionMnistAddresses = [
  'https://storage.googleapis.com/tensorflow/tf-keras-datasets/',
  'http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/',
] as const

const side = 28
const kind = { channels: 1, classes: 10, classNames: fashionMnistClasses } as const

/** Labelled grey images, as bytes in host memory. */
export interface LabelledImages {
  /** `count * height * width` bytes from 0 to 255, row by row, image after image. */
  readonly images: Uint8Array
  /** One class number per image. */
  readonly labels: Uint8Array
  /** Number of images. */
  readonly count: number
  /** Pixels. */
  readonly height: number
  /** Pixels. */
  readonly width: number
  /** 1: grey. */
  readonly channels: 1
  /** Number of classes: 10. */
  readonly classes: 10
  /** The classes' names. */
  readonly classNames?: readonly string[]
  /** For a CSV: numbers of the lines dropped for missing cells; the header is line 1. */
  readonly droppedLines?: readonly number[]
}

/** Both halves of the set. */
export interface FashionMnistBytes {
  /** 60,000 images, as published. */
  readonly train: LabelledImages
  /** 10,000 images, as published. */
  readonly test: LabelledImages
}

/** Options of {@link parseFashionMnist}. */
export interface ParseFashionMnistOptions {
  /** Whether to accept other numbers of images than the published 60,000 and 10,000. */
  readonly anyCount?: boolean
  /** Names each file in errors. */
  readonly sources?: Readonly<Partial<Record<FashionMnistPart, string>>>
}

/**
 * Reads the four decompressed IDX files. The images are views into the given bytes.
 * @throws WeftgradError 'format' for bytes that are not IDX, 'data' for shapes and labels that are not Fashion-MNIST's.
 */
export function parseFashionMnist(
  files: Readonly<Record<FashionMnistPart, Uint8Array>>,
  options: ParseFashionMnistOptions = {},
): FashionMnistBytes {
  const kinds = { anyCount: aFlag, sources: anObject }
  const { anyCount = false, sources = {} } = checkOptions('parseFashionMnist', options, kinds)
  const half = (imagesPart: FashionMnistPart, labelsPart: FashionMnistPart): LabelledImages => {
    const source = (part: FashionMnistPart): string => sources[part] ?? fashionMnistFiles[part].name
    const parsed = parseFashionMnistPair(
      { bytes: files[imagesPart], source: source(imagesPart) },
      { bytes: files[labelsPart], source: source(labelsPart) },
    )
    const published = fashionMnistFiles[imagesPart].shape[0]
    if (!anyCount && parsed.count !== published) {
      throw refusal(source(imagesPart), `has ${parsed.count} images instead of the published ${published}`)
    }
    return parsed
  }
  return { train: half('trainImages', 'trainLabels'), test: half('testImages', 'testLabels') }
}

/** The decompressed bytes of an IDX file, and their name in errors. */
export interface NamedIdx {
  /** The decompressed bytes. */
  readonly bytes: Uint8Array
  /** The file's name or path. */
  readonly source: string
}

/**
 * Reads one half of the set, with any number of images, from its two decompressed IDX files. The images are a view into the
 * given bytes.
 * @throws WeftgradError 'format' and 'data' as `parseFashionMnist`.
 */
export function parseFashionMnistPair(imagesFile: NamedIdx, labelsFile: NamedIdx): LabelledImages {
  const images = parseIdx(imagesFile.bytes, imagesFile.source)
  const labels = parseIdx(labelsFile.bytes, labelsFile.source)
  const [count = 0, height, width] = images.shape
  if (images.shape.length !== 3 || height !== side || width !== side || count === 0) {
    throw refusal(imagesFile.source, `has the shape ${images.shape.join('x')} instead of images of ${side}x${side}`)
  }
  if (labels.shape.length !== 1 || labels.shape[0] !== count) {
    throw refusal(
      labelsFile.source,
      `has the shape ${labels.shape.join('x')}, but ${imagesFile.source} needs ${count} labels in one dimension`,
    )
  }
  const wrong = labels.data.findIndex((label) => label >= fashionMnistClasses.length)
  if (wrong >= 0)
    throw refusal(labelsFile.source, `has the label ${labels.data[wrong]} at index ${wrong}, outside 0 to 9`)
  return { images: images.data, labels: labels.data, count, height, width, ...kind }
}

/** Reads one half of the set from Kaggle's CSV, with any number of images. Errors and `missing` as in `parseLabelledCsv`. */
export function parseFashionMnistCsv(
  bytes: Uint8Array,
  options: { readonly missing?: 'refuse' | 'drop'; readonly source?: string } = {},
): LabelledImages & {
  /** Numbers of the lines dropped for missing cells; the header is line 1. */
  readonly droppedLines: readonly number[]
} {
  checkValue('parseFashionMnistCsv: the bytes', bytes, theBytes)
  checkOptions('parseFashionMnistCsv', options, { missing: oneOf('refuse', 'drop'), source: aString })
  const csv = parseLabelledCsv(bytes, { ...options, pixels: side * side, classes: fashionMnistClasses.length })
  return { ...csv, height: side, width: side, ...kind }
}

/** Whether decompressed bytes are exactly the published ones of this part. */
export async function isPublishedFashionMnist(part: FashionMnistPart, bytes: Uint8Array): Promise<boolean> {
  return (await sha256Hex(bytes)) === fashionMnistFiles[part].sha256
}

async function sha256Hex(bytes: Uint8Array): Promise<string> {
  // The cast only changes the buffer's type: these bytes are not shared between threads.
  const digest = await crypto.subtle.digest('SHA-256', bytes as Uint8Array<ArrayBuffer>)
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, '0')).join('')
}

function refusal(source: string, problem: string): WeftgradError {
  return new WeftgradError('data', `${source} ${problem}. Check that this is Fashion-MNIST, or download it again.`, {
    source,
  })
}
