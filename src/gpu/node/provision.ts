/**
 * Puts Mesa's software Vulkan driver, lavapipe, into the cache without root: out of the release's own packages, on
 * Debian and Ubuntu. Everything happens in a staging folder that is gone afterwards, whatever the outcome.
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

/** Releases whose own Mesa Dawn refuses: Debian 12's 22.3.6 lacks `shaderUniformArrayDynamicIndexing`; its backports have 25.0.7. */
const BACKPORTS_FOR = ['bookworm']

/** 22.3.6 is refused by Dawn and 25.0.7 works; what lies between was not tried, so it is fetched and Dawn decides. */
const OLDEST_MESA = 23

/** What to do instead, for the end of a sentence that said what is wrong. */
export const ALTERNATIVES =
  'You can install a Vulkan driver (Debian, Ubuntu, Fedora: mesa-vulkan-drivers; Arch: vulkan-swrast; openSUSE: libvulkan_lvp; ' +
  'or the one of your GPU), name an adapter with WEFTGRAD_ADAPTER, or unpack SwiftShader from the npm package ' +
  '@sparticuz/chromium and point VK_DRIVER_FILES to its ICD file.'

export interface ProvisionOptions {
  readonly log: (line: string) => void
  readonly places?: AptPlaces
}

/** What the cache holds for this system. */
export function cachedDriver(places: AptPlaces = SYSTEM_APT): DriverState {
  return inspectDriver(driverFolder(codenameOf(places) ?? 'unknown'))
}

/** True where `provisionDriver` can work at all: Linux with apt's release file. */
export function canProvision(places: AptPlaces = SYSTEM_APT): boolean {
  return process.platform === 'linux' && codenameOf(places) !== undefined
}

/**
 * Fetches the driver and puts it into the cache; an intact one is replaced too, since the caller found it unusable.
 * Throws WeftgradError: 'no-adapter' where this system cannot, 'fetch' when it could but failed. About 4 s and 12 MB on
 * a desktop that has LLVM and the X libraries, 54 MB on a bare system.
 */
export async function provisionDriver({ log, places = SYSTEM_APT }: ProvisionOptions): Promise<CachedDriver> {
  const codename = codenameOf(places)
  if (process.platform !== 'linux' || codename === undefined)
    throw new WeftgradError(
      'no-adapter',
      `There is no usable Vulkan driver, and weftgrad can fetch one only on Debian and Ubuntu. ${ALTERNATIVES}`,
      { platform: process.platform },
    )
  const folder = driverFolder(codename)
  let staging: string | undefined
  try {
    staging = newStagingFolder()
    removeStaleStaging()
    log(
      `weftgrad: no usable Vulkan driver here, so Mesa's software driver (${DRIVER_PACKAGE}, 12 to 60 MB) is fetched from this ` +
        `system's package mirror into ${folder}; WEFTGRAD_NO_SETUP=1 prevents that.`,
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
    throw new CommandFailed('failed', `${DRIVER_PACKAGE} ${version} holds no ${DRIVER_LIBRARY}`)
  const files = inLoadingOrder([LOADER, DRIVER_LIBRARY], available)
  return installDriver(join(staging, 'driver'), folder, files, { library: DRIVER_LIBRARY, mesaVersion: version })
}

/** Every shared library below `tree` by file name. A link that leads out of the tree is not one. */
function sharedLibraries(tree: string): Map<string, string> {
  const root = realpathSync(tree) + sep
  const found = new Map<string, string>()
  for (const entry of readdirSync(tree, { recursive: true, withFileTypes: true })) {
    if (entry.isDirectory() || !/\.so(\.|$)/.test(entry.name)) continue
    try {
      const path = realpathSync(join(entry.parentPath, entry.name))
      if (path.startsWith(root) && !found.has(entry.name)) found.set(entry.name, path)
    } catch (error) {
      if (errorCode(error) !== 'ENOENT') throw error // a link whose target came in no package
    }
  }
  return found
}

/** The C and C++ runtime, never to be loaded a second time. */
const RUNTIME = /^(ld-linux.*|lib(c|m|dl|rt|pthread|gcc_s|stdc\+\+))\.so/

/** `roots` and all they need as far as `available` has it, each after its needs. The rest the system has. */
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

/** `25` of `1:25.0.7-2~bpo12+1`. */
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

/** Every failure as one sentence with the ways out. */
function explained(error: unknown, folder: string): WeftgradError {
  if (error instanceof WeftgradError && error.code === 'file') return error
  const details = { folder }
  if (error instanceof CommandFailed && error.kind === 'missing')
    return new WeftgradError(
      'no-adapter',
      `There is no usable Vulkan driver, and ${error.message} to fetch one with. ${ALTERNATIVES}`,
      details,
      error,
    )
  const text = error instanceof Error ? error.message : String(error)
  const code = errorCode(error)
  let reason = text
  if (code === 'ENOSPC' || code === 'EDQUOT' || /no space left|disk quota exceeded/i.test(text))
    reason = `the disk of ${cacheFolder()} is full (up to 500 MB are needed for a moment; WEFTGRAD_CACHE_DIR names another folder)`
  else if (code === 'EACCES' || code === 'EROFS' || code === 'EPERM' || code === 'ENOTDIR')
    reason = `${driversFolder()} cannot be written (WEFTGRAD_CACHE_DIR names another folder)`
  return new WeftgradError(
    'fetch',
    `There is no usable Vulkan driver, and fetching Mesa's software driver failed: ${reason}. ${ALTERNATIVES}`,
    details,
    error,
  )
}
