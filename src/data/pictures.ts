/**
 * Data sets of pictures, wherever they come from: files with a class each become bytes of one size, and perhaps two sets.
 * image-folder.node.ts and image-files.ts list and decode the files.
 */

import { WeftgradError } from '../errors.ts'
import { currentDevice } from '../gpu/current-device.ts'
import type { Device } from '../gpu/device.ts'
import { anArray, countFrom0, countFrom1, type Kind, oneOf, required } from '../options.ts'
import { aDevice } from './arrays.ts'
import { type ImageDataset, type LabelledBytes, residentImages } from './dataset.ts'
import { type ByteImage, resize } from './resize.ts'
import { randomSplit } from './split.ts'

/** How pictures become examples. */
export interface PictureOptions {
  /**
   * The size of the images, in pixels: a side, or [height, width]. Pictures are stretched to it: shrinking averages the area
   * of a new pixel, growing interpolates between the nearest two pixels of each axis.
   */
  readonly size: number | readonly [height: number, width: number]
  /** 3 for red, green and blue; 1 for grey, 0.299 R + 0.587 G + 0.114 B. Transparent pictures are put on white. */
  readonly channels: 1 | 3
  /** The names of all classes, in the order of their numbers: by default the folders' names, sorted. */
  readonly classNames?: readonly string[] | undefined
  /** Random seed of a split by share. 0 by default. */
  readonly seed?: number | undefined
  /**
   * What to do with files that are no readable pictures: 'refuse' all, by default; 'skip' them; or skip them and call this
   * with each one's name and what is wrong.
   */
  readonly onBad?: 'refuse' | 'skip' | ((name: string, problem: string) => void) | undefined
  /** The most bytes of a block of pixel rows on the device: by default the adapter's largest binding. */
  readonly blockBytes?: number | undefined
  /** Where the images go: by default the device opened last. */
  readonly device?: Device | undefined
}

/** How to split pictures in two. */
export interface PictureSplit {
  /**
   * The share for validation, chosen at random, in (0, 1); or 'folders', if the classes' folders are in two folders, `train` and
   * `validation`.
   */
  readonly split: number | 'folders'
}

/** Two data sets of pictures. The caller owns both. */
export interface SplitPictures {
  /** The pictures to train on. */
  readonly train: ImageDataset
  /** Those that are held out. */
  readonly validation: ImageDataset
}

/** A file that may be a picture. */
export interface PictureFile {
  /** Its path in the folder, with slashes. */
  readonly name: string
  readonly className: string
  /** Which set it is for, in a split by folders. */
  readonly part?: string | undefined
  /** Throws what says that it is no picture. */
  decode(): Promise<ByteImage>
}

const aSize: Kind = [
  'a side in pixels, or [height, width]',
  (value) => countFrom1[1](value) || (Array.isArray(value) && value.length === 2 && value.every(countFrom1[1])),
]
const badKind: Kind = [
  "'refuse', 'skip' or a function",
  (value) => typeof value === 'function' || value === 'refuse' || value === 'skip',
]
export const aSplit: Kind = [
  "a share between 0 and 1, or 'folders'",
  (value) => value === 'folders' || (typeof value === 'number' && value > 0 && value < 1),
]

export const pictureKinds = {
  ...{ size: required(aSize), channels: required(oneOf(1, 3)), classNames: anArray, seed: countFrom0 },
  ...{ onBad: badKind, blockBytes: countFrom1, device: aDevice, split: aSplit },
}

/** Names of files that systems leave in folders. */
export const isHidden = (name: string): boolean => /^\.|^(thumbs\.db|desktop\.ini)$/i.test(name)

/** Pictures in host memory, with the names of their files and classes. */
export interface LabelledPictures extends LabelledBytes {
  readonly classNames: readonly string[]
  readonly names: readonly string[]
}

/** Pictures decoded at a time. */
const atOnce = 4
/** Problems listed in an error; the rest are counted. */
const problemsListed = 5

/**
 * Decodes the files and puts them on the device, in the order of classes and names. Throws as `imageFolder`; leaves nothing
 * behind then.
 */
export async function pictureSets(
  files: readonly PictureFile[],
  options: PictureOptions & Partial<PictureSplit>,
): Promise<ImageDataset | SplitPictures> {
  const { blockBytes, device = currentDevice() } = options
  const sets = await pictureBytes(files, options)
  const make = (bytes: LabelledPictures): ImageDataset => residentImages(device, { ...bytes, blockBytes })
  const train = make(sets.train)
  if (sets.validation === undefined) return train
  try {
    return { train, validation: make(sets.validation) }
  } catch (error) {
    train.dispose()
    throw error
  }
}

/** Decodes the files, in the order of classes and names; without a split, all are in `train`. Throws as `imageFolder`. */
export async function pictureBytes(
  files: readonly PictureFile[],
  options: Omit<PictureOptions, 'device' | 'blockBytes'> & Partial<PictureSplit>,
): Promise<{ readonly train: LabelledPictures; readonly validation?: LabelledPictures }> {
  const { split, seed = 0 } = options
  const isUsed = ({ part }: PictureFile): boolean => split !== 'folders' || part === 'train' || part === 'validation'
  const used = files.filter(isUsed).toSorted((a, b) => (a.name < b.name ? -1 : 1))
  const first = used.filter(({ part }) => split !== 'folders' || part === 'train')
  const classNames = options.classNames ?? [...new Set(first.map(({ className }) => className))].sort()
  const foreign = used.find(({ className }) => !classNames.includes(className))
  if (foreign !== undefined)
    throw new WeftgradError('data', `${foreign.name} is of none of the classes ${classNames.join(', ')}.`, {
      classNames,
    })

  const decoded = await decodeAll(used, classNames, options)
  const make = (positions: ArrayLike<number>): LabelledPictures => bytesOf(decoded, positions, options, classNames)
  if (split === undefined) return { train: make(decoded.map((_, i) => i)) }
  const inPart = (part: string): number[] => decoded.flatMap(({ file }, i) => (file.part === part ? i : []))
  const sides: Sides =
    split === 'folders' ? [inPart('train'), inPart('validation')] : sidesOf(decoded.length, split, seed)
  return { train: make(sides[0]), validation: make(sides[1]) }
}

/** The positions that stay, and those that are held out. */
function sidesOf(count: number, share: number, seed: number): Sides {
  const { rest, held } = randomSplit(count, share, seed)
  return [rest, held]
}

type Sides = readonly [train: ArrayLike<number>, validation: ArrayLike<number>]

interface Decoded {
  readonly file: PictureFile
  readonly label: number
  readonly pixels: Uint8Array
}

/** Throws 'data' with the names of bad files, if they are to be refused. */
async function decodeAll(
  files: readonly PictureFile[],
  classNames: readonly string[],
  { size, channels, onBad = 'refuse' }: Pick<PictureOptions, 'size' | 'channels' | 'onBad'>,
): Promise<Decoded[]> {
  const [height, width] = typeof size === 'number' ? [size, size] : size
  const decoded = new Map<number, Decoded>()
  const problems: { readonly name: string; readonly problem: string }[] = []
  let next = 0
  const decodeSome = async (): Promise<void> => {
    for (let at = next++; at < files.length; at = next++) {
      const file = files[at]
      if (file === undefined) return
      try {
        const pixels = picturePixels(await file.decode(), { height, width, channels })
        decoded.set(at, { file, label: classNames.indexOf(file.className), pixels })
      } catch (error) {
        const problem = error instanceof Error ? error.message : String(error)
        if (typeof onBad === 'function') onBad(file.name, problem)
        problems.push({ name: file.name, problem })
      }
    }
  }
  await Promise.all(Array.from({ length: atOnce }, decodeSome))
  if (onBad === 'refuse' && problems.length > 0) {
    problems.sort((a, b) => (a.name < b.name ? -1 : 1))
    const listed = problems.slice(0, problemsListed).map(({ problem }) => problem.replace(/\.$/, ''))
    const more = problems.length - listed.length
    throw new WeftgradError(
      'data',
      `${problems.length} of ${files.length} files cannot be used: ${listed.join('; ')}${more > 0 ? `; and ${more} more` : ''}. Correct or remove them, or set onBad to 'skip'.`,
      { names: problems.map(({ name }) => name) },
    )
  }
  return files.flatMap((_, at) => decoded.get(at) ?? [])
}

function bytesOf(
  decoded: readonly Decoded[],
  positions: ArrayLike<number>,
  { size, channels }: Pick<PictureOptions, 'size' | 'channels'>,
  classNames: readonly string[],
): LabelledPictures {
  const [height, width] = typeof size === 'number' ? [size, size] : size
  const chosen = Array.from(positions).flatMap((at) => decoded[at] ?? [])
  if (chosen.length === 0) throw new WeftgradError('data', 'There are no pictures: a data set needs at least one.')
  const images = new Uint8Array(chosen.length * height * width * channels)
  for (const [i, { pixels }] of chosen.entries()) images.set(pixels, i * pixels.length)
  const labels = chosen.map(({ label }) => label)
  const names = chosen.map(({ file }) => file.name)
  return { images, labels, height, width, channels, classes: classNames.length, classNames, names }
}

/** The bytes [height, width, channels] of a picture: grey or coloured on white, then stretched to the size. */
export function picturePixels(
  picture: ByteImage,
  { height, width, channels }: { readonly height: number; readonly width: number; readonly channels: 1 | 3 },
): Uint8Array {
  return resize(coloured(picture, channels), { height, width }).data
}

/** A picture of 1 to 4 channels, the last of 2 and 4 alpha, as grey or colour on white. */
function coloured({ width, height, channels: from, data }: ByteImage, channels: 1 | 3): ByteImage {
  if (from === channels) return { width, height, channels, data }
  const colors = from < 3 ? 1 : 3
  const result = new Uint8Array(width * height * channels)
  for (let pixel = 0; pixel < width * height; pixel++) {
    const at = pixel * from
    const alpha = from === colors ? 255 : (data[at + colors] ?? 0)
    const on = (c: number): number => ((data[at + (colors === 1 ? 0 : c)] ?? 0) * alpha + 255 * (255 - alpha)) / 255
    if (channels === 1) result[pixel] = Math.round(0.299 * on(0) + 0.587 * on(1) + 0.114 * on(2))
    else for (let c = 0; c < 3; c++) result[pixel * 3 + c] = Math.round(on(c))
  }
  return { width, height, channels, data: result }
}
