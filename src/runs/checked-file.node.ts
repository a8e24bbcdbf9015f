/**
 * Files of a run with a checksum beside them: `checksums.json` has the SHA-256 of each by its name, and reading compares.
 *
 * Promises: a file whose bytes changed after it was written is refused. No crash makes a whole file look changed: the new
 * checksum stands beside the old one before the file is replaced, and either is accepted.
 */
import { createHash } from 'node:crypto'
import { basename, dirname, join } from 'node:path'
import { WeftgradError } from '../errors.ts'
import { ifThere, readHostFile } from '../format/host-file.node.ts'
import { isRecord, parsedJson } from '../format/json.ts'
import { runFiles, writeRunFile } from './run-folder.node.ts'

/** Parameters and two moments of each: ResNet152V2, trained whole, takes 0.7 GB. */
const mostBytes = 2 ** 31

/** By file name: of the bytes that are there, and of those that were about to replace them. */
type Checksums = Readonly<Record<string, readonly string[]>>

/** Replaces a run's file, and notes its checksum. Throws as `writeRunFile`; the old file is then still good. */
export async function writeCheckedFile(path: string, bytes: Uint8Array): Promise<void> {
  const name = basename(path)
  const known = checksumsIn(dirname(path))
  const before = bytesAt(path)
  const kept = before === undefined ? [] : (known[name] ?? []).filter((checksum) => checksum === checksumOf(before))
  const checksums: Checksums = { ...known, [name]: [...new Set([...kept, checksumOf(bytes)])] }
  await writeRunFile(join(dirname(path), runFiles.checksums), `${JSON.stringify(checksums, null, 2)}\n`)
  await writeRunFile(path, bytes)
}

/**
 * A run's file; undefined where there is none. One without a checksum, as early runs have, is not compared.
 * @throws WeftgradError 'checksum' where its bytes are not those that were written, 'format' for a damaged checksums.json,
 * 'file' where it cannot be read.
 */
export async function readCheckedFile(path: string): Promise<Uint8Array | undefined> {
  const bytes = bytesAt(path)
  if (bytes === undefined) return undefined
  const expected = checksumsIn(dirname(path))[basename(path)]
  const found = checksumOf(bytes)
  if (expected === undefined || expected.includes(found)) return bytes
  throw new WeftgradError(
    'checksum',
    `${path} was changed or damaged after it was written: its SHA-256 is not the one in ${runFiles.checksums}. Restore it from a copy, or train again.`,
    { path, expected, found },
  )
}

function checksumsIn(folder: string): Checksums {
  const path = join(folder, runFiles.checksums)
  const bytes = bytesAt(path)
  if (bytes === undefined) return {}
  const value = parsedJson(new TextDecoder().decode(bytes))
  const isList = (one: unknown): boolean => Array.isArray(one) && one.every((text) => typeof text === 'string')
  if (isRecord(value) && Object.values(value).every(isList)) return value as Checksums
  throw new WeftgradError(
    'format',
    `${path} is damaged. Restore it from a copy, or delete it to use the run's files without comparing them.`,
    { path },
  )
}

/** Undefined where there is no such file. */
function bytesAt(path: string): Uint8Array | undefined {
  return ifThere(() => readHostFile(path, mostBytes))
}

function checksumOf(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}
