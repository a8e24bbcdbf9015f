/** Data sets whose examples are made while training: the ring on the device, epochs, and what generators do wrong. */
import { describe, expect, it } from 'vitest'
import type { GeneratedExamples, GeneratorOptions } from '../src/data/generator.ts'
import { data, evaluate, tensor } from '../src/index.ts'
import { useDevice } from './support/device.ts'
import { failure } from './support/failure.ts'

const device = useDevice()
const count = 22

/** Example i of epoch e is [100 e + i, -i] with the target i mod 4, in pieces of these sizes. */
function* made(epoch: number, sizes: readonly number[], log: string[] = []): Generator<GeneratedExamples> {
  log.push(`begin ${epoch}`)
  try {
    for (let [i, piece] = [0, 0]; ; piece++) {
      const size = sizes[piece % sizes.length] ?? 1
      const all = Array.from({ length: size }, () => i++)
      yield { x: all.flatMap((k) => [100 * epoch + k, -k]), y: all.map((k) => k % 4) }
    }
  } finally {
    log.push(`end ${epoch}`)
  }
}

const make = (options: Partial<GeneratorOptions> = {}): data.GeneratorDataset =>
  data.generator({
    ...{ shape: [2], classes: 4, count, stepsAtOnce: 3, device: device() },
    batches: (epoch) => made(epoch, [4]),
    ...options,
  })

/** The first numbers of a step's examples, and their targets. */
async function stepOf(set: data.GeneratorDataset, step: number, batch: number): Promise<number[][]> {
  const { x, target } = set.batch({ batch, tensor: tensor([0], [1], 'u32') }, tensor([step, 0, 0, 0], [4], 'u32'))
  expect(x.shape).toEqual([batch, 2])
  const [a = [], b = []] = await evaluate([x, target], { device: device() })
  return [Array.from(a).filter((_, i) => i % 2 === 0), Array.from(b)]
}

/** What step `step` of whole batches of 5 holds. */
const expected = (epoch: number, first: number, size = 5): number[][] => {
  const all = Array.from({ length: size }, (_, i) => first + i)
  return [all.map((i) => 100 * epoch + i), all.map((i) => i % 4)]
}

describe('a generator', () => {
  it.each([[[4]], [[1]], [[7, 2]], [[100]]])(
    'in pieces of %j fills the batches of an epoch in order',
    async (sizes) => {
      using set = make({ batches: (epoch) => made(epoch, sizes) })
      const { source } = set
      for (const epoch of [0, 1]) {
        await source.load({ epoch, first: 0, count: 3, batch: 5 })
        for (const step of [0, 1, 2]) expect(await stepOf(set, step, 5)).toEqual(expected(epoch, 5 * step))
        await source.load({ epoch, first: 3, count: 1, batch: 5 })
        expect(await stepOf(set, 3, 5)).toEqual(expected(epoch, 15))
        expect(await stepOf(set, 2, 5)).toEqual(expected(epoch, 10))
        // The smaller last batch.
        await source.load({ epoch, first: 4, count: 1, batch: 2 })
        expect(await stepOf(set, 4, 2)).toEqual(expected(epoch, 20, 2))
      }
    },
  )

  it('may be asynchronous', async () => {
    async function* later(): AsyncGenerator<GeneratedExamples> {
      for (const piece of made(0, [8])) yield await Promise.resolve(piece)
    }
    using set = make({ batches: later })
    await set.source.load({ epoch: 0, first: 0, count: 2, batch: 5 })
    expect(await stepOf(set, 1, 5)).toEqual(expected(0, 5))
  })

  it('begins once an epoch, with its number, and ends when the epoch does', async () => {
    const log: string[] = []
    using set = make({ batches: (epoch) => made(epoch, [4], log) })
    const whole = async (epoch: number): Promise<void> => {
      for (const first of [0, 2]) await set.source.load({ epoch, first, count: 2, batch: 5 })
      await set.source.load({ epoch, first: 4, count: 1, batch: 2 })
    }
    await whole(0)
    await whole(0)
    await set.source.load({ epoch: 1, first: 0, count: 1, batch: 5 })
    await whole(2)
    expect(log).toEqual(['begin 0', 'end 0', 'begin 0', 'end 0', 'begin 1', 'end 1', 'begin 2', 'end 2'])
  })

  it('goes to the step at which a resumed epoch begins', async () => {
    using set = make()
    await set.source.load({ epoch: 3, first: 2, count: 2, batch: 5 })
    expect(await stepOf(set, 3, 5)).toEqual(expected(3, 15))
    using last = make()
    for (const batch of [5, 2]) last.batch({ batch, tensor: tensor([0], [1], 'u32') }, tensor([0], [1], 'u32'))
    await last.source.load({ epoch: 3, first: 4, count: 1, batch: 2 })
    expect(await stepOf(last, 4, 2)).toEqual(expected(3, 20, 2))
  })

  it('has targets of numbers of any shape', async () => {
    const batches = (): GeneratedExamples[] => [
      { x: new Float32Array(8), y: [1, 2, 3, 4, 5, 6, 7, 8] },
      { x: new Float32Array(4), y: [9, 10, 11, 12] },
    ]
    using set = data.generator({ shape: [2], targetShape: [2, 1], count: 6, batches, device: device() })
    await set.source.load({ epoch: 0, first: 0, count: 2, batch: 3 })
    const { target } = set.batch({ batch: 3, tensor: tensor([0], [1], 'u32') }, tensor([1, 0], [2], 'u32'))
    expect([target.dtype, target.shape]).toEqual(['f32', [3, 2, 1]])
    expect([...(await target.data())]).toEqual([7, 8, 9, 10, 11, 12])
  })

  it('leaves nothing on the device', async () => {
    const before = device().memory()
    const log: string[] = []
    {
      using set = make({ batches: (epoch) => made(epoch, [4], log) })
      await set.source.load({ epoch: 0, first: 0, count: 1, batch: 5 })
    }
    expect(device().memory()).toMatchObject({ liveBytes: before.liveBytes, liveBuffers: before.liveBuffers })
    expect(log).toEqual(['begin 0', 'end 0'])
  })
})

describe('refused', () => {
  const load = (set: data.GeneratorDataset): Promise<void> =>
    set.source.load({ epoch: 0, first: 0, count: 3, batch: 5 })

  it.each<[what: string, code: string, message: RegExp, pieces: unknown]>([
    [
      'too few examples',
      'data',
      /ended after 4 examples of epoch 0; its count promises 22/,
      [{ x: [1, 2, 3, 4, 5, 6, 7, 8], y: [0, 1, 2, 3] }],
    ],
    [
      'a part of an example',
      'shape',
      /3 numbers with 1 of targets; an example has 2 with 1/,
      [{ x: [1, 2, 3], y: [0] }],
    ],
    ['a target too many', 'shape', /2 numbers with 2/, [{ x: [1, 2], y: [0, 1] }]],
    ['an empty piece', 'shape', /0 numbers/, [{ x: [], y: [] }]],
    ['a label without a class', 'data', /label 4/, [{ x: [1, 2], y: [4] }]],
    ['what is no number', 'data', /x of example 0 holds NaN/, [{ x: [1, Number.NaN], y: [0] }]],
    ['something else', 'argument', /\{ x, y \}/, [[1, 2]]],
    ['nothing to iterate over', 'argument', /iterate/, undefined],
  ])('are batches with %s', async (_, code, message, pieces) => {
    using set = make({ batches: () => pieces as GeneratedExamples[] })
    const error = await failure(load(set))
    expect(error).toMatchObject({ code, message: expect.stringMatching(message) })
  })

  it('are errors of the generator itself, as they are', async () => {
    using set = make({
      batches: () => {
        throw new TypeError('no camera')
      },
    })
    await expect(load(set)).rejects.toThrow(new TypeError('no camera'))
  })

  it('are subsets, labels, augmentation, other shapes and wrong options', async () => {
    using set = make()
    const rows = { batch: 1, tensor: tensor([0], [1], 'u32') }
    const acts: (() => unknown)[] = [
      () => set.subset(),
      () => set.labelsOf(),
      () => set.batch(rows, tensor([0], [1], 'u32'), [2], { flip: 'random', seed: 1 }),
      () => make({ targetShape: [1] }),
      () => make({ count: 0 }),
    ]
    for (const act of acts) expect(await failure(act)).toMatchObject({ code: 'argument' })
    expect(await failure(() => set.refuseMisfits([3], 'm'))).toMatchObject({ code: 'shape' })
    expect(await failure(() => make({ classNames: ['a'] }))).toMatchObject({ code: 'data' })
  })
})
