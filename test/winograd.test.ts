/** Convolution by Winograd's algorithm: the same numbers as the direct one, whatever the extents. */
import { describe, expect, test } from 'vitest'
import {
  conv2d,
  evaluate,
  grad,
  gradients,
  maxPool,
  mul,
  planOf,
  relu,
  sum,
  type Tensor,
  tensor,
} from '../src/index.ts'
import type { Conv2dKey } from '../src/kernels/conv2d/conv2d.ts'
import { conv2dFilterGradient, conv2dForward, conv2dInputGradient } from '../src/kernels/conv2d/conv2d.ts'
import { bestTile, transformFilters } from '../src/kernels/conv2d/winograd/tiles.ts'
import { winogradConv2d } from '../src/operators/winograd.ts'
import { relativeError } from './support/compare.ts'
import { useDevice } from './support/device.ts'
import { noise, noiseTensor } from './support/noise.ts'

const device = useDevice()

const extents = [
  { images: [2, 8, 8, 32], filters: 32, padding: 'same' },
  { images: [3, 7, 5, 33], filters: 35, padding: 'same' },
  { images: [1, 9, 10, 32], filters: 64, padding: 'valid' },
  { images: [2, 3, 3, 36], filters: 32, padding: 'valid' },
  {
    images: [1, 6, 7, 32],
    filters: 32,
    padding: [
      [0, 2],
      [1, 0],
    ],
  },
  // More than one pass: the transformed images of a pass are 16 MiB at most.
  { images: [40, 16, 16, 256], filters: 32, padding: 'same' },
] as const

describe.each([2, 4] as const)('with tiles of %i outputs a side', (tile) => {
  test.each(extents)('equals the direct convolution: $images, $filters filters, $padding', async (one) => {
    const { images, filters, padding } = one
    const kernelShape = [3, 3, images[3], filters]
    const kernel = noise(kernelShape, 'kernel')
    const [x, bias] = [noiseTensor(images, 'images'), noiseTensor([filters], 'bias')]
    const transformed = tensor(transformFilters(kernel, tile), [(tile + 2) ** 2, images[3], filters])
    const fast = winogradConv2d(x, transformed, bias, { tile, padding, activation: 'relu' })
    const direct = conv2d(x, tensor(kernel, kernelShape), bias, { padding, activation: 'relu' })
    expect(fast.shape).toEqual(direct.shape)
    const [numbers, expected] = await Promise.all([fast.data({ device: device() }), direct.data({ device: device() })])
    expect(relativeError(numbers, expected)).toBeLessThan(tile === 2 ? 2e-6 : 1e-5)
  })
})

test('any function of the result, and none, and no bias', async () => {
  const x = noiseTensor([1, 8, 8, 32], 'images')
  const kernel = noise([3, 3, 32, 32], 'kernel')
  const transformed = tensor(transformFilters(kernel, 4), [36, 32, 32])
  const options = { tile: 4, padding: 'same' } as const
  const linear = winogradConv2d(x, transformed, undefined, { ...options, activation: 'linear' })
  const direct = conv2d(x, tensor(kernel, [3, 3, 32, 32]), undefined, { padding: 'same' })
  const on = { device: device() }
  expect(relativeError(await linear.data(on), await direct.data(on))).toBeLessThan(1e-5)
  const fused = winogradConv2d(x, transformed, undefined, { ...options, activation: relu })
  expect(await fused.data(on)).toEqual((await linear.data(on)).map((value) => Math.max(0, value)))
})

describe.each([2, 4] as const)('2x2 max-pooling after tiles of %i outputs a side', (tile) => {
  test.each([
    { images: [2, 8, 8, 32], activation: 'relu' },
    { images: [1, 7, 5, 32], activation: 'linear' },
  ] as const)(
    'runs in the same kernel, with the same numbers: $images, $activation',
    async ({ images, activation }) => {
      const [x, bias] = [noiseTensor(images, 'images'), noiseTensor([32], 'bias')]
      const filters = tensor(transformFilters(noise([3, 3, 32, 32], 'kernel'), tile), [(tile + 2) ** 2, 32, 32])
      const pooled = maxPool(winogradConv2d(x, filters, bias, { tile, padding: 'same', activation }), { poolSize: 2 })
      const on = { device: device() }
      const labels = planOf([pooled], on).dispatches.map(({ label }) => label)
      expect(labels.at(-1)).toBe('conv2d/winograd/pooledOutput')
      expect(await pooled.data(on)).toEqual(await pooled.data({ ...on, fuse: false }))
    },
  )

  test('keeps NaN', async () => {
    const image = noise([1, 8, 8, 32], 'images')
    image[0] = Number.NaN
    const filters = tensor(transformFilters(noise([3, 3, 32, 32], 'kernel'), tile), [(tile + 2) ** 2, 32, 32])
    const options = { tile, padding: 'same', activation: 'relu' } as const
    const pooled = maxPool(winogradConv2d(tensor(image, [1, 8, 8, 32]), filters, undefined, options), { poolSize: 2 })
    const numbers = await pooled.data({ device: device() })
    expect(numbers.slice(0, 32).every(Number.isNaN)).toBe(true)
    expect(numbers.slice(-32).some(Number.isNaN)).toBe(false)
  })
})

test('a convolution that somebody wants, and windows that overlap, are pooled by a kernel of their own', () => {
  const filters = noiseTensor([16, 32, 32], 'filters')
  const options = { tile: 2, padding: 'same', activation: 'relu' } as const
  const y = winogradConv2d(noiseTensor([1, 8, 8, 32], 'images'), filters, undefined, options)
  const labels = (...wanted: Tensor[]) => planOf(wanted, { device: device() }).dispatches.map(({ label }) => label)
  expect(labels(y, maxPool(y, { poolSize: 2 }))).toContain('conv2d/winograd/output')
  expect(labels(maxPool(y, { poolSize: 2, strides: 1 }))).toContain('conv2d/winograd/output')
})

test('the tile is the one with the least arithmetic, and none where the direct convolution has little more', () => {
  expect(bestTile(32, 32)).toBe(4)
  expect(bestTile(2, 2)).toBe(2)
  expect(bestTile(3, 3)).toBe(4)
  expect(bestTile(1, 1)).toBeUndefined()
})

test('filters of another tile or other channels are refused, and there is no derivative', () => {
  const x = noiseTensor([1, 8, 8, 32], 'images')
  const filters = noiseTensor([16, 32, 32], 'filters')
  const options = { padding: 'same', activation: 'linear' } as const
  const refusal = expect.objectContaining({ code: 'shape' })
  expect(() => winogradConv2d(x, filters, undefined, { ...options, tile: 4 })).toThrow(refusal)
  const other = noiseTensor([16, 33, 32], 'filters')
  expect(() => winogradConv2d(x, other, undefined, { ...options, tile: 2 })).toThrow(refusal)
  const loss = (image: typeof x) => sum(winogradConv2d(image, filters, undefined, { ...options, tile: 2 }))
  expect(() => grad(loss)(x)).toThrow(expect.objectContaining({ code: 'no-gradient' }))
})

describe('as a variant of convolution and its gradients', () => {
  const families = ['conv2d', 'conv2d.inputGradient', 'conv2d.filterGradient']
  const byAll = (variant: string) => Object.fromEntries(families.map((family) => [family, variant]))

  test('passes over parts of a batch add up to the numbers of the direct kernels', async () => {
    // Transformed, these images take 18 MiB, and a pass 16 at most.
    const x = noiseTensor([36, 16, 16, 128], 'images')
    const kernel = noiseTensor([3, 3, 128, 64], 'kernel')
    const y = conv2d(x, kernel, undefined, { padding: 'same' })
    const wanted = [y, ...gradients(sum(mul(y, noiseTensor(y.shape, 'cotangent'))), [x, kernel])]
    const labels = planOf(wanted, { device: device(), variants: byAll('winograd') }).dispatches.map(
      ({ label }) => label,
    )
    for (const family of families) expect(labels.filter((label) => label === `${family}/winograd/input`).length).toBe(2)
    const [fast, direct] = await Promise.all(
      ['winograd', 'subgroupRows16'].map((variant) => evaluate(wanted, { device: device(), variants: byAll(variant) })),
    )
    direct?.forEach((expected, i) => {
      expect(relativeError(fast?.[i] ?? [], expected), families[i]).toBeLessThan(2e-6)
    })
  })

  const square = { strides: [1, 1], dilation: [1, 1], kernelHeight: 3, kernelWidth: 3, padTop: 1, padLeft: 1 } as const
  const layer = (batch: number, pixels: number, channels: number): Conv2dKey => ({
    ...square,
    ...{ batch, inputHeight: pixels, inputWidth: pixels, outHeight: pixels, outWidth: pixels },
    ...{ channels, filters: channels, groups: 1, bias: false, activation: 'linear' },
  })
  const target = { class: 'cpu', subgroupSize: 8, maxWorkgroupSize: 256, maxWorkgroupStorageBytes: 16384 } as const
  const all = [conv2dForward, conv2dInputGradient, conv2dFilterGradient]

  test('a CPU prefers it from 64 channels and 64 tiles on', () => {
    for (const family of all) {
      expect(family.prefer(layer(4, 8, 64), target)).toBe('winograd')
      expect(family.prefer(layer(3, 8, 64), target)).toBe('subgroupRows16')
      expect(family.prefer(layer(4, 8, 60), target)).toBe('subgroupRows16')
    }
  })

  test('it is for 3x3 taps at stride 1, from 32 channels and filters on, where it saves arithmetic', () => {
    const key = layer(1, 8, 32)
    const others: Partial<Conv2dKey>[] = [
      { channels: 31 },
      { filters: 31 },
      { strides: [1, 2] },
      { dilation: [2, 1] },
      { kernelWidth: 2 },
      { groups: 2 },
      { inputHeight: 1, inputWidth: 1, outHeight: 1, outWidth: 1 },
    ]
    for (const { variants } of all) {
      const supports = (one: Conv2dKey) => variants.find(({ name }) => name === 'winograd')?.supports(one, target)
      expect(supports(key)).toBe(true)
      for (const other of others) expect(supports({ ...key, ...other }), JSON.stringify(other)).toBe(false)
    }
  })
})
