/**
 * Prepares what Dawn needs on Linux before it creates a Vulkan instance: the loader `libvulkan.so.1`, and manifests of
 * drivers (ICDs). Both come from the system or from a cached driver, whose libraries are loaded by absolute path.
 * Environment: https://github.com/KhronosGroup/Vulkan-Loader/blob/main/docs/LoaderDriverInterface.md
 */
import { constants as access, accessSync, mkdirSync, readdirSync } from 'node:fs'
import { constants } from 'node:os'
import { delimiter, isAbsolute, join, sep } from 'node:path'
import { isMainThread } from 'node:worker_threads'
import { WeftgradError } from '../../errors.ts'
import { cacheFolder, cachePath, userCacheFolder } from './cache.ts'
import { type CachedDriver, LOADER } from './driver-folder.ts'
import { whyUntrusted } from './trust.ts'

/**
 * The variables as set by the user or the system, before this module changes them. A parent process may have set ours.
 */
const given = {
  files: notOurs(process.env.VK_DRIVER_FILES) ?? notOurs(process.env.VK_ICD_FILENAMES),
  added: process.env.VK_ADD_DRIVER_FILES,
  disabled: process.env.VK_LOADER_DRIVERS_DISABLE,
}

/** Where container runtimes mount the host's NVIDIA driver, outside the loader's search path. */
const MOUNTED_ICDS = ['/usr/local/nvidia/share/vulkan/icd.d']

function notOurs(files: string | undefined): string | undefined {
  const cache = cachePath()
  const isOurs = cache !== undefined && files?.startsWith(join(cache, 'driver') + sep)
  return files === '' || isOurs ? undefined : files
}

/** The manifests of the system's drivers, or those named by `VK_DRIVER_FILES`. */
export function systemIcds(): string[] {
  if (given.files !== undefined) return given.files.split(delimiter).filter((path) => path !== '')
  const added = (given.added ?? '').split(delimiter).filter((path) => path !== '')
  return [...icdsInSearchPath(), ...added, ...mountedIcds()]
}

/** The manifests that the loader finds on its own. */
function icdsInSearchPath(): string[] {
  const { env } = process
  const list = (value: string | undefined, otherwise: string) => (value || otherwise).split(delimiter)
  const home = env.HOME ?? ''
  const folders = [
    ...list(env.XDG_CONFIG_HOME, join(home, '.config')),
    ...list(env.XDG_CONFIG_DIRS, '/etc/xdg'),
    '/etc',
    '/usr/local/etc',
    ...list(env.XDG_DATA_HOME, join(home, '.local/share')),
    ...list(env.XDG_DATA_DIRS, '/usr/local/share:/usr/share'),
  ]
  return [...new Set(folders.filter(isAbsolute).map((folder) => join(folder, 'vulkan/icd.d')))].flatMap(manifests)
}

function mountedIcds(): string[] {
  const isNvidia = (path: string) => path.includes('nvidia')
  return icdsInSearchPath().some(isNvidia) ? [] : MOUNTED_ICDS.flatMap(manifests)
}

function manifests(folder: string): string[] {
  try {
    return readdirSync(folder)
      .filter((name) => name.endsWith('.json'))
      .map((name) => join(folder, name))
  } catch {
    return []
  }
}

/** True if the user chose drivers by `VK_DRIVER_FILES` or `VK_ICD_FILENAMES`. */
export function driversAreGiven(): boolean {
  return given.files !== undefined
}

/** The name of lavapipe's manifest, as the Vulkan loader's filters write it. Those of the cache are called otherwise. */
const LAVAPIPE_ICD = 'lvp_icd*'

/**
 * Lets the next Vulkan instance see the system's drivers (or the user's choice of them). `withoutLavapipe` hides its
 * software driver, because the one in the cache is faster; loaders before 1.3.234 show it nevertheless.
 */
export function useSystemIcds({ withoutLavapipe = false } = {}): void {
  setEnvironment('VK_LOADER_DRIVERS_DISABLE', withoutLavapipe ? LAVAPIPE_ICD : given.disabled)
  setEnvironment('VK_DRIVER_FILES', given.files)
  setEnvironment('VK_ICD_FILENAMES', given.files)
  const mounted = given.files === undefined ? mountedIcds().join(delimiter) : ''
  if (mounted !== '' && given.added === undefined) setEnvironment('VK_ADD_DRIVER_FILES', mounted)
}

/** Lets the next Vulkan instance see only the cached driver, and loads its libraries. Throws if one does not load. */
export function useCachedDriver(driver: CachedDriver): void {
  loadLibraries(driver, driver.libraries)
  setEnvironment('VK_DRIVER_FILES', driver.icd)
  setEnvironment('VK_ICD_FILENAMES', driver.icd)
}

/**
 * Loads the Vulkan loader of a cached driver, for a system with drivers but no loader. True if there is a loader now.
 */
export function loadCachedLoader(driver: CachedDriver): boolean {
  return hasLoader() || loadFailure(join(driver.folder, 'lib', LOADER)) === undefined
}

/** True if `libvulkan.so.1` is loaded or can be found. */
export function hasLoader(): boolean {
  return loadFailure(LOADER) === undefined
}

function loadLibraries(driver: CachedDriver, names: readonly string[]): void {
  for (const name of names) {
    if (name === LOADER && hasLoader()) continue
    const failure = loadFailure(join(driver.folder, 'lib', name))
    if (failure !== undefined) throw new DriverDoesNotLoad(driver.folder, failure)
  }
}

/** Thrown when a complete cached driver cannot be loaded. */
export class DriverDoesNotLoad extends WeftgradError {
  constructor(folder: string, reason: string) {
    super('no-adapter', `the Vulkan driver in ${folder} does not load (${reason})`, { folder })
  }
}

/** glibc's RTLD_NODELETE, which Node does not export. Without it Node closes a library that is not an addon. */
const RTLD_NODELETE = 0x1000

/** Loads a library that is not a Node addon, and keeps it loaded. Returns the reason if that fails. */
function loadFailure(library: string): string | undefined {
  try {
    process.dlopen({ exports: {} }, library, constants.dlopen.RTLD_NOW | constants.dlopen.RTLD_GLOBAL | RTLD_NODELETE)
    return undefined
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    return message.includes('did not self-register') ? undefined : message
  }
}

/** Native code sees `process.env` of the main thread only. */
function setEnvironment(name: string, value: string | undefined): void {
  if (process.env[name] === value) return
  if (!isMainThread)
    throw new WeftgradError(
      'no-adapter',
      `The Vulkan driver must be chosen on the main thread, because native code does not see a worker's environment: ` +
        `call findAdapter() or open() there first, or start the process with ${name}=${value ?? ''}.`,
      { name, value },
    )
  if (value === undefined) delete process.env[name]
  else process.env[name] = value
}

/** Mesa caches compiled shaders in the user's cache folder, or in ours if that is not writable. */
export function prepareShaderCache(): void {
  if (process.env.MESA_SHADER_CACHE_DIR !== undefined || !isMainThread) return
  const usual = userCacheFolder()
  if (usual !== undefined && canWrite(usual)) return
  const ours = join(cacheFolder(), 'mesa-shaders')
  // The shader cache holds machine code.
  if (canWrite(ours) && whyUntrusted(cacheFolder(), ours) === undefined) process.env.MESA_SHADER_CACHE_DIR = ours
}

function canWrite(folder: string): boolean {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    accessSync(folder, access.W_OK)
    return true
  } catch {
    return false
  }
}
