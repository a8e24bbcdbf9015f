/** Depthwise convolution: every variant of forward, input gradient and filter gradient, compared with plain loops. */
import { describe, expect, test } from 'vitest'
import type { DepthwiseKey } from '../src/kernels/depthwise/depthwise.ts'
import { depthwise, depthwiseFilterGradient, depthwiseInputGradient } from '../src/kernels/depthwise/depthwise.ts'
import type { Family, KernelPlan, Target } from '../src/kernels/kernel.ts'
import { planKernel } from '../src/kernels/kernel.ts'
import { relativeError } from './support/compare.ts'
import { useDevice } from './support/device.ts'
import { runPlan, targetOf } from './support/run-plan.ts'

const device = useDevice()

const unit: DepthwiseKey = {
  batch: 2,
  inputHeight: 5,
  inputWidth: 6,
  channels: 4,
  multiplier: 1,
  kernelHeight: 3,
  kernelWidth: 3,
  strides: [1, 1],
  dilation: [1, 1],
  padTop: 1,
  padLeft: 1,
  outHeight: 5,
  outWidth: 6,
}

const cases: Readonly<Record<string, DepthwiseKey>> = {
  '3x3, the same size, vectors': unit,
  '3x3, no padding, 20 channels': { ...unit, channels: 20, padTop: 0, padLeft: 0, outHeight: 3, outWidth: 4 },
  '5x5 on a smaller image': {
    ...unit,
    inputHeight: 3,
    inputWidth: 2,
    kernelHeight: 5,
    kernelWidth: 5,
    padTop: 2,
    padLeft: 2,
    outHeight: 3,
    outWidth: 2,
  },
  'a kernel of one row, padded beyond it': {
    ...unit,
    kernelHeight: 1,
    kernelWidth: 3,
    padTop: 2,
    padLeft: 4,
    outHeight: 8,
    outWidth: 11,
  },
  '17 channels': { ...unit, channels: 17 },
  'one channel, multiplier 5': { ...unit, channels: 1, multiplier: 5, kernelHeight: 2, kernelWidth: 4 },
  'three channels, multiplier 4, stride 2': {
    ...unit,
    channels: 3,
    multiplier: 4,
    strides: [2, 2],
    outHeight: 3,
    outWidth: 3,
  },
  'stride 2 by 3, vectors': { ...unit, channels: 8, strides: [2, 3], outHeight: 3, outWidth: 2 },
  'stride beyond the kernel': {
    ...unit,
    kernelHeight: 1,
    kernelWidth: 2,
    strides: [3, 4],
    padTop: 0,
    outHeight: 2,
    outWidth: 2,
  },
  dilated: { ...unit, dilation: [2, 3], padTop: 2, padLeft: 3, channels: 8 },
  '6x5 kernel, too large for registers': { ...unit, kernelHeight: 6, kernelWidth: 5, padTop: 2, padLeft: 2 },
  'bands of rows, an odd width': {
    ...unit,
    batch: 1,
    inputHeight: 70,
    inputWidth: 7,
    channels: 12,
    outHeight: 70,
    outWidth: 7,
  },
}

/** Large enough for strips to be prefetched; several bands, the last one shorter. */
const strips: DepthwiseKey = {
  ...unit,
  batch: 3,
  inputHeight: 14,
  inputWidth: 13,
  channels: 520,
  outHeight: 14,
  outWidth: 13,
}

const stripCases: Readonly<Record<string, DepthwiseKey>> = {
  'strips larger than the caches, a partial tile of channels': strips,
  'strips larger than the caches, no padding': { ...strips, padTop: 0, padLeft: 0, outHeight: 12, outWidth: 11 },
  'strips of a few images at once': {
    ...unit,
    batch: 6,
    inputHeight: 5,
    inputWidth: 5,
    channels: 104,
    outHeight: 5,
    outWidth: 5,
  },
  'strips with all padding below and right': { ...unit, batch: 1, channels: 36, padTop: 0, padLeft: 0 },
  'strips with all padding above and left': { ...unit, batch: 1, channels: 36, padTop: 2, padLeft: 2 },
  'strips of a 2x1 kernel': { ...unit, channels: 32, kernelHeight: 2, kernelWidth: 1, padTop: 0, padLeft: 0 },
  'strips of a 1x2 kernel': { ...unit, channels: 32, kernelHeight: 1, kernelWidth: 2, padTop: 0 },
  'strips of a single column': { ...unit, channels: 32, inputWidth: 1, outWidth: 1 },
  'strips of a single column, padded on the right': { ...unit, channels: 32, inputWidth: 1, padLeft: 0, outWidth: 1 },
  'strips of a single row': { ...unit, channels: 32, inputHeight: 1, outHeight: 1 },
}

const imageSize = (k: DepthwiseKey) => k.batch * k.inputHeight * k.inputWidth * k.channels
const outSize = (k: DepthwiseKey) => k.batch * k.outHeight * k.outWidth * k.channels * k.multiplier
const kernelSize = (k: DepthwiseKey) => k.kernelHeight * k.kernelWidth * k.channels * k.multiplier

/** Calls `visit` for every product of the convolution: indices into image, kernel and output. */
function eachProduct(k: DepthwiseKey, visit: (image: number, tap: number, out: number) => void): void {
  const outChannels = k.channels * k.multiplier
  for (let b = 0; b < k.batch; b++)
    for (let oy = 0; oy < k.outHeight; oy++)
      for (let ox = 0; ox < k.outWidth; ox++)
        for (let ky = 0; ky < k.kernelHeight; ky++)
          for (let kx = 0; kx < k.kernelWidth; kx++) {
            const y = oy * k.strides[0] + ky * k.dilation[0] - k.padTop
            const x = ox * k.strides[1] + kx * k.dilation[1] - k.padLeft
            if (y < 0 || y >= k.inputHeight || x < 0 || x >= k.inputWidth) continue
            for (let o = 0; o < outChannels; o++) {
              const c = Math.floor(o / k.multiplier)
              visit(
                ((b * k.inputHeight + y) * k.inputWidth + x) * k.channels + c,
                (ky * k.kernelWidth + kx) * outChannels + o,
                ((b * k.outHeight + oy) * k.outWidth + ox) * outChannels + o,
              )
            }
          }
}

let seed = 7
const random = () => {
  seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0
  return seed / 2 ** 32 - 0.5
}
const values = (count: number) => Float32Array.from({ length: count }, random)

/** Runs every variant that supports the key as planned for this adapter, and the last one as for a GPU. */
async function everyVariant(
  family: Family<DepthwiseKey>,
  key: DepthwiseKey,
  inputs: readonly Float32Array<ArrayBuffer>[],
  expected: Float64Array,
) {
  const own = targetOf(device())
  const supported = family.variants.filter((variant) => variant.supports(key, own))
  expect(supported.map(({ name }) => name)).toContain(family.prefer(key, own))
  const plans: [string, KernelPlan][] = supported.map((v) => [v.name, planKernel(family, key, own, v.name)])
  const last = supported.at(-1)?.name ?? ''
  plans.push([`${last} for a GPU`, planKernel(family, key, targetOf(device(), { class: 'gpu' }), last)])
  for (const [name, plan] of plans) {
    const poison = new Float32Array(expected.length).fill(12345)
    const [result] = await runPlan(device(), plan, inputs, [poison] as const)
    expect(relativeError(result, expected), `${family.name}/${name}`).toBeLessThan(2e-6)
  }
}

describe.each(Object.entries({ ...cases, ...stripCases }))('%s', (_name, key) => {
  test('forward', async () => {
    const [x, w] = [values(imageSize(key)), values(kernelSize(key))]
    const expected = new Float64Array(outSize(key))
    eachProduct(key, (i, k, o) => {
      expected[o] = (expected[o] ?? 0) + (x[i] ?? 0) * (w[k] ?? 0)
    })
    await everyVariant(depthwise, key, [x, w], expected)
  })

  test('input gradient', async () => {
    const [dy, w] = [values(outSize(key)), values(kernelSize(key))]
    const expected = new Float64Array(imageSize(key))
    eachProduct(key, (i, k, o) => {
      expected[i] = (expected[i] ?? 0) + (dy[o] ?? 0) * (w[k] ?? 0)
    })
    await everyVariant(depthwiseInputGradient, key, [dy, w], expected)
  })

  test('filter gradient', async () => {
    const [x, dy] = [values(imageSize(key)), values(outSize(key))]
    const expected = new Float64Array(kernelSize(key))
    eachProduct(key, (i, k, o) => {
      expected[k] = (expected[k] ?? 0) + (x[i] ?? 0) * (dy[o] ?? 0)
    })
    await everyVariant(depthwiseFilterGradient, key, [x, dy], expected)
  })
})

test('a NaN makes only those outputs NaN that read it', async () => {
  const x = new Float32Array(imageSize(unit)).fill(1)
  x[0] = Number.NaN
  for (const variant of depthwise.variants) {
    const plan = planKernel(depthwise, unit, targetOf(device()), variant.name)
    const [y] = await runPlan(device(), plan, [x, values(kernelSize(unit))], [new Float32Array(outSize(unit))] as const)
    const bad = [...y.keys()].filter((i) => Number.isNaN(y[i]))
    expect(bad, variant.name).toEqual([0, 4, 24, 28])
  }
})

test('strips are preferred only on a CPU, if they fit', () => {
  const own = targetOf(device())
  const cpu: Target = { ...own, class: 'cpu', subgroupSize: 8 }
  for (const family of [depthwise, depthwiseInputGradient, depthwiseFilterGradient]) {
    const preferred = (key: DepthwiseKey, target: Target) => family.prefer(key, target)
    expect(preferred(strips, cpu)).toBe('strips')
    expect(preferred(strips, { ...cpu, class: 'gpu' })).not.toBe('strips')
    for (const changes of [{ channels: 4 }, { channels: 521 }, { dilation: [1, 2] as const }, { padLeft: 3 }])
      expect(preferred({ ...strips, ...changes }, cpu), JSON.stringify(changes)).not.toBe('strips')
  }
})

test('the filter gradient gives the same bits every time', async () => {
  const key = { ...unit, batch: 4, inputHeight: 20, outHeight: 20, channels: 32 }
  const inputs = [values(imageSize(key)), values(outSize(key))]
  for (const variant of depthwiseFilterGradient.variants) {
    const plan = planKernel(depthwiseFilterGradient, key, targetOf(device()), variant.name)
    const run = () => runPlan(device(), plan, inputs, [new Float32Array(kernelSize(key))] as const)
    expect(await run()).toEqual(await run())
  }
})

test('invalid keys are refused', () => {
  const target: Target = { class: 'cpu', subgroupSize: 8, maxWorkgroupSize: 256, maxWorkgroupStorageBytes: 16384 }
  const bad: Partial<DepthwiseKey>[] = [
    { channels: 0 },
    { multiplier: 1.5 },
    { strides: [0, 1] },
    { dilation: [1, -1] },
    { padLeft: -1 },
    { batch: 2 ** 25 },
  ]
  for (const family of [depthwise, depthwiseInputGradient, depthwiseFilterGradient])
    for (const changes of bad)
      expect(() => planKernel(family, { ...unit, ...changes }, target), JSON.stringify(changes)).toThrow(family.name)
})
