/**
 * Files of a run with a checksum beside them: `checksums.json` holds the SHA-256 of each by name, and reading verifies
 * it.
 *
 * Promises: a file whose bytes changed after it was written is rejected. A crash never makes an intact file look
 * changed: the new checksum is stored beside the old one before the file is replaced, and either is accepted.
 */

import { basename, dirname, join } from 'node:path'
import { WeftgradError } from '../errors.ts'
import { ifThere, readHostFile } from '../format/host-file.node.ts'
import { isRecord, parsedJson } from '../format/json.ts'
import { sha256 } from '../format/sha256.node.ts'
import { runFiles, writeRunFile } from './run-folder.node.ts'

/** The largest accepted file. A checkpoint holds the parameters and two moments of each: ResNet152V2 takes 0.7 GB. */
const mostBytes = 2 ** 31

/** Checksums by file name: of the current bytes, and of those about to replace them. */
type Checksums = Readonly<Record<string, readonly string[]>>

/** Replaces a run's file and records its checksum. Throws as `writeRunFile`; the old file is then still good. */
export async function writeCheckedFile(path: string, bytes: Uint8Array): Promise<void> {
  const name = basename(path)
  const known = checksumsIn(dirname(path))
  const before = bytesAt(path)
  const kept = before === undefined ? [] : (known[name] ?? []).filter((checksum) => checksum === sha256(before))
  const checksums: Checksums = { ...known, [name]: [...new Set([...kept, sha256(bytes)])] }
  await writeRunFile(join(dirname(path), runFiles.checksums), `${JSON.stringify(checksums, null, 2)}\n`)
  await writeRunFile(path, bytes)
}

/**
 * Reads a run's file; undefined if there is none. A file without a checksum, as in early runs, is not verified.
 * @throws WeftgradError 'checksum' if its bytes have changed, 'format' for a damaged checksums.json, 'file' if it
 * cannot be read.
 */
export async function readCheckedFile(path: string): Promise<Uint8Array | undefined> {
  const bytes = bytesAt(path)
  if (bytes === undefined) return undefined
  const expected = checksumsIn(dirname(path))[basename(path)]
  const found = sha256(bytes)
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
    `${path} is damaged. Restore it from a copy, or delete it to use the run's files unverified.`,
    { path },
  )
}

/** The file's bytes; undefined if there is none. */
function bytesAt(path: string): Uint8Array | undefined {
  return ifThere(() => readHostFile(path, mostBytes))
}
