/** Gathers: rows by index and their gradient, and batches from a resident uint8 data set. */
import { describe, expect, test } from 'vitest'
import type { GatherBatchKey, GatherRowsKey } from '../src/kernels/gather.ts'
import { gatherBatch, gatherRows, gatherRowsGradient } from '../src/kernels/gather.ts'
import type { Family, KernelPlan, Target } from '../src/kernels/kernel.ts'
import { planKernel } from '../src/kernels/kernel.ts'
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
    expect(supported).toContain(family.variants[family.prefer(key, target)])
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
    // Any bits: integers and NaNs go through unchanged.
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

  test('the gradient adds rows up in the order of the indices, the same bits in every variant', async () => {
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
  offset: 0,
}
const batchCases: Readonly<Record<string, GatherBatchKey>> = {
  'Fashion-MNIST, padded to 32x32': fashion,
  'no padding, rows that are no whole words': {
    ...fashion,
    width: 27,
    padTop: 0,
    padLeft: 0,
    outHeight: 28,
    outWidth: 27,
  },
  'three channels, an offset': {
    ...fashion,
    height: 5,
    width: 4,
    channels: 3,
    padTop: 0,
    padLeft: 1,
    outHeight: 6,
    outWidth: 8,
    divisor: 127.5,
    offset: -1,
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
    offset: 0.5,
  },
  'many rows': { ...fashion, height: 70, width: 4, padTop: 5, padLeft: 3, outHeight: 80, outWidth: 8 },
}

/** What the batch should be, in float32 arithmetic. */
function batchOf(key: GatherBatchKey, dataset: Uint8Array, permutation: Uint32Array, step: number): Float32Array {
  const { height, width, channels, batch, padTop, padLeft, outHeight, outWidth, divisor, offset } = key
  const y = new Float32Array(batch * outHeight * outWidth * channels)
  for (let i = 0; i < batch; i++) {
    const item = permutation[step * batch + i] ?? 0
    for (let r = 0; r < height; r++)
      for (let e = 0; e < width * channels; e++) {
        const byte = dataset[(item * height + r) * width * channels + e] ?? 0
        const to = ((i * outHeight + r + padTop) * outWidth + padLeft) * channels + e
        y[to] = item < key.datasetCount ? Math.fround(Math.fround(byte / divisor) + offset) : Number.NaN
      }
  }
  return y
}

describe('batches from a data set', () => {
  test.each(Object.entries(batchCases))('%s: exact, zero outside the image', async (_name, key) => {
    const dataset = Uint8Array.from({ length: key.datasetCount * key.height * key.width * key.channels }, () =>
      Math.floor(random() * 256),
    )
    const labels = Uint8Array.from({ length: key.datasetCount }, (_, i) => (i * 37 + 5) % 256)
    const permutation = below(key.datasetCount, 3 * key.batch)
    const expected = batchOf(key, dataset, permutation, 2)
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

  test('a permutation that names no image gives NaN inside, zero in the padding, and no label', async () => {
    const dataset = new Uint8Array(9 * 784).fill(255)
    const labels = Uint8Array.from({ length: 9 }, (_, i) => i)
    const permutation = Uint32Array.of(3, 9, 0xffffffff, 8)
    const expected = batchOf(fashion, dataset, permutation, 0)
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

test('keys that make no sense are refused', () => {
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
    { offset: Number.POSITIVE_INFINITY },
    { datasetCount: 2 ** 23 },
    { batch: 0 },
  ])
    expect(() => planKernel(gatherBatch, { ...fashion, ...bad }, target), JSON.stringify(bad)).toThrow('gatherBatch')
})
