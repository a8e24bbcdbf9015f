/** `open` on any `navigator.gpu`: how it treats adapters, and what it says if there are none. */
import { afterEach, describe, expect, it, vi } from 'vitest'
import * as inNode from 'weftgrad/node'
import { isHardware } from '../src/gpu/adapter-info.ts'
import { findAdapter } from '../src/gpu/node/adapter.ts'
import { open as openInNode } from '../src/gpu/node/open.ts'
import { open } from '../src/gpu/open.ts'

afterEach(() => vi.unstubAllGlobals())

/** A host's WebGPU without any adapter. */
function emptyGpu(): { readonly gpu: GPU; readonly asked: (GPURequestAdapterOptions | undefined)[] } {
  const asked: (GPURequestAdapterOptions | undefined)[] = []
  const requestAdapter = async (options?: GPURequestAdapterOptions) => {
    asked.push(options)
    return null
  }
  return { gpu: { requestAdapter } as unknown as GPU, asked }
}

describe('open', () => {
  it('opens a device on the given WebGPU, which tensors then use', async () => {
    const { gpu, hardware, driver } = await findAdapter()
    using device = await open({ gpu })
    expect(device.facts).toEqual({ class: hardware ? 'gpu' : 'cpu', hardware, driver })
    expect(inNode.currentDevice()).toBe(device)
    expect(await inNode.add(1, 2).item()).toBe(3)
  })

  it('uses a software adapter if there is no other, and otherwise says where to look', async () => {
    const { gpu, asked } = emptyGpu()
    await expect(open({ gpu })).rejects.toMatchObject({
      code: 'no-adapter',
      message: expect.stringContaining('hardware acceleration'),
    })
    expect(asked).toEqual([{ powerPreference: 'high-performance' }, { forceFallbackAdapter: true }])
  })

  it('suggests browsers, and the Node.js entry, if there is no WebGPU', async () => {
    await expect(open()).rejects.toMatchObject({
      code: 'no-adapter',
      message: expect.stringMatching(/Chrome.*weftgrad\/node/s),
    })
  })

  it('explains on an insecure page that WebGPU needs a secure one', async () => {
    vi.stubGlobal('isSecureContext', false)
    await expect(open()).rejects.toMatchObject({ code: 'no-adapter', message: expect.stringContaining('https') })
  })

  it("is Dawn's in weftgrad/node", () => {
    expect(inNode.open).toBe(openInNode)
  })
})

describe('hardware', () => {
  const described = (info: Partial<GPUAdapterInfo>): GPUAdapterInfo =>
    ({ vendor: '', architecture: '', device: '', description: '', isFallbackAdapter: false, ...info }) as GPUAdapterInfo

  it.each([
    ['a fallback adapter', { isFallbackAdapter: true }],
    ['lavapipe', { device: 'llvmpipe-llvm-15-' }],
    ['SwiftShader', { vendor: 'google', architecture: 'swiftshader' }],
    ["Windows' own", { description: 'Microsoft Basic Render Driver' }],
  ])('is not %s', (_, info) => {
    expect(isHardware(described(info))).toBe(false)
  })

  it.each([
    ['a named GPU', { vendor: 'nvidia', architecture: 'hopper' }],
    ['one without a description', {}],
  ])('is %s', (_, info) => {
    expect(isHardware(described(info))).toBe(true)
  })
})
