/**
 * Tuning: which variant a table chooses, what is measured and what is rejected, what is kept between runs, and that a
 * resumed run repeats its kernels. Some families are made up, so that a variant is slow or wrong; everything runs on a
 * device.
 */

import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { benchTuning } from '../bench/tune.ts'
import { residentImages } from '../src/data/dataset.ts'
import { fashionMnistFiles } from '../src/data/fashion-mnist.ts'
import { writeIdx } from '../src/format/idx.ts'
import type { TensorType } from '../src/graph/node.ts'
import type { KernelTask, VariantTable } from '../src/graph/plan/choice.ts'
import { classKey, kernelTask, shapeClassOf, tableOf, variantIn } from '../src/graph/plan/choice.ts'
import { targetOf } from '../src/graph/run/program.ts'
import { entriesOf, knownVariants, MemoryTuningStore, type TunedEntries } from '../src/graph/tuning/store.ts'
import { tune } from '../src/graph/tuning/tuning.ts'
import { exp, mul, nn, planOf, type Tensor, tensor } from '../src/index.ts'
import type { Family, KernelPlan, Variant } from '../src/kernels/kernel.ts'
import { dispatch, input, output, reads, writes } from '../src/kernels/kernel.ts'
import type { TrainingFacts } from '../src/nn/contract.ts'
import type { Model } from '../src/nn/model.ts'
import { FileTuningStore, tuningMode } from '../src/nn/tuning-store.node.ts'
import { fashionMnistLenet5 as task } from '../src/tasks/fashion-mnist-lenet5.node.ts'
import { readTrainConfig, type TrainOptions, type TrainReporter, train } from '../src/train/run.node.ts'
import { useDevice } from './support/device.ts'
import { noiseImages } from './support/noise.ts'

const device = useDevice()
let place = ''
beforeAll(async () => {
  place = await mkdtemp(join(tmpdir(), 'weftgrad-tuning-'))
})
afterAll(() => rm(place, { recursive: true, force: true }))
afterEach(() => vi.unstubAllEnvs())

interface DoublingKey {
  readonly count: number
}

/** Doubles numbers after `turns` idle rounds; a `factor` of 2 is correct. */
function doublingPlan(variant: string, { count }: DoublingKey, turns: number, factor = '2.0'): KernelPlan {
  const kernel = dispatch({
    label: `doubling/${variant}`,
    bindings: [reads('x', input(0)), writes('y', output(0))],
    uniforms: { count, turns, zero: { f32: 0 } },
    workgroupSize: 8,
    workgroups: Math.ceil(count / 8),
    body: `
  if (index >= u.count) { return; }
  var waste = 1.0;
  for (var turn = 0u; turn < u.turns; turn++) { waste = fract(waste * 1.618034 + 0.1); }
  y[index] = x[index] * ${factor} + waste * u.zero;`,
  })
  return { variant, dispatches: [kernel], scratchBytes: [], flops: 0 }
}

const doubling = (name: string, turns: number, factor?: string): Variant<DoublingKey> => ({
  name,
  supports: () => true,
  plan: (key) => doublingPlan(name, key, turns, factor),
})

function taskWith(variants: readonly Variant<DoublingKey>[], count = 4096): KernelTask {
  const family: Family<DoublingKey> = { name: 'doubling', variants, prefer: () => variants[0]?.name ?? '' }
  const type: TensorType = { shape: [count], dtype: 'f32' }
  return kernelTask(family, { count }, targetOf(device()), { inputs: [type], outputs: [type] })
}

describe('a table of variants', () => {
  it('names shape classes by the fields of the key, in any order', () => {
    expect(shapeClassOf({ m: 2, k: [3, -0], bias: true, mask: undefined, window: { y: 1, x: Infinity } })).toBe(
      'bias=true,k=[3,-0],m=2,window={x=Infinity,y=1}',
    )
    expect(shapeClassOf({ b: 1, a: 2 })).toBe(shapeClassOf({ a: 2, b: 1 }))
  })

  it('prefers the entry of the shape class, and ignores variants that are not candidates', () => {
    const kernel = { family: 'doubling', shapeClass: 'count=8' }
    const chosen = (table: VariantTable) => variantIn(table, kernel, ['plain', 'fast'])
    expect(chosen({ doubling: 'plain', 'doubling|count=8': 'fast' })).toBe('fast')
    expect(chosen({ doubling: 'plain', 'doubling|count=9': 'fast' })).toBe('plain')
    expect(chosen({ doubling: 'plain', 'doubling|count=8': 'gone' })).toBe('plain')
    expect(chosen({ other: 'fast', doubling: 'gone' })).toBeUndefined()
  })

  it('repeats plans whose kernels of one family differ by shape', () => {
    const graph = (): Tensor[] => [exp(tensor(new Float32Array(64), [64])), mul(tensor(new Float32Array(32), [32]), 3)]
    const choices = (variants: VariantTable) => planOf(graph(), { device: device(), variants }).choices
    const usual = choices({})
    expect(usual.map(({ variant }) => variant)).toEqual(['vec4', 'vec4'])
    const first = usual[0]
    if (first === undefined) throw new Error('two kernels')
    const mixed = choices({ [classKey(first)]: 'plain' })
    expect(mixed.map(({ variant }) => variant)).toEqual(['plain', 'vec4'])
    expect(choices(tableOf(mixed))).toEqual(mixed)
    expect(choices(JSON.parse(JSON.stringify(tableOf(mixed))))).toEqual(mixed)
  })
})

describe('tuning', () => {
  it('finds the faster variant, and releases all memory', async () => {
    const before = device().memory()
    const task = taskWith([doubling('plain', 2000), doubling('fast', 0)])
    const { variants, kernels, left } = await tune(device(), [task, task])
    expect(variants).toEqual({ 'doubling|count=4096': 'fast' })
    expect(left).toBe(0)
    expect(kernels).toHaveLength(1)
    expect(kernels[0]?.candidates.map(({ variant }) => variant)).toEqual(['plain', 'fast'])
    const after = device().memory()
    expect([after.liveBytes, after.liveBuffers]).toEqual([before.liveBytes, before.liveBuffers])
  })

  it('never chooses a variant that is wrong, incomplete or does not compile, and reports it', async () => {
    const before = device().memory().liveBytes
    const partial: Variant<DoublingKey> = {
      name: 'partial',
      supports: () => true,
      plan: ({ count }) => doublingPlan('partial', { count: count - 1 }, 0),
    }
    const lines: string[] = []
    const variants = [doubling('plain', 500), doubling('wrong', 0, '2.001'), partial, doubling('broken', 0, 'nothing')]
    const result = await tune(device(), [taskWith(variants)], { log: (line) => lines.push(line) })
    expect(result.variants).toEqual({ 'doubling|count=4096': 'plain' })
    expect(result.kernels[0]?.candidates).toEqual([
      { variant: 'plain', milliseconds: expect.any(Number) },
      { variant: 'wrong', problem: expect.stringContaining('is wrong: output 0 is') },
      { variant: 'partial', problem: expect.stringContaining('is wrong: output 0 is NaN') },
      { variant: 'broken', problem: expect.stringContaining('does not compile') },
    ])
    expect(lines).toEqual([expect.stringContaining('wrong (is wrong')])
    expect(device().memory().liveBytes).toBe(before)
  })

  it('does not measure known kernels, or kernels with one variant', async () => {
    const task = taskWith([doubling('plain', 10), doubling('fast', 0)])
    const alone = taskWith([doubling('plain', 10)], 16)
    const known = { 'doubling|count=4096': 'plain', 'doubling|count=16': 'gone', other: 'x' }
    const { variants, kernels } = await tune(device(), [task, alone], { known })
    expect([variants, kernels]).toEqual([{ 'doubling|count=4096': 'plain' }, []])
  })

  it("stops when its budget is spent, and leaves the rest to the families' preferences", async () => {
    const before = device().memory().liveBytes
    const tasks = Array.from({ length: 300 }, (_, i) =>
      taskWith([doubling('plain', 1000), doubling('fast', 0)], 1000 + i),
    )
    const none = await tune(device(), tasks, { budgetMs: 0 })
    expect([none.variants, none.left]).toEqual([{}, 300])
    const some = await tune(device(), tasks, { budgetMs: 400 })
    expect(some.kernels.length).toBeGreaterThan(0)
    expect(some.left).toBe(300 - some.kernels.length)
    expect(some.left).toBeGreaterThan(0)
    expect(some.seconds).toBeLessThan(3) // the budget, and a dispatch on a machine that is busy
    // The largest come first.
    expect(Object.keys(some.variants)).toContain('doubling|count=1299')
    const stopped = await tune(device(), tasks, { signal: AbortSignal.abort() })
    expect(stopped.left).toBe(300)
    expect(device().memory().liveBytes).toBe(before)
  })
})

describe('bench tune', () => {
  it('shows every candidate with its time, and which one wins', async () => {
    const lines: string[] = []
    await benchTuning(['bias gradient', '128x10x10x16'], (line) => lines.push(line))
    expect(lines[1]).toMatch(/^bias gradient lenet conv2.*: reduce\|/)
    const names = lines.slice(2).map((line) => line.trim().split(/\s+/)[0])
    expect(names.sort()).toEqual(['plain', 'vec4'])
    expect(lines.slice(2).every((line) => /[\d.]+ ms/.test(line))).toBe(true)
    expect(lines.filter((line) => /\bwins\b/.test(line))).toHaveLength(1)
    await expect(benchTuning(['nothing of the kind'], () => {})).rejects.toMatchObject({ code: 'argument' })
  })
})

describe('the cache', () => {
  const entries: TunedEntries = { 'doubling|count=8': { variant: 'fast', candidates: ['plain', 'fast'] } }
  const more: TunedEntries = { 'doubling|count=9': { variant: 'plain', candidates: ['plain', 'fast'] } }

  it('returns what was stored, by adapter, and adds to what others wrote', async () => {
    const folder = join(place, 'round')
    const [store, other] = [new FileTuningStore({ folder }), new FileTuningStore({ folder })]
    expect(await store.load(device())).toEqual({})
    await store.add(device(), entries)
    await other.add(device(), more)
    expect(await store.load(device())).toEqual({ ...entries, ...more })
    expect(await readdir(folder)).toHaveLength(1)
    const memory = new MemoryTuningStore()
    await memory.add(device(), entries)
    await memory.add(device(), more)
    expect(await memory.load(device())).toEqual({ ...entries, ...more })
  })

  it.each([
    ['is truncated', (text: string) => text.slice(0, -20)],
    ['belongs to another program', () => '{"hello": "world"}'],
    ['is for another adapter', (text: string) => text.replace(/"adapter": "/, '"adapter": "another ')],
    ['is for other kernels', (text: string) => text.replace(/"kernelRevision": \d+/, '"kernelRevision": 0')],
    ['has invalid entries', (text: string) => text.replace('"fast"', '7')],
    ['is a list', () => '[]'],
  ])('counts as empty and is rewritten if its file %s', async (what, damage) => {
    const store = new FileTuningStore({ folder: join(place, what) })
    await store.add(device(), entries)
    const path = store.pathFor(device())
    const text = await readFile(path, 'utf8')
    await writeFile(path, damage(text))
    expect(await store.load(device())).toEqual({})
    await store.add(device(), more)
    expect(await store.load(device())).toEqual(more)
  })

  it('warns if it cannot be written, and lets the run continue', async () => {
    await writeFile(join(place, 'no-folder'), '')
    const lines: string[] = []
    const store = new FileTuningStore({ folder: join(place, 'no-folder'), log: (line) => lines.push(line) })
    await store.add(device(), entries)
    expect(lines).toEqual([expect.stringContaining('Could not save tuning results')])
  })

  it("discards winners chosen from other candidates than today's", async () => {
    const two = taskWith([doubling('plain', 500), doubling('fast', 0)])
    const kept = entriesOf(await tune(device(), [two]))
    expect(knownVariants(kept, [two])).toEqual({ 'doubling|count=4096': 'fast' })
    const three = taskWith([doubling('plain', 500), doubling('fast', 0), doubling('faster', 0)])
    expect(knownVariants(kept, [three])).toEqual({})
  })

  it('is used according to WEFTGRAD_TUNE, which is 0 in these tests', () => {
    expect([tuningMode(), tuningMode({}), tuningMode({ WEFTGRAD_TUNE: '1' })]).toEqual(['off', 'missing', 'all'])
  })
})

describe('tuning a training', () => {
  it('measures once, serves fit by shape, and releases all memory', async () => {
    using model: Model = nn.lenet5({ units: [16, 8] }, { seed: 1 })
    model.to(device())
    using data = residentImages(device(), noiseImages(60))
    const before = device().memory().liveBytes
    const store = new MemoryTuningStore()
    const training = { optimizer: nn.adam(), batchSize: 16, validationSplit: 0.2, epochs: 1 }
    const options = { ...training, store, budgetMs: 20_000 }
    const first = await nn.tuneTraining(model, data, options)
    expect(first.kernels.length).toBeGreaterThan(3)
    expect(first.kernels.map(({ task }) => task.family)).toContain('matmul')
    expect(
      first.kernels.flatMap(({ candidates }) => candidates.flatMap(({ problem }) => problem ?? [])),
    ).not.toContainEqual(expect.stringMatching(/wrong|does not compile/))
    const second = await nn.tuneTraining(model, data, options)
    expect([second.kernels, second.left, second.variants]).toEqual([[], 0, first.variants])
    expect(device().memory().liveBytes).toBe(before)

    // The opposite of what was found, to check that it is obeyed kernel by kernel.
    const others = first.kernels.map(({ task, chosen }) => [
      classKey(task),
      task.candidates.find((name) => name !== chosen) ?? chosen,
    ])
    const variants: VariantTable = Object.fromEntries(others)
    const told: TrainingFacts[] = []
    await nn.fit(model, data, { ...training, variants, callbacks: { onBegin: (facts) => told.push(facts) } })
    expect(told[0]?.variants).toMatchObject(variants)
  })
})

describe('a run', () => {
  const small = { units: [16, 8], epochs: 2, batchSize: 24, learningRate: 3e-3, seed: 2 } as const

  async function dataFolder(): Promise<string> {
    const folder = join(place, 'data')
    await mkdir(folder, { recursive: true })
    for (const [half, count] of [
      ['train', 160],
      ['test', 40],
    ] as const) {
      const { images, labels } = noiseImages(count)
      const pixels = writeIdx({ shape: [count, 28, 28], data: images })
      await writeFile(join(folder, fashionMnistFiles[`${half}Images`].name), pixels)
      await writeFile(join(folder, fashionMnistFiles[`${half}Labels`].name), writeIdx({ shape: [count], data: labels }))
    }
    return folder
  }

  const kernelsOf = async (run: string) => (await readTrainConfig(task, join(place, run))).kernels
  const weightsOf = (run: string) => readFile(join(place, run, 'model.safetensors'))

  it('tunes once, keeps its kernels when resumed, and ignores the cache if told to', async () => {
    const dataDir = await dataFolder()
    const run = async (out: object, stop = false): Promise<string[]> => {
      const controller = new AbortController()
      const notes: string[] = []
      const reporter: TrainReporter = {
        onNote: (line) => notes.push(line),
        ...(stop ? { onProgress: () => controller.abort() } : {}),
      }
      const options: TrainOptions = { ...small, dataDir, ...out, signal: controller.signal }
      const ended = train(task, options, reporter)
      await (stop ? expect(ended).rejects.toMatchObject({ code: 'aborted' }) : ended)
      return notes.filter((line) => line.startsWith('Autotuned'))
    }
    vi.stubEnv('WEFTGRAD_CACHE_DIR', join(place, 'cache'))
    vi.stubEnv('WEFTGRAD_TUNE', undefined)
    const path = new FileTuningStore().pathFor(device())
    expect(path.startsWith(join(place, 'cache', 'tuning'))).toBe(true)

    expect(await run({ out: join(place, 'first') }, true)).toEqual([
      expect.stringMatching(/^Autotuned \d+( of \d+)? kernels in \d+\.\d s/),
    ])
    // If nothing is compiled yet, time runs out before every kernel has been measured: the next runs continue.
    for (let i = 0; (await run({ out: join(place, `again${i}`) }, true)).length > 0; i++) expect(i).toBeLessThan(30)
    const found = await readFile(path, 'utf8')
    const opposite: { kernels: Record<string, { variant: string; candidates: string[] }> } = JSON.parse(found)
    for (const entry of Object.values(opposite.kernels))
      entry.variant = entry.candidates.find((name) => name !== entry.variant) ?? entry.variant
    const forced = Object.fromEntries(Object.entries(opposite.kernels).map(([name, { variant }]) => [name, variant]))
    await writeFile(path, JSON.stringify(opposite))

    // The cache holds everything: nothing is measured, and two runs are the same.
    expect(await run({ out: join(place, 'whole') })).toEqual([])
    expect(await run({ out: join(place, 'stopped') }, true)).toEqual([])
    const kernels = await kernelsOf('stopped')
    expect(kernels).toMatchObject(forced)

    await writeFile(path, found)
    expect(await run({ resume: join(place, 'stopped') })).toEqual([])
    expect(await kernelsOf('stopped')).toEqual(kernels)
    expect(await weightsOf('stopped')).toEqual(await weightsOf('whole'))

    vi.stubEnv('WEFTGRAD_TUNE', '0')
    await writeFile(path, JSON.stringify(opposite))
    expect(await run({ out: join(place, 'plain') }, true)).toEqual([])
    const plain = await kernelsOf('plain')
    // Some of the forced variants may be the preferred ones, if measuring had found another to be faster.
    expect(Object.keys(forced).some((name) => plain[name] !== forced[name])).toBe(true)

    // The first runs listed families and variants, which says nothing about shapes.
    const config = join(place, 'plain', 'config.json')
    const early = { ...JSON.parse(await readFile(config, 'utf8')), kernels: [{ family: 'matmul', variant: 'direct' }] }
    await writeFile(config, JSON.stringify(early))
    expect(await kernelsOf('plain')).toEqual({})
    await writeFile(config, JSON.stringify({ ...early, kernels: { matmul: 7 } }))
    await expect(kernelsOf('plain')).rejects.toMatchObject({ code: 'format' })
  })
})
