/**
 * Explores the data before training: counts, missing values, duplicates, images of each class, and pixel correlations.
 * Arithmetic runs on the device; nothing here prints or writes, and the result is plain JSON.
 *
 * Works on any labelled grey images; `explore.node.ts` loads a task's data and writes the files.
 */
import { residentImages } from '../data/dataset.ts'
import { equalImages, type ImagePlace } from '../data/duplicates.ts'
import { WeftgradError } from '../errors.ts'
import { encodePng } from '../format/png.ts'
import type { Device } from '../gpu/device.ts'
import { imageGrid, matrixPicture } from '../plots/pictures.ts'
import type { LoadedImages } from '../runs/data.ts'
import { largest } from '../statistics.ts'
import type { Task } from '../tasks/task.ts'
import { correlationMatrix, pixelStatistics } from './pixel-statistics.ts'

/** A part of the data: `train`, `test`, or a file's name. */
export interface EdaPart {
  readonly name: string
  readonly images: LoadedImages
}

export interface EdaResult {
  readonly source: EdaSource
  /** The adapter that computed the statistics. */
  readonly adapter: { readonly driver: string; readonly hardware: boolean }
  readonly classNames: readonly string[]
  /** Height of an image. */
  readonly height: number
  readonly width: number
  /** The parts, in the order given. */
  readonly sets: readonly EdaSet[]
  readonly duplicates: EdaDuplicates
  /** Statistics of the classes, of the first set only: the one a model learns from. */
  readonly classes: readonly EdaClass[]
  readonly correlation: EdaCorrelation
}

export interface EdaSource {
  readonly kind: 'idx' | 'csv' | 'pictures'
  /** Whether the data equal the published ones bit for bit; false for a CSV and for pictures. */
  readonly published: boolean
}

export interface EdaSet {
  readonly name: string
  /** Number of usable rows. */
  readonly rows: number
  /** Line numbers of CSV rows that were left out for missing cells; IDX files have none. */
  readonly missing: readonly number[]
  /** Number of images of each class. */
  readonly classCounts: readonly number[]
  /** Rows whose image and label equal those of an earlier row, as pandas' `duplicated()` counts them. */
  readonly duplicateRows: number
  /** Rows whose image equals that of an earlier row, with any label. */
  readonly duplicateImages: number
  /** Groups of equal images that do not all have the same label. */
  readonly conflicts: number
}

export interface EdaDuplicates {
  /** Duplicates between the first set and the others, for example train and test. */
  readonly across: {
    /** Rows of the other sets whose image is also in the first one. */
    readonly rows: number
    /** Groups of equal images in both whose labels are not all the same. */
    readonly conflicts: number
  }
  /** Groups of equal images, within sets and across them. */
  readonly groupCount: number
  /** The groups, those with conflicting labels first; at most `mostGroups` of them, and as many rows in each. */
  readonly groups: readonly (readonly EdaRow[])[]
}

export interface EdaRow {
  readonly set: string
  /** Row number from 0, not counting dropped rows. */
  readonly row: number
  readonly label: number
}

/** A class's statistics; images have height * width numbers, row by row. */
export interface EdaClass {
  readonly name: string
  readonly count: number
  /** Mean image in bytes, 0 to 255; zeros for a class without images. */
  readonly mean: readonly number[]
  /** Variance image in squared bytes. */
  readonly variance: readonly number[]
}

export interface EdaCorrelation {
  readonly set: string
  /** Number of images it was computed from. */
  readonly rows: number
  /** Pixels with the same value in all images: they have no correlation and are in no pair. */
  readonly constant: readonly EdaPixel[]
  /** Mean absolute correlation of all pairs of different pixels that are not constant; null if there is none. */
  readonly meanAbsolute: number | null
  /** The pairs with the largest r, the largest first. */
  readonly strongestPositive: readonly PixelPair[]
  /** The pairs with the smallest r, the smallest first. */
  readonly strongestNegative: readonly PixelPair[]
  /** The pairs with the smallest |r|, the smallest first. */
  readonly weakest: readonly PixelPair[]
  /** Wall-clock seconds, class statistics included. */
  readonly seconds: number
}

/** A pixel; rows and columns count from 0 at the top left. */
export interface EdaPixel {
  readonly row: number
  readonly column: number
}

export interface PixelPair {
  readonly a: EdaPixel
  readonly b: EdaPixel
  /** Pearson's correlation, in float32: 1e-6 is as good as 0. */
  readonly r: number
}

/** PNG files. */
export interface EdaPictures {
  /** One row per class: its mean, its variance (white is the largest of all), and its first images. */
  readonly classes: Uint8Array
  /** The correlation matrix; see `matrixPicture`. */
  readonly correlation: Uint8Array
}

export interface Eda {
  readonly result: EdaResult
  readonly pictures: EdaPictures
}

export interface ExploreOptions {
  readonly source: EdaSource
  readonly classNames: readonly string[]
  readonly signal?: AbortSignal | undefined
}

/** Number of images of each class in the picture, after its mean and its variance. */
export const edaSamples = 10
/** Most groups of duplicates to list, and most rows of each. */
const mostGroups = 20
/** Number of pairs of pixels to list of each kind. */
const pairsListed = 5

/**
 * Explores the parts; pixel statistics are computed for the first one.
 * @throws WeftgradError 'argument' for no parts or images of different sizes, 'data' or 'limit' as `residentImages`,
 * 'aborted' if the signal fired.
 */
export async function explore(device: Device, parts: readonly EdaPart[], options: ExploreOptions): Promise<Eda> {
  const [first] = parts
  if (first === undefined) throw new WeftgradError('argument', 'There is no data to explore.')
  const { height, width, channels } = first.images
  if (channels !== 1)
    throw new WeftgradError('argument', 'Only grey images can be explored. Use --channels 1.', { channels })
  const odd = parts.find(({ images }) => images.height !== height || images.width !== width)
  if (odd !== undefined)
    throw new WeftgradError(
      'argument',
      `Images of ${odd.name} have ${odd.images.height}x${odd.images.width} pixels, those of ${first.name} ${height}x${width}.`,
    )
  const { classNames, source, signal } = options
  const groups = equalImages(
    parts.map(({ images }) => images.images),
    height * width,
  )
  const started = performance.now()
  using set = residentImages(device, first.images)
  const statistics = await pixelStatistics(set, { signal })
  const matrix = await correlationMatrix(set, statistics, { signal })
  const seconds = (performance.now() - started) / 1000

  const { driver, hardware } = device.facts
  const classes = statistics.classCounts.map((count, k): EdaClass => {
    const numbers = (values: Float64Array | undefined) => Array.from(values ?? [], (value) => Number(value.toFixed(2)))
    const mean = numbers(statistics.classMeans[k])
    return { name: classNames[k] ?? String(k), count, mean, variance: numbers(statistics.classVariances[k]) }
  })
  const pixelAt = (index: number): EdaPixel => ({ row: Math.floor(index / width), column: index % width })
  const { constant } = statistics
  const result: EdaResult = {
    source,
    adapter: { driver, hardware },
    classNames,
    height,
    width,
    sets: parts.map((part, i) => setOf(part, i, groups, parts)),
    duplicates: duplicatesOf(groups, parts),
    classes,
    correlation: {
      set: first.name,
      rows: first.images.count,
      constant: constant.map(pixelAt),
      ...pairsOf(matrix, height * width, constant, pixelAt),
      seconds,
    },
  }
  return {
    result,
    pictures: {
      classes: encodePng(imageGrid(classImages(classes, first.images), { height, width, columns: 2 + edaSamples })),
      correlation: encodePng(matrixPicture(matrix, height * width, constant)),
    },
  }
}

type Group = readonly ImagePlace[]

const labelAt = (parts: readonly EdaPart[], { set, index }: ImagePlace): number => parts[set]?.images.labels[index] ?? 0

function labelsOf(group: Group, parts: readonly EdaPart[]): Set<number> {
  return new Set(group.map((place) => labelAt(parts, place)))
}

function setOf({ name, images }: EdaPart, set: number, groups: readonly Group[], parts: readonly EdaPart[]): EdaSet {
  const classCounts = new Array<number>(images.classes).fill(0)
  for (const label of images.labels) classCounts[label] = (classCounts[label] ?? 0) + 1
  const own = groups.map((group) => group.filter((place) => place.set === set)).filter((group) => group.length > 1)
  const total = (countOf: (group: Group) => number): number => own.reduce((sum, group) => sum + countOf(group), 0)
  return {
    name,
    rows: images.count,
    missing: images.droppedLines ?? [],
    classCounts,
    duplicateRows: total((group) => group.length - labelsOf(group, parts).size),
    duplicateImages: total((group) => group.length - 1),
    conflicts: total((group) => (labelsOf(group, parts).size > 1 ? 1 : 0)),
  }
}

function duplicatesOf(groups: readonly Group[], parts: readonly EdaPart[]): EdaDuplicates {
  const across = groups.filter((group) => group[0]?.set === 0 && group.some(({ set }) => set > 0))
  const isConflict = (group: Group): boolean => labelsOf(group, parts).size > 1
  const ordered = [...groups.filter(isConflict), ...groups.filter((group) => !isConflict(group))]
  return {
    across: {
      rows: across.reduce((sum, group) => sum + group.filter(({ set }) => set > 0).length, 0),
      conflicts: across.filter(isConflict).length,
    },
    groupCount: groups.length,
    groups: ordered.slice(0, mostGroups).map((group) =>
      group.slice(0, mostGroups).map((place) => ({
        set: parts[place.set]?.name ?? '',
        row: place.index,
        label: labelAt(parts, place),
      })),
    ),
  }
}

type PairFigures = Pick<EdaCorrelation, 'meanAbsolute' | 'strongestPositive' | 'strongestNegative' | 'weakest'>

function pairsOf(
  matrix: Float32Array,
  pixels: number,
  constant: readonly number[],
  pixelAt: (index: number) => EdaPixel,
): PairFigures {
  const isConstant = new Set(constant)
  const highest = new Smallest((r) => -r)
  const lowest = new Smallest((r) => r)
  const weakest = new Smallest(Math.abs)
  let sum = 0
  let count = 0
  for (let a = 0; a < pixels; a++) {
    if (isConstant.has(a)) continue
    for (let b = a + 1; b < pixels; b++) {
      if (isConstant.has(b)) continue
      const r = matrix[a * pixels + b] ?? 0
      for (const list of [highest, lowest, weakest]) list.offer(a, b, r)
      sum += Math.abs(r)
      count++
    }
  }
  const named = (list: Smallest): PixelPair[] => list.pairs.map(({ a, b, r }) => ({ a: pixelAt(a), b: pixelAt(b), r }))
  return {
    meanAbsolute: count === 0 ? null : sum / count,
    strongestPositive: named(highest),
    strongestNegative: named(lowest),
    weakest: named(weakest),
  }
}

/** Keeps the few pairs of smallest rank, the smallest first; in a tie the one offered first. */
class Smallest {
  readonly pairs: { readonly a: number; readonly b: number; readonly r: number }[] = []
  readonly #rank: (r: number) => number

  constructor(rank: (r: number) => number) {
    this.#rank = rank
  }

  offer(a: number, b: number, r: number): void {
    const last = this.pairs.at(-1)
    const rank = this.#rank(r)
    if (this.pairs.length === pairsListed && last !== undefined && rank >= this.#rank(last.r)) return
    const at = this.pairs.findIndex((pair) => rank < this.#rank(pair.r))
    this.pairs.splice(at < 0 ? this.pairs.length : at, 0, { a, b, r })
    this.pairs.length = Math.min(this.pairs.length, pairsListed)
  }
}

/** The images of each class: mean, variance and first images. */
function classImages(
  classes: readonly EdaClass[],
  { images, labels, height, width }: LoadedImages,
): (Uint8Array | undefined)[] {
  const size = height * width
  const most = largest(
    classes.map(({ variance }) => largest(variance)),
    1,
  )
  return classes.flatMap(({ mean, variance }, label) => {
    const own: (Uint8Array | undefined)[] = []
    for (let i = 0; i < labels.length && own.length < edaSamples; i++)
      if (labels[i] === label) own.push(images.subarray(i * size, (i + 1) * size))
    while (own.length < edaSamples) own.push(undefined)
    return [Uint8Array.from(mean, Math.round), Uint8Array.from(variance, (v) => Math.round((255 * v) / most)), ...own]
  })
}

/** Sentences about identical images. */
export function duplicatesText({ source, sets, duplicates }: EdaResult, { knownDuplicates }: Task['data']): string {
  const told = sets.map(({ name, rows, duplicateRows, duplicateImages, conflicts }) => {
    if (duplicateImages === 0) return `No two images in ${name} are identical.`
    const isKnown =
      source.kind === 'csv' && rows === knownDuplicates?.rows && duplicateRows === knownDuplicates.duplicates
    const known = isKnown ? ` (known for ${knownDuplicates.file})` : ''
    return `Images in ${name} that repeat an earlier one: ${duplicateImages}; with the same label: ${duplicateRows}${known}; identical images with different labels: ${conflicts}.`
  })
  const [first, ...others] = sets.map(({ name }) => name)
  if (others.length === 0) return told.join(' ')
  const { rows, conflicts } = duplicates.across
  const across =
    rows === 0
      ? `No image in ${others.join(' or ')} is also in ${first}.`
      : `Images in ${others.join(' and ')} that are also in ${first}, which inflates test results: ${rows}; with different labels: ${conflicts}.`
  return [...told, across].join(' ')
}
