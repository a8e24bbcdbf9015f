/**
 * A study's folder.
 *
 * | file | what |
 * |---|---|
 * | config.json | as of every run (run-folder.node.ts), with the plan for settings; decides when the study is resumed |
 * | parts/NAME.json | the result of a part, written when it is done; a part that has it is not run again |
 * | NAME/ | the part's own run folder |
 * | report.json, report.html | what it came to; written last |
 */
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { WeftgradError } from '../errors.ts'
import { ifThere, readHostText } from '../format/host-file.node.ts'
import { isRecord, parsedJson } from '../format/json.ts'
import type { Predictions } from './comparison.ts'
import { type JobConfig, readAnyConfig, runFiles, writeRunFile } from './run-folder.node.ts'
import { planIn, type StudyPart, type StudyPlan } from './study-plan.ts'
import type { PartDone, StudyResults } from './study-result.ts'

export const studyFiles = { page: 'report.html', report: 'report.json' } as const

export type StudyConfig = JobConfig<'study', StudyPlan>

/** Throws WeftgradError 'file' where the folder holds no run, 'format' where that is no study. */
export async function readStudyConfig(folder: string): Promise<StudyConfig> {
  const config = await readAnyConfig(folder)
  const path = join(folder, runFiles.config)
  if (config.job !== 'study')
    throw new WeftgradError('format', `${path} is the configuration of another job. Name the folder of a study.`, {
      path,
      job: config.job,
    })
  return { ...config, job: 'study', settings: planIn(config.settings, path) }
}

function partFile(folder: string, part: StudyPart): string {
  return join(folder, 'parts', `${part}.json`)
}

export async function writePart<Part extends StudyPart>(
  folder: string,
  part: Part,
  done: PartDone<StudyResults[Part]>,
): Promise<void> {
  await writeRunFile(partFile(folder, part), `${JSON.stringify({ part, ...done })}\n`)
}

/** A part's result; undefined while it is not done. Throws WeftgradError 'format' where the file is damaged. */
export async function readPart<Part extends StudyPart>(
  folder: string,
  part: Part,
): Promise<PartDone<StudyResults[Part]> | undefined> {
  const path = partFile(folder, part)
  const text = ifThere(() => readHostText(path))
  if (text === undefined) return undefined
  const value = parsedJson(text)
  if (!isRecord(value) || value.part !== part || typeof value.seconds !== 'number' || !isRecord(value.result))
    throw new WeftgradError(
      'format',
      `${path} is not the result of a part of a study. Delete it to have the part run again.`,
      { path },
    )
  const { part: _, ...done } = value
  // Written by `writePart` above; its readers show what they find.
  return done as unknown as PartDone<StudyResults[Part]>
}

/** Whether a part was begun: its folder holds something. */
export async function isBegun(folder: string): Promise<boolean> {
  return (await readdir(folder).catch(() => [])).length > 0
}

/** The predictions of a run. Throws WeftgradError 'file' or 'format'. */
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
