/** Finding an adapter in Node (a real one), the cache folder, the doctor. */
import { spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { driverName } from '../src/gpu/adapter-info.ts'
import { findAdapter, flagsFor } from '../src/gpu/node/adapter.ts'
import { cachePath } from '../src/gpu/node/cache.ts'
import { type AdapterDiagnosis, diagnose, whatWouldBeFaster } from '../src/gpu/node/doctor.ts'

describe('the cache folder', () => {
  const at = (platform: NodeJS.Platform, env: Record<string, string>, home: string | undefined = '/home/ada') =>
    cachePath({ platform, env, home })

  test("is WEFTGRAD_CACHE_DIR, or else the platform's", () => {
    expect(at('linux', { WEFTGRAD_CACHE_DIR: '/x', XDG_CACHE_HOME: '/y' })).toBe('/x')
    expect(at('linux', { XDG_CACHE_HOME: '/y' })).toBe('/y/weftgrad')
    expect(at('linux', {})).toBe('/home/ada/.cache/weftgrad')
    expect(at('darwin', {})).toBe('/home/ada/Library/Caches/weftgrad')
    expect(at('win32', { LOCALAPPDATA: '/local' })).toBe('/local/weftgrad')
  })

  test('ignores a relative XDG_CACHE_HOME, and does not exist without a home', () => {
    expect(at('linux', { XDG_CACHE_HOME: 'y' })).toBe('/home/ada/.cache/weftgrad')
    expect(cachePath({ platform: 'linux', env: {}, home: undefined })).toBeUndefined()
  })
})

// Windows keeps users' folders apart itself.
describe.skipIf(process.platform === 'win32')('where others could plant code', () => {
  let shared: string
  beforeEach(() => {
    shared = mkdtempSync(join(tmpdir(), 'weftgrad-shared-'))
    chmodSync(shared, 0o1777)
  })
  afterEach(() => rmSync(shared, { recursive: true, force: true }))

  /** Runs a program with the shared folder for temporary files, and without a home folder. */
  const run = (args: readonly string[], env: Readonly<Record<string, string>> = {}) => {
    const { XDG_CACHE_HOME, WEFTGRAD_CACHE_DIR, TSX_DISABLE_CACHE, ...others } = process.env
    return spawnSync(process.execPath, [...args], {
      encoding: 'utf8',
      env: { ...others, HOME: '', TMPDIR: shared, ...env },
      timeout: 60_000,
    })
  }
  const tells = (expression: string): string[] => {
    const program = `import { cacheFolder } from './src/gpu/node/cache.ts'
      import { statSync } from 'node:fs'
      console.log(${expression})`
    return ['--import', './scripts/tsx.mjs', '--input-type=module', '--eval', program]
  }

  test('a cache folder is created for its owner only, under any umask', () => {
    const cache = join(shared, 'my', 'cache')
    const { stdout } = run(tells('process.umask(0) >= 0, cacheFolder()'), { WEFTGRAD_CACHE_DIR: cache })
    expect(stdout.trim()).toBe(`true ${cache}`)
    expect(statSync(cache).mode & 0o777).toBe(0o700)
  })

  test('a user without a home gets an unguessable folder for one command, and is told how to keep one', () => {
    const { stdout, stderr } = run(tells('cacheFolder(), cacheFolder(), statSync(cacheFolder()).mode & 0o777'))
    const [first = '', second, mode] = stdout.trim().split(' ')
    expect(first).toMatch(/weftgrad-\w{6}$/)
    expect([second, mode]).toEqual([first, String(0o700)])
    expect(stderr).toContain('WEFTGRAD_CACHE_DIR')
    expect(existsSync(first)).toBe(false)
    const nowhere = run(['bin/weftgrad.mjs', 'weights'], { TMPDIR: join(shared, 'missing') })
    expect(nowhere).toMatchObject({
      status: 1,
      stderr: expect.stringMatching(/^weftgrad: There is no home folder, and/),
    })
    expect(nowhere.stderr).not.toContain('a bug in weftgrad')
  })

  test('the command and the scripts of a clone load nothing from the folder for temporary files, and leave nothing there', () => {
    const { uid } = statSync(shared)
    mkdirSync(join(shared, `tsx-${uid}`), { mode: 0o777 })
    expect(run(['bin/weftgrad.mjs', '--version'])).toMatchObject({ status: 0 })
    expect(run(['--import', './scripts/tsx.mjs', 'scripts/support-table.ts', '--check'])).toMatchObject({ status: 0 })
    expect(readdirSync(shared)).toEqual([`tsx-${uid}`])
    expect(readdirSync(join(shared, `tsx-${uid}`))).toEqual([])
  })
})

describe('an adapter', () => {
  test('is found, new each time, and creates a device', async () => {
    const first = await findAdapter()
    const second = await findAdapter()
    expect(first.driver).not.toBe('')
    expect(second.adapter).not.toBe(first.adapter)
    for (const { adapter } of [first, second]) (await adapter.requestDevice()).destroy()
  }, 120_000)

  test('with an unknown name is refused, with the names of the existing ones', async () => {
    process.env.WEFTGRAD_ADAPTER = 'no such adapter'
    try {
      await expect(findAdapter()).rejects.toMatchObject({
        code: 'no-adapter',
        message: expect.stringMatching(/found: '.+'/),
      })
    } finally {
      delete process.env.WEFTGRAD_ADAPTER
    }
  })

  test('is diagnosed', async () => {
    const diagnosis = await diagnose()
    expect(diagnosis.problem).toBeUndefined()
    expect(diagnosis.adapter?.limits.maxBufferSize).toBeGreaterThan(0)
    expect(diagnosis.nodeVersion).toBe(process.version)
  })

  test('does not keep the process alive if its device is never destroyed', () => {
    const program = `import { findAdapter } from './src/gpu/node/adapter.ts'
      const { adapter } = await findAdapter()
      const device = await adapter.requestDevice()
      await device.queue.onSubmittedWorkDone()
      console.log('done')`
    const args = ['--import', 'tsx', '--input-type=module', '--eval', program]
    const { status, stdout } = spawnSync(process.execPath, args, { encoding: 'utf8', timeout: 20_000 })
    expect({ status, stdout }).toEqual({ status: 0, stdout: 'done\n' })
  }, 25_000)

  test('comes with exact timestamps unless quantisation is asked for', () => {
    expect(flagsFor([], 'linux')).toEqual(['backend=vulkan', 'disable-dawn-features=timestamp_quantization'])
    expect(flagsFor(['timestamp_quantization', '-a', 'b'], 'darwin')).toEqual([
      'enable-dawn-features=timestamp_quantization,b',
      'disable-dawn-features=a',
    ])
  })

  test('has a readable driver name', () => {
    const llvmpipe = {
      vendor: 'mesa',
      architecture: 'software',
      device: 'llvmpipe-llvm-15-',
      description: 'llvmpipe: Mesa 25.0.7 (LLVM 15.0.6) 0.0.1',
    }
    expect(driverName(llvmpipe)).toBe('llvmpipe, Mesa 25.0.7 (LLVM 15.0.6)')
    const without = { ...llvmpipe, description: 'llvmpipe: Mesa 26.1.6-1~bpo13+1 (LLVM 19.1.7)' }
    expect(driverName(without)).toBe('llvmpipe, Mesa 26.1.6-1~bpo13+1 (LLVM 19.1.7)')
    expect(driverName({ vendor: 'v', architecture: 'a', device: '', description: '' })).toBe('v a')
    const wgpu = { vendor: '65541', architecture: '', device: '0', description: 'llvmpipe (LLVM 15.0.6, 256 bits)' }
    expect(driverName(wgpu)).toBe('llvmpipe (LLVM 15.0.6, 256 bits)')
  })
})

test('Deno is told to use its own WebGPU, and nothing is downloaded', async () => {
  vi.stubGlobal('Deno', {})
  try {
    const message = expect.stringContaining("Import `open` from 'weftgrad'")
    const log = vi.fn()
    await expect(findAdapter({ log })).rejects.toMatchObject({ code: 'no-adapter', message })
    expect(log).not.toHaveBeenCalled()
  } finally {
    vi.unstubAllGlobals()
  }
})

describe('doctor', () => {
  const nothing = {
    adapter: undefined,
    systemDrivers: [],
    gpuNodes: [],
    env: {},
    vectorWidth: undefined,
    processor: { gathers: true },
    codename: 'bookworm',
    driversAreGiven: false,
  }
  const lavapipe = (mesa: string) => ({
    driver: `llvmpipe, Mesa ${mesa} (LLVM 19.1.7)`,
    hardware: false,
    features: { subgroups: true } as AdapterDiagnosis['features'],
    subgroups: { size: 8, pinned: false, problem: undefined },
  })
  const slow = { ...nothing, adapter: lavapipe('25.0.7-2'), codename: 'trixie' }
  const about = (found: Parameters<typeof whatWouldBeFaster>[0], what: string) =>
    whatWouldBeFaster(found).filter((sentence) => sentence.includes(what))

  test('explains why a GPU is not used', () => {
    const on = (paths: readonly string[], usable = true) =>
      whatWouldBeFaster({ ...nothing, gpuNodes: paths.map((path) => ({ path, usable })) })[0]
    expect(on(['/dev/nvidia0'])).toContain('nvidia_icd.json')
    expect(on(['/dev/dri/renderD128'])).toContain('mesa-vulkan-drivers')
    expect(on(['/dev/dri/renderD128'], false)).toContain('join the group')
    expect(on([])).toBeUndefined()
  })

  test('says what an older lavapipe costs, with the next step on this system', () => {
    expect(about(slow, 'Mesa 26.1')).toEqual([
      "This Mesa's lavapipe is about 1.6 times slower than Mesa 26.1 or newer: " +
        'run `weftgrad setup`, which downloads Mesa 26.1 from trixie-backports.',
    ])
    expect(about({ ...slow, codename: 'bookworm' }, 'Mesa 26.1')[0]).toMatch(/\(bookworm\) have 25\.0 at most\.$/)
    expect(about({ ...slow, adapter: lavapipe('26.1.6') }, 'Mesa 26.1')).toEqual([])
  })

  test('claims the factor only where the processor gathers', () => {
    const [sentence] = about({ ...slow, processor: { gathers: false } }, 'Mesa 26.1')
    expect(sentence).not.toContain('1.6')
    expect(sentence).toContain('LeNet-5 up to 1.3 times slower')
  })

  test('asks for a measurement of the width of vectors only if one is missing', () => {
    const width = (isOpen: boolean) => ({ bits: undefined, why: '', isOpen })
    expect(about({ ...slow, vectorWidth: width(true) }, 'AVX-512')).toHaveLength(1)
    expect(about({ ...slow, vectorWidth: width(false) }, 'AVX-512')).toEqual([])
  })
})
