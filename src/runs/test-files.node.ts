/** The files of a tested run: its predictions, its training curves, and the pictures of its errors. */
import { join } from 'node:path'
import type { LabelledBytes } from '../data/dataset.ts'
import { resize } from '../data/resize.ts'
import { WeftgradError } from '../errors.ts'
import { ifThere, readHostText } from '../format/host-file.node.ts'
import { isRecord, parsedJson } from '../format/json.ts'
import { encodePng } from '../format/png.ts'
import type { EpochResult, Evaluation } from '../nn/contract.ts'
import { percent } from '../numbers.ts'
import type { WrongPicture } from '../plots/worst-errors.ts'
import type { ErrorAnalysis } from './error-analysis.ts'
import { runFiles, writeRunFile } from './run-folder.node.ts'
import type { TestPicture } from './test-report.ts'

export interface TestedRun {
  /** Index of each test image in its source file. */
  readonly indices: ArrayLike<number>
  /** The test images. */
  readonly test: LabelledBytes
  readonly classNames: readonly string[]
  readonly errors: ErrorAnalysis
  readonly evaluation: Evaluation
  /** The subject in the title of the curves. */
  readonly what: string
  readonly epochs: readonly EpochResult[]
  /** The epoch to mark in the curves. */
  readonly bestEpoch: number | undefined
}

/** Writes the predictions, the curves and the pictures of errors. */
export async function writeTestFiles(runDir: string, run: TestedRun): Promise<void> {
  await writeRunFile(join(runDir, runFiles.predictions), predictionsCsv(run))
  await writeRunFile(join(runDir, runFiles.pictures), `${JSON.stringify(testPictures(run))}\n`)
  const { what, evaluation, epochs, bestEpoch } = run
  const title = `${what}: test accuracy ${percent(evaluation.accuracy)}`.replaceAll('\u00a0', ' ')
  // Loaded late: the plotting library takes half a second to load.
  const { trainingCurvesFile } = await import('../plots/training-curves.ts')
  await writeRunFile(join(runDir, runFiles.curves), trainingCurvesFile({ name: title, epochs, bestEpoch }))
  const wrong = wrongPictures(run)
  if (wrong.length === 0) return
  const { worstErrorsFile } = await import('../plots/worst-errors.ts')
  await writeRunFile(join(runDir, runFiles.errors), worstErrorsFile(`${what}: worst errors`, wrong))
}

/** The longest side of a picture in pages, in pixels: a page of forty photographs stays below a megabyte. */
const mostPixels = 64

/** The images that the analysis of errors names. */
function testPictures({ test, indices, errors: { pairs, worst } }: TestedRun): TestPicture[] {
  const { height, width, channels, images } = test
  const size = height * width * channels
  const scale = Math.min(1, mostPixels / Math.max(height, width))
  const shown = { width: Math.max(1, Math.round(scale * width)), height: Math.max(1, Math.round(scale * height)) }
  const named = [...pairs.flatMap(({ examples }) => examples), ...worst].map(({ position }) => position)
  return [...new Set(named)].map((position) => {
    const data = images.subarray(position * size, (position + 1) * size)
    const png = encodePng({ ...resize({ width, height, channels, data }, shown), channels: channels === 3 ? 3 : 1 })
    return { position, index: indices[position] ?? position, png: Buffer.from(png).toString('base64') }
  })
}

/**
 * Reads the pictures of a run's errors; none for an early run, which did not write them. Throws WeftgradError 'format' if
 * the file is damaged.
 */
export function readTestPictures(runDir: string): readonly TestPicture[] {
  const path = join(runDir, runFiles.pictures)
  const text = ifThere(() => readHostText(path))
  if (text === undefined) return []
  const value = parsedJson(text)
  const isPicture = (one: unknown): one is TestPicture =>
    isRecord(one) &&
    Number.isSafeInteger(one.position) &&
    Number.isSafeInteger(one.index) &&
    typeof one.png === 'string' &&
    /^[A-Za-z0-9+/=]*$/.test(one.png)
  if (Array.isArray(value) && value.every(isPicture)) return value
  throw new WeftgradError('format', `${path} does not hold pictures. Delete it to do without them.`, { path })
}

/** The worst errors with their pictures; none if images have no files, which a user could look at. */
function wrongPictures({ test, errors, classNames }: TestedRun): WrongPicture[] {
  const { names, images, height, width, channels } = test
  if (names === undefined) return []
  const size = height * width * channels
  return errors.worst.map(({ position, label, predicted, top }) => ({
    png: encodePng({
      ...{ height, width, channels: channels === 3 ? 3 : 1 },
      data: images.subarray(position * size, (position + 1) * size),
    }),
    label: classNames[label] ?? String(label),
    predicted: classNames[predicted] ?? String(predicted),
    probability: top[0]?.probability ?? Number.NaN,
    name: names[position] ?? '',
  }))
}

function predictionsCsv({ indices, test: { labels, names }, evaluation: { predictions } }: TestedRun): string {
  const more = (text: string | undefined): string => (names === undefined ? '' : `,${text}`)
  const lines = [`index,label,predicted${more('picture')}`]
  for (const [k, predicted] of predictions.entries())
    lines.push(`${indices[k]},${labels[k]},${predicted}${more(`"${names?.[k]?.replaceAll('"', '""')}"`)}`)
  return `${lines.join('\n')}\n`
}
