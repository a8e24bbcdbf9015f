/** The files of a tested run: its predictions and its training curves. */
import { join } from 'node:path'
import type { EpochResult, Evaluation } from '../nn/contract.ts'
import { percent } from '../numbers.ts'
import { runFiles, writeRunFile } from './run-folder.node.ts'

export interface TestedRun {
  /** Index of each test image in its source file. */
  readonly indices: ArrayLike<number>
  readonly labels: ArrayLike<number>
  readonly evaluation: Evaluation
  /** The subject in the title of the curves. */
  readonly what: string
  readonly epochs: readonly EpochResult[]
  /** The epoch to mark in the curves. */
  readonly bestEpoch: number | undefined
}

/** Writes the predictions and the curves. */
export async function writeTestFiles(runDir: string, run: TestedRun): Promise<void> {
  await writeRunFile(join(runDir, runFiles.predictions), predictionsCsv(run))
  const { what, evaluation, epochs, bestEpoch } = run
  const title = `${what}: test accuracy ${percent(evaluation.accuracy)}`.replaceAll('\u00a0', ' ')
  // Loaded late: the plotting library takes half a second to load.
  const { trainingCurvesFile } = await import('../plots/training-curves.ts')
  await writeRunFile(join(runDir, runFiles.curves), trainingCurvesFile({ name: title, epochs, bestEpoch }))
}

function predictionsCsv({ indices, labels, evaluation: { predictions } }: TestedRun): string {
  const lines = ['index,label,predicted']
  for (const [k, predicted] of predictions.entries()) lines.push(`${indices[k]},${labels[k]},${predicted}`)
  return `${lines.join('\n')}\n`
}
