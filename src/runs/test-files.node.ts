/** The files of a tested run: its predictions, its training curves and, if images have files, its worst errors. */
import { join } from 'node:path'
import type { LabelledBytes } from '../data/dataset.ts'
import { encodePng } from '../format/png.ts'
import type { EpochResult, Evaluation } from '../nn/contract.ts'
import { percent } from '../numbers.ts'
import type { WrongPicture } from '../plots/worst-errors.ts'
import type { ErrorAnalysis } from './error-analysis.ts'
import { runFiles, writeRunFile } from './run-folder.node.ts'

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

/** Writes the predictions, the curves and the errors. */
export async function writeTestFiles(runDir: string, run: TestedRun): Promise<void> {
  await writeRunFile(join(runDir, runFiles.predictions), predictionsCsv(run))
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
