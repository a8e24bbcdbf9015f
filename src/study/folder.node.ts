/**
 * A study's folder.
 *
 * | file | what |
 * |---|---|
 * | config.json | as for every run (run-folder.node.ts), with the plan as settings; binding when the study is resumed |
 * | parts/NAME.json | the result of a part, written when it is done; such a part is not run again |
 * | NAME/ | the part's own run folder |
 * | report.json, report.html | the result; written last |
 */
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { WeftgradError } from '../errors.ts'
import { ifThere, readHostText } from '../format/host-file.node.ts'
import { isRecord, parsedJson } from '../format/json.ts'
import type { Predictions } from '../report/comparison.ts'
import { partName, type StudyPart } from '../report/parts.ts'
import type { PartDone, StudyResults } from '../report/study-report.ts'
import { runFiles, writeRunFile } from '../runs/run-folder.node.ts'
import type { PublishedTask } from '../tasks/task.ts'

export const studyFiles = { page: 'report.html', report: 'report.json' } as const

function partFile(task: PublishedTask, folder: string, part: StudyPart): string {
  return join(folder, 'parts', `${partName(task, part)}.json`)
}

export async function writePart<Part extends StudyPart>(
  task: PublishedTask,
  folder: string,
  part: Part,
  done: PartDone<StudyResults[Part]>,
): Promise<void> {
  await writeRunFile(partFile(task, folder, part), `${JSON.stringify({ part: partName(task, part), ...done })}\n`)
}

/** Reads a part's result; undefined until it is done. Throws WeftgradError 'format' if the file is damaged. */
export async function readPart<Part extends StudyPart>(
  task: PublishedTask,
  folder: string,
  part: Part,
): Promise<PartDone<StudyResults[Part]> | undefined> {
  const path = partFile(task, folder, part)
  const text = ifThere(() => readHostText(path))
  if (text === undefined) return undefined
  const value = parsedJson(text)
  if (
    !isRecord(value) ||
    value.part !== partName(task, part) ||
    typeof value.seconds !== 'number' ||
    !isRecord(value.result)
  )
    throw new WeftgradError(
      'format',
      `${path} is not the result of a part of a study. Delete it to run the part again.`,
      { path },
    )
  const { part: _, ...done } = value
  // Written by `writePart` above; readers only show it.
  return done as unknown as PartDone<StudyResults[Part]>
}

/** Whether a part was started: its folder is not empty. */
export async function isBegun(folder: string): Promise<boolean> {
  return (await readdir(folder).catch(() => [])).length > 0
}

/** Reads the predictions of a run. Throws WeftgradError 'file' or 'format'. */
export async function readPredictions(runDir: string): Promise<Predictions> {
  const path = join(runDir, runFiles.predictions)
  const text = ifThere(() => readHostText(path))
  if (text === undefined) throw new WeftgradError('file', `${path} is missing. Start a new study.`, { path })
  const [head, ...lines] = text.trimEnd().split('\n')
  const rows = lines.map((line) => line.split(',').map(Number))
  if (head !== 'index,label,predicted' || rows.some((row) => row.length !== 3 || !row.every(Number.isSafeInteger)))
    throw new WeftgradError('format', `${path} does not hold predictions. Start a new study.`, { path })
  const column = (k: number): number[] => rows.map((row) => row[k] ?? 0)
  return { indices: column(0), labels: column(1), predicted: column(2) }
}
