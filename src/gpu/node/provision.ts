/**
 * Downloads Mesa's software Vulkan driver, lavapipe, into the cache without root, from the release's packages on Debian
 * and Ubuntu. Works in a staging folder that is always removed.
 */
import { readdirSync, readFileSync, realpathSync, rmSync } from 'node:fs'
import { join, sep } from 'node:path'
import { WeftgradError } from '../../errors.ts'
import { type AptPackage, type AptPlaces, openPrivateApt, SYSTEM_APT } from './apt.ts'
import { releaseCodename } from './apt-sources.ts'
import { cacheFolder } from './cache.ts'
import { CommandFailed } from './command.ts'
import {
  type CachedDriver,
  type DriverState,
  driverFolder,
  driversFolder,
  errorCode,
  inspectDriver,
  installDriver,
  LOADER,
  newStagingFolder,
  removeStaleStaging,
} from './driver-folder.ts'
import { neededLibraries } from './elf.ts'

const DRIVER_PACKAGE = 'mesa-vulkan-drivers'
const DRIVER_LIBRARY = 'libvulkan_lvp.so'

/**
 * Releases whose Mesa Dawn refuses: Debian 12's 22.3.6 lacks `shaderUniformArrayDynamicIndexing`; its backports have
 * 25.0.7.
 */
const BACKPORTS_FOR = ['bookworm']

/** Dawn refuses 22.3.6 and accepts 25.0.7. Versions between were not tried, so they are downloaded and Dawn decides. */
const OLDEST_MESA = 23

/** Alternatives to a download, for the end of a message. */
export const ALTERNATIVES =
  'You can install a Vulkan driver (Debian, Ubuntu, Fedora: mesa-vulkan-drivers; Arch: vulkan-swrast; openSUSE: libvulkan_lvp; ' +
  "or your GPU's own), name an adapter with WEFTGRAD_ADAPTER, or unpack SwiftShader from the npm package " +
  '@sparticuz/chromium and point VK_DRIVER_FILES to its ICD file.'

export interface ProvisionOptions {
  readonly log: (line: string) => void
  readonly places?: AptPlaces
}

/** The cached driver of this system. */
export function cachedDriver(places: AptPlaces = SYSTEM_APT): DriverState {
  return inspectDriver(driverFolder(codenameOf(places) ?? 'unknown'))
}

/** Whether `provisionDriver` can work at all: on Linux with apt's release file. */
export function canProvision(places: AptPlaces = SYSTEM_APT): boolean {
  return process.platform === 'linux' && codenameOf(places) !== undefined
}

/**
 * Downloads the driver into the cache. Replaces even an intact one, since the caller found it unusable. Throws
 * WeftgradError: 'no-adapter' if this system is not supported, 'fetch' if the download failed. Takes about 4 s and 12
 * MB on a desktop with LLVM and the X libraries, 54 MB on a bare system.
 */
export async function provisionDriver({ log, places = SYSTEM_APT }: ProvisionOptions): Promise<CachedDriver> {
  const codename = codenameOf(places)
  if (process.platform !== 'linux' || codename === undefined)
    throw new WeftgradError(
      'no-adapter',
      `No usable Vulkan driver found, and weftgrad can download one only on Debian and Ubuntu. ${ALTERNATIVES}`,
      { platform: process.platform },
    )
  const folder = driverFolder(codename)
  let staging: string | undefined
  try {
    staging = newStagingFolder()
    removeStaleStaging()
    log(
      `weftgrad: no usable GPU driver found. Downloading Mesa's software driver (${DRIVER_PACKAGE}, 12 to 60 MB) to ${folder} ` +
        '(disable with WEFTGRAD_NO_SETUP=1).',
    )
    return await fetchInto(staging, folder, places)
  } catch (error) {
    throw explained(error, folder)
  } finally {
    if (staging !== undefined) rmSync(staging, { recursive: true, force: true, maxRetries: 3 })
  }
}

async function fetchInto(staging: string, folder: string, places: AptPlaces): Promise<CachedDriver> {
  const apt = await openPrivateApt(join(staging, 'apt'), { backportsFor: BACKPORTS_FOR, places })
  const version = await apt.candidate(DRIVER_PACKAGE)
  if (version === undefined) throw new CommandFailed('failed', `no mirror offers ${DRIVER_PACKAGE}`)
  if (mesaMajor(version) < OLDEST_MESA)
    throw new CommandFailed(
      'failed',
      `${apt.codename} offers only ${DRIVER_PACKAGE} ${version}, and ${OLDEST_MESA} or newer is needed`,
    )

  const wanted: AptPackage[] = await apt.missing([DRIVER_PACKAGE, 'libvulkan1'])
  if (!wanted.some(({ name }) => name === DRIVER_PACKAGE)) wanted.push({ name: DRIVER_PACKAGE, version })
  const tree = join(staging, 'tree')
  await apt.unpack(wanted, tree)

  const available = sharedLibraries(tree)
  if (!available.has(DRIVER_LIBRARY))
    throw new CommandFailed('failed', `${DRIVER_PACKAGE} ${version} does not contain ${DRIVER_LIBRARY}`)
  const files = inLoadingOrder([LOADER, DRIVER_LIBRARY], available)
  return installDriver(join(staging, 'driver'), folder, files, { library: DRIVER_LIBRARY, mesaVersion: version })
}

/** Every shared library below `tree`, by file name, without links that lead out of the tree. */
function sharedLibraries(tree: string): Map<string, string> {
  const root = realpathSync(tree) + sep
  const found = new Map<string, string>()
  for (const entry of readdirSync(tree, { recursive: true, withFileTypes: true })) {
    if (entry.isDirectory() || !/\.so(\.|$)/.test(entry.name)) continue
    try {
      const path = realpathSync(join(entry.parentPath, entry.name))
      if (path.startsWith(root) && !found.has(entry.name)) found.set(entry.name, path)
    } catch (error) {
      if (errorCode(error) !== 'ENOENT') throw error // a link whose target is in no package
    }
  }
  return found
}

/** The C and C++ runtime, which must not be loaded a second time. */
const RUNTIME = /^(ld-linux.*|lib(c|m|dl|rt|pthread|gcc_s|stdc\+\+))\.so/

/** `roots` and their dependencies found in `available`, each after its dependencies. The system has the rest. */
function inLoadingOrder(roots: readonly string[], available: ReadonlyMap<string, string>): Map<string, string> {
  const ordered = new Map<string, string>()
  const visited = new Set<string>()
  const visit = (name: string) => {
    const path = available.get(name)
    if (path === undefined || visited.has(name) || RUNTIME.test(name)) return
    visited.add(name)
    for (const needed of neededLibraries(readFileSync(path), name)) visit(needed)
    ordered.set(name, path)
  }
  for (const root of roots) visit(root)
  return ordered
}

/** The major version: `25` of `1:25.0.7-2~bpo12+1`. */
export function mesaMajor(version: string): number {
  return Number(/^(?:\d+:)?(\d+)/.exec(version)?.[1] ?? 0)
}

function codenameOf(places: AptPlaces): string | undefined {
  try {
    return releaseCodename(readFileSync(places.osRelease, 'utf8'))
  } catch {
    return undefined
  }
}

/** Turns every failure into one message with what to do. */
function explained(error: unknown, folder: string): WeftgradError {
  if (error instanceof WeftgradError && error.code === 'file') return error
  const details = { folder }
  if (error instanceof CommandFailed && error.kind === 'missing')
    return new WeftgradError(
      'no-adapter',
      `No usable Vulkan driver found, and ${error.message} to download one with. ${ALTERNATIVES}`,
      details,
      error,
    )
  const text = error instanceof Error ? error.message : String(error)
  const code = errorCode(error)
  let reason = text
  if (code === 'ENOSPC' || code === 'EDQUOT' || /no space left|disk quota exceeded/i.test(text))
    reason = `the disk of ${cacheFolder()} is full (needs up to 500 MB temporarily; WEFTGRAD_CACHE_DIR names another folder)`
  else if (code === 'EACCES' || code === 'EROFS' || code === 'EPERM' || code === 'ENOTDIR')
    reason = `${driversFolder()} cannot be written (WEFTGRAD_CACHE_DIR names another folder)`
  return new WeftgradError(
    'fetch',
    `No usable Vulkan driver found, and downloading Mesa's software driver failed: ${reason}. ${ALTERNATIVES}`,
    details,
    error,
  )
}
