/** Convolution by Winograd's algorithm: the same numbers as the direct one, whatever the extents. */
import { describe, expect, test } from 'vitest'
import { conv2d, grad, maxPool, planOf, relu, sum, type Tensor, tensor } from '../src/index.ts'
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
