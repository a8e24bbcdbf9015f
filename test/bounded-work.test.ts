/**
 * No submission and no dispatch keeps a GPU busy for long, whatever the batch; and a batch for which there is no memory is
 * made smaller.
 */
import { afterEach, describe, expect, test, vi } from 'vitest'
import { residentImages } from '../src/data/dataset.ts'
import type { Command, Device } from '../src/gpu/device.ts'
import { findAdapter } from '../src/gpu/node/adapter.ts'
import { deviceOn } from '../src/gpu/node/open.ts'
import { open } from '../src/gpu/open.ts'
import { Pace } from '../src/gpu/pace.ts'
import { Program } from '../src/graph/run/program.ts'
import { evaluate, keep, nn, tensor } from '../src/index.ts'
import { computed, expectationOf } from './cases/verify.ts'
import { cases } from './cases.ts'
import { noiseImages } from './support/noise.ts'
import { extractFeatures } from './support/recorded-work.ts'
import { RecordingGpu } from './support/recording-gpu.ts'
import { SimulatedClock } from './support/simulated-clock.ts'

afterEach(() => {
  vi.restoreAllMocks()
})

const command = (work: number, label = ''): Command => ({ label, work }) as Command

/** Work of each portion. */
const portionsOf = (pace: Pace, works: readonly number[], repeats: number): number[] =>
  Array.from(
    pace.portions(
      works.map((work) => command(work)),
      repeats,
    ),
    ({ work }) => work,
  )

describe('a submission', () => {
  const most = 100 * 2e8

  test('holds as many repeats as take about 100 ms', () => {
    expect(portionsOf(new Pace('gpu'), [most / 8, most / 8], 10)).toEqual([most, most, most / 2])
  })

  test('holds a part of the commands if all take longer, and never less than one', () => {
    const works = [most / 2, most / 2, most / 4, 3 * most, most / 4]
    expect(portionsOf(new Pace('gpu'), works, 1)).toEqual([most, most / 4, 3 * most, most / 4])
    expect(portionsOf(new Pace('gpu'), works, 2)).toHaveLength(8)
  })

  test('grows with the rate that was seen, but not by reports that come late', () => {
    const pace = new Pace('gpu')
    pace.learn(most, 100 * 1.9)
    expect(portionsOf(pace, [most], 4)).toHaveLength(4)
    pace.learn(most, 25)
    expect(portionsOf(pace, [most], 4)).toHaveLength(1)
    pace.learn(most, 1000)
    expect(portionsOf(pace, [most / 10], 4)).toHaveLength(4)
  })
})

test('what is timed is cut into submissions of 100 ms too, and their times are added up', async () => {
  const clock = new SimulatedClock({ dispatchMs: () => 30, pollMs: 100 })
  const recording = new RecordingGpu({ clock })
  using device = await open({ gpu: recording.gpu })
  const one = { ...command(30 * 2e8), workgroups: [1, 1, 1], pipeline: {}, bindGroup: {} } as unknown as Command
  const before = recording.submissions.length
  const runs = [
    { commands: [one, one], repeats: 5 },
    { commands: [one], repeats: 1 },
  ]
  expect(await device.timeRuns(runs)).toEqual([expect.closeTo(300), expect.closeTo(30)])
  expect(recording.submissions.slice(before).map((all) => all.length)).toEqual([2, 2, 2, 2, 2, 1])
})

test('a dispatch that is cut gives the same bits as a whole one', async () => {
  const names = ["conv2d: LeNet's second", 'dense: relu', 'conv2d: with bias and relu, then max-pooling, as in LeNet']
  const chosen = cases.filter(({ name }) => names.includes(name))
  expect(chosen).toHaveLength(names.length)
  using whole = await deviceOn(await findAdapter())
  using cutting = await deviceOn(await findAdapter())
  let dispatches = 0
  Object.defineProperty(cutting, 'mostPerDispatch', { value: 3000 })
  const submit = cutting.submitNow.bind(cutting)
  vi.spyOn(cutting, 'submitNow').mockImplementation((commands) => {
    dispatches += commands.length
    submit(commands)
  })
  for (const one of chosen) {
    const expected = expectationOf(one)
    expect(await computed(cutting, one, expected)).toEqual(await computed(whole, one, expected))
  }
  expect(dispatches).toBeGreaterThan(100)
})

describe('feature extraction on a GPU with bindings of 2 GiB', () => {
  test.each([
    ['vgg16', 32, 'block5_pool'],
    ['vgg16', 224, 'block3_pool'],
    ['xception', 299, 'add_2'],
    ['resnet152v2', 224, 'conv2_block3_out'],
  ] as const)('stays within 100 ms at 200 GFLOP/s: %s at %i pixels', async (name, size, layer) => {
    const recording = new RecordingGpu()
    using device = await open({ gpu: recording.gpu })
    const programs: Program[] = []
    const create = Program.create.bind(Program)
    vi.spyOn(Program, 'create').mockImplementation(async (...given) => {
      const program = await create(...given)
      programs.push(program)
      return program
    })
    await extractFeatures(device, [name, size, layer], 64)
    const works = new Map(programs.flatMap(({ commands }) => commands.map((one) => [one.bindGroup, one.work] as const)))
    const submitted = recording.submissions.map((all) => all.map(({ bindGroup }) => works.get(bindGroup) ?? 0))
    const sum = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0)
    expect(sum(submitted.flat())).toBeGreaterThan(1e9)
    for (const all of submitted) {
      expect(sum(all)).toBeLessThanOrEqual(100 * 2e8)
      for (const work of all) expect(work).toBeLessThanOrEqual(50 * 2e8)
    }
    for (const { arenaBytes } of programs) expect(arenaBytes).toBeLessThan(2 ** 30)
  })
})

/** A device that has no memory for buffers of more than `most` bytes. */
async function scarceDevice(most: number): Promise<Device> {
  const found = await findAdapter()
  const { adapter } = found
  const requestDevice = async (descriptor?: GPUDeviceDescriptor): Promise<GPUDevice> => {
    const gpu = await adapter.requestDevice(descriptor)
    let failed = false
    const createBuffer = (wanted: GPUBufferDescriptor): GPUBuffer => {
      failed = wanted.size > most
      // WebGPU gives back a buffer that every command refuses, and so is this one.
      return gpu.createBuffer(failed ? { ...wanted, usage: 0x200 } : wanted)
    }
    const popErrorScope = async (): Promise<GPUError | null> => {
      const isMemory = failed
      failed = false
      const error = await gpu.popErrorScope()
      return isMemory ? ({ message: 'out of memory' } as GPUError) : error
    }
    return new Proxy(gpu, {
      get(own, name) {
        if (name === 'createBuffer') return createBuffer
        if (name === 'popErrorScope') return popErrorScope
        const value: unknown = Reflect.get(own, name, own)
        return typeof value === 'function' ? value.bind(own) : value
      },
    })
  }
  const scarce = { features: adapter.features, info: adapter.info, limits: adapter.limits, requestDevice }
  return deviceOn({ ...found, adapter: scarce as unknown as GPUAdapter })
}

describe('a device without enough memory', () => {
  test('refuses what does not fit, says what was wanted, and stays usable', async () => {
    using device = await scarceDevice(2 ** 20)
    const large = tensor(new Float32Array(2 ** 19), [2 ** 19])
    const refusal = { code: 'limit', message: expect.stringMatching(/needs 2097152 bytes.*no memory left/) }
    await expect(evaluate([large], { device })).rejects.toMatchObject(refusal)
    await expect(keep([large], { device })).rejects.toMatchObject(refusal)
    const live = device.memory().liveBytes
    const [numbers] = await evaluate([tensor([1, 2, 3])], { device })
    expect(numbers).toEqual(Float32Array.of(1, 2, 3))
    expect(device.memory().liveBytes).toBe(live)
  })

  test('evaluates with smaller batches, unless a size was asked for', async () => {
    using device = await scarceDevice(2 ** 20)
    using data = residentImages(device, noiseImages(300))
    using model = nn.lenet5({}, { seed: 1 })
    const { loss } = await nn.evaluate(model, data)
    using plenty = await deviceOn(await findAdapter())
    using same = nn.lenet5({}, { seed: 1 })
    using sameData = residentImages(plenty, noiseImages(300))
    expect(loss).toBeCloseTo((await nn.evaluate(same, sameData)).loss, 5)
    await expect(nn.evaluate(model, data, { batchSize: 256 })).rejects.toMatchObject({ code: 'limit' })
  })
})
