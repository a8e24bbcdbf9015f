/**
 * `weftgrad doctor`: reports adapter, driver and environment, and what would make weftgrad faster. Returns plain data,
 * which src/cli prints. Downloads nothing.
 */
import { cpus } from 'node:os'
import { WeftgradError } from '../../errors.ts'
import type { Subgroups } from '../device.ts'
import { type AdapterSource, type FoundAdapter, findAdapter } from './adapter.ts'
import { readCodename } from './apt.ts'
import { cacheFolder } from './cache.ts'
import type { DriverState } from './driver-folder.ts'
import { type GpuNode, gpuNodes } from './gpu-nodes.ts'
import { FAST_MESA, isLavapipe, isSlowLavapipe, waysToFastMesa } from './mesa.ts'
import { deviceOn } from './open.ts'
import { type Processor, thisProcessor } from './processor.ts'
import { cachedDriver } from './provision.ts'
import { lavapipeInUse, vectorWidthOf, type WidthChoice } from './vector-width.ts'
import { driversAreGiven, systemIcds } from './vulkan.ts'

/** Limits that decide which kernels fit and how large tensors can be. */
const LIMITS = [
  'maxBufferSize',
  'maxStorageBufferBindingSize',
  'maxStorageBuffersPerShaderStage',
  'maxComputeWorkgroupStorageSize',
  'maxComputeInvocationsPerWorkgroup',
  'maxComputeWorkgroupSizeX',
  'maxComputeWorkgroupsPerDimension',
] as const satisfies readonly (keyof GPUSupportedLimits)[]

/** Features that a kernel, timer or precision option needs; 'immediate_address_space' is a WGSL language feature. */
const FEATURES = [
  'subgroups',
  'subgroup-size-control',
  'shader-f16',
  'timestamp-query',
  'chromium-experimental-subgroup-matrix',
  'immediate_address_space',
] as const

export interface AdapterDiagnosis {
  /** Dawn's name of the device, such as `llvmpipe-llvm-15-0-6-256-bits-`. */
  readonly name: string
  readonly vendor: string
  readonly architecture: string
  readonly driver: string
  readonly source: AdapterSource
  readonly hardware: boolean
  /** Lanes of a subgroup, as the adapter reports them; undefined without the feature `subgroups`. */
  readonly subgroupSize: { readonly min: number; readonly max: number } | undefined
  /** What kernels use of them, found out by running one. */
  readonly subgroups: Subgroups
  readonly limits: Readonly<Record<(typeof LIMITS)[number], number>>
  readonly features: Readonly<Record<(typeof FEATURES)[number], boolean>>
}

export interface Diagnosis {
  readonly nodeVersion: string
  readonly platform: string
  readonly processor: { readonly model: string; readonly cores: number }
  readonly cacheFolder: string
  /** The driver that `weftgrad setup` put into the cache, if any. */
  readonly cachedDriver: DriverState
  /** Manifests of the system's Vulkan drivers, or those that VK_DRIVER_FILES names. */
  readonly systemDrivers: readonly string[]
  /** Undefined if there is none; then `problem` says why and what to do. */
  readonly adapter: AdapterDiagnosis | undefined
  readonly problem: string | undefined
  /** The width of the software driver's vectors, and why; undefined unless the adapter is lavapipe. */
  readonly vectorWidth: WidthChoice | undefined
  /** Ways to speed things up, one sentence each. */
  readonly faster: readonly string[]
}

export async function diagnose(): Promise<Diagnosis> {
  let adapter: AdapterDiagnosis | undefined
  let problem: string | undefined
  try {
    const found = await findAdapter({ provision: false, log: () => {} })
    using device = await deviceOn(found)
    adapter = describeAdapter(found, device.subgroups)
  } catch (error) {
    if (!(error instanceof WeftgradError)) throw error
    problem = error.message
  }
  const linux = process.platform === 'linux'
  const processors = cpus()
  const systemDrivers = linux ? systemIcds() : []
  const cached = cachedDriver()
  const lavapipe = adapter && isLavapipe(adapter.driver) ? lavapipeInUse(cached) : undefined
  const vectorWidth = lavapipe && vectorWidthOf(lavapipe, adapter?.driver)
  return {
    nodeVersion: process.version,
    platform: `${process.platform}-${process.arch}`,
    processor: { model: processors[0]?.model ?? 'unknown', cores: processors.length },
    cacheFolder: cacheFolder(),
    cachedDriver: cached,
    systemDrivers,
    adapter,
    problem,
    vectorWidth,
    faster: whatWouldBeFaster({
      adapter,
      vectorWidth,
      processor: thisProcessor(),
      systemDrivers,
      gpuNodes: linux ? gpuNodes() : [],
      env: process.env,
      codename: linux ? readCodename() : undefined,
      driversAreGiven: driversAreGiven(),
    }),
  }
}

function describeAdapter(found: FoundAdapter, subgroups: Subgroups): AdapterDiagnosis {
  const { gpu, adapter, driver, source, hardware } = found
  const { info, limits, features } = adapter
  const { subgroupMinSize: min, subgroupMaxSize: max } = info
  const has = (name: (typeof FEATURES)[number]) => features.has(name) || gpu.wgslLanguageFeatures.has(name)
  return {
    name: info.device,
    vendor: info.vendor,
    architecture: info.architecture,
    driver,
    source,
    hardware,
    subgroupSize: features.has('subgroups') ? { min, max } : undefined,
    subgroups,
    limits: pick(LIMITS, (name) => limits[name]),
    features: pick(FEATURES, has),
  }
}

function pick<K extends string, V>(keys: readonly K[], value: (key: K) => V): Record<K, V> {
  return Object.fromEntries(keys.map((key) => [key, value(key)])) as Record<K, V>
}

/** The sentences of `Diagnosis.faster`. */
export function whatWouldBeFaster(found: {
  readonly adapter: Pick<AdapterDiagnosis, 'driver' | 'hardware' | 'features' | 'subgroups'> | undefined
  readonly systemDrivers: readonly string[]
  readonly gpuNodes: readonly GpuNode[]
  readonly env: Readonly<Record<string, string | undefined>>
  readonly vectorWidth: WidthChoice | undefined
  readonly processor: Pick<Processor, 'gathers'>
  /** The release; undefined unless it is Debian's, Ubuntu's or based on them. */
  readonly codename: string | undefined
  readonly driversAreGiven: boolean
}): string[] {
  const { adapter, systemDrivers, gpuNodes, env, vectorWidth, processor, codename, driversAreGiven } = found
  const sentences: string[] = []
  if (!adapter?.hardware) {
    const nvidia = gpuNodes.find(({ path }) => path.startsWith('/dev/nvidia'))
    const closed = gpuNodes.find(({ usable }) => !usable)
    const render = gpuNodes.find(({ path }) => path.includes('renderD'))
    if (closed)
      sentences.push(
        `${closed.path} exists, but this user may not open it: join the group that owns it (often render or video).`,
      )
    else if (nvidia && !systemDrivers.some((path) => path.includes('nvidia')))
      sentences.push(
        `There is an NVIDIA GPU (${nvidia.path}) without its Vulkan driver: install it (Debian: nvidia-vulkan-icd), run the container ` +
          'with NVIDIA_DRIVER_CAPABILITIES=all, or point VK_DRIVER_FILES to its nvidia_icd.json.',
      )
    else if (render)
      sentences.push(
        `There is a GPU (${render.path}) without a Vulkan driver that Dawn can use: install or update mesa-vulkan-drivers.`,
      )
    else if (gpuNodes.some(({ path }) => path === '/dev/dxg'))
      sentences.push('This is WSL: run weftgrad with Node.js on Windows, where Dawn uses the GPU through Direct3D 12.')
    else if (adapter)
      sentences.push('Everything runs on the CPU: a machine with a GPU and its Vulkan driver is many times faster.')
  }
  if (adapter && /swiftshader/i.test(adapter.driver))
    sentences.push("SwiftShader is four to five times slower than Mesa's lavapipe: install mesa-vulkan-drivers.")
  if (adapter && isSlowLavapipe(adapter.driver))
    sentences.push(`${costOfSlowLavapipe(processor)}: ${waysToFastMesa(codename, driversAreGiven)}.`)
  if (vectorWidth?.isOpen)
    sentences.push('This processor has AVX-512: run `weftgrad setup`, which measures whether the driver should use it.')
  if (adapter && !adapter.features.subgroups)
    sentences.push('The adapter lacks subgroups, which the fastest kernels need: a newer driver may have them.')
  else if (adapter?.subgroups.problem !== undefined)
    sentences.push(`Kernels do without subgroups, which the fastest ones need. ${adapter.subgroups.problem}`)
  if (adapter && !adapter.hardware && env.MESA_SHADER_CACHE_DISABLE === 'true')
    sentences.push('MESA_SHADER_CACHE_DISABLE=true makes every start recompile all kernels: unset it.')
  return sentences
}

/**
 * The start of a sentence. The factor of 1.6 was measured on an Intel processor with AVX-512, the others on AMD's Zen 3
 * without it: the table in docs/environment.md.
 */
function costOfSlowLavapipe({ gathers }: Pick<Processor, 'gathers'>): string {
  const newer = `Mesa ${FAST_MESA.join('.')} or newer`
  return gathers
    ? `This Mesa's lavapipe is about 1.6 times slower than ${newer}`
    : `On this processor, ${newer} compiles kernels in half the time and runs VGG16 about 1.4 times as fast, but LeNet-5 up to 1.3 times slower`
}
