/** Writes the page of a finished run from the files in its folder; nothing is trained or computed again. */
import { join, resolve } from 'node:path'
import { isCrossValidationResult } from '../crossval/result.ts'
import { WeftgradError } from '../errors.ts'
import { isRecord } from '../format/json.ts'
import { readAnyConfig, readReport, runFiles, shown, whileAlone, writeRunFile } from '../runs/run-folder.node.ts'
import { readTestPictures } from '../runs/test-files.node.ts'
import { isSearchResult } from '../search/result.ts'
import type { Task } from '../tasks/task.ts'
import { isTrainReport } from '../train/result.ts'
import { isTransferReport } from '../transfer/result.ts'
import type { FinishedRun } from './run-page.ts'

/**
 * Writes report.html into the folder of a finished training, transfer run, cross-validation or search. Returns its path.
 * @throws WeftgradError 'file' or 'format' if the folder does not hold a finished run or cannot be written; 'argument' if
 * another process is working there.
 */
export async function writeRunPage(task: Task, folder: string): Promise<string> {
  const runDir = resolve(folder)
  const config = await readAnyConfig(runDir)
  const run = finishedRun(config.job, await readReport(runDir), runDir)
  const settings = {
    ...(isRecord(config.settings) ? config.settings : {}),
    ...(isRecord(config.recipe) ? config.recipe : {}),
  }
  // Loaded late: the plotting library takes half a second to load.
  const { renderRun } = await import('./run-page.ts')
  const page = join(runDir, runFiles.page)
  await whileAlone(runDir, () => writeRunFile(page, renderRun(run, { ...config, settings }, task)))
  return page
}

function finishedRun(job: string, report: unknown, runDir: string): FinishedRun {
  switch (job) {
    case 'transfer':
      if (isTransferReport(report)) return { kind: 'transfer', report, pictures: readTestPictures(runDir) }
      break
    case 'cross-validation':
      if (isCrossValidationResult(report)) return { kind: 'cross-validation', report }
      break
    case 'search':
      if (isSearchResult(report)) return { kind: 'search', report }
      break
    default:
      if (isTrainReport(report)) return { kind: 'training', report, pictures: readTestPictures(runDir) }
  }
  throw new WeftgradError(
    'format',
    `${shown(runDir)} does not hold the report of a finished run. Finish the run first, with --resume.`,
    { folder: runDir },
  )
}
