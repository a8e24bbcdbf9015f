/**
 * Downloads Mesa's software Vulkan driver, lavapipe, into the cache without root, from the release's packages on Debian
 * and Ubuntu. Works in a staging folder that is always removed.
 */
import { readdirSync, readFileSync, realpathSync, rmSync } from 'node:fs'
import { join, sep } from 'node:path'
import { WeftgradError } from '../../errors.ts'
import { type AptPackage, type AptPlaces, openPrivateApt, type PrivateApt, readCodename, SYSTEM_APT } from './apt.ts'
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
import { FAST_MESA, isAtLeast, mesaOffer, OLDEST_MESA } from './mesa.ts'

const DRIVER_PACKAGE = 'mesa-vulkan-drivers'
const DRIVER_LIBRARY = 'libvulkan_lvp.so'

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
  return inspectDriver(driverFolder(readCodename(places) ?? 'unknown'))
}

/** Whether `provisionDriver` can work at all: on Linux with apt's release file. */
export function canProvision(places: AptPlaces = SYSTEM_APT): boolean {
  return process.platform === 'linux' && readCodename(places) !== undefined
}

/**
 * Downloads the driver into the cache, and replaces one of another version. Throws WeftgradError: 'no-adapter' if this
 * system is not supported, 'fetch' if the download failed. Takes about 4 s and 12 MB on a desktop with LLVM and the X
 * libraries, 54 MB on a bare system.
 */
export async function provisionDriver({ log, places = SYSTEM_APT }: ProvisionOptions): Promise<CachedDriver> {
  const codename = readCodename(places)
  if (process.platform !== 'linux' || codename === undefined)
    throw new WeftgradError(
      'no-adapter',
      `No usable Vulkan driver found, and weftgrad can download one only on Debian and Ubuntu. ${ALTERNATIVES}`,
      { platform: process.platform },
    )
  const folder = driverFolder(codename)
  try {
    return await inStaging(async (staging) => {
      log(
        `weftgrad: no usable GPU driver found. Downloading Mesa's software driver (${DRIVER_PACKAGE}, 12 to 60 MB) to ${folder} ` +
          '(disable with WEFTGRAD_NO_SETUP=1).',
      )
      const offer = await findOffer(join(staging, 'apt'), codename, { log, places })
      if (!isAtLeast(offer.version, OLDEST_MESA))
        throw new CommandFailed(
          'failed',
          `${codename} offers only ${DRIVER_PACKAGE} ${offer.version}, and ${OLDEST_MESA[0]} or newer is needed${offer.remark}`,
        )
      return fetchInto(staging, folder, offer)
    })
  } catch (error) {
    throw explained(error, folder)
  }
}

/**
 * Downloads a fast Mesa into the cache if the mirrors have one, and logs which, or why not: the caller has a driver,
 * only a slow one. Undefined if nothing was downloaded.
 */
export async function fetchFastDriver({
  log,
  places = SYSTEM_APT,
}: ProvisionOptions): Promise<CachedDriver | undefined> {
  const codename = readCodename(places)
  if (codename === undefined) return undefined
  const folder = driverFolder(codename)
  const wanted = FAST_MESA.join('.')
  try {
    return await inStaging(async (staging) => {
      log(`weftgrad: looking for Mesa ${wanted} or newer, whose software driver is faster than the one found.`)
      const offer = await findOffer(join(staging, 'apt'), codename, { log, places })
      if (isAtLeast(offer.version, FAST_MESA)) return fetchInto(staging, folder, offer)
      log(`weftgrad: the mirrors of ${codename} have Mesa ${offer.version} at most.`)
      return undefined
    })
  } catch (error) {
    log(`weftgrad: Mesa ${wanted} could not be downloaded: ${reasonOf(error)}.`)
    return undefined
  }
}

/** Runs `work` in a staging folder and removes that. */
async function inStaging<T>(work: (staging: string) => Promise<T>): Promise<T> {
  const staging = newStagingFolder()
  try {
    removeStaleStaging()
    return await work(staging)
  } finally {
    rmSync(staging, { recursive: true, force: true, maxRetries: 3 })
  }
}

/** The driver's package on the mirrors. `remark` says why the suite with the newest one was not used, for a message. */
interface Offer {
  readonly apt: PrivateApt
  readonly version: string
  readonly remark: string
}

/** The newest driver on the mirrors. Without a usable suite of backports, the release's own. */
async function findOffer(
  folder: string,
  codename: string,
  { log, places }: Required<ProvisionOptions>,
): Promise<Offer> {
  const suite = mesaOffer(codename)?.suite
  const offerOf = async (chosen: string | undefined, remark: string): Promise<Offer> => {
    const apt = await openPrivateApt(folder, { suite: chosen, places })
    const version = await apt.candidate(DRIVER_PACKAGE)
    if (version === undefined) throw new CommandFailed('failed', `no mirror offers ${DRIVER_PACKAGE}`)
    return { apt, version, remark }
  }
  if (suite === undefined) return offerOf(undefined, '')
  try {
    return await offerOf(suite, '')
  } catch (error) {
    if (!(error instanceof CommandFailed) || error.kind !== 'failed') throw error
    const own = await offerOf(undefined, `; ${suite} cannot be used: ${error.message}`)
    log(`weftgrad: ${suite} cannot be used (${error.message}); ${codename} itself has Mesa ${own.version}.`)
    return own
  }
}

async function fetchInto(staging: string, folder: string, { apt, version }: Offer): Promise<CachedDriver> {
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
  return new WeftgradError(
    'fetch',
    `No usable Vulkan driver found, and downloading Mesa's software driver failed: ${reasonOf(error)}. ${ALTERNATIVES}`,
    details,
    error,
  )
}

/** Why a download failed, without a full stop. */
function reasonOf(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error)
  const code = errorCode(error)
  if (code === 'ENOSPC' || code === 'EDQUOT' || /no space left|disk quota exceeded/i.test(text))
    return `the disk of ${cacheFolder()} is full (needs up to 500 MB temporarily; WEFTGRAD_CACHE_DIR names another folder)`
  if (code === 'EACCES' || code === 'EROFS' || code === 'EPERM' || code === 'ENOTDIR')
    return `${driversFolder()} cannot be written (WEFTGRAD_CACHE_DIR names another folder)`
  return text.replace(/\.$/, '')
}
