/** Loads a task's data for `explore`, and stores its result in a folder. */
import { basename, join, resolve } from 'node:path'
import { WeftgradError } from '../errors.ts'
import { readHostFile, readHostText } from '../format/host-file.node.ts'
import { isRecord, parsedJson } from '../format/json.ts'
import type { LoadedImages } from '../runs/data.ts'
import { writeRunFile } from '../runs/run-folder.node.ts'
import type { Task } from '../tasks/task.ts'
import type { Eda, EdaPart, EdaResult, EdaSource } from './explore.ts'

/** The files in the folder; the JSON is written last, so a folder that has it is complete. */
export const edaFiles = { classes: 'classes.png', correlation: 'correlation.png', result: 'eda.json' } as const

/** The largest accepted picture; the two take 0.1 MB each. */
const mostPictureBytes = 64 * 2 ** 20

export interface EdaDataOptions {
  /** The folder to search for the data, and no other. */
  readonly dataDir?: string | undefined
  /** One CSV file instead, plain or .gz, as published on Kaggle. */
  readonly csv?: string | undefined
  /** Whether rows with missing cells are rejected, naming their lines, or dropped. */
  readonly missing?: 'refuse' | 'drop' | undefined
  readonly onNote?: ((line: string) => void) | undefined
  readonly signal?: AbortSignal | undefined
}

export interface EdaData {
  readonly parts: readonly EdaPart[]
  readonly source: EdaSource
  /** The folder or file of the data. */
  readonly place: string
}

/** @throws WeftgradError 'argument' if both a folder and a file are given; else as the task's `load` and `readCsv`. */
export async function loadEdaData(
  { data }: Pick<Task, 'data'>,
  { dataDir, csv, missing, onNote, signal }: EdaDataOptions = {},
): Promise<EdaData> {
  if (csv !== undefined) {
    if (dataDir !== undefined)
      throw new WeftgradError('argument', 'Name a folder (--data-dir) or one CSV file (--csv), not both.')
    if (data.readCsv === undefined)
      throw new WeftgradError('argument', `--csv cannot be combined with ${data.option}. Leave one of them out.`)
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
    source: { kind: kindOf(data.option, train), published: published === true },
    place: folder,
  }
}

function kindOf(option: Task['data']['option'], { droppedLines }: LoadedImages): EdaSource['kind'] {
  if (option === '--images') return 'pictures'
  return droppedLines === undefined ? 'idx' : 'csv'
}

/** Writes the results, replacing earlier ones. */
export async function writeEda(folder: string, { result, pictures }: Eda): Promise<void> {
  await writeRunFile(join(folder, edaFiles.classes), pictures.classes)
  await writeRunFile(join(folder, edaFiles.correlation), pictures.correlation)
  await writeRunFile(join(folder, edaFiles.result), `${JSON.stringify(result)}\n`)
}

/** Reads what `writeEda` wrote. Throws 'file' if a file is missing, 'format' if it is something else. */
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
