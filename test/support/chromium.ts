/**
 * A real Chromium for tests: the system's own, or that of an npm package that unpacks itself, without root. With WebGPU
 * it computes on SwiftShader, its own software Vulkan, so every machine tests the same. Pages must come from
 * http://127.0.0.1 or https: browsers offer WebGPU only to secure pages.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import chromium from '@sparticuz/chromium'
import { type Browser, chromium as driver } from 'playwright'
import { cacheFolder } from '../../src/gpu/node/cache.ts'
import { requireTrusted } from '../../src/gpu/node/trust.ts'

export interface ChromiumOptions {
  /** Whether pages have WebGPU. Default: no, which starts faster. */
  readonly webgpu?: boolean
}

/** Options for Playwright's `launch`. */
export interface ChromiumLaunch {
  readonly executablePath: string
  readonly args: string[]
}

const own = [
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
]

const softwareWebGpu = ['--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader', '--enable-features=Vulkan']

let found: Promise<string> | undefined

/** The path of Chromium. If it does not run, throws with the system's reason. */
function chromiumPath(): Promise<string> {
  found ??= (async () => {
    const path = own.find((one) => existsSync(one)) ?? (await unpackedChromium())
    execFileSync(path, ['--version', '--no-sandbox'], { stdio: 'pipe', timeout: 60_000 })
    return path
  })()
  return found
}

/**
 * The package unpacks itself into the folder for temporary files, or runs whatever it finds there under its name,
 * whoever put it there. So it gets a private folder of this user.
 */
async function unpackedChromium(): Promise<string> {
  const folder = join(cacheFolder(), 'chromium')
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  requireTrusted(cacheFolder(), folder)
  const usual = process.env.TMPDIR
  process.env.TMPDIR = folder
  try {
    return await chromium.executablePath()
  } finally {
    if (usual === undefined) delete process.env.TMPDIR
    else process.env.TMPDIR = usual
  }
}

/** How to start Chromium. The package's own arguments are for a single page in a single process. */
export async function chromiumLaunch({ webgpu = false }: ChromiumOptions = {}): Promise<ChromiumLaunch> {
  return {
    executablePath: await chromiumPath(),
    args: ['--no-sandbox', ...(webgpu ? softwareWebGpu : ['--disable-gpu'])],
  }
}

/** Why Chromium does not run on this machine; undefined if it does. */
export async function whyNoChromium(): Promise<string | undefined> {
  try {
    await chromiumPath()
    return undefined
  } catch (error) {
    return `Chromium does not run here: ${error instanceof Error ? error.message.split('\n')[0] : error}`
  }
}

export async function openChromium(options: ChromiumOptions = {}): Promise<Browser> {
  return await driver.launch(await chromiumLaunch(options))
}
