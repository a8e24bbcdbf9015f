/** Gathers: rows by index and their gradient, and batches from a resident uint8 data set. */
import { describe, expect, test } from 'vitest'
import type { Family, KernelPlan, Target } from '../src/kernels/kernel.ts'
import { dispatch, output, planKernel, writes } from '../src/kernels/kernel.ts'
import type { GatherBatchKey, GatherRowsKey } from '../src/kernels/movement/gather.ts'
import { gatherBatch, gatherRows, gatherRowsGradient } from '../src/kernels/movement/gather.ts'
import type { Augmentation } from '../src/kernels/training/gather-batch.ts'
import { randomKeyFunction, randomKeyUniforms, threefryFunction } from '../src/kernels/wgsl/random.ts'
import type { Move } from './reference/training.ts'
import * as reference from './reference/training.ts'
import { useDevice } from './support/device.ts'
import { runPlan, targetOf } from './support/run-plan.ts'

const device = useDevice()

let seed = 3
const random = () => {
  seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0
  return seed / 2 ** 32
}
const floats = (count: number) => Float32Array.from({ length: count }, () => random() - 0.5)
const below = (limit: number, count: number) => Uint32Array.from({ length: count }, () => Math.floor(random() * limit))

/** Every variant that supports the key, planned for this adapter and for a GPU. */
function everyPlan<Key>(family: Family<Key>, key: Key): [string, KernelPlan][] {
  return [targetOf(device()), targetOf(device(), { class: 'gpu' })].flatMap((target) => {
    const supported = family.variants.filter((variant) => variant.supports(key, target))
    expect(supported.map(({ name }) => name)).toContain(family.prefer(key, target))
    return supported.map((v): [string, KernelPlan] => [
      `${v.name} for a ${target.class}`,
      planKernel(family, key, target, v.name),
    ])
  })
}

const rowCases: GatherRowsKey[] = [
  { rows: 5, rowElements: 1, count: 13 },
  { rows: 7, rowElements: 3, count: 4 },
  { rows: 1, rowElements: 17, count: 9 },
  { rows: 40, rowElements: 20, count: 33 },
  { rows: 3, rowElements: 130, count: 1 },
  { rows: 90, rowElements: 8, count: 300 },
]

describe.each(rowCases)('$count of $rows rows of $rowElements', (key) => {
  const size = key.rowElements

  test('rows are copied bit by bit; an index out of range gives NaN', async () => {
    // Any bits: integers and NaNs pass through unchanged.
    const x = below(2 ** 32, key.rows * size)
    const indices = below(key.rows + 1, key.count)
    indices[0] = 0xffffffff
    const expected = new Uint32Array(key.count * size)
    for (const [i, row] of indices.entries())
      for (let e = 0; e < size; e++) expected[i * size + e] = (row < key.rows ? x[row * size + e] : 0x7fc00000) ?? 0
    for (const [name, plan] of everyPlan(gatherRows, key)) {
      const [y] = await runPlan(device(), plan, [x, indices], [new Uint32Array(expected.length).fill(1)] as const)
      expect(y, name).toEqual(expected)
    }
  })

  test('the gradient sums rows in the order of the indices, with the same bits in every variant', async () => {
    const dy = floats(key.count * size)
    const indices = below(key.rows, key.count)
    indices[key.count - 1] = key.rows
    const expected = new Float32Array(key.rows * size)
    for (const [i, row] of indices.entries())
      if (row < key.rows)
        for (let e = 0; e < size; e++) {
          expected[row * size + e] = (expected[row * size + e] ?? 0) + (dy[i * size + e] ?? 0)
        }
    for (const [name, plan] of everyPlan(gatherRowsGradient, key)) {
      const poison = new Float32Array(expected.length).fill(777)
      const [dx] = await runPlan(device(), plan, [dy, indices], [poison] as const)
      expect(dx, name).toEqual(expected)
    }
  })
})

const fashion: GatherBatchKey = {
  datasetCount: 9,
  height: 28,
  width: 28,
  channels: 1,
  batch: 4,
  padTop: 2,
  padLeft: 2,
  outHeight: 32,
  outWidth: 32,
  divisor: 255,
}
const batchCases: Readonly<Record<string, GatherBatchKey>> = {
  'Fashion-MNIST, padded to 32x32': fashion,
  'no padding, rows that are not whole words': {
    ...fashion,
    width: 27,
    padTop: 0,
    padLeft: 0,
    outHeight: 28,
    outWidth: 27,
  },
  'three channels': {
    ...fashion,
    height: 5,
    width: 4,
    channels: 3,
    padTop: 0,
    padLeft: 1,
    outHeight: 6,
    outWidth: 8,
    divisor: 127.5,
  },
  'padding of whole words': {
    ...fashion,
    height: 3,
    width: 2,
    channels: 2,
    padTop: 1,
    padLeft: 6,
    outHeight: 4,
    outWidth: 9,
    divisor: 1,
  },
  'a wide image, five channels': {
    ...fashion,
    height: 3,
    width: 60,
    channels: 5,
    padTop: 3,
    padLeft: 3,
    outHeight: 9,
    outWidth: 64,
  },
  'many rows': { ...fashion, height: 70, width: 4, padTop: 5, padLeft: 3, outHeight: 80, outWidth: 8 },
}

/** The exact expected batch. */
const batchOf = (...batch: Parameters<typeof reference.gatherBatch>) =>
  Float32Array.from(reference.gatherBatch(...batch).data)

describe('batches from a data set', () => {
  test.each(Object.entries(batchCases))('%s: exact, zero outside the image', async (_name, key) => {
    const dataset = Uint8Array.from({ length: key.datasetCount * key.height * key.width * key.channels }, () =>
      Math.floor(random() * 256),
    )
    const labels = Uint32Array.from({ length: key.datasetCount }, (_, i) => 2 ** 24 - 1 - i * 65_537)
    const permutation = below(key.datasetCount, 3 * key.batch)
    const expected = batchOf(dataset, permutation.subarray(2 * key.batch), key)
    for (const [name, plan] of everyPlan(gatherBatch, key)) {
      const poison = new Float32Array(expected.length).fill(777)
      const state = Uint32Array.of(2, 0, 5, 0)
      const [y, named] = await runPlan(device(), plan, [dataset, permutation, state, labels], [
        poison,
        new Uint32Array(key.batch).fill(777),
      ] as const)
      expect(y, name).toEqual(expected)
      expect([...named], name).toEqual(Array.from(permutation.subarray(2 * key.batch), (at) => labels[at]))
    }
  })

  test('an index without an image gives NaN inside, zero in the padding, and no label', async () => {
    const dataset = new Uint8Array(9 * 784).fill(255)
    const labels = Uint32Array.from({ length: 9 }, (_, i) => i)
    const permutation = Uint32Array.of(3, 9, 0xffffffff, 8)
    const expected = batchOf(dataset, permutation, fashion)
    expect(expected.filter(Number.isNaN).length).toBe(2 * 784)
    for (const [name, plan] of everyPlan(gatherBatch, fashion)) {
      const poison = new Float32Array(expected.length)
      const [y, named] = await runPlan(device(), plan, [dataset, permutation, new Uint32Array(4), labels], [
        poison,
        new Uint32Array(4),
      ] as const)
      expect(y, name).toEqual(expected)
      expect([...named], name).toEqual([3, 0xffffffff, 0xffffffff, 8])
    }
  })
})

const augmentations: Readonly<Record<string, Augmentation>> = {
  'random flips': { flip: 'random', seed: 7 },
  'every image flipped': { flip: 'always', seed: 7 },
  'shifts of up to 2': { shift: 2, seed: 2 ** 40 + 7 },
  'shifts beyond the padding': { shift: 6, seed: 7 },
  'flips and shifts': { flip: 'random', shift: 1, seed: 8 },
  'neither, requested explicitly': { shift: 0, seed: 9 },
}

/** The generator's words for a step's images, from a separate kernel. */
async function wordsOf(seed: number, step: number, count: number): Promise<Uint32Array> {
  const plan: KernelPlan = {
    variant: 'words',
    dispatches: [
      dispatch({
        label: 'augmentation words',
        bindings: [writes('words', output(0), 'vec4u')],
        uniforms: { ...randomKeyUniforms(seed, 2 ** 31), step },
        workgroupSize: 8,
        workgroups: Math.ceil(count / 8),
        declarations: `${threefryFunction}\n${randomKeyFunction}`,
        body: 'if (index < arrayLength(&words)) { words[index] = threefry4x32(vec4u(index, u.step, 0u, 0u), randomKey()); }',
      }),
    ],
    scratchBytes: [],
    flops: 0,
  }
  const [words] = await runPlan(device(), plan, [], [new Uint32Array(count * 4)] as const)
  return words
}

/** How each image of a batch is changed. */
function movesOf({ flip, shift = 0 }: Augmentation, words: Uint32Array): Move[] {
  return Array.from({ length: words.length / 4 }, (_, i) => {
    const [first = 0, second = 0, third = 0] = words.subarray(4 * i)
    const by = (word: number) => Math.floor(((word >>> 16) / 2 ** 16) * (2 * shift + 1)) - shift
    return {
      isFlipped: flip === 'always' || (flip === 'random' && first >= 2 ** 31),
      down: shift > 0 ? by(second) : 0,
      right: shift > 0 ? by(third) : 0,
    }
  })
}

describe('augmented batches', () => {
  const cases = Object.entries(batchCases).flatMap(([name, key]) =>
    Object.entries(augmentations).map(
      ([what, augmentation]) => [name, what, { ...key, batch: 5, augmentation }] as const,
    ),
  )
  test.each(cases)('%s, %s: exact, with zeros shifted in', async (_name, _what, key) => {
    const dataset = Uint8Array.from({ length: key.datasetCount * key.height * key.width * key.channels }, () =>
      Math.floor(random() * 256),
    )
    const labels = Uint32Array.from({ length: key.datasetCount }, (_, i) => i)
    const permutation = below(key.datasetCount, 3 * key.batch)
    const globalStep = 12345
    const moves = movesOf(key.augmentation, await wordsOf(key.augmentation.seed, globalStep, key.batch))
    const expected = batchOf(dataset, permutation.subarray(key.batch, 2 * key.batch), key, moves)
    for (const [name, plan] of everyPlan(gatherBatch, key)) {
      const poison = new Float32Array(expected.length).fill(777)
      const state = Uint32Array.of(1, 0, globalStep, 0)
      const [y, named] = await runPlan(device(), plan, [dataset, permutation, state, labels], [
        poison,
        new Uint32Array(key.batch),
      ] as const)
      expect(y, name).toEqual(expected)
      expect(named, name).toEqual(permutation.subarray(key.batch, 2 * key.batch))
    }
  })

  test('half of many images are flipped, and all shifts are about equally frequent', async () => {
    const words = await wordsOf(3, 17, 20_000)
    const moves = movesOf({ flip: 'random', shift: 1, seed: 3 }, words)
    expect(moves.filter(({ isFlipped }) => isFlipped).length / 20_000).toBeCloseTo(0.5, 1.7)
    const ways = moves.map(({ down, right }) => `${down},${right}`)
    expect(new Set(ways).size).toBe(9)
    for (const way of new Set(ways)) expect(ways.filter((one) => one === way).length / 20_000).toBeCloseTo(1 / 9, 1.7)
  })

  test('a missing image gives NaN, moved like any other image, and no label', async () => {
    const key: GatherBatchKey = { ...fashion, augmentation: { flip: 'always', shift: 1, seed: 1 } }
    const permutation = Uint32Array.of(0xffffffff, 0xffffffff, 9, 0xffffffff)
    for (const [name, plan] of everyPlan(gatherBatch, key)) {
      const [y, named] = await runPlan(
        device(),
        plan,
        [new Uint8Array(9 * 784), permutation, new Uint32Array(4), new Uint32Array(9)],
        [new Float32Array(4 * 1024), new Uint32Array(4)] as const,
      )
      expect(y.filter(Number.isNaN).length, name).toBe(4 * 784)
      expect([...named], name).toEqual(Array(4).fill(0xffffffff))
    }
  })
})

test('invalid keys are refused', () => {
  const target: Target = { class: 'cpu', subgroupSize: 8, maxWorkgroupSize: 256, maxWorkgroupStorageBytes: 16384 }
  const rows = { rows: 2, rowElements: 3, count: 4 }
  for (const bad of [{ rows: 0 }, { rowElements: 1.5 }, { count: -1 }, { rows: 2 ** 29 }])
    for (const family of [gatherRows, gatherRowsGradient])
      expect(() => planKernel(family, { ...rows, ...bad }, target), JSON.stringify(bad)).toThrow(family.name)
  for (const bad of [
    { outHeight: 29 },
    { padLeft: 5 },
    { padTop: -1 },
    { divisor: 0 },
    { divisor: Number.NaN },
    { datasetCount: 2 ** 23 },
    { batch: 0 },
    { augmentation: { shift: 0.5, seed: 1 } },
    { augmentation: { shift: -1, seed: 1 } },
    { augmentation: { shift: 1001, seed: 1 } },
  ])
    expect(() => planKernel(gatherBatch, { ...fashion, ...bad }, target), JSON.stringify(bad)).toThrow('gatherBatch')
})
