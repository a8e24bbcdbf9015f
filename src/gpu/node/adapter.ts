/**
 * Finds a WebGPU adapter in Node through Dawn (npm package `webgpu`): the one that WEFTGRAD_ADAPTER names, else
 * hardware, else the system's software Vulkan, else the driver in weftgrad's cache, which is downloaded if allowed.
 * Needs no root and no restart.
 */
import { WeftgradError } from '../../errors.ts'
import { escaped } from '../../printable.ts'
import { driverName, isHardware } from '../adapter-info.ts'
import { loadDawn, requestFrom, seenBy } from './dawn.ts'
import type { CachedDriver } from './driver-folder.ts'
import { gpuNodes } from './gpu-nodes.ts'
import { FAST_MESA, isAtLeast } from './mesa.ts'
import { ALTERNATIVES, cachedDriver, canProvision, provisionDriver } from './provision.ts'
import { lavapipeInUse, useVectorWidth } from './vector-width.ts'
import {
  DriverDoesNotLoad,
  driversAreGiven,
  hasLoader,
  loadCachedLoader,
  prepareShaderCache,
  systemIcds,
  useCachedDriver,
  useSystemIcds,
} from './vulkan.ts'

/** How to look for an adapter in Node.js. */
export interface FindAdapterOptions {
  /** Whether to download a software driver if there is none. Default: yes, unless WEFTGRAD_NO_SETUP=1. */
  readonly provision?: boolean
  /** Receives one line that says what is downloaded and why. Default: standard error. */
  readonly log?: (line: string) => void
  /** Dawn toggles to enable; a leading '-' disables one. `timestamp_quantization` is off unless it is named here. */
  readonly dawnToggles?: readonly string[]
}

export type AdapterSource = 'named' | 'hardware' | 'system-software' | 'provisioned'

export interface FoundAdapter {
  /** Never garbage collected: Dawn aborts the process if an instance is collected before its devices. */
  readonly gpu: GPU
  /** Can create one device. For another, call `findAdapter` again: it is quick, because the instance is reused. */
  readonly adapter: GPUAdapter
  readonly source: AdapterSource
  /** False for an adapter that runs on the CPU. */
  readonly hardware: boolean
  /** For people: the driver, its version, and what Dawn says about the device. */
  readonly driver: string
  /** True if a software driver was downloaded for this search. */
  readonly fetched: boolean
  /** False if Dawn leaves out its checks in kernels. */
  readonly boundsChecks: boolean
}

interface Instance {
  readonly gpu: GPU
  readonly source: AdapterSource
}

/** One instance per set of flags, kept forever: see `FoundAdapter.gpu`. */
const instances = new Map<string, Instance>()

/** Searches run one after the other, because each sets environment variables that the Vulkan loader reads. */
let previous: Promise<unknown> = Promise.resolve()

/**
 * Resolves to a new adapter. Throws WeftgradError: 'no-adapter' with what was found and what to do; 'fetch' if a driver
 * could not be downloaded. Also puts WebGPU's constants (`GPUBufferUsage`, ...) on `globalThis`.
 */
export function findAdapter(options: FindAdapterOptions = {}): Promise<FoundAdapter> {
  const search = previous.then(
    () => find(options),
    () => find(options),
  )
  previous = search
  return search
}

async function find(options: FindAdapterOptions): Promise<FoundAdapter> {
  // It loads neither the cached driver's libraries nor Dawn, and would download a driver in vain.
  if ('Deno' in globalThis)
    throw new WeftgradError(
      'no-adapter',
      "Deno does not load Dawn, the WebGPU of Node.js. Import `open` from 'weftgrad', which uses Deno's own WebGPU.",
    )
  const wanted = process.env.WEFTGRAD_ADAPTER || undefined
  const flags = flagsFor(options.dawnToggles ?? [])
  const key = JSON.stringify([wanted, flags])
  const known = instances.get(key)
  if (known) {
    const adapter = await requestFrom(known.gpu)
    if (adapter) return describe({ ...known, adapter }, options, false)
    instances.delete(key)
  }
  const search: Search = {
    wanted,
    flags,
    seen: new Set(),
    remarks: [],
    fetched: false,
    log: options.log ?? logToStderr,
  }
  await loadDawn()
  const provision = (options.provision ?? true) && !noSetup()
  const found = process.platform === 'linux' ? await findOnLinux(search, provision) : await look(search, 'system')
  if (!found) throw nothingFound(search, provision)
  instances.set(key, { gpu: found.gpu, source: found.source })
  return describe(found, options, search.fetched)
}

interface Search {
  readonly wanted: string | undefined
  readonly flags: readonly string[]
  /** Names of adapters that were found but not used. */
  readonly seen: Set<string>
  /** Further facts for the message if nothing is found. */
  readonly remarks: string[]
  fetched: boolean
  readonly log: (line: string) => void
}

type Found = Instance & { readonly adapter: GPUAdapter }

async function findOnLinux(search: Search, provision: boolean): Promise<Found | undefined> {
  prepareShaderCache()
  let cached = cachedDriver()
  // A fast lavapipe in the cache goes before the system's, unless the user chose the drivers.
  useVectorWidth(lavapipeInUse(cached))
  const replaced = cached.state === 'whole' && isAtLeast(cached.driver.mesaVersion, FAST_MESA) && !driversAreGiven()
  // Without a GPU the system's drivers have nothing else to offer, and the loader would print errors.
  if (systemIcds().length > 0 && !(replaced && gpuNodes().length === 0)) {
    // The GPU's driver has no loader here: lavapipe's packages include one.
    if (!hasLoader() && cached.state !== 'whole' && provision && canProvision())
      cached = { state: 'whole', driver: await fetchDriver(search) }
    if (hasLoader() || (cached.state === 'whole' && loadCachedLoader(cached.driver))) {
      useSystemIcds({ withoutLavapipe: replaced })
      const found = await look(search, 'system')
      if (found) return found
      const which = driversAreGiven() ? 'VK_DRIVER_FILES names' : 'the system has'
      const remark = `Dawn can use none of the Vulkan drivers ${which} (${systemIcds().join(', ')})`
      search.remarks.push(remark)
      if (driversAreGiven() && search.wanted === undefined) search.log(`weftgrad: ${remark}`)
    } else search.remarks.push(`${systemIcds().join(', ')} cannot be used without libvulkan.so.1 (package libvulkan1)`)
  }
  if (cached.state === 'damaged') search.remarks.push(`the driver in ${cached.folder} is damaged: ${cached.reason}`)
  const loaded = cached.state === 'whole' && loads(cached.driver, search) ? cached.driver : undefined
  const found = loaded && (await lookInCache(loaded, search))
  if (found) return found
  // What was left out above is better than nothing.
  if (replaced && systemIcds().length > 0 && hasLoader()) {
    useSystemIcds()
    const slower = await look(search, 'system')
    if (slower) return slower
  }
  if (loaded) return undefined
  // The user named an adapter other than the one that would be downloaded: the search ends here.
  if (!provision || (search.wanted && !/llvmpipe|lavapipe|software|mesa|cpu/i.test(search.wanted))) return undefined
  const driver = await fetchDriver(search)
  return loads(driver, search) ? lookInCache(driver, search) : undefined
}

async function fetchDriver(search: Search): Promise<CachedDriver> {
  const driver = await provisionDriver({ log: search.log })
  search.fetched = true
  return driver
}

/** Uses a cached driver, or notes why it is unusable: a system library that it needs is missing. */
function loads(driver: CachedDriver, search: Search): boolean {
  try {
    useCachedDriver(driver)
    return true
  } catch (error) {
    if (!(error instanceof DriverDoesNotLoad)) throw error
    search.remarks.push(error.message)
    return false
  }
}

async function lookInCache(driver: CachedDriver, search: Search): Promise<Found | undefined> {
  const found = await look(search, 'cache')
  if (!found && search.seen.size === 0)
    search.remarks.push(
      `Dawn cannot use Mesa ${driver.mesaVersion} in ${driver.folder} (delete that folder to download it again)`,
    )
  return found
}

/** Asks Dawn for an adapter of the drivers that are visible now. */
async function look(search: Search, where: 'system' | 'cache'): Promise<Found | undefined> {
  const { create } = await loadDawn()
  const { wanted, flags } = search
  if (wanted !== undefined) {
    const name = await nameOf(wanted, search)
    if (name === undefined) return undefined
    const gpu = create([...flags, `adapter=${name}`])
    const adapter = await requestFrom(gpu)
    return adapter && { gpu, adapter, source: 'named' }
  }
  const gpu = create([...flags])
  const adapter = await requestFrom(gpu)
  if (!adapter) return undefined
  const software = where === 'cache' ? 'provisioned' : 'system-software'
  return { gpu, adapter, source: isHardware(adapter.info) ? 'hardware' : software }
}

/** The full name of the adapter whose name, device or description contains `wanted`, in any case. */
async function nameOf(wanted: string, search: Search): Promise<string | undefined> {
  const { create } = await loadDawn()
  const contains = (text: string) => text.toLowerCase().includes(wanted.toLowerCase())
  const names = await seenBy(search.flags)
  for (const name of names) search.seen.add(name)
  const direct = names.find(contains)
  if (direct !== undefined) return direct
  for (const name of names) {
    const info = (await requestFrom(create([...search.flags, `adapter=${name}`])))?.info
    if (info && [info.vendor, info.architecture, info.device, info.description].some(contains)) return name
  }
  return undefined
}

/** Flags of Dawn's Node binding. Unless the backend is named, Dawn could pick OpenGL on Linux. */
export function flagsFor(toggles: readonly string[], platform: NodeJS.Platform = process.platform): string[] {
  const disabled = toggles.filter((toggle) => toggle.startsWith('-')).map((toggle) => toggle.slice(1))
  const enabled = toggles.filter((toggle) => !toggle.startsWith('-'))
  // By default timestamps are rounded to 65.5 us, longer than most dispatches. That protects web pages, not this
  // process.
  if (!enabled.includes('timestamp_quantization')) disabled.push('timestamp_quantization')
  const flags = platform === 'linux' ? ['backend=vulkan'] : []
  if (enabled.length > 0) flags.push(`enable-dawn-features=${enabled.join(',')}`)
  if (disabled.length > 0) flags.push(`disable-dawn-features=${[...new Set(disabled)].join(',')}`)
  return flags
}

function describe({ gpu, adapter, source }: Found, options: FindAdapterOptions, fetched: boolean): FoundAdapter {
  const { info } = adapter
  const boundsChecks = options.dawnToggles?.includes('disable_robustness') !== true
  return { gpu, adapter, source, hardware: isHardware(info), driver: driverName(info), fetched, boundsChecks }
}

function nothingFound({ wanted, seen, remarks }: Search, provision: boolean): WeftgradError {
  const list = seen.size > 0 ? [...seen].map((name) => `'${name}'`).join(', ') : 'none'
  const details = { wanted, seen: [...seen], remarks }
  if (wanted !== undefined)
    return new WeftgradError(
      'no-adapter',
      `No adapter's name contains WEFTGRAD_ADAPTER='${wanted}'; found: ${list}. Name one of those or unset the variable.`,
      details,
    )
  const because = remarks.length > 0 ? `: ${remarks.join('; ')}` : ''
  if (process.platform !== 'linux')
    return new WeftgradError(
      'no-adapter',
      `No WebGPU adapter found${because}. Update the graphics driver: Dawn needs Metal on macOS, Direct3D 12 on Windows.`,
      details,
    )
  let how = ''
  if (!provision && canProvision())
    how = noSetup()
      ? 'WEFTGRAD_NO_SETUP=1 keeps weftgrad from downloading a software driver. '
      : 'Run `weftgrad setup` to download a software driver (no root needed). '
  return new WeftgradError('no-adapter', `No WebGPU adapter found${because}. ${how}${ALTERNATIVES}`, details)
}

/** Whether the user switched downloads off. */
export function noSetup(): boolean {
  return process.env.WEFTGRAD_NO_SETUP === '1'
}

function logToStderr(line: string): void {
  process.stderr.write(`${escaped(line)}\n`)
}
