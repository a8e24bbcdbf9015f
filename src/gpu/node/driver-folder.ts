/**
 * A driver in the cache: `lib/` with the libraries, `icd.json` for the Vulkan loader, and `complete.json`, which is
 * written last and lists every file with its size and every library with its SHA-256. A folder without a matching
 * `complete.json` counts as damaged, as does one that others could have written. A rename puts the folder in place, so
 * nobody ever sees it unfinished.
 */
import { createHash } from 'node:crypto'
import {
  chmodSync,
  closeSync,
  cpSync,
  fsyncSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { cacheFolder } from './cache.ts'
import { requireTrusted, whyUntrusted } from './trust.ts'

export interface CachedDriver {
  readonly folder: string
  /** Absolute path of the Vulkan loader's manifest. */
  readonly icd: string
  /** The driver itself, such as `libvulkan_lvp.so`. */
  readonly library: string
  /** Names of the libraries in `lib/`, each after its dependencies, including the driver and the loader. */
  readonly libraries: readonly string[]
  readonly mesaVersion: string
}

export type DriverState =
  | { readonly state: 'whole'; readonly driver: CachedDriver }
  | { readonly state: 'damaged'; readonly folder: string; readonly reason: string }
  | { readonly state: 'absent'; readonly folder: string }

interface Marker {
  readonly mesaVersion: string
  readonly library: string
  readonly libraries: readonly string[]
  readonly bytes: Readonly<Record<string, number>>
  /** SHA-256 of the libraries, by name. Older installations lack it. */
  readonly sha256?: Readonly<Record<string, string>> | undefined
}

export const LOADER = 'libvulkan.so.1'

/** The folder of all downloaded drivers. */
export function driversFolder(): string {
  return join(cacheFolder(), 'driver')
}

/**
 * The folder of one driver. Libraries fit one release and one processor, so a home folder shared by several machines
 * has a folder for each.
 */
export function driverFolder(codename: string): string {
  return join(driversFolder(), `lavapipe-${codename}-${process.arch}`)
}

export function inspectDriver(folder: string): DriverState {
  let text: string
  try {
    statSync(folder)
  } catch {
    return { state: 'absent', folder }
  }
  const damaged = (reason: string): DriverState => ({ state: 'damaged', folder, reason })
  const drivers = dirname(folder)
  const untrusted = whyUntrusted(dirname(drivers), drivers, folder)
  if (untrusted !== undefined) return damaged(untrusted)
  try {
    text = readFileSync(join(folder, 'complete.json'), 'utf8')
  } catch {
    return damaged('it was never finished')
  }
  const marker = parseMarker(text)
  if (marker === undefined) return damaged('complete.json is not readable')
  const libraries = marker.libraries.map((library) => `lib/${library}`)
  for (const name of [...libraries, 'icd.json']) {
    const bytes = sizeOrUndefined(join(folder, name))
    if (bytes === undefined) return damaged(`${name} is missing`)
    if (bytes !== marker.bytes[name]) return damaged(`${name} has ${bytes} bytes instead of ${marker.bytes[name]}`)
  }
  if (readFileSync(join(folder, 'icd.json'), 'utf8') !== icdText(folder, marker.library))
    return damaged('icd.json points elsewhere; the folder was moved')
  const files = ['lib', 'complete.json', 'icd.json', ...libraries].map((name) => join(folder, name))
  const writable = whyUntrusted(...files)
  if (writable !== undefined) return damaged(writable)
  const sha256 = checksumsOf(folder, marker.libraries)
  const other = marker.libraries.find((name) => (marker.sha256 ?? sha256)[name] !== sha256[name])
  if (other !== undefined) return damaged(`lib/${other} is not the file that was installed: its SHA-256 differs`)
  if (marker.sha256 === undefined) recordChecksums(folder, { ...marker, sha256 })
  const { mesaVersion, library } = marker
  const icd = join(folder, 'icd.json')
  return { state: 'whole', driver: { folder, icd, library, libraries: marker.libraries, mesaVersion } }
}

function checksumsOf(folder: string, libraries: readonly string[]): Record<string, string> {
  const hash = (name: string): string =>
    createHash('sha256')
      .update(readFileSync(join(folder, 'lib', name)))
      .digest('hex')
  return Object.fromEntries(libraries.map((name) => [name, hash(name)]))
}

/** Adds the checksums to an older installation: nobody else can have changed it since. */
function recordChecksums(folder: string, marker: Marker): void {
  const temporary = join(folder, `complete.json.${process.pid}.tmp`)
  try {
    writeFlushed(temporary, markerText(marker))
    renameSync(temporary, join(folder, 'complete.json'))
  } catch {
    // A read-only cache stays as it is.
  }
}

function markerText(marker: Marker): string {
  return `${JSON.stringify(marker, null, 2)}\n`
}

/**
 * Fills `staging` with copies of `files` (paths by library name, in loading order), flushes them and renames the folder
 * to `folder`. If another process was faster, keeps that process' intact folder; replaces a damaged one, or one with
 * another version.
 */
export function installDriver(
  staging: string,
  folder: string,
  files: ReadonlyMap<string, string>,
  { library, mesaVersion }: { readonly library: string; readonly mesaVersion: string },
): CachedDriver {
  // Only for the owner, whatever the umask.
  mkdirSync(join(staging, 'lib'), { recursive: true, mode: 0o700 })
  const bytes: Record<string, number> = {}
  for (const [name, path] of files) {
    const target = join(staging, 'lib', name)
    cpSync(path, target, { dereference: true })
    chmodSync(target, 0o600)
    bytes[`lib/${name}`] = statSync(target).size
    flush(target)
  }
  const icd = icdText(folder, library)
  bytes['icd.json'] = Buffer.byteLength(icd)
  writeFlushed(join(staging, 'icd.json'), icd)
  const libraries = [...files.keys()]
  const marker: Marker = { mesaVersion, library, libraries, bytes, sha256: checksumsOf(staging, libraries) }
  writeFlushed(join(staging, 'complete.json'), markerText(marker))
  for (let attempt = 0; ; attempt++) {
    try {
      renameSync(staging, folder)
      break
    } catch (error) {
      const there = inspectDriver(folder)
      if (there.state === 'whole' && there.driver.mesaVersion === mesaVersion) break
      if (attempt === 2 || !isOccupied(error)) throw error
      // Moved aside first: a rename is atomic, a removal is not.
      const aside = `${staging}-replaced-${attempt}`
      renameSync(folder, aside)
      rmSync(aside, { recursive: true, force: true })
    }
  }
  const state = inspectDriver(folder)
  if (state.state !== 'whole') throw new Error(`${folder} changed while it was written`)
  return state.driver
}

/**
 * The path is absolute, so the loader needs no search path. The version is the one that the loader may assume, not the
 * driver's.
 */
function icdText(folder: string, library: string): string {
  const icd = {
    file_format_version: '1.0.0',
    ICD: { library_path: join(folder, 'lib', library), api_version: '1.3.0' },
  }
  return `${JSON.stringify(icd, null, 2)}\n`
}

function parseMarker(text: string): Marker | undefined {
  try {
    const value: Partial<Marker> | null = JSON.parse(text)
    if (value === null || typeof value !== 'object') return undefined
    const { mesaVersion, library, libraries, bytes, sha256 } = value
    if (typeof mesaVersion !== 'string' || typeof library !== 'string' || typeof bytes !== 'object') return undefined
    if (sha256 !== undefined && (typeof sha256 !== 'object' || sha256 === null)) return undefined
    if (!Array.isArray(libraries) || !libraries.every((name) => typeof name === 'string' && !name.includes('/')))
      return undefined
    return libraries.includes(library) ? { mesaVersion, library, libraries, bytes, sha256 } : undefined
  } catch {
    return undefined
  }
}

const STAGING = /^staging-(\d+)-/

/** A new folder below `driversFolder()` for one attempt of this process. */
export function newStagingFolder(): string {
  const parent = driversFolder()
  mkdirSync(parent, { recursive: true, mode: 0o700 })
  requireTrusted(dirname(parent), parent)
  const folder = join(
    parent,
    `staging-${process.pid}-${Date.now().toString(36)}${Math.random().toString(36).slice(2, 8)}`,
  )
  mkdirSync(folder, { mode: 0o700 })
  return folder
}

/** A day: process ids are reused, and no download takes that long. */
const STALE_MS = 86_400_000

/** Removes what killed processes left behind. */
export function removeStaleStaging(): void {
  for (const name of readdirSync(driversFolder())) {
    const pid = Number(STAGING.exec(name)?.[1])
    const path = join(driversFolder(), name)
    if (!Number.isInteger(pid)) continue
    const ageMs = Date.now() - (statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? Date.now())
    if (!isRunning(pid) || ageMs > STALE_MS) rmSync(path, { recursive: true, force: true })
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return errorCode(error) === 'EPERM'
  }
}

function isOccupied(error: unknown): boolean {
  return ['ENOTEMPTY', 'EEXIST', 'ENOTDIR'].includes(errorCode(error) ?? '')
}

export function errorCode(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined
}

function sizeOrUndefined(path: string): number | undefined {
  try {
    const facts = lstatSync(path)
    return facts.isFile() ? facts.size : undefined
  } catch {
    return undefined
  }
}

function writeFlushed(path: string, text: string): void {
  writeFileSync(path, text, { mode: 0o600 })
  flush(path)
}

function flush(path: string): void {
  const file = openSync(path, 'r+')
  try {
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
}
