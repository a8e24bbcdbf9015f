/** Convolution with pooling in one kernel: every variant for every kind of adapter, compared with plain loops. */
import { describe, expect, test } from 'vitest'
import type { Conv2dPoolKey } from '../src/kernels/conv2d/quad/pooled.ts'
import { conv2dPool, conv2dPoolFilterGradient, conv2dPoolInputGradient } from '../src/kernels/conv2d/quad/pooled.ts'
import type { Family, KernelPlan, Target } from '../src/kernels/kernel.ts'
import { planKernel } from '../src/kernels/kernel.ts'
import { Random } from '../src/random.ts'
import { useDevice } from './support/device.ts'
import { noise } from './support/noise.ts'
import { runPlan, targetOf } from './support/run-plan.ts'

const device = useDevice()

interface Case {
  readonly batch: number
  /** Height, width, channels. */
  readonly image: readonly [number, number, number]
  readonly kernel: readonly [number, number]
  readonly filters: number
  readonly activation?: 'relu' | 'linear'
  readonly bias?: boolean
}

const cases: Readonly<Record<string, Case>> = {
  "LeNet's first layer": { batch: 5, image: [32, 32, 1], kernel: [5, 5], filters: 6 },
  'more images than workgroups': { batch: 37, image: [8, 8, 1], kernel: [3, 3], filters: 2 },
  'an odd number of filters, no bias': { batch: 3, image: [12, 16, 1], kernel: [3, 5], filters: 3, bias: false },
  'odd extents, whose last row and column pooling drops': { batch: 2, image: [9, 12, 1], kernel: [3, 2], filters: 8 },
  'a narrow image, no activation': { batch: 2, image: [20, 4, 1], kernel: [5, 3], filters: 1, activation: 'linear' },
  'a single window': { batch: 1, image: [4, 4, 1], kernel: [3, 3], filters: 4 },
  'several channels': { batch: 3, image: [10, 6, 4], kernel: [3, 3], filters: 16 },
  "LeNet's second layer": { batch: 5, image: [14, 14, 6], kernel: [5, 5], filters: 16 },
  'three channels of an odd width, an even kernel': { batch: 5, image: [12, 9, 3], kernel: [4, 2], filters: 5 },
  'a sum of more than 64 terms per filter and tap': { batch: 90, image: [13, 12, 1], kernel: [2, 3], filters: 2 },
}

/** This adapter, GPUs with and without subgroups, and a processor without them. */
function targets(): Target[] {
  return [
    targetOf(device()),
    targetOf(device(), { class: 'gpu' }),
    targetOf(device(), { class: 'gpu', subgroupSize: undefined }),
    targetOf(device(), { class: 'cpu', subgroupSize: undefined }),
  ]
}

/** The different plans of all variants on all targets; each target has one at least. */
function plansOf<Key>(family: Family<Key>, key: Key): [what: string, plan: KernelPlan][] {
  const plans = new Map<string, [string, KernelPlan]>()
  for (const [i, target] of targets().entries()) {
    const usable = family.variants.filter((variant) => variant.supports(key, target))
    expect(usable.map(({ name }) => name)).toContain(family.prefer(key, target))
    for (const { name } of usable) {
      const plan = planKernel(family, key, target, name)
      const text = JSON.stringify(plan.dispatches.map((d) => [d.wgsl, [...d.uniforms], d.workgroups]))
      if (!plans.has(text)) plans.set(text, [`${name}, target ${i}`, plan])
    }
  }
  return [...plans.values()]
}

function keyOf({ batch, image, kernel, filters, activation = 'relu', bias = true }: Case): Conv2dPoolKey {
  const [inputHeight, inputWidth, channels] = image
  const [kernelHeight, kernelWidth] = kernel
  return {
    batch,
    inputHeight,
    inputWidth,
    channels,
    kernelHeight,
    kernelWidth,
    filters,
    groups: 1,
    outHeight: inputHeight - kernelHeight + 1,
    outWidth: inputWidth - kernelWidth + 1,
    strides: [1, 1],
    dilation: [1, 1],
    padTop: 0,
    padLeft: 0,
    bias,
    activation,
  }
}

interface Operands {
  readonly image: Float32Array<ArrayBuffer>
  readonly kernel: Float32Array<ArrayBuffer>
  readonly bias: Float32Array<ArrayBuffer>
}

const extents = (key: Conv2dPoolKey): { pooledHeight: number; pooledWidth: number; windows: number } => {
  const [pooledHeight, pooledWidth] = [Math.floor(key.outHeight / 2), Math.floor(key.outWidth / 2)]
  return { pooledHeight, pooledWidth, windows: key.batch * pooledHeight * pooledWidth }
}

/** The image element that output `position` (0-3) of a window reads under tap (ky, kx, c). */
function imageIndex(key: Conv2dPoolKey, window: number, position: number, tap: number): number {
  const { pooledHeight, pooledWidth } = extents(key)
  const [pooledX, pooledY] = [window % pooledWidth, Math.floor(window / pooledWidth) % pooledHeight]
  const sample = Math.floor(window / (pooledHeight * pooledWidth))
  const c = tap % key.channels
  const kx = Math.floor(tap / key.channels) % key.kernelWidth
  const ky = Math.floor(tap / key.channels / key.kernelWidth)
  const y = 2 * pooledY + (position >> 1) + ky
  const x = 2 * pooledX + (position & 1) + kx
  return ((sample * key.inputHeight + y) * key.inputWidth + x) * key.channels + c
}

function forwardReference(key: Conv2dPoolKey, { image, kernel, bias }: Operands): { y: number[]; codes: number[] } {
  const taps = key.kernelHeight * key.kernelWidth * key.channels
  const [y, codes]: [number[], number[]] = [[], []]
  for (let window = 0; window < extents(key).windows; window++)
    for (let f = 0; f < key.filters; f++) {
      const outputs = [0, 1, 2, 3].map((position) => {
        let sum = key.bias ? (bias[f] ?? 0) : 0
        for (let tap = 0; tap < taps; tap++)
          sum += (image[imageIndex(key, window, position, tap)] ?? 0) * (kernel[tap * key.filters + f] ?? 0)
        return sum
      })
      const best = Math.max(...outputs)
      const isDead = key.activation === 'relu' && best <= 0
      y.push(isDead ? 0 : best)
      codes.push(isDead ? 4 : outputs.indexOf(best))
    }
  return { y, codes }
}

function gradientReference(key: Conv2dPoolKey, image: Float32Array, dy: Float32Array, codes: Uint32Array): number[] {
  const taps = key.kernelHeight * key.kernelWidth * key.channels
  const sums = new Array<number>((taps + 1) * key.filters).fill(0)
  for (let window = 0; window < extents(key).windows; window++)
    for (let f = 0; f < key.filters; f++) {
      const code = codes[window * key.filters + f] ?? 4
      if (code === 4) continue
      const g = dy[window * key.filters + f] ?? 0
      for (let tap = 0; tap < taps; tap++)
        sums[tap * key.filters + f] =
          (sums[tap * key.filters + f] ?? 0) + g * (image[imageIndex(key, window, code, tap)] ?? 0)
      sums[taps * key.filters + f] = (sums[taps * key.filters + f] ?? 0) + g
    }
  return sums
}

function inputGradientReference(key: Conv2dPoolKey, kernel: Float32Array, dy: Float32Array, codes: Uint32Array) {
  const taps = key.kernelHeight * key.kernelWidth * key.channels
  const dx = new Array<number>(key.batch * key.inputHeight * key.inputWidth * key.channels).fill(0)
  dy.forEach((g, place) => {
    const code = codes[place] ?? 4
    for (let tap = 0; code !== 4 && tap < taps; tap++) {
      const i = imageIndex(key, Math.floor(place / key.filters), code, tap)
      dx[i] = (dx[i] ?? 0) + g * (kernel[tap * key.filters + (place % key.filters)] ?? 0)
    }
  })
  return dx
}

const random = new Random(1, 'codes')

function operandsOf(key: Conv2dPoolKey): Operands {
  return {
    image: noise([key.batch, key.inputHeight, key.inputWidth, key.channels], 'image'),
    kernel: noise([key.kernelHeight, key.kernelWidth, key.channels, key.filters], 'kernel'),
    bias: noise([key.filters], 'bias'),
  }
}

const expectClose = (actual: Float32Array, expected: readonly number[], what: string): void => {
  expect(actual.length).toBe(expected.length)
  const scale = Math.max(1, ...expected.map(Math.abs))
  for (const [i, value] of expected.entries())
    expect(Math.abs((actual[i] ?? Number.NaN) - value), `${what}, number ${i}`).toBeLessThan(2e-6 * scale)
}

describe.each(Object.entries(cases))('a pooled convolution: %s', (_, one) => {
  const key = keyOf(one)
  const count = extents(key).windows * key.filters
  const taps = key.kernelHeight * key.kernelWidth * key.channels

  test('forward', async () => {
    const operands = operandsOf(key)
    const { y, codes } = forwardReference(key, operands)
    for (const [what, plan] of plansOf(conv2dPool, key)) {
      const [actual, actualCodes] = await runPlan(
        device(),
        plan,
        [operands.image, operands.kernel, ...(key.bias ? [operands.bias] : [])],
        [new Float32Array(count).fill(7), new Uint32Array(count).fill(9)],
      )
      expectClose(actual, y, what)
      expect([...actualCodes], what).toEqual(codes)
    }
  })

  test('the gradients', async () => {
    const { image, kernel } = operandsOf(key)
    const dy = noise([count], 'dy')
    const codes = Uint32Array.from({ length: count }, () => random.below(5))
    for (const [what, plan] of plansOf(conv2dPoolFilterGradient, key)) {
      const run = () =>
        runPlan(
          device(),
          plan,
          [image, dy, codes],
          [new Float32Array(taps * key.filters).fill(7), new Float32Array(key.filters).fill(7)],
        )
      const first = await run()
      expectClose(
        Float32Array.from(first.flatMap((numbers) => [...numbers])),
        gradientReference(key, image, dy, codes),
        what,
      )
      expect(await run(), what).toEqual(first)
    }
    const expected = inputGradientReference(key, kernel, dy, codes)
    for (const [what, plan] of plansOf(conv2dPoolInputGradient, key)) {
      const [actual] = await runPlan(device(), plan, [dy, codes, kernel], [new Float32Array(image.length).fill(7)])
      expectClose(actual, expected, what)
    }
  })
})

test('separate kernels are measured on GPUs, but never the default nor the only ones', () => {
  const keys = Object.values(cases).map(keyOf)
  const families = [conv2dPool, conv2dPoolFilterGradient, conv2dPoolInputGradient]
  const large = keyOf({ batch: 2, image: [6, 6, 17], kernel: [5, 5], filters: 4 })
  const many = keyOf({ batch: 2 ** 18, image: [6, 6, 1], kernel: [1, 1], filters: 4 })
  for (const target of targets())
    for (const { variants, prefer } of families) {
      const usable = (key: Conv2dPoolKey): string[] =>
        variants.filter(({ supports }) => supports(key, target)).map(({ name }) => name)
      for (const key of keys) {
        expect(usable(key).includes('separate')).toBe(target.class === 'gpu')
        expect(prefer(key, target)).not.toBe('separate')
      }
      expect(usable(large)).toEqual([])
      // More than WebGPU surely binds lies between convolution and pooling.
      expect(usable(many)).not.toContain('separate')
    }
})

test('NaN passes the pooling by columns: it wins every comparison', async () => {
  const key = keyOf({ batch: 1, image: [8, 8, 1], kernel: [3, 3], filters: 2 })
  const { image, kernel, bias } = operandsOf(key)
  image[0] = Number.NaN
  const [y, codes] = await runPlan(
    device(),
    planKernel(conv2dPool, key, targetOf(device()), 'oneChannel'),
    [image, kernel, bias],
    [new Float32Array(18), new Uint32Array(18)],
  )
  expect([y[0], y[1]]).toEqual([Number.NaN, Number.NaN])
  // As in relu's derivative: 0 where the result is not positive, NaN included.
  expect([codes[0], codes[1]]).toEqual([4, 4])
  expect(y.subarray(2).every(Number.isFinite)).toBe(true)
})
