/** Data sets of one's own: arrays of numbers and tables, in one block or several, with targets of both kinds. */
import { describe, expect, it } from 'vitest'
import type { ArraysSpec } from '../src/data/arrays.ts'
import type { Batch } from '../src/data/contract.ts'
import { data, evaluate, nn, tensor } from '../src/index.ts'
import { Random } from '../src/random.ts'
import { useDevice } from './support/device.ts'
import { failure } from './support/failure.ts'
import { pictures } from './support/pictures.ts'

const device = useDevice()

/** The numbers of step 1 of batches of two. */
async function secondBatch(set: data.Dataset, order = [9, 9, 2, 0]): Promise<Record<keyof Batch, number[]>> {
  const rows = { batch: 2, tensor: tensor(Uint32Array.from(order)) }
  const shape = set instanceof data.ArrayDataset ? set.shape : [8, 8, 1]
  const { x, target, sampleWeight } = set.batch(rows, tensor(Uint32Array.of(1, 0, 0, 0)), shape)
  const [a = [], b = [], c = []] = await evaluate([x, target, ...(sampleWeight ? [sampleWeight] : [])], {
    device: device(),
  })
  return { x: Array.from(a), target: Array.from(b), sampleWeight: Array.from(c) }
}

const make = (spec: ArraysSpec): data.ArrayDataset => data.arrays({ device: device(), ...spec })

describe('arrays', () => {
  it('of any type keep their numbers: bytes are not divided', async () => {
    for (const Type of [Float32Array, Float64Array, Uint8Array, Int16Array, Uint32Array]) {
      const numbers = Array.from({ length: 12 }, (_, i) => 20 * i)
      using set = make({ x: new Type(numbers), shape: [2, 2], y: Uint8Array.of(0, 2, 1) })
      expect(set.count).toBe(3)
      expect(await secondBatch(set)).toEqual({
        x: [160, 180, 200, 220, 0, 20, 40, 60],
        target: [1, 0],
        sampleWeight: [],
      })
    }
  })

  it('may be nested, with the shape that nesting gives', async () => {
    using set = make({
      x: [
        [[1], [2]],
        [[3], [4]],
        [[5], [6]],
      ],
      y: [0.5, -1, 2.25],
      sampleWeight: [1, 2, 0],
    })
    expect(set.shape).toEqual([2, 1])
    expect(await secondBatch(set)).toEqual({ x: [5, 6, 1, 2], target: [2.25, 0.5], sampleWeight: [0, 1] })
    using flat = make({
      x: [1, 2, 3],
      y: [
        [1, 0],
        [0, 1],
        [1, 1],
      ],
    })
    expect(flat.shape).toEqual([])
    expect(await secondBatch(flat)).toMatchObject({ x: [3, 1], target: [1, 1, 1, 0] })
  })

  it.each<[what: string, y: Partial<ArraysSpec>, classes: number | undefined, shape: number[]]>([
    ['numbers of a Float32Array stay numbers', { y: Float32Array.of(0, 1, 2) }, undefined, [2]],
    ['whole numbers are classes, as many as the largest needs', { y: Int32Array.of(0, 4, 2) }, 5, [2]],
    ['a list is of numbers', { y: [0, 1, 2] }, undefined, [2]],
    ['a list is of class numbers if there are classes', { y: [0, 1, 2], classes: 7 }, 7, [2]],
    ['names say how many classes there are', { y: [0, 1, 2], classNames: ['a', 'b', 'c', 'd'] }, 4, [2]],
    ['several numbers each have an axis', { y: new Float32Array(6) }, undefined, [2, 2]],
    ['numbers may have any shape', { y: new Float32Array(12), targetShape: [2, 1, 2] }, undefined, [2, 2, 1, 2]],
  ])('have targets: %s', (_, y, classes, shape) => {
    using set = make({ x: new Float32Array(3), shape: [1], y: [], ...y })
    expect(set.classes).toBe(classes)
    const { target } = set.batch({ batch: 2, tensor: tensor(Uint32Array.of(0, 1)) }, tensor(Uint32Array.of(0, 0, 0, 0)))
    expect(target.shape).toEqual(shape)
    expect(target.dtype).toBe(classes === undefined ? 'f32' : 'u32')
  })

  it('carry class names and numbers into subsets, which number targets do not have', async () => {
    using set = make({ x: [1, 2, 3], y: [1, 0, 1], classNames: ['no', 'yes'] })
    const part = set.subset([2, 1])
    expect([part.classNames, part.classes, [...part.labelsOf()]]).toEqual([['no', 'yes'], 2, [1, 0]])
    using numbers = make({ x: [1, 2, 3], y: [1, 0, 1] })
    expect(await failure(() => numbers.labelsOf())).toMatchObject({ code: 'argument' })
  })

  it('give the same batches in several blocks, examples and targets', async () => {
    const random = new Random(1, 'blocks')
    const numbers = (length: number): Float32Array => Float32Array.from({ length }, () => random.uniform())
    const spec = { x: numbers(3 * 30), shape: [5, 6], y: numbers(3 * 9), targetShape: [3, 3] }
    using whole = make(spec)
    using parts = make({ ...spec, blockBytes: 3 * 4 * 4 })
    expect([whole.blockCount, parts.blockCount]).toEqual([1, 8])
    expect(await secondBatch(parts)).toEqual(await secondBatch(whole))
  })

  it('are their own targets, stored once, if targets are the very same array', async () => {
    const before = device().memory().liveBytes
    const x = Uint8Array.from({ length: 12 }, (_, i) => 20 * i)
    const set = make({ x, shape: [2, 2], y: x })
    const once = device().memory().liveBytes - before
    using copied = make({ x, shape: [2, 2], y: Float32Array.from(x) })
    expect(set.classes ?? copied.classes).toBeUndefined()
    expect(device().memory().liveBytes - before).toBe(3 * once)
    const { x: own, target } = await secondBatch(set)
    expect(own).toEqual([160, 180, 200, 220, 0, 20, 40, 60])
    expect(target).toEqual(own)
    const { target: traced } = set.batch(
      { batch: 1, tensor: tensor([0], [1], 'u32') },
      tensor([0, 0, 0, 0], [4], 'u32'),
    )
    expect(traced.shape).toEqual([1, 2, 2])
    set.dispose()
    expect(device().memory().liveBytes).toBe(before + 2 * once)
  })

  it('train a model on classes', async () => {
    const random = new Random(2, 'points')
    const x = Float32Array.from({ length: 400 }, () => random.uniform() - 0.5)
    const y = Uint8Array.from({ length: 200 }, (_, i) => ((x[2 * i] ?? 0) > (x[2 * i + 1] ?? 0) ? 1 : 0))
    using set = make({ x, shape: [2], y })
    using model = nn.sequential('line', [2], [nn.dense('logits', 2)])
    await nn.fit(model, set, { optimizer: nn.adam({ learningRate: 0.1 }), epochs: 20, batchSize: 32 })
    expect((await nn.evaluate(model, set)).accuracy).toBeGreaterThan(0.95)
  })

  it.each<[what: string, code: string, mentions: RegExp, spec: Partial<ArraysSpec>]>([
    ['flat numbers without a shape', 'shape', /shape: \[28, 28, 1\]/, { shape: undefined }],
    ['parts of an example', 'shape', /6 numbers are not whole examples of \[4\]/, { shape: [4] }],
    ['no examples', 'data', /at least one/, { x: [] }],
    ['rows of different lengths', 'shape', /different lengths/, { x: [[1, 2], [3]] }],
    ['another number of targets', 'shape', /2 numbers for 3 examples/, { y: [1, 2] }],
    ['no targets', 'shape', /0 numbers for 3/, { y: [] }],
    ['several class numbers each', 'shape', /one class number; y has 6/, { y: new Uint8Array(6) }],
    ['targets of another shape', 'shape', /need 12/, { targetShape: [4] }],
    ['a number that is missing', 'data', /x of example 1 holds NaN/, { x: Float32Array.of(1, 2, 3, Number.NaN, 5, 6) }],
    ['a number beyond float32', 'data', /y of example 2 holds 1e\+300/, { y: [1, 2, 1e300] }],
    ['a label without a class', 'data', /Example 1 has the label 2/, { y: [0, 2, 1], classes: 2 }],
    ['too few names', 'data', /classNames must be 3 strings/, { classes: 3, y: [0, 1, 2], classNames: ['a', 'b'] }],
    ['another number of weights', 'shape', /1 weights for 3/, { sampleWeight: [1] }],
    ['a negative weight', 'data', /Example 1 has a negative weight/, { sampleWeight: [1, -1, 1] }],
    ['what is no device', 'argument', /device/, { device: {} as never }],
  ])('refuse %s, and keep nothing', async (_, code, message, spec) => {
    const before = device().memory()
    const base = { x: Float32Array.of(1, 2, 3, 4, 5, 6), shape: [2], y: [1, 2, 3] }
    expect(await failure(() => make({ ...base, ...spec }))).toMatchObject({
      code,
      message: expect.stringMatching(message),
    })
    expect(device().memory()).toMatchObject({ liveBytes: before.liveBytes, liveBuffers: before.liveBuffers })
  })

  it('refuse a model of another shape, and augmentation', async () => {
    using set = make({ x: new Float32Array(8), shape: [2, 2], y: [0, 1] })
    expect(await failure(() => set.refuseMisfits([4], 'm'))).toMatchObject({
      code: 'shape',
      message: /\[4\].*\[2, 2\]/,
    })
    const rows = { batch: 1, tensor: tensor(Uint32Array.of(0, 1)) }
    const act = (): unknown => set.batch(rows, tensor(Uint32Array.of(0)), [2, 2], { flip: 'random', seed: 1 })
    expect(await failure(act)).toMatchObject({ code: 'argument' })
  })
})

describe('images of bytes', () => {
  it('in blocks of pixel rows give the same batches, padded, shifted and flipped', async () => {
    const bytes = pictures(5)
    using whole = data.residentImages(device(), bytes)
    // Blocks of 3, 3 and 2 pixel rows: their bytes are no whole words.
    using parts = data.residentImages(device(), { ...bytes, blockBytes: 5 * 8 * 3 })
    expect([whole.blockCount, parts.blockCount]).toEqual([1, 3])
    const rows = { batch: 4, tensor: tensor(Uint32Array.of(1, 4, 0, 7)) }
    const state = tensor(Uint32Array.of(0, 0, 3, 0))
    for (const augmentation of [undefined, { flip: 'random', shift: 3, seed: 4 } as const]) {
      const [a, b] = [whole, parts].map((set) => set.batch(rows, state, [11, 12, 1], augmentation))
      const numbers = await evaluate(
        [a?.x, b?.x, a?.target, b?.target].flatMap((t) => t ?? []),
        { device: device() },
      )
      expect(numbers[1]).toEqual(numbers[0])
      expect(numbers[3]).toEqual(numbers[2])
      expect(numbers[0]?.some((pixel) => pixel > 0)).toBe(true)
    }
  })

  it('train the same in blocks as in one', async () => {
    const bytes = pictures(60)
    const weights = []
    for (const blockBytes of [2 ** 20, 60 * 8 * 4]) {
      using set = data.residentImages(device(), { ...bytes, blockBytes })
      using model = nn.sequential('m', [8, 8, 1], [nn.flatten(), nn.dense('logits', 4)])
      await nn.fit(model, set, { optimizer: nn.adam(), epochs: 2, batchSize: 16 })
      weights.push(await model.weightNumbers())
    }
    expect(weights[1]).toEqual(weights[0])
  })

  it('carry the names of images and classes into subsets', async () => {
    const names = ['a.png', 'b.png', 'c.png']
    const classNames = ['north', 'east', 'south', 'west']
    using set = data.residentImages(device(), { ...pictures(3), names, classNames })
    expect(set.subset([2, 0]).names).toEqual(['c.png', 'a.png'])
    expect(set.subset([2, 0]).classNames).toEqual(classNames)
    for (const wrong of [{ names: ['a'] }, { classNames: ['a'] }, { names: [1, 2, 3] as never }])
      expect(await failure(() => data.residentImages(device(), { ...pictures(3), ...wrong }))).toMatchObject({
        code: 'data',
      })
  })

  it('that exceed a binding even by pixel rows are refused', async () => {
    const act = (): unknown => data.residentImages(device(), { ...pictures(3), blockBytes: 23 })
    expect(await failure(act)).toMatchObject({ code: 'limit' })
  })
})
