/** Before and after exploring a task's data: where they come from, and the folder that keeps what `explore` found. */
import { basename, join, resolve } from 'node:path'
import { WeftgradError } from '../errors.ts'
import { readHostFile, readHostText } from '../format/host-file.node.ts'
import { isRecord, parsedJson } from '../format/json.ts'
import { writeRunFile } from '../runs/run-folder.node.ts'
import type { Task } from '../tasks/task.ts'
import type { Eda, EdaPart, EdaResult, EdaSource } from './explore.ts'

/** What the folder holds; the JSON is written last, so a folder that has it is whole. */
export const edaFiles = { classes: 'classes.png', correlation: 'correlation.png', result: 'eda.json' } as const

/** The two take 0.1 MB each. */
const mostPictureBytes = 64 * 2 ** 20

export interface EdaDataOptions {
  /** The only folder to look for the data in. */
  readonly dataDir?: string | undefined
  /** One CSV file instead, plain or .gz, as Kaggle publishes them. */
  readonly csv?: string | undefined
  /** Rows with missing cells are refused, naming their lines, or left out. */
  readonly missing?: 'refuse' | 'drop' | undefined
  readonly onNote?: ((line: string) => void) | undefined
  readonly signal?: AbortSignal | undefined
}

export interface EdaData {
  readonly parts: readonly EdaPart[]
  readonly source: EdaSource
  /** The folder or file they were read from. */
  readonly place: string
}

/** @throws WeftgradError 'argument' for a folder and a file at once; else as the task's `load` and `readCsv`. */
export async function loadEdaData(
  { data }: Pick<Task, 'data'>,
  { dataDir, csv, missing, onNote, signal }: EdaDataOptions = {},
): Promise<EdaData> {
  if (csv !== undefined) {
    if (dataDir !== undefined)
      throw new WeftgradError('argument', 'Name a folder (--data-dir) or one CSV file (--csv), not both.')
    const path = resolve(csv)
    const images = await data.readCsv(path, { missing, log: onNote })
    return { parts: [{ name: basename(path), images }], source: { kind: 'csv', published: false }, place: path }
  }
  const { train, test, folder, published } = await data.load({ dataDir, missing, log: onNote, signal })
  return {
    parts: [
      { name: 'train', images: train },
      { name: 'test', images: test },
    ],
    source: { kind: train.droppedLines === undefined ? 'idx' : 'csv', published },
    place: folder,
  }
}

/** Replaces what an earlier look left there. */
export async function writeEda(folder: string, { result, pictures }: Eda): Promise<void> {
  await writeRunFile(join(folder, edaFiles.classes), pictures.classes)
  await writeRunFile(join(folder, edaFiles.correlation), pictures.correlation)
  await writeRunFile(join(folder, edaFiles.result), `${JSON.stringify(result)}\n`)
}

/** What `writeEda` wrote. Throws 'file' where it is not all there, 'format' where it is something else. */
export async function readEda(folder: string): Promise<Eda> {
  const picture = (name: string): Uint8Array => readHostFile(join(folder, name), mostPictureBytes)
  const result = parsedJson(readHostText(join(folder, edaFiles.result)))
  if (!isEdaResult(result))
    throw new WeftgradError('format', `${join(folder, edaFiles.result)} is not the result of weftgrad eda.`, { folder })
  return {
    result,
    pictures: { classes: picture(edaFiles.classes), correlation: picture(edaFiles.correlation) },
  }
}

function isEdaResult(value: unknown): value is EdaResult {
  return (
    isRecord(value) &&
    [value.source, value.adapter, value.duplicates, value.correlation].every(isRecord) &&
    [value.classNames, value.sets, value.classes].every(Array.isArray)
  )
}
