/**
 * Products whose operands are rounded to float16 in workgroup memory, and kernels of frozen networks that are stored so:
 * within the stated bounds, and only on request.
 */
import { beforeAll, describe, expect, test } from 'vitest'
import type { Device } from '../src/gpu/device.ts'
import { findAdapter } from '../src/gpu/node/adapter.ts'
import { deviceOn } from '../src/gpu/node/open.ts'
import { open } from '../src/gpu/open.ts'
import type { VariantTable } from '../src/graph/plan/choice.ts'
import { planFor } from '../src/graph/run/program.ts'
import { add, conv2d, dense, evaluate, matmul, maxPool, planOf, relu, slice, transpose } from '../src/index.ts'
import { elementCount } from '../src/kernels/kernel.ts'
import { freeze } from '../src/nn/freeze.ts'
import { halfPrecision } from '../src/nn/half-weights.ts'
import * as layers from '../src/nn/layers.ts'
import type { Model } from '../src/nn/model.ts'
import { sequential } from '../src/nn/model.ts'
import type { ModelWeight } from '../src/nn/model-weights.ts'
import { DeviceStorage, leaf, Tensor, tensor } from '../src/operators/tensor.ts'
import { winogradConv2d } from '../src/operators/winograd.ts'
import { hashedReader } from '../src/weights/hashed.ts'
import { largestDifference, relativeError } from './support/compare.ts'
import { useDevice } from './support/device.ts'
import { noise, noiseTensor } from './support/noise.ts'
import { RecordingGpu } from './support/recording-gpu.ts'

const honest = useDevice()
let isOffered = false
beforeAll(async () => {
  isOffered = (await findAdapter()).adapter.features.has('shader-f16')
})

const tiled = { matmul: 'tiled32', conv2d: 'tiled32' }

/** Blocks of workgroup memory are kernels for GPUs; `hardware` false plans those for processors. */
async function inHalf<T>(
  skip: (note: string) => void,
  use: (device: Device) => Promise<T>,
  hardware = true,
): Promise<T> {
  if (!isOffered) skip('this adapter has no shader-f16')
  using device = await deviceOn({ ...(await findAdapter()), hardware }, 'f16')
  return await use(device)
}

async function numbers(device: Device, y: Tensor, variants: VariantTable = tiled): Promise<Float32Array> {
  const [found] = await evaluate([y], { device, variants })
  return found as Float32Array
}

describe("precision 'f16'", () => {
  test('errs by at most 2^-10 of the sum of magnitudes in a matrix product, and does round', async ({ skip }) => {
    const [m, n, k] = [33, 40, 257]
    const [a, b] = [noise([m, k], 'a'), noise([k, n], 'b')]
    const product = matmul(tensor(a, [m, k]), tensor(b, [k, n]))
    const half = await inHalf(skip, (device) => numbers(device, product))
    let largestRatio = 0
    for (let i = 0; i < m; i++)
      for (let j = 0; j < n; j++) {
        let [sum, magnitude] = [0, 0]
        for (let t = 0; t < k; t++) {
          const term = (a[i * k + t] ?? 0) * (b[t * n + j] ?? 0)
          sum += term
          magnitude += Math.abs(term)
        }
        largestRatio = Math.max(largestRatio, Math.abs((half[i * n + j] ?? Number.NaN) - sum) / magnitude)
      }
    expect(largestRatio).toBeLessThan(2 ** -10)
    expect(largestRatio).toBeGreaterThan(1e-6)
  })

  test('leaves small whole numbers exact, also in a convolution', async ({ skip }) => {
    const whole = (shape: number[], stream: string): Tensor =>
      tensor(
        noise(shape, stream).map((x) => Math.round(8 * x)),
        shape,
      )
    const y = conv2d(whole([2, 9, 9, 8], 'x'), whole([3, 3, 8, 12], 'kernel'), undefined, { padding: 'same' })
    const half = await inHalf(skip, (device) => numbers(device, y))
    expect(largestDifference(half, await numbers(honest(), y))).toBe(0)
  })

  test('is off unless asked for', async () => {
    const product = [{ value: matmul(noiseTensor([256, 256], 'a'), noiseTensor([256, 256], 'b')).value }]
    const shadersOf = (device: Device): string =>
      planFor(device, product)
        .dispatches.map(({ wgsl }) => wgsl)
        .join('\n')
    expect(honest().precision).toBe('f32')
    using plain = await open({ gpu: new RecordingGpu().gpu })
    expect(shadersOf(plain)).not.toContain('f16')
    using half = await open({ gpu: new RecordingGpu({ half: true }).gpu, precision: 'f16' })
    expect(shadersOf(half)).toMatch(/^enable f16;[\s\S]*array<vec4h/)
    expect(half.describe()).toContain('half precision')
  })

  test('is refused where the adapter has none, and if it is misspelt', async () => {
    await expect(open({ gpu: new RecordingGpu().gpu, precision: 'f16' })).rejects.toMatchObject({ code: 'device' })
    const misspelt = { precision: 'half' as 'f16' }
    await expect(open(misspelt)).rejects.toMatchObject({ code: 'argument' })
  })
})

/** A kernel in half precision on a device, and the same numbers, rounded, on the host. */
function halfKernel(device: Device, shape: number[]): { half: Tensor; rounded: Tensor } {
  const bits = halfPrecision.encode(noise(shape, 'kernel'), 'kernel', device)
  const slice = device.allocate(bits.byteLength, 'kernel').slice()
  device.write(slice, bits)
  const numbers = halfPrecision.decode(bits.buffer, elementCount(shape))
  return { half: new Tensor(leaf(new DeviceStorage(slice), { shape, dtype: 'f16' })), rounded: tensor(numbers, shape) }
}

describe('a float32 number becomes a half', () => {
  const device = { precision: 'f16' } as Device
  const encode = (...numbers: number[]): number[] => [
    ...halfPrecision.encode(Float32Array.from(numbers), 'w', device).subarray(0, numbers.length),
  ]
  const finite = Array.from({ length: 0x7c00 }, (_, half) => half)
  const values = [...halfPrecision.decode(Uint16Array.from(finite).buffer, finite.length)]

  test('the same one, if it is a half', () => {
    expect(encode(...values)).toEqual(finite)
    expect(encode(...values.map((x) => -x))).toEqual(finite.map((half) => half + 0x8000))
  })

  test('the nearest one, and of two that are as near the even one', () => {
    const pairs = finite.slice(0, -1).map((half) => ({ half, low: values[half] ?? 0, high: values[half + 1] ?? 0 }))
    const between = (share: number): number[] => encode(...pairs.map(({ low, high }) => low + (high - low) * share))
    expect(between(0.499)).toEqual(pairs.map(({ half }) => half))
    expect(between(0.5)).toEqual(pairs.map(({ half }) => half + (half % 2)))
    expect(between(0.501)).toEqual(pairs.map(({ half }) => half + 1))
  })

  test('unless it would become infinite', () => {
    expect(encode(65_519)).toEqual([0x7bff])
    for (const number of [65_520, -1e9]) expect(() => encode(number)).toThrow('half precision ends at 65,504')
  })
})

describe('a product with a kernel stored in half precision', () => {
  const products: [string, number[], number[], (x: Tensor, kernel: Tensor) => Tensor][] = [
    ['dense, in vectors', [9, 48], [48, 40], (x, kernel) => dense(x, kernel)],
    ['dense, number by number', [9, 47], [47, 13], (x, kernel) => dense(x, kernel)],
    ['dense, of a part of the kernel', [9, 128], [256, 8], (x, w) => dense(x, slice(w, [128, 0], [128, -1]))],
    ['a convolution', [2, 7, 6, 5], [3, 3, 5, 12], (x, kernel) => conv2d(x, kernel, undefined, { strides: 2 })],
    ['a 1x1 convolution', [2, 7, 6, 8], [1, 1, 8, 16], (x, kernel) => conv2d(x, kernel)],
    [
      'by Winograd',
      [2, 8, 8, 32],
      [36, 32, 32],
      (x, filters) => winogradConv2d(x, filters, undefined, { tile: 4, padding: 'same', activation: 'relu' }),
    ],
  ]

  // The other sizes of a tile have the same text. Winograd's passes contain a product by tiles.
  const roundsBoth = ['tiled32', 'passes']
  const tried = ['plain', 'subgroupRows16', ...roundsBoth]

  test.for(products)('is that with the rounded kernel: %s', async ([_, image, shape, product], { skip }) => {
    const x = noiseTensor(image, 'x')
    await inHalf(skip, async (device) => {
      const { half, rounded } = halfKernel(device, shape)
      // Tiles round both operands themselves: to the same bits.
      expect(await numbers(device, product(x, half))).toEqual(await numbers(device, product(x, rounded)))
      const expected = await numbers(honest(), product(x, rounded), {})
      const [choice] = planOf([product(x, half)], { device }).choices
      for (const variant of tried.filter((name) => choice?.alternatives.includes(name))) {
        const own = await numbers(device, product(x, half), { matmul: variant, conv2d: variant })
        expect(relativeError(own, expected), variant).toBeLessThan(roundsBoth.includes(variant) ? 2e-3 : 3e-6)
      }
    })
  })

  test('is not fused with pooling, whose kernels do not read it', async ({ skip }) => {
    await inHalf(skip, async (device) => {
      const { half } = halfKernel(device, [3, 3, 8, 8])
      const y = maxPool(relu(conv2d(noiseTensor([2, 9, 9, 8], 'x'), half)), { poolSize: 2 })
      expect(planOf([y], { device }).choices.map(({ family }) => family)).toEqual(['conv2d', 'maxPool'])
    })
  })

  test('is refused by kernels that do not read it', async ({ skip }) => {
    await inHalf(skip, async (device) => {
      const { half } = halfKernel(device, [8, 8])
      for (const use of [
        () => add(half, 1),
        () => matmul(half, half),
        () => dense(half, half),
        () => transpose(half, [1, 0]),
      ])
        expect(use).toThrow("reads no f16 weights; freeze without precision 'f16'")
      await expect(half.data({ device })).rejects.toMatchObject({ code: 'shape' })
      await expect(half.keep({ device })).rejects.toMatchObject({ code: 'shape' })
      // It does not start where a binding may.
      await expect(
        dense(noiseTensor([2, 7], 'x'), slice(half, [1, 0], [7, -1])).data({ device }),
      ).rejects.toMatchObject({ code: 'shape' })
    })
  })
})

describe("a network frozen with precision 'f16'", () => {
  const network = (): Model =>
    sequential(
      'net',
      [16, 16, 3],
      [
        layers.conv2d('first', 32, 3, { padding: 'same', activation: 'relu' }),
        layers.conv2d('winograd', 64, 3, { padding: 'same', useBias: false }),
        layers.batchNormalization('norm'),
        layers.maxPooling2d('pool'),
        layers.conv2d('pointwise', 96, 1, { activation: 'relu' }),
        layers.separableConv2d('separable', 65, 3, { strides: 2 }),
        layers.flatten('flat'),
        layers.dense('dense', 64),
      ],
    )
  const names = ['first', 'norm', 'pool', 'pointwise', 'separable', 'dense']
  const read = hashedReader(1)
  const x = noiseTensor([4, 16, 16, 3], 'x')

  test.for([true, false])('errs little, in half the memory; hardware: %s', async (hardware, { skip }) => {
    using plain = await freeze(network()).load(honest(), read)
    const expected = await evaluate(plain.features(x, names), { device: honest() })
    await inHalf(
      skip,
      async (device) => {
        const before = device.memory().liveBytes
        using single = await freeze(network()).load(device, read)
        const whole = device.memory().liveBytes - before
        using half = await freeze(network(), { precision: device.precision }).load(device, read)
        const halved = device.memory().liveBytes - before - whole
        expect(halved / whole).toBeLessThan(0.52)
        const own = await evaluate(half.features(x, names), { device })
        for (const [i, name] of names.entries())
          expect(relativeError(own[i] ?? [], expected[i] ?? []), name).toBeLessThan(0.01)
        // It does round, and not what stays float32.
        expect(own).not.toEqual(expected)
        expect(half.weights.flatMap(({ tensor, name }) => (tensor.dtype === 'f16' ? [name] : []))).toEqual([
          'first/kernel',
          'norm/kernel',
          'pointwise/kernel',
          'separable/pointwise_kernel',
          'dense/kernel',
        ])
        // Blocks of workgroup memory round their operands anyway.
        if (hardware) {
          const rounding = await evaluate(single.features(x, names.slice(0, 2)), { device, variants: tiled })
          const stored = await evaluate(half.features(x, names.slice(0, 2)), { device, variants: tiled })
          expect(stored).toEqual(rounding)
        }
      },
      hardware,
    )
  })

  test('gives and takes its weights as float32', async ({ skip }) => {
    await inHalf(skip, async (device) => {
      using half = await freeze(network(), { precision: 'f16' }).load(device, read)
      const weights = await half.weightNumbers()
      const kernel = half.weights.find(({ name }) => name === 'dense/kernel')
      if (kernel === undefined) throw new RangeError()
      const rounded = await half.read(kernel)
      expect(rounded).toEqual(weights.get('dense/kernel')?.data)
      expect(relativeError(rounded, await read(kernel))).toBeLessThan(2 ** -11)
      const doubled = new Map(
        [...weights].map(([name, { shape, data }]) => [name, { shape, data: data.map((w) => 2 * w) }]),
      )
      half.setWeights(doubled)
      expect(await half.read(kernel)).toEqual(rounded.map((w) => 2 * w))
      // Refused whole: the first weight, which comes before, keeps its numbers.
      const huge = { shape: kernel.shape, data: rounded.map(() => 1e6) }
      expect(() => half.setWeights(new Map([...weights, [kernel.name, huge]]))).toThrow('dense/kernel holds 1000000')
      expect(await half.weightNumbers()).toEqual(doubled)
    })
  })

  test('is refused by a device in single precision, for numbers out of range, and if it is misspelt', async ({
    skip,
  }) => {
    const frozen = freeze(network(), { precision: 'f16' })
    await expect(frozen.load(honest(), read)).rejects.toMatchObject({ code: 'argument' })
    expect(() => freeze(network(), { precision: 'half' as 'f16' })).toThrow("'f32' or 'f16'")
    await inHalf(skip, async (device) => {
      const before = device.memory().liveBytes
      const huge = async (weight: ModelWeight): Promise<Float32Array> =>
        weight.name === 'dense/kernel' ? (await read(weight)).map(() => 1e5) : read(weight)
      await expect(frozen.load(device, huge)).rejects.toMatchObject({ code: 'data' })
      expect(device.memory().liveBytes).toBe(before)
    })
  })
})
