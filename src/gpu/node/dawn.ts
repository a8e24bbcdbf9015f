/** Dawn's Node binding. It is loaded late, because the environment must be ready first. */
import { WeftgradError } from '../../errors.ts'
import { withoutLimitWarnings } from './dawn-warnings.ts'

export interface Dawn {
  readonly create: (flags: string[]) => GPU
}

/**
 * Keeps every instance reachable: the process aborts if one is collected while a device lives. The process can still
 * exit.
 */
const alive: GPU[] = []

let loading: Promise<Dawn> | undefined

/**
 * Loads the binding and puts WebGPU's constants on `globalThis`. Throws WeftgradError('no-adapter') if there is no
 * build for this platform.
 */
export function loadDawn(): Promise<Dawn> {
  loading ??= import('webgpu').then(
    ({ create, globals }) => {
      for (const [name, value] of Object.entries(globals)) {
        if (!(name in globalThis))
          Object.defineProperty(globalThis, name, { value, configurable: true, writable: true })
      }
      return {
        create: (flags) => {
          const gpu = create(flags)
          alive.push(gpu)
          return gpu
        },
      }
    },
    (error: unknown) => {
      loading = undefined
      throw new WeftgradError(
        'no-adapter',
        `The npm package webgpu (Dawn) does not load on ${process.platform}-${process.arch}: it has builds for macOS, Windows and ` +
          'Linux with glibc, on x64 and arm64. Reinstall it with `npm install`, or use the browser.',
        { platform: process.platform, arch: process.arch },
        error,
      )
    },
  )
  return loading
}

/** The best adapter `gpu` has: discrete before integrated before software. Undefined if it has none. */
export async function requestFrom(gpu: GPU): Promise<GPUAdapter | undefined> {
  try {
    return (await requested(gpu)) ?? undefined
  } catch (error) {
    if (isNoAdapter(error)) return undefined
    throw error
  }
}

function requested(gpu: GPU): Promise<GPUAdapter | null> {
  return withoutLimitWarnings(() => gpu.requestAdapter({ powerPreference: 'high-performance' }))
}

/** The binding lists the adapters only in its error for an unknown name. */
const NO_SUCH_NAME = 'weftgrad lists adapters'

/** Names of all visible adapters in Dawn's order, best first. */
export async function seenBy(flags: readonly string[]): Promise<string[]> {
  const { create } = await loadDawn()
  try {
    await requested(create([...flags, `adapter=${NO_SUCH_NAME}`]))
    return []
  } catch (error) {
    if (!isNoAdapter(error)) throw error
    return [...String(error).matchAll(/backend: '([^']*)', name: '(.*)'$/gm)].flatMap(([, backend, name]) =>
      name === undefined || backend === 'null' ? [] : [name],
    )
  }
}

function isNoAdapter(error: unknown): boolean {
  return /no suitable backends found|no adapter/i.test(String(error))
}
