/** Products whose operands are rounded to float16 in workgroup memory: within the stated bound, and only on request. */
import { beforeAll, describe, expect, test } from 'vitest'
import type { Device } from '../src/gpu/device.ts'
import { findAdapter } from '../src/gpu/node/adapter.ts'
import { deviceOn } from '../src/gpu/node/open.ts'
import { open } from '../src/gpu/open.ts'
import { planFor } from '../src/graph/run/program.ts'
import { conv2d, evaluate, matmul, type Tensor, tensor } from '../src/index.ts'
import { largestDifference } from './support/compare.ts'
import { useDevice } from './support/device.ts'
import { noise, noiseTensor } from './support/noise.ts'
import { RecordingGpu } from './support/recording-gpu.ts'

const honest = useDevice()
let isOffered = false
beforeAll(async () => {
  isOffered = (await findAdapter()).adapter.features.has('shader-f16')
})

const variants = { matmul: 'tiled32', conv2d: 'tiled32' }

async function inHalf<T>(skip: (note: string) => void, use: (device: Device) => Promise<T>): Promise<T> {
  if (!isOffered) skip('this adapter has no shader-f16')
  // Blocks of workgroup memory are kernels for GPUs.
  using device = await deviceOn({ ...(await findAdapter()), hardware: true }, 'f16')
  return await use(device)
}

async function numbers(device: Device, y: Tensor): Promise<Float32Array> {
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
