/**
 * Sums of up to a million terms, in products and convolutions: within 2e-6 of float64, whatever the terms. Equal
 * numbers are the hardest: a plain loop over a million of them is off by 1e-2.
 */
import { describe, test } from 'vitest'
import type { Conv2dKey } from '../src/kernels/conv2d/conv2d.ts'
import { conv2dFilterGradient, conv2dForward, conv2dInputGradient } from '../src/kernels/conv2d/conv2d.ts'
import { conv2dPoolFilterGradient } from '../src/kernels/conv2d/quad/pooled.ts'
import type { DepthwiseKey } from '../src/kernels/depthwise/depthwise.ts'
import { depthwise, depthwiseFilterGradient, depthwiseInputGradient } from '../src/kernels/depthwise/depthwise.ts'
import type { MatmulKey } from '../src/kernels/matmul/matmul.ts'
import { matmul } from '../src/kernels/matmul/matmul.ts'
import { randomStream } from './cases/case.ts'
import { useDevice } from './support/device.ts'
import type { Numbers } from './support/long-sums.ts'
import { longSumsOn, manyTerms, ones, side, tenth, tenths } from './support/long-sums.ts'

const device = useDevice()
const { expectSums } = longSumsOn(device)

function uniform(count: number): Numbers {
  const random = randomStream(5)
  return Float32Array.from({ length: count }, random)
}
const exactSum = (numbers: Numbers): number => numbers.reduce((a, b) => a + b, 0)

const product: MatmulKey = {
  ...{ batch: 1, m: 1, n: 1, k: manyTerms, transposeA: false, transposeB: false },
  ...{ batchedA: false, batchedB: false, bias: false, activation: 'linear' },
}

const image: Conv2dKey = {
  ...{ batch: 1, inputHeight: 1, inputWidth: 1, channels: 1, outHeight: 1, outWidth: 1, filters: 1, groups: 1 },
  ...{ kernelHeight: 1, kernelWidth: 1, strides: [1, 1], dilation: [1, 1], padTop: 0, padLeft: 0 },
  ...{ bias: false, activation: 'linear' },
}
const depth: DepthwiseKey = {
  ...{
    batch: 1,
    inputHeight: 1,
    inputWidth: 1,
    channels: 4,
    multiplier: 1,
    kernelHeight: 1,
    kernelWidth: 1,
    strides: [1, 1],
  },
  ...{ dilation: [1, 1], padTop: 0, padLeft: 0, outHeight: 1, outWidth: 1 },
}

describe('matmul', () => {
  test.each([
    ['not transposed', {}],
    ['left transposed, with column sums', { transposeA: true, columnSums: true }],
    ['right transposed', { transposeB: true }],
  ] as [string, Partial<MatmulKey>][])('%s', { timeout: 300_000 }, async (_, change) => {
    const key = { ...product, ...change }
    const sizes = key.columnSums === true ? [1, 1] : [1]
    const random = uniform(manyTerms)
    await expectSums(matmul, key, [ones(manyTerms), random], sizes, exactSum(random))
    await expectSums(matmul, key, [ones(manyTerms), tenths(manyTerms)], sizes, tenth * manyTerms, sizes.length - 1)
  })
})

describe('convolution', () => {
  test('forward, over many channels and over a large kernel', { timeout: 300_000 }, async () => {
    const channels = {
      ...image,
      channels: manyTerms / 16,
      inputHeight: 4,
      inputWidth: 4,
      kernelHeight: 4,
      kernelWidth: 4,
    }
    await expectSums(conv2dForward, channels, [ones(manyTerms), tenths(manyTerms)], [1], tenth * manyTerms)
    // Padding keeps it from being a plain product, and each tap has a single term.
    const taps = {
      ...image,
      ...{ inputHeight: side, inputWidth: side, kernelHeight: side + 2, kernelWidth: side + 2, padTop: 1, padLeft: 1 },
    }
    await expectSums(conv2dForward, taps, [ones(manyTerms), tenths((side + 2) ** 2)], [1], tenth * manyTerms)
  })

  test('forward by windows, over the largest kernel that they support', async () => {
    const key = {
      ...image,
      inputHeight: 11,
      inputWidth: 11,
      kernelHeight: 10,
      kernelWidth: 10,
      outHeight: 2,
      outWidth: 2,
    }
    // Other variants take longer sums, above.
    const windows = { ...conv2dForward, variants: conv2dForward.variants.filter(({ name }) => name === 'quads') }
    await expectSums(windows, key, [ones(121), tenths(100)], [4], tenth * 100)
  })

  test('input gradient', { timeout: 300_000 }, async () => {
    const filters = {
      ...image,
      filters: manyTerms / 4,
      outHeight: 2,
      outWidth: 2,
      kernelHeight: 2,
      kernelWidth: 2,
      padTop: 1,
    }
    const key = { ...filters, padLeft: 1 }
    await expectSums(conv2dInputGradient, key, [ones(manyTerms), tenths(manyTerms)], [1], tenth * manyTerms)
    const taps = {
      outHeight: side,
      outWidth: side,
      kernelHeight: side,
      kernelWidth: side,
      padTop: side - 1,
      padLeft: side - 1,
    }
    await expectSums(
      conv2dInputGradient,
      { ...image, ...taps },
      [ones(manyTerms), tenths(manyTerms)],
      [1],
      tenth * manyTerms,
    )
  })

  test('filter gradient', { timeout: 300_000 }, async () => {
    const wide = { ...image, inputHeight: side + 1, inputWidth: side + 1, outHeight: side, outWidth: side }
    const key = { ...wide, kernelHeight: 2, kernelWidth: 2 }
    await expectSums(conv2dFilterGradient, key, [ones((side + 1) ** 2), tenths(manyTerms)], [4], tenth * manyTerms)
    const small = { ...image, batch: manyTerms / 16, inputHeight: 5, inputWidth: 5, outHeight: 4, outWidth: 4 }
    const many = { ...small, kernelHeight: 2, kernelWidth: 2 }
    await expectSums(
      conv2dFilterGradient,
      many,
      [ones((manyTerms / 16) * 25), tenths(manyTerms)],
      [4],
      tenth * manyTerms,
    )
  })

  test('filter and bias gradient of a pooled convolution', { timeout: 300_000 }, async () => {
    const [batch, pooledHeight, pooledWidth] = [20, manyTerms / 320, 16]
    const extents = {
      batch,
      inputHeight: 2 * pooledHeight,
      inputWidth: 2 * pooledWidth,
      kernelHeight: 1,
      kernelWidth: 1,
    }
    const key = {
      ...image,
      ...extents,
      outHeight: 2 * pooledHeight,
      outWidth: 2 * pooledWidth,
      activation: 'linear',
    } as const
    const inputs = [ones(4 * manyTerms), tenths(manyTerms), new Uint32Array(manyTerms)]
    for (const output of [0, 1])
      await expectSums(conv2dPoolFilterGradient, key, inputs, [1, 1], tenth * manyTerms, output)
  })
})

describe('depthwise convolution', () => {
  const large = { inputHeight: side, inputWidth: side, kernelHeight: side, kernelWidth: side } as const

  test('forward and input gradient', async () => {
    const inputs = [ones(4 * manyTerms), tenths(4 * manyTerms)]
    await expectSums(depthwise, { ...depth, ...large }, inputs, [4], tenth * manyTerms)
    const turned = {
      kernelHeight: side,
      kernelWidth: side,
      padTop: side - 1,
      padLeft: side - 1,
      outHeight: side,
      outWidth: side,
    } as const
    await expectSums(depthwiseInputGradient, { ...depth, ...turned }, inputs, [4], tenth * manyTerms)
    const multiplied = {
      ...turned,
      kernelHeight: side / 10,
      kernelWidth: side / 10,
      padTop: side / 10 - 1,
      padLeft: side / 10 - 1,
      outHeight: side / 10,
      outWidth: side / 10,
    } as const
    const key = { ...depth, ...multiplied, channels: 1, multiplier: 100 }
    await expectSums(depthwiseInputGradient, key, [ones(manyTerms), tenths(manyTerms)], [1], tenth * manyTerms)
  })

  test('filter gradient', { timeout: 300_000 }, async () => {
    const one = {
      ...depth,
      batch: 4,
      inputHeight: side / 2,
      inputWidth: side / 2,
      outHeight: side / 2,
      outWidth: side / 2,
    }
    const inputs = [ones(4 * manyTerms), tenths(4 * manyTerms)]
    await expectSums(depthwiseFilterGradient, one, inputs, [4], tenth * manyTerms)
    const strided = { ...one, inputHeight: side - 1, inputWidth: side - 1, strides: [2, 2], batch: 4 } as const
    await expectSums(
      depthwiseFilterGradient,
      strided,
      [ones(4 * 4 * (side - 1) ** 2), inputs[1] ?? ones(0)],
      [4],
      tenth * manyTerms,
    )
  })
})
