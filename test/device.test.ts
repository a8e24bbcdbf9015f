/** Devices: what they refuse, how failures surface, that nothing outlives its owner, and that processes end. */
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import type { UnboundCommand } from '../src/gpu/bind.ts'
import { bindCommands } from '../src/gpu/bind.ts'
import { open } from '../src/gpu/node/open.ts'
import { SubmissionQueue } from '../src/gpu/submissions.ts'
import { planValues } from '../src/graph/run/evaluate.ts'
import { Program } from '../src/graph/run/program.ts'
import { add, currentDevice, evaluate, mul, sum, tensor } from '../src/index.ts'
import { useDevice } from './support/device.ts'

const device = useDevice()

/** Writes `value` into every element of its only output. */
function fillShader(value: number, header = ''): string {
  return `${header}@group(0) @binding(0) var<uniform> u: vec4u;
@group(0) @binding(1) var<storage, read_write> result: array<u32>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x < u.x) {
    result[id.x] = ${value}u;
  }
}
`
}

const fill: Omit<UnboundCommand, 'slices'> = {
  label: 'fill',
  wgsl: fillShader(7),
  access: ['read_write'],
  uniforms: new Uint32Array([64, 0, 0, 0]),
  workgroups: [1, 1, 1],
}

describe('a shader', () => {
  it('that does not compile is refused with its name and the failing line', async () => {
    const wgsl = fillShader(7).replace('7u', '7u + nonsense')
    const attempt = device().pipeline({ label: 'fill/broken', wgsl, access: ['read_write'] })
    await expect(attempt).rejects.toMatchObject({
      code: 'device',
      message: expect.stringMatching(/fill\/broken does not compile: .*nonsense.*\n {2}6: {5}result\[id\.x\] = 7u/),
      details: { wgsl },
    })
  })

  it('without an entry point is refused with a reason', async () => {
    const attempt = device().pipeline({ label: 'no entry', wgsl: 'fn helper() {}', access: [] })
    await expect(attempt).rejects.toMatchObject({
      code: 'device',
      message: expect.stringMatching(/no entry does not compile: .*main/s),
    })
  })

  it('is compiled once per distinct text, and again after a failure', async () => {
    const { gpu } = device()
    const compile = gpu.createComputePipelineAsync
    let compilations = 0
    gpu.createComputePipelineAsync = (descriptor) => {
      compilations++
      return compile.call(gpu, descriptor)
    }
    try {
      const shader = { label: 'once', wgsl: fillShader(12345), access: ['read_write'] } as const
      const [first, second] = await Promise.all([device().pipeline(shader), device().pipeline({ ...shader })])
      expect(second).toBe(first)
      expect(compilations).toBe(1)
      const broken = { label: 'again', wgsl: 'nonsense', access: [] } as const
      await expect(device().pipeline(broken)).rejects.toMatchObject({ code: 'device' })
      await expect(device().pipeline(broken)).rejects.toMatchObject({ code: 'device' })
      expect(compilations).toBe(3)
    } finally {
      gpu.createComputePipelineAsync = compile
    }
  })

  it('that is refused leaves the device usable', async () => {
    await device()
      .pipeline({ label: 'bad', wgsl: 'bad', access: [] })
      .catch(() => undefined)
    expect(await add(1, 2).item({ device: device() })).toBe(3)
  })
})

describe('binding', () => {
  it('runs the bound commands', async () => {
    const before = device().memory()
    const buffer = device().allocate(256, 'target')
    const bound = await bindCommands(device(), [{ ...fill, slices: [buffer.slice()] }], 'filling')
    device().submitNow(bound.commands)
    const numbers = new Uint32Array(await device().read(buffer.slice()))
    expect([...numbers]).toEqual(new Array(64).fill(7))
    bound.dispose()
    buffer.dispose()
    expect(device().memory().liveBytes).toBe(before.liveBytes)
  })

  it("that does not match the shader rejects with the program's name, and leaves nothing allocated", async () => {
    const before = device().memory()
    using buffer = device().allocate(256, 'target')
    const tooMany = { ...fill, slices: [buffer.slice(), buffer.slice()] }
    await expect(bindCommands(device(), [tooMany], 'the filling program')).rejects.toMatchObject({
      code: 'device',
      message: expect.stringContaining('the filling program was refused by the device'),
    })
    const misaligned = { ...fill, slices: [buffer.slice(4, 16)] }
    await expect(bindCommands(device(), [misaligned], 'the filling program')).rejects.toMatchObject({ code: 'device' })
    expect(device().memory()).toMatchObject({
      liveBytes: before.liveBytes + 256,
      liveBuffers: before.liveBuffers + 1,
    })
    expect(await add(1, 2).item({ device: device() })).toBe(3)
  })

  it('of more than a kernel can bind is refused, with the limit', async () => {
    const limit = device().limits.maxStorageBufferBindingSize
    using buffer = device().allocate(256, 'target')
    const oversized = { ...fill, slices: [{ buffer, offset: 0, bytes: limit + 4 }] }
    await expect(bindCommands(device(), [oversized], 'filling')).rejects.toMatchObject({
      code: 'limit',
      details: { bytes: limit + 4, maxStorageBufferBindingSize: limit },
    })
  })
})

describe('memory', () => {
  it('is accounted for by bytes, buffers and peak', () => {
    const before = device().memory()
    const small = device().allocate(10, 'small')
    const large = device().allocate(1000, 'large')
    expect(device().memory()).toMatchObject({
      liveBytes: before.liveBytes + 256 + 1024,
      liveBuffers: before.liveBuffers + 2,
    })
    large.dispose()
    large.dispose()
    small[Symbol.dispose]()
    expect(device().memory()).toMatchObject({ liveBytes: before.liveBytes, liveBuffers: before.liveBuffers })
    expect(device().memory().peakBytes).toBeGreaterThanOrEqual(before.liveBytes + 256 + 1024)
  })

  it('starts as zeros', async () => {
    using buffer = device().allocate(4096, 'fresh')
    const numbers = new Uint32Array(await device().read(buffer.slice()))
    expect(numbers.every((x) => x === 0)).toBe(true)
  })

  it("beyond the adapter's largest buffer is refused before anything is allocated", () => {
    const before = device().memory()
    const bytes = device().limits.maxBufferSize + 1
    expect(() => device().allocate(bytes, 'everything')).toThrow(
      expect.objectContaining({ code: 'limit', message: expect.stringContaining('everything needs') }),
    )
    expect(device().memory()).toEqual(before)
  })

  it('is read back as it was written, in slices', async () => {
    using buffer = device().allocate(1024, 'slices')
    device().write(buffer.slice(256, 12), new Float32Array([1, 2, 3]))
    device().write(buffer.slice(512), new Uint8Array([1, 2, 3, 4]))
    const [floats, bytes, nothing] = await device().readAll([
      buffer.slice(256, 12),
      buffer.slice(512, 3),
      buffer.slice(0, 0),
    ])
    expect([...new Float32Array(floats ?? new ArrayBuffer(0))]).toEqual([1, 2, 3])
    expect([...new Uint8Array(bytes ?? new ArrayBuffer(0))]).toEqual([1, 2, 3])
    expect(nothing?.byteLength).toBe(0)
  })

  it('accepts only whole words, and no more bytes than a slice has', () => {
    using buffer = device().allocate(256, 'target')
    for (const [slice, data] of [
      [buffer.slice(0, 8), new Float32Array(3)],
      [buffer.slice(0, 8), new Uint8Array(3)],
    ] as const)
      expect(() => device().write(slice, data)).toThrow(expect.objectContaining({ code: 'argument' }))
  })
})

describe('a disposed resource', () => {
  it('is refused by name, and the device stays usable', async () => {
    const gone = device().allocate(256, 'a buffer of yore')
    gone.dispose()
    const refusal = { code: 'disposed', message: expect.stringContaining('a buffer of yore') }
    expect(() => device().write(gone.slice(), new Uint32Array(4))).toThrow(expect.objectContaining(refusal))
    await expect(device().read(gone.slice())).rejects.toMatchObject(refusal)
    const kept = await tensor([1, 2, 3]).keep({ device: device() })
    kept.dispose()
    await expect(sum(kept).item()).rejects.toMatchObject({ code: 'disposed' })
    expect(await add(1, 2).item({ device: device() })).toBe(3)
  })

  it('is refused if a program still reads it, or if the program itself is disposed', async () => {
    const before = device().memory().liveBytes
    const kept = await tensor([1, 2, 3]).keep({ device: device() })
    const program = await Program.create(device(), planValues([mul(kept, 2).value], { device: device() }), 'doubling')
    await program.run()
    kept.dispose()
    await expect(program.run()).rejects.toMatchObject({ code: 'disposed' })
    expect(() => program.runNow()).toThrow(expect.objectContaining({ code: 'disposed' }))
    program.dispose()
    program.dispose()
    await expect(program.run()).rejects.toMatchObject({ code: 'disposed' })
    expect(device().memory().liveBytes).toBe(before)
    expect(await add(1, 2).item({ device: device() })).toBe(3)
  })

  it('can be a device: pending and later work fails with one error', async () => {
    const own = await open()
    const buffer = own.allocate(1024, 'target')
    const pending = own.guard(new Promise<never>(() => undefined))
    const reading = own.read(buffer.slice())
    own.dispose()
    own.dispose()
    const refusal = { code: 'disposed' }
    await expect(pending).rejects.toMatchObject(refusal)
    await expect(reading).rejects.toMatchObject(refusal)
    expect(own.usable).toBe(false)
    expect(own.memory()).toMatchObject({ liveBytes: 0, liveBuffers: 0 })
    expect(() => own.allocate(16, 'more')).toThrow(expect.objectContaining(refusal))
    expect(() => own.write(buffer.slice(), new Uint32Array(4))).toThrow(expect.objectContaining(refusal))
    expect(() => own.submitNow([])).toThrow(expect.objectContaining(refusal))
    await expect(own.submit([])).rejects.toMatchObject(refusal)
    await expect(own.idle()).rejects.toMatchObject(refusal)
    await expect(own.read(buffer.slice())).rejects.toMatchObject(refusal)
    await expect(own.validated('anything', () => 1)).rejects.toMatchObject(refusal)
    await expect(add(1, 2).item({ device: own })).rejects.toMatchObject(refusal)
    expect(await own.lost).toMatchObject(refusal)
    buffer.dispose()
  })
})

describe('failures that WebGPU reports asynchronously', () => {
  it('reject pending and later work with the first error', async () => {
    using own = await open()
    const pending = [own.guard(new Promise<never>(() => undefined)), own.guard(new Promise<never>(() => undefined))]
    const settled = Promise.allSettled(pending)
    own.gpu.createBuffer({ label: 'contradiction', size: 16, usage: 0x1 | 0x2 }) // MAP_READ | MAP_WRITE
    const reasons = (await settled).map((result) => (result.status === 'rejected' ? result.reason : undefined))
    expect(reasons[0]).toMatchObject({
      code: 'device',
      message: expect.stringMatching(/^The WebGPU device refused a command: ./),
    })
    expect(reasons[1]).toBe(reasons[0])
    expect(own.usable).toBe(false)
    expect(() => own.allocate(16, 'more')).toThrow(expect.objectContaining({ code: 'device' }))
    await expect(add(1, 2).item({ device: own })).rejects.toBe(reasons[0])
    own.gpu.destroy()
    await own.lost
    await expect(add(1, 2).item({ device: own })).rejects.toBe(reasons[0])
  })

  it('such as a lost device reject pending and later work with one error that says to resume', async () => {
    using own = await open()
    const buffer = own.allocate(1024, 'target')
    const pending = own.guard(new Promise<never>(() => undefined))
    const reading = own.read(buffer.slice())
    own.gpu.destroy()
    const loss = await own.lost
    expect(loss).toMatchObject({ code: 'device-lost', details: { reason: 'destroyed' } })
    expect(loss.message).toMatch(/resume from the last checkpoint/)
    await expect(pending).rejects.toBe(loss)
    await expect(reading).rejects.toBe(loss)
    await expect(own.guard(Promise.resolve(1))).rejects.toBe(loss)
    expect(() => own.allocate(16, 'more')).toThrow(loss)
    buffer.dispose()
    expect(own.memory().liveBytes).toBe(0)
  })

  it('affect only their own device', async () => {
    using own = await open()
    own.gpu.destroy()
    await own.lost
    expect(await add(1, 2).item({ device: device() })).toBe(3)
  })
})

describe('two devices at once', () => {
  it('each compute with their own memory, and refuse that of the other', async () => {
    using one = await open()
    using two = await open()
    using a = await tensor([1, 2]).keep({ device: one })
    using b = await tensor([3, 4]).keep({ device: two })
    const [sums, products] = await Promise.all([add(a, 10).data(), mul(b, 10).data()])
    expect([...sums]).toEqual([11, 12])
    expect([...products]).toEqual([30, 40])
    const refusal = { code: 'argument', message: expect.stringContaining('lives on another device') }
    await expect(add(a, b).data()).rejects.toMatchObject(refusal)
    await expect(a.data({ device: two })).rejects.toMatchObject(refusal)
    expect([...((await evaluate([add(a, 1)]))[0] ?? [])]).toEqual([2, 3])
  })

  it('host numbers go to the one opened last, as long as it is usable', async () => {
    const one = await open()
    const two = await open()
    expect(currentDevice()).toBe(two)
    const before = one.memory().peakBytes
    expect(await add(1, 2).item()).toBe(3)
    expect(one.memory().peakBytes).toBe(before)
    two.dispose()
    expect(() => currentDevice()).toThrow(expect.objectContaining({ code: 'no-adapter' }))
    await expect(add(1, 2).item()).rejects.toMatchObject({ code: 'no-adapter' })
    expect(await add(1, 2).item({ device: one })).toBe(3)
    one.dispose()
  })
})

describe('submissions', () => {
  it.each([
    ['long ones wait for each other, so that at most two are in flight', false, 2],
    ['short ones go on, up to 64', true, 64],
  ] as const)('%s', async (_, isShort, atMost) => {
    using own = await open()
    using buffer = own.allocate(256, 'target')
    const bound = await bindCommands(own, [{ ...fill, slices: [buffer.slice()] }], 'filling')
    const submissions = new SubmissionQueue(own, {
      *portions(commands, repeats) {
        yield { commands, repeats, work: 1 }
      },
      isShort: () => isShort,
      learn: () => undefined,
    })
    const { queue } = own.gpu
    const finished = queue.onSubmittedWorkDone
    let [underWay, most] = [0, 0]
    queue.onSubmittedWorkDone = async () => {
      most = Math.max(most, ++underWay)
      await finished.call(queue)
      underWay--
      return undefined
    }
    try {
      for (let i = 0; i < 100; i++) await submissions.submit(bound.commands, 1)
    } finally {
      queue.onSubmittedWorkDone = finished
    }
    expect(most).toBeLessThanOrEqual(atMost)
    expect(most).toBeGreaterThan(isShort ? 2 : 0)
    await own.idle()
    bound.dispose()
  })

  it("can be timed by the device's clock, if it has timestamps", async () => {
    using buffer = device().allocate(256, 'target')
    const bound = await bindCommands(device(), [{ ...fill, slices: [buffer.slice()] }], 'filling')
    const timing = device().timeOnDevice(bound.commands, 10)
    if (device().timestamps) expect(await timing).toBeGreaterThanOrEqual(0)
    else await expect(timing).rejects.toMatchObject({ code: 'limit' })
    bound.dispose()
  })

  it('can be timed one by one with a single wait', async () => {
    if (!device().timestamps) return expect(device().timeRuns([])).rejects.toMatchObject({ code: 'limit' })
    using buffer = device().allocate(256, 'target')
    const bound = await bindCommands(device(), [{ ...fill, slices: [buffer.slice()] }], 'filling')
    const { commands } = bound
    const times = await device().timeRuns([1, 100, 0].map((repeats) => ({ commands, repeats })))
    expect(times).toHaveLength(3)
    expect(times.every((ms) => ms >= 0)).toBe(true)
    expect(times[1]).toBeGreaterThan(0)
    expect(times[2]).toBe(0)
    expect(await device().timeRuns([])).toEqual([])
    return bound.dispose()
  })
})

describe('the description of a device', () => {
  it('is one line with its name, driver, class and subgroups', () => {
    const text = device().describe()
    expect(text).toMatch(/^\S.* \(.+; (hardware|software), (subgroups of \d+|no fixed subgroups)\)$/)
    expect(text).toContain(device().facts.driver)
    expect(text).toContain(device().facts.hardware ? 'hardware' : 'software')
    expect(device().facts.class).toBe(device().facts.hardware ? 'gpu' : 'cpu')
  })

  it('states the subgroup size that kernels see', async () => {
    const size = device().subgroups.size
    const { info } = device()
    if (size === undefined) {
      const isFixed = info.subgroupMinSize === info.subgroupMaxSize
      expect(device().gpu.features.has('subgroups') && isFixed).toBe(false)
      return
    }
    const count = 4096
    using buffer = device().allocate(count * 4, 'sizes')
    const wgsl = `enable subgroups;
@group(0) @binding(0) var<uniform> u: vec4u;
@group(0) @binding(1) var<storage, read_write> result: array<u32>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(subgroup_size) size: u32) {
  if (id.x < u.x) {
    result[id.x] = size;
  }
}
`
    const uniforms = new Uint32Array([count, 0, 0, 0])
    const command: UnboundCommand = {
      ...fill,
      wgsl,
      uniforms,
      workgroups: [count / 64, 1, 1],
      slices: [buffer.slice()],
    }
    const bound = await bindCommands(device(), [command], 'subgroup sizes')
    device().submitNow(bound.commands)
    const found = new Set(new Uint32Array(await device().read(buffer.slice(0, count * 4))))
    expect([...found]).toEqual([size])
    bound.dispose()
  })
})

describe('a process', () => {
  const run = promisify(execFile)
  const root = fileURLToPath(new URL('..', import.meta.url))

  /** Runs a program in its own process; rejects if it fails or has not ended after half a minute. */
  const program = async (text: string): Promise<string> => {
    const lines = `import { open, tensor, sum } from './src/node.ts'\n${text}`
    const parameters = ['--import', 'tsx', '--input-type=module', '--eval', lines]
    const { stdout } = await run(process.execPath, parameters, { cwd: root, timeout: 30_000, killSignal: 'SIGKILL' })
    return stdout.trim()
  }

  it('exits on its own after its device is disposed', async () => {
    const text = 'const device = await open(); console.log(await sum(tensor([1, 2, 3])).item()); device.dispose()'
    expect(await program(text)).toBe('6')
  })

  it('exits on its own with its device still open', async () => {
    const text = 'const device = await open(); console.log(await sum(tensor([1, 2, 3])).item())'
    expect(await program(text)).toBe('6')
  })

  it('exits on its own with work in flight', async () => {
    const text = "await open(); sum(tensor([1, 2, 3])).item().catch(() => undefined); console.log('leaving')"
    expect(await program(text)).toBe('leaving')
  })
})
