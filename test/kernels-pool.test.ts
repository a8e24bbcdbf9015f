/** Pooling kernels: every variant, compared with plain loops on difficult shapes and values. */
import { describe, expect, test } from 'vitest'
import type { Family, Target } from '../src/kernels/kernel.ts'
import { planKernel } from '../src/kernels/kernel.ts'
import { averagePool, averagePoolGradient } from '../src/kernels/pool/average.ts'
import type { PoolKey } from '../src/kernels/pool/pool.ts'
import { maxPool, maxPoolGather, maxPoolGradient } from '../src/kernels/pool/pool.ts'
import { largestDifference } from './support/compare.ts'
import { useDevice } from './support/device.ts'
import { runPlan, targetOf } from './support/run-plan.ts'

const device = useDevice()

const same = (key: Omit<PoolKey, 'outHeight' | 'outWidth' | 'padTop' | 'padLeft'>): PoolKey => {
  const axis = (size: number, window: number, stride: number) => {
    const out = Math.ceil(size / stride)
    return [out, Math.floor(Math.max(0, (out - 1) * stride + window - size) / 2)] as const
  }
  const [outHeight, padTop] = axis(key.inputHeight, key.kernelHeight, key.strides[0])
  const [outWidth, padLeft] = axis(key.inputWidth, key.kernelWidth, key.strides[1])
  return { ...key, outHeight, outWidth, padTop, padLeft }
}
const valid = (key: Omit<PoolKey, 'outHeight' | 'outWidth' | 'padTop' | 'padLeft'>): PoolKey => ({
  ...key,
  outHeight: Math.floor((key.inputHeight - key.kernelHeight) / key.strides[0]) + 1,
  outWidth: Math.floor((key.inputWidth - key.kernelWidth) / key.strides[1]) + 1,
  padTop: 0,
  padLeft: 0,
})
const image = (batch: number, height: number, width: number, channels: number) => ({
  batch,
  inputHeight: height,
  inputWidth: width,
  channels,
  dilation: [1, 1] as const,
})

const cases: Readonly<Record<string, PoolKey>> = {
  'windows side by side, a row and a column left over': valid({
    ...image(3, 5, 7, 6),
    kernelHeight: 2,
    kernelWidth: 2,
    strides: [2, 2],
  }),
  'windows side by side, hanging over the end': same({
    ...image(2, 5, 7, 3),
    kernelHeight: 2,
    kernelWidth: 2,
    strides: [2, 2],
  }),
  'windows side by side, beginning in the padding': {
    ...same({ ...image(2, 4, 7, 4), kernelHeight: 3, kernelWidth: 3, strides: [3, 3] }),
    padTop: 2,
    padLeft: 1,
    outHeight: 2,
  },
  'overlapping windows, stride 2, padded': same({
    ...image(2, 7, 6, 5),
    kernelHeight: 3,
    kernelWidth: 3,
    strides: [2, 2],
  }),
  'overlapping windows, stride 1': same({ ...image(2, 4, 5, 8), kernelHeight: 3, kernelWidth: 2, strides: [1, 1] }),
  'gaps between windows': valid({ ...image(2, 8, 11, 17), kernelHeight: 2, kernelWidth: 1, strides: [3, 4] }),
  'windows larger than the image': {
    ...image(2, 3, 2, 2),
    kernelHeight: 5,
    kernelWidth: 7,
    strides: [2, 1],
    padTop: 3,
    padLeft: 5,
    outHeight: 3,
    outWidth: 6,
  },
  'the whole image, one channel': valid({ ...image(3, 7, 9, 1), kernelHeight: 7, kernelWidth: 9, strides: [1, 1] }),
  'a single window, pixels left over on both sides': valid({
    ...image(2, 5, 6, 2),
    kernelHeight: 3,
    kernelWidth: 4,
    strides: [4, 3],
  }),
  'many rows per workgroup': valid({ ...image(5, 40, 22, 12), kernelHeight: 2, kernelWidth: 2, strides: [2, 2] }),
}

const sizeOf = (k: PoolKey) => k.batch * k.inputHeight * k.inputWidth * k.channels
const outSizeOf = (k: PoolKey) => k.batch * k.outHeight * k.outWidth * k.channels

/** Calls `visit` for every output and the window positions that are inside the image, row by row. */
function eachPlace(k: PoolKey, visit: (out: number, place: number, input: number) => void): void {
  let out = 0
  for (let b = 0; b < k.batch; b++)
    for (let oy = 0; oy < k.outHeight; oy++)
      for (let ox = 0; ox < k.outWidth; ox++)
        for (let c = 0; c < k.channels; c++, out++)
          for (let wy = 0; wy < k.kernelHeight; wy++)
            for (let wx = 0; wx < k.kernelWidth; wx++) {
              const y = oy * k.strides[0] + wy - k.padTop
              const x = ox * k.strides[1] + wx - k.padLeft
              if (y < 0 || y >= k.inputHeight || x < 0 || x >= k.inputWidth) continue
              visit(out, wy * k.kernelWidth + wx, ((b * k.inputHeight + y) * k.inputWidth + x) * k.channels + c)
            }
}

function maxima(k: PoolKey, x: Float32Array) {
  const y = new Float32Array(outSizeOf(k)).fill(Number.NEGATIVE_INFINITY)
  const code = new Uint32Array(outSizeOf(k)).fill(0xffffffff)
  eachPlace(k, (out, place, at) => {
    const best = y[out] ?? 0
    const value = x[at] ?? 0
    const unset = code[out] === 0xffffffff
    if (unset || (!Number.isNaN(best) && (value > best || Number.isNaN(value)))) {
      y[out] = value
      code[out] = place
    }
  })
  return { y, code }
}

let seed = 1
const random = () => {
  seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0
  return seed / 2 ** 32 - 0.5
}
const values = (count: number, value: () => number = random) => Float32Array.from({ length: count }, value)

function targets(): Target[] {
  return [targetOf(device()), targetOf(device(), { class: 'gpu' })]
}

/** Runs every variant that supports the key, planned for a CPU and for a GPU. */
async function everyVariant(
  family: Family<PoolKey>,
  key: PoolKey,
  check: (plan: ReturnType<typeof planKernel>, name: string) => Promise<void>,
) {
  const target = targets()
  const supported = family.variants.filter((variant) => variant.supports(key, targetOf(device())))
  expect(supported.length).toBeGreaterThan(0)
  for (const [i, t] of target.entries()) {
    for (const variant of i === 0 ? supported : supported.slice(-1)) {
      await check(planKernel(family, key, t, variant.name), `${family.name}/${variant.name} for a ${t.class}`)
    }
  }
}

const poison = (count: number) => new Float32Array(count).fill(12345)

describe.each(Object.entries(cases))('%s', (_name, key) => {
  test('maximum and its position are exact, the first of ties wins', async () => {
    for (const x of [values(sizeOf(key)), values(sizeOf(key), () => Math.round(random() * 3))]) {
      const expected = maxima(key, x)
      await everyVariant(maxPool, key, async (plan, name) => {
        const codes = new Uint32Array(outSizeOf(key)).fill(777)
        const [y, code] = await runPlan(device(), plan, [x], [poison(outSizeOf(key)), codes] as const)
        expect(largestDifference(y, expected.y), name).toBe(0)
        expect(code, name).toEqual(expected.code)
      })
    }
  })

  test('the gradient of a maximum goes to the recorded position', async () => {
    const { code } = maxima(
      key,
      values(sizeOf(key), () => Math.round(random() * 5)),
    )
    const dy = values(outSizeOf(key))
    const expected = new Float64Array(sizeOf(key))
    eachPlace(key, (out, place, at) => {
      if (code[out] === place) expected[at] = (expected[at] ?? 0) + (dy[out] ?? 0)
    })
    await everyVariant(maxPoolGradient, key, async (plan, name) => {
      const [dx] = await runPlan(device(), plan, [dy, code], [poison(sizeOf(key))] as const)
      expect(largestDifference(dx, expected), name).toBeLessThan(1e-5)
    })
  })

  test('numbers are gathered from the recorded positions', async () => {
    const { code } = maxima(
      key,
      values(sizeOf(key), () => Math.round(random() * 5)),
    )
    const x = values(sizeOf(key))
    const expected = new Float32Array(outSizeOf(key))
    eachPlace(key, (out, place, at) => {
      if (code[out] === place) expected[out] = x[at] ?? 0
    })
    await everyVariant(maxPoolGather, key, async (plan, name) => {
      const [y] = await runPlan(device(), plan, [x, code], [poison(outSizeOf(key))] as const)
      expect(y, name).toEqual(expected)
    })
  })

  test('averages and their gradient exclude the padding', async () => {
    const x = values(sizeOf(key))
    const dy = values(outSizeOf(key))
    const places = new Float64Array(outSizeOf(key))
    const sums = new Float64Array(outSizeOf(key))
    eachPlace(key, (out, _place, at) => {
      places[out] = (places[out] ?? 0) + 1
      sums[out] = (sums[out] ?? 0) + (x[at] ?? 0)
    })
    const expected = sums.map((sum, i) => sum / (places[i] ?? 0))
    const expectedGradient = new Float64Array(sizeOf(key))
    eachPlace(key, (out, _place, at) => {
      expectedGradient[at] = (expectedGradient[at] ?? 0) + (dy[out] ?? 0) / (places[out] ?? 0)
    })
    await everyVariant(averagePool, key, async (plan, name) => {
      const [y] = await runPlan(device(), plan, [x], [poison(outSizeOf(key))] as const)
      expect(largestDifference(y, expected), name).toBeLessThan(1e-6)
    })
    await everyVariant(averagePoolGradient, key, async (plan, name) => {
      const [dx] = await runPlan(device(), plan, [dy], [poison(sizeOf(key))] as const)
      expect(largestDifference(dx, expectedGradient), name).toBeLessThan(1e-5)
    })
  })
})

test('a NaN, and the first one of several, is the maximum; infinities compete as numbers', async () => {
  const key = same({ ...image(1, 6, 6, 4), kernelHeight: 3, kernelWidth: 3, strides: [2, 2] })
  const special = [Number.NaN, Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY, -0, 0, 1, -1]
  const x = values(sizeOf(key), () => special[Math.floor((random() + 0.5) * special.length)] ?? 0)
  const expected = maxima(key, x)
  expect(expected.y.some(Number.isNaN)).toBe(true)
  await everyVariant(maxPool, key, async (plan, name) => {
    const codes = new Uint32Array(outSizeOf(key))
    const [y, code] = await runPlan(device(), plan, [x], [poison(outSizeOf(key)), codes] as const)
    expect(y, name).toEqual(expected.y)
    expect(code, name).toEqual(expected.code)
  })
})

test('the maximum of minus infinities is minus infinity, and the first pixel inside the image takes the gradient', async () => {
  const key = same({ ...image(1, 3, 3, 2), kernelHeight: 3, kernelWidth: 3, strides: [2, 2] })
  const x = new Float32Array(sizeOf(key)).fill(Number.NEGATIVE_INFINITY)
  await everyVariant(maxPool, key, async (plan, name) => {
    const codes = new Uint32Array(outSizeOf(key)).fill(777)
    const [y, code] = await runPlan(device(), plan, [x], [poison(outSizeOf(key)), codes] as const)
    expect([...y], name).toEqual(new Array(8).fill(Number.NEGATIVE_INFINITY))
    expect([...code], name).toEqual([4, 4, 3, 3, 1, 1, 0, 0])
  })
})

test('windows of padding only, and extents that are not positive integers, are refused', () => {
  const target: Target = { class: 'cpu', subgroupSize: 8, maxWorkgroupSize: 256, maxWorkgroupStorageBytes: 16384 }
  const key = valid({ ...image(1, 4, 4, 1), kernelHeight: 2, kernelWidth: 2, strides: [2, 2] })
  const refusal = (changes: Partial<PoolKey>) => {
    for (const family of [maxPool, maxPoolGradient, maxPoolGather, averagePool, averagePoolGradient])
      expect(() => planKernel(family, { ...key, ...changes }, target)).toThrow(/padding|positive whole number|up to/)
  }
  refusal({ padTop: 2 })
  refusal({ padLeft: 2 })
  refusal({ outHeight: 3 })
  refusal({ outWidth: 3 })
  refusal({ padTop: -1 })
  refusal({ inputHeight: 0 })
  refusal({ kernelHeight: 2, kernelWidth: 1.5 })
  refusal({ strides: [0, 2] })
  refusal({ batch: 2 ** 27 })
})
