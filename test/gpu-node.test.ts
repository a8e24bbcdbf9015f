/** Finding an adapter in Node (a real one), the cache folder, the doctor. */
import { spawnSync } from 'node:child_process'
import { tmpdir } from 'node:os'
import { describe, expect, test } from 'vitest'
import { driverName } from '../src/gpu/adapter-info.ts'
import { findAdapter, flagsFor } from '../src/gpu/node/adapter.ts'
import { cacheFolder } from '../src/gpu/node/cache.ts'
import { diagnose, whatWouldBeFaster } from '../src/gpu/node/doctor.ts'

describe('the cache folder', () => {
  const at = (platform: NodeJS.Platform, env: Record<string, string>, home: string | undefined = '/home/ada') =>
    cacheFolder({ platform, env, home })

  test('is the one WEFTGRAD_CACHE_DIR names, else the platform decides', () => {
    expect(at('linux', { WEFTGRAD_CACHE_DIR: '/x', XDG_CACHE_HOME: '/y' })).toBe('/x')
    expect(at('linux', { XDG_CACHE_HOME: '/y' })).toBe('/y/weftgrad')
    expect(at('linux', {})).toBe('/home/ada/.cache/weftgrad')
    expect(at('darwin', {})).toBe('/home/ada/Library/Caches/weftgrad')
    expect(at('win32', { LOCALAPPDATA: '/local' })).toBe('/local/weftgrad')
  })

  test('ignores a relative XDG_CACHE_HOME and does without a home', () => {
    expect(at('linux', { XDG_CACHE_HOME: 'y' })).toBe('/home/ada/.cache/weftgrad')
    expect(cacheFolder({ platform: 'linux', env: {}, home: undefined })).toContain(tmpdir())
  })
})

describe('an adapter', () => {
  test('is found, fresh each time, and makes a device', async () => {
    const first = await findAdapter()
    const second = await findAdapter()
    expect(first.driver).not.toBe('')
    expect(second.adapter).not.toBe(first.adapter)
    for (const { adapter } of [first, second]) (await adapter.requestDevice()).destroy()
  }, 120_000)

  test('that nobody has is refused with the names of those that are there', async () => {
    process.env.WEFTGRAD_ADAPTER = 'no such adapter'
    try {
      await expect(findAdapter()).rejects.toMatchObject({
        code: 'no-adapter',
        message: expect.stringMatching(/seen: '.+'/),
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

  test('does not keep the process from ending, though its device was never destroyed', () => {
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

  test('has a driver with a name for people', () => {
    const llvmpipe = {
      vendor: 'mesa',
      architecture: 'software',
      device: 'llvmpipe-llvm-15-',
      description: 'llvmpipe: Mesa 25.0.7 (LLVM 15.0.6) 0.0.1',
    }
    expect(driverName(llvmpipe)).toBe('llvmpipe, Mesa 25.0.7 (LLVM 15.0.6)')
    expect(driverName({ vendor: 'v', architecture: 'a', device: '', description: '' })).toBe('v a')
  })
})

test('the doctor knows why a GPU is not used', () => {
  const on = (paths: readonly string[], usable = true) =>
    whatWouldBeFaster({
      adapter: undefined,
      systemDrivers: [],
      gpuNodes: paths.map((path) => ({ path, usable })),
      env: {},
    })[0]
  expect(on(['/dev/nvidia0'])).toContain('nvidia_icd.json')
  expect(on(['/dev/dri/renderD128'])).toContain('mesa-vulkan-drivers')
  expect(on(['/dev/dri/renderD128'], false)).toContain('join the group')
  expect(on([])).toBeUndefined()
})
