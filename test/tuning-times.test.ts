/**
 * What tuning chooses, by how long the device takes and when it says so: on a device that computes nothing, whose time
 * is simulated.
 */

import { describe, expect, it, vi } from 'vitest'
import type { Device } from '../src/gpu/device.ts'
import { open } from '../src/gpu/open.ts'
import type { TensorType } from '../src/graph/node.ts'
import type { KernelTask } from '../src/graph/plan/choice.ts'
import { classKey, kernelTask } from '../src/graph/plan/choice.ts'
import { targetOf } from '../src/graph/run/program.ts'
import type { TuneOptions, TuningResult } from '../src/graph/tuning/tuning.ts'
import { tune } from '../src/graph/tuning/tuning.ts'
import type { Family, Target } from '../src/kernels/kernel.ts'
import { dispatch, input, output, reads, writes } from '../src/kernels/kernel.ts'
import type { MatmulKey } from '../src/kernels/matmul/matmul.ts'
import { matmul } from '../src/kernels/matmul/matmul.ts'
import { Random } from '../src/random.ts'
import type { RecordedDispatch } from './support/recording-gpu.ts'
import { RecordingGpu } from './support/recording-gpu.ts'
import type { SimulatedClock, SimulatedTimes } from './support/simulated-clock.ts'
import { useClock } from './support/simulated-clock.ts'

const clockWith = useClock()

interface Kernel {
  readonly name: string
  /** Variants; the first is the reference, and the preferred one unless it is named. */
  readonly variants: readonly string[]
  readonly preferred?: string
  /** Operations. */
  readonly flops?: number
  readonly workgroups?: number
  /** Length of input and output. */
  readonly numbers?: number
}

function taskOf(
  { name, variants, preferred, flops = 0, workgroups = 64, numbers = 64 }: Kernel,
  device: Device,
): KernelTask {
  const type: TensorType = { shape: [numbers], dtype: 'f32' }
  const family: Family<object> = {
    name,
    variants: variants.map((variant) => ({
      name: variant,
      supports: () => true,
      plan: () => ({
        ...{ variant, flops, scratchBytes: [] },
        dispatches: [
          dispatch({
            label: `${name}/${variant}`,
            bindings: [reads('x', input(0)), writes('y', output(0))],
            ...{ workgroupSize: 64, workgroups, body: `// ${name}/${variant}.` },
          }),
        ],
      }),
    })),
    prefer: () => preferred ?? variants[0] ?? '',
  }
  return kernelTask(family, {}, targetOf(device), { inputs: [type], outputs: [type] })
}

interface Simulation {
  readonly result: TuningResult
  readonly clock: SimulatedClock
  /** The variant chosen for each kernel. */
  readonly chosen: Readonly<Record<string, string>>
}

/** Tunes kernels on a device whose dispatches take the given times: all workgroups of `kernel/variant`, in ms. */
async function simulate(
  kernels: readonly Kernel[],
  times: Readonly<Record<string, number>>,
  {
    timestamps = true,
    software = false,
    options = {},
    ...rest
  }: Partial<SimulatedTimes> & { timestamps?: boolean; software?: boolean; options?: TuneOptions } = {},
): Promise<Simulation> {
  const workgroupsOf = new Map(kernels.map(({ name, workgroups = 64 }) => [name, workgroups]))
  const dispatchMs = ({ wgsl, workgroups }: RecordedDispatch): number => {
    const [, kernel = '', variant = ''] = /\/\/ (\w+)\/([\w/]+)\./.exec(wgsl) ?? []
    const share = workgroups.reduce((a, b) => a * b, 1) / (workgroupsOf.get(kernel) ?? 1)
    return (times[`${kernel}/${variant}`] ?? 0) * share
  }
  const clock = clockWith({ dispatchMs, ...rest })
  using device = await open({ gpu: new RecordingGpu({ clock, timestamps, software }).gpu })
  const result = await tune(
    device,
    kernels.map((kernel) => taskOf(kernel, device)),
    options,
  )
  const chosen = Object.fromEntries(result.kernels.map((kernel) => [kernel.task.family, kernel.chosen]))
  return { result, clock, chosen }
}

/** The candidate of the only kernel. */
const candidate = ({ result }: Simulation, variant: string) =>
  result.kernels[0]?.candidates.find((one) => one.variant === variant)

const three: Kernel = { name: 'three', variants: ['plain', 'usual', 'quick'], preferred: 'usual' }

describe('what is chosen', () => {
  it('is the fastest by a clear lead, else the preferred variant', async () => {
    expect((await simulate([three], { 'three/plain': 1, 'three/usual': 0.5, 'three/quick': 0.4 })).chosen).toEqual({
      three: 'quick',
    })
    expect((await simulate([three], { 'three/plain': 1, 'three/usual': 0.5, 'three/quick': 0.49 })).chosen).toEqual({
      three: 'usual',
    })
  })

  it('is the first by name of those that are equally fast, if the preferred variant is slower', async () => {
    const kernel: Kernel = { name: 'many', variants: ['plain', 'usual', 'zeta', 'alpha', 'beta'], preferred: 'usual' }
    const times = { 'many/plain': 2, 'many/usual': 1, 'many/zeta': 0.5, 'many/alpha': 0.51, 'many/beta': 0.505 }
    expect((await simulate([kernel], times)).chosen).toEqual({ many: 'alpha' })
  })

  it('is told in the time of one run, however short', async () => {
    const simulation = await simulate([three], { 'three/plain': 0.01, 'three/usual': 0.004, 'three/quick': 0.003 })
    expect(candidate(simulation, 'quick')?.milliseconds).toBeCloseTo(0.003, 4)
    expect(candidate(simulation, 'usual')?.milliseconds).toBeCloseTo(0.004, 4)
  })

  it.each([
    ['rounded timestamps', { timestampMs: 0.065536 }],
    ['no timestamps', { timestamps: false }],
    ['reports that come up to 1 ms late, without timestamps', { timestamps: false, pollMs: 1 }],
    ['reports that come up to 100 ms late', { pollMs: 100, timestampMs: 0.065536 }],
  ])('does not depend on %s', async (_, circumstances) => {
    const times = { 'three/plain': 0.05, 'three/usual': 0.02, 'three/quick': 0.015 }
    const simulation = await simulate([three], times, circumstances)
    expect(simulation.chosen).toEqual({ three: 'quick' })
    expect(candidate(simulation, 'quick')?.milliseconds).toBeGreaterThan(0.014)
    expect(candidate(simulation, 'quick')?.milliseconds).toBeLessThan(0.017)
  })
})

describe('a device that reports finished work 100 ms late', () => {
  const kernels = Array.from({ length: 20 }, (_, i): Kernel => ({ ...three, name: `kernel${i}` }))
  const times = Object.fromEntries(
    kernels.flatMap(({ name }) => [
      [`${name}/plain`, 0.05],
      [`${name}/usual`, 0.02],
      [`${name}/quick`, 0.015],
    ]),
  )

  it('is tuned within the budget by its timestamps', async () => {
    const { result, chosen } = await simulate(kernels, times, { pollMs: 100 })
    expect(result.seconds).toBeLessThan(4)
    expect(result.kernels.length).toBeGreaterThan(2)
    expect(new Set(Object.values(chosen))).toEqual(new Set(['quick']))
  })

  it('is not tuned without timestamps, and the reason is given', async () => {
    const lines: string[] = []
    const { result, clock } = await simulate(kernels, times, {
      ...{ pollMs: 100, timestamps: false, options: { log: (line) => lines.push(line) } },
    })
    expect([result.kernels, result.left, result.variants]).toEqual([[], 20, {}])
    expect(result.problem).toContain('reports finished work 100 ms late')
    expect(lines).toEqual([expect.stringContaining('Not tuned')])
    expect(clock.now).toBeLessThan(1000)
  })
})

describe('compilation', () => {
  const times = { 'three/plain': 0.5, 'three/usual': 0.4, 'three/quick': 0.1 }
  const compileMs = (wgsl: string): number => (wgsl.includes('quick') ? 2500 : 1)

  it('does not count on a GPU', async () => {
    const options = { budgetMs: 10_000 }
    expect((await simulate([three], times, { compileMs, options })).chosen).toEqual({ three: 'quick' })
  })

  it('counts on a CPU, which compiles at every start', async () => {
    const simulation = await simulate([three], times, { compileMs, software: true, options: { budgetMs: 10_000 } })
    expect(simulation.chosen).toEqual({ three: 'usual' })
    expect(candidate(simulation, 'quick')?.problem).toMatch(/took 2500 ms to compile/)
  })
})

describe('a candidate that takes 8 s', () => {
  const slow = { 'three/plain': 8000, 'three/usual': 20, 'three/quick': 15 }

  it('is given up after a part of its workgroups', async () => {
    const simulation = await simulate([{ ...three, flops: 2.4e11, workgroups: 60_000, numbers: 2 ** 22 }], slow)
    expect(simulation.chosen).toEqual({ three: 'quick' })
    expect(candidate(simulation, 'plain')).toEqual({
      ...{ variant: 'plain', milliseconds: expect.closeTo(8000, -3), problem: 'is much slower' },
    })
    expect(simulation.clock.busyMs).toBeLessThan(600)
  })

  it('is not even tried if it consists of few lanes that read for long', async () => {
    const simulation = await simulate([{ ...three, flops: 1e8, workgroups: 1 }], slow)
    expect(simulation.chosen).toEqual({ three: 'quick' })
    expect(candidate(simulation, 'plain')).toBeUndefined()
    expect(simulation.clock.busyMs).toBeLessThan(600)
  })
})

describe('two tunings', () => {
  /** Kernels of two to five variants whose times differ by up to four; in a third of them, two are equal. */
  function randomKernels(random: Random): { kernels: Kernel[]; times: Record<string, number> } {
    const times: Record<string, number> = {}
    const kernels = Array.from({ length: 40 }, (_, i): Kernel => {
      const name = `kernel${i}`
      const variants = ['plain', 'usual', 'quick', 'large', 'small'].slice(0, 2 + random.below(4))
      const usual = 0.5 * 4 ** random.uniform()
      for (const variant of variants) times[`${name}/${variant}`] = usual * 4 ** (random.uniform() - 0.3)
      if (random.below(3) === 0) times[`${name}/${variants.at(-1)}`] = times[`${name}/usual`] ?? usual
      return { name, variants, preferred: 'usual' }
    })
    return { kernels, times }
  }

  it('choose the same for 95 % of 120 kernels, though times vary by up to 10 %', async () => {
    let agreeing = 0
    for (const seed of [1, 2, 3]) {
      const { kernels, times } = randomKernels(new Random(seed, 'kernels'))
      const tuned = (turn: string): Promise<Simulation> => {
        const random = new Random(seed, turn)
        const disturbance = (): number => 0.9 + 0.2 * random.uniform()
        return simulate(kernels, times, { disturbance, options: { budgetMs: Number.POSITIVE_INFINITY } })
      }
      const [first, second] = [await tuned('first'), await tuned('second')]
      for (const { name, variants } of kernels) {
        const chosen = first.chosen[name] ?? ''
        if (chosen === second.chosen[name]) agreeing++
        // And what they choose is fast.
        const best = Math.min(...variants.map((variant) => times[`${name}/${variant}`] ?? Number.NaN))
        expect(times[`${name}/${chosen}`]).toBeLessThan(best * 1.15)
      }
    }
    expect(agreeing).toBeGreaterThanOrEqual(0.95 * 120)
  })
})

it('waits in Firefox end soon, because empty submissions follow', async () => {
  vi.stubGlobal('navigator', { userAgent: 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0' })
  try {
    const recording = new RecordingGpu()
    using device = await open({ gpu: recording.gpu })
    const { queue } = device.gpu
    let told: () => void = () => undefined
    // Firefox looks at its own timer's next tick, which never comes here, or when something is submitted.
    vi.spyOn(queue, 'onSubmittedWorkDone').mockImplementation(
      () =>
        new Promise<undefined>((resolve) => {
          told = () => resolve(undefined)
        }),
    )
    const submit = vi.spyOn(queue, 'submit').mockImplementation(() => {
      told()
      return undefined
    })
    await device.idle()
    await device.idle()
    const before = submit.mock.calls.length
    expect(before).toBe(2)
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect(submit.mock.calls.length).toBe(before)
  } finally {
    vi.unstubAllGlobals()
  }
})

it('names each kernel once', async () => {
  const { result } = await simulate([three, three], { 'three/plain': 1, 'three/usual': 0.5, 'three/quick': 0.4 })
  expect(result.kernels.map(({ task }) => classKey(task))).toEqual(['three|'])
})

describe('finer variants', () => {
  const kernel: Kernel = {
    ...{ name: 'split', preferred: 'tiled32' },
    variants: ['plain', 'tiled32', 'tiled64', 'tiled32/128groups', 'tiled64/128groups', 'tiled64/2048groups'],
  }
  const times = { 'split/plain': 1, 'split/tiled32': 0.5, 'split/tiled64': 0.4, 'split/tiled64/2048groups': 0.3 }

  it('are measured for the winner only', async () => {
    const others = { 'split/tiled32/128groups': 0.1, 'split/tiled64/128groups': 0.6 }
    const { result, chosen } = await simulate([kernel], { ...times, ...others })
    expect(chosen).toEqual({ split: 'tiled64/2048groups' })
    expect(result.kernels[0]?.candidates.map(({ variant }) => variant)).toEqual([
      ...['tiled32', 'plain', 'tiled64', 'tiled64/128groups', 'tiled64/2048groups'],
    ])
  })

  it('lose to the winner if they are no faster', async () => {
    const others = { 'split/tiled64/128groups': 0.39, 'split/tiled64/2048groups': 0.41 }
    expect((await simulate([kernel], { ...times, ...others })).chosen).toEqual({ split: 'tiled64' })
  })
})

it('sums are split in more than one way where an adapter is a GPU', () => {
  const key: MatmulKey = {
    ...{ batch: 1, m: 400, n: 120, k: 12_800, transposeA: true, transposeB: false, batchedA: false, batchedB: false },
    ...{ bias: false, activation: 'linear' },
  }
  const target: Target = {
    ...{ class: 'gpu', subgroupSize: 32, maxWorkgroupSize: 256, maxWorkgroupStorageBytes: 16384 },
  }
  const operands = { inputs: [], outputs: [] }
  const labels = (own: Target, given: MatmulKey): string[] => {
    const task = kernelTask(matmul, given, own, operands)
    return task.candidates
      .filter((name) => /tiled64\b/.test(name))
      .map((name) => task.plan(name).dispatches[0]?.label ?? '')
  }
  expect(labels(target, key)).toEqual([
    ...['matmul/tiled64/splitK37', 'matmul/tiled64/128groups/splitK10', 'matmul/tiled64/2048groups/splitK50'],
  ])
  // A short sum is never split, and a processor's splits are measured.
  expect(labels(target, { ...key, k: 64 })).toEqual(['matmul/tiled64'])
  expect(labels({ ...target, class: 'cpu', subgroupSize: undefined }, key)).toHaveLength(1)
})
