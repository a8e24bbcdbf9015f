/**
 * Kernels for GPUs, planned as for a GPU and run on the available adapter: every block, compared with the plain
 * variant.
 */
import { describe, expect, test } from 'vitest'
import { matmulOf } from '../src/kernels/conv2d/as-matmul.ts'
import type { Conv2dKey } from '../src/kernels/conv2d/conv2d.ts'
import { conv2dFilterGradient, conv2dForward, conv2dInputGradient } from '../src/kernels/conv2d/conv2d.ts'
import type { ConvProduct } from '../src/kernels/conv2d/workgroup.ts'
import type { Family, KernelPlan, Target } from '../src/kernels/kernel.ts'
import { planKernel } from '../src/kernels/kernel.ts'
import type { MatmulKey } from '../src/kernels/matmul/matmul.ts'
import { matmul } from '../src/kernels/matmul/matmul.ts'
import { disagreement } from './support/compare.ts'
import { useDevice } from './support/device.ts'
import { noise } from './support/noise.ts'
import { runPlan, targetOf } from './support/run-plan.ts'

type Numbers = Float32Array<ArrayBuffer>

const device = useDevice()
const tolerance = { rtol: 1e-5, atol: 2e-5 }
const blocks = ['tiled32', 'tiled64', 'tiled64x8', 'tiled128']

/** A target like a GPU, with the limits that WebGPU guarantees. */
const gpu: Target = {
  class: 'gpu',
  subgroupSize: undefined,
  maxWorkgroupSize: 256,
  maxWorkgroupStorageBytes: 16384,
}

interface Job<Key> {
  readonly family: Family<Key>
  readonly key: Key
  readonly inputs: readonly Numbers[]
  readonly outputSizes: readonly number[]
}

async function run<Key>({ family, key, inputs, outputSizes }: Job<Key>, variant: string, target = gpu) {
  const plan = planKernel(family, key, target, variant)
  const poison = outputSizes.map((size) => new Float32Array(size).fill(Number.NaN))
  return { plan, outputs: await runPlan(device(), plan, inputs, poison) }
}

/** Runs the variants and compares all outputs with the plain variant's; returns the plans. */
async function agreeWithPlain<Key>(job: Job<Key>, variants: readonly string[], target = gpu): Promise<KernelPlan[]> {
  const expected = (await run(job, 'plain', target)).outputs
  const plans: KernelPlan[] = []
  for (const variant of variants) {
    const { plan, outputs } = await run(job, variant, target)
    plans.push(plan)
    expected.forEach((values, i) => {
      const difference = disagreement(outputs[i] ?? new Float32Array(), values, tolerance)
      expect(difference, `${job.family.name}, ${variant}, output ${i}: ${JSON.stringify(job.key)}`).toBeUndefined()
    })
  }
  return plans
}

const product: MatmulKey = {
  batch: 1,
  m: 70,
  n: 68,
  k: 20,
  transposeA: false,
  transposeB: false,
  batchedA: false,
  batchedB: false,
  bias: false,
  activation: 'linear',
}

function matmulJob(key: MatmulKey): Job<MatmulKey> {
  const { batch, m, n, k, batchedA, batchedB } = key
  const inputs = [noise([(batchedA ? batch : 1) * m * k], 1), noise([(batchedB ? batch : 1) * k * n], 2)]
  if (key.bias) inputs.push(noise([n], 3))
  if (key.mask === true) inputs.push(noise([batch * m * n], 4))
  const outputSizes = [batch * m * n, ...(key.columnSums === true ? [n] : [])]
  return { family: matmul, key, inputs, outputSizes }
}

describe('matmul in blocks', () => {
  test.each([
    ['in vectors', { ...product, m: 132, n: 68, k: 20, bias: true, activation: 'relu' }, blocks],
    ['in single numbers', { ...product, m: 130, n: 67, k: 19, bias: true, activation: 'relu' }, blocks],
    ['left transposed, in vectors', { ...product, m: 68, k: 17, transposeA: true }, ['tiled64']],
    ['left transposed, in single numbers', { ...product, m: 33, n: 31, k: 5, transposeA: true }, ['tiled32']],
    ['right transposed, in vectors', { ...product, n: 33, transposeB: true }, ['tiled128']],
    ['right transposed, in single numbers', { ...product, n: 65, k: 18, transposeB: true }, ['tiled64']],
    ['both transposed', { ...product, m: 31, n: 35, k: 17, transposeA: true, transposeB: true }, ['tiled32']],
    ['one number', { ...product, m: 1, n: 1, k: 1, bias: true, activation: 'relu' }, blocks],
    ['a row', { ...product, m: 1, n: 130, k: 7, bias: true, activation: 'relu' }, blocks],
    ['a column', { ...product, m: 130, n: 1, k: 33, bias: true, activation: 'relu' }, blocks],
    [
      'batches of both operands',
      { ...product, batch: 3, m: 5, n: 7, k: 9, batchedA: true, batchedB: true },
      ['tiled32'],
    ],
    ['batches of the left operand', { ...product, batch: 3, m: 5, n: 7, k: 9, batchedA: true }, ['tiled32']],
    ['batches of the right operand', { ...product, batch: 2, m: 34, n: 7, k: 9, batchedB: true }, ['tiled32']],
    ['a mask', { ...product, mask: true, n: 36 }, ['tiled32', 'separate']],
    ['column sums and a mask', { ...product, n: 35, mask: true, columnSums: true }, ['tiled128', 'separate']],
    ['a mask, and a sum that is split over workgroups', { ...product, m: 36, n: 20, k: 650, mask: true }, ['separate']],
    ['column sums, in vectors', { ...product, transposeA: true, m: 36, columnSums: true }, ['tiled64', 'separate']],
  ] as [string, MatmulKey, string[]][])('%s', async (_, key, variants) => {
    await agreeWithPlain(matmulJob(key), variants)
  })

  test('splits a long sum over workgroups, with bias and activation after the last part', async () => {
    const key: MatmulKey = { ...product, m: 36, n: 20, k: 650, bias: true, activation: 'tanh' }
    const [plan] = await agreeWithPlain(matmulJob(key), ['tiled32'])
    expect(plan?.dispatches.map((d) => d.label)).toEqual([
      'matmul/tiled32/splitK2',
      'matmul/tiled32/splitK2/sumPartials',
    ])
    const odd: MatmulKey = { ...product, batch: 2, batchedA: true, m: 3, n: 5, k: 1111, transposeB: true }
    await agreeWithPlain(matmulJob(odd), ['tiled32'])
  })

  test('keeps infinities to their row and column', async () => {
    const job = matmulJob({ ...product, m: 70, n: 67, k: 19, bias: true, activation: 'relu' })
    const [left, right] = job.inputs
    left?.set([Number.POSITIVE_INFINITY], 5 * 19 + 3)
    right?.set([Number.NEGATIVE_INFINITY], 18 * 67 + 66)
    await agreeWithPlain(job, ['tiled32'])
  })

  test('gives the same bits every time', async () => {
    const job = matmulJob({ ...product, m: 36, n: 20, k: 650, bias: true, activation: 'tanh' })
    const first = await run(job, 'tiled32')
    expect((await run(job, 'tiled32')).outputs).toEqual(first.outputs)
  })
})

const conv: Conv2dKey = {
  batch: 2,
  inputHeight: 7,
  inputWidth: 6,
  channels: 4,
  outHeight: 7,
  outWidth: 6,
  filters: 8,
  groups: 1,
  kernelHeight: 3,
  kernelWidth: 3,
  strides: [1, 1],
  dilation: [1, 1],
  padTop: 1,
  padLeft: 1,
  bias: true,
  activation: 'relu',
}

/** Forward, input gradient, filter gradient. */
function convJobs(key: Conv2dKey): (Job<Conv2dKey> & { readonly product: ConvProduct })[] {
  const imageSize = key.batch * key.inputHeight * key.inputWidth * key.channels
  const outSize = key.batch * key.outHeight * key.outWidth * key.filters
  const kernelSize = key.kernelHeight * key.kernelWidth * key.channels * key.filters
  const [image, kernel, gradient] = [noise([imageSize], 1), noise([kernelSize], 2), noise([outSize], 3)]
  const forwardInputs = [image, kernel, ...(key.bias ? [noise([key.filters], 4)] : [])]
  return [
    { product: 'conv2d', family: conv2dForward, key, inputs: forwardInputs, outputSizes: [outSize] },
    {
      product: 'conv2d.inputGradient',
      family: conv2dInputGradient,
      key,
      inputs: [gradient, kernel],
      outputSizes: [imageSize],
    },
    {
      product: 'conv2d.filterGradient',
      family: conv2dFilterGradient,
      key,
      inputs: [image, gradient],
      outputSizes: [kernelSize],
    },
  ]
}

const same2 = { strides: [2, 2], outHeight: 4, outWidth: 3 } as const // 'same' at stride 2: one row above, none to the left

describe('convolutions in blocks', () => {
  test.each([
    ['in vectors', conv, ['tiled32']],
    ['17 channels, 5 filters', { ...conv, channels: 17, filters: 5 }, ['tiled32']],
    ['1 channel, 5 filters', { ...conv, channels: 1, filters: 5 }, ['tiled32']],
    [
      '3 channels, 5 filters, an even kernel',
      { ...conv, channels: 3, filters: 5, kernelHeight: 2, kernelWidth: 4 },
      ['tiled32'],
    ],
    ["stride 2, 'same'", { ...conv, ...same2, padLeft: 0 }, ['tiled64']],
    [
      'stride 2, dilation 2 and 3, 3 channels',
      { ...conv, ...same2, dilation: [2, 3], padTop: 2, padLeft: 3, channels: 3, filters: 7 },
      ['tiled32'],
    ],
    ['dilation 2', { ...conv, dilation: [2, 2], padTop: 2, padLeft: 2, batch: 1 }, ['tiled128']],
    ['no padding', { ...conv, padTop: 0, padLeft: 0, outHeight: 5, outWidth: 4 }, ['tiled32']],
    ['whole slabs to a tap', { ...conv, channels: 16, filters: 32 }, ['tiled32']],
    [
      'whole slabs to a tap, with stride and dilation',
      { ...conv, ...same2, dilation: [1, 2], padLeft: 2, channels: 32, filters: 16 },
      ['tiled64x8'],
    ],
    ['one pixel', { ...conv, batch: 1, inputHeight: 1, inputWidth: 1, outHeight: 1, outWidth: 1 }, ['tiled32']],
  ] as [string, Conv2dKey, string[]][])('%s', async (_, key, variants) => {
    for (const job of convJobs(key)) await agreeWithPlain(job, variants)
  })

  test('split a sum over taps within a tap', async () => {
    for (const job of convJobs({ ...conv, batch: 1, channels: 64, filters: 64 }).slice(0, 2)) {
      const [plan] = await agreeWithPlain(job, ['tiled32'])
      expect(plan?.dispatches[0]?.label).toBe(`${job.product}/tiled32/splitK2`)
    }
  })

  test('split a filter gradient over its pixels', async () => {
    const key = { ...conv, batch: 19, channels: 3, filters: 5, bias: false }
    const job = convJobs(key)[2]
    if (job === undefined) throw new Error('no filter gradient')
    const [plan] = await agreeWithPlain(job, ['tiled32'])
    expect(plan?.dispatches.map((d) => d.label)).toEqual([
      'conv2d.filterGradient/tiled32/splitK3',
      'conv2d.filterGradient/tiled32/splitK3/sumPartials',
    ])
  })
})

describe('convolutions that are plain products', () => {
  const unit = { ...conv, kernelHeight: 1, kernelWidth: 1, padTop: 0, padLeft: 0 }
  const whole = { ...conv, kernelHeight: 7, kernelWidth: 6, padTop: 0, padLeft: 0, outHeight: 1, outWidth: 1 }

  test.each([
    ['1x1', unit],
    ['1x1 on 5 channels', { ...unit, channels: 5, filters: 3, bias: false }],
    ['a kernel as large as the image', whole],
  ] as [string, Conv2dKey][])('%s', async (_, key) => {
    for (const target of [targetOf(device()), { ...gpu, subgroupSize: device().subgroups.size }])
      for (const job of convJobs(key)) {
        const product = matmulOf(job.product, key)
        if (product === undefined) throw new Error('it is a product')
        const expected = (await run(job, 'plain', target)).outputs
        const byMatmul = { ...job, family: matmul, key: product }
        const { outputs } = await run(byMatmul, matmul.prefer(product, target), target)
        expected.forEach((values, i) => {
          expect(disagreement(outputs[i] ?? new Float32Array(), values, tolerance), job.product).toBeUndefined()
        })
      }
  })

  test.each([
    ['with groups', { ...unit, groups: 2 }],
    ['with padding', { ...unit, padTop: 1, outHeight: 9 }],
    ['with a stride', { ...unit, strides: [2, 2], outHeight: 4, outWidth: 3 }],
    ['that are cropped', { ...unit, outHeight: 6 }],
    ['with a dilated kernel', { ...whole, kernelHeight: 4, dilation: [2, 1] }],
    ['with windows that overlap', { ...whole, kernelHeight: 6, outHeight: 2 }],
  ] as [string, Conv2dKey][])('do not include those %s', (_, key) => {
    for (const { product } of convJobs(key)) expect(matmulOf(product, key)).toBeUndefined()
  })
})

describe('the plan for a GPU', () => {
  const preferred = <Key>(family: Family<Key>, key: Key, target = gpu): string | undefined => family.prefer(key, target)

  test('uses the largest block that leaves no core idle and pads little, with or without subgroups', () => {
    const vgg: Conv2dKey = {
      ...conv,
      ...{ batch: 32, inputHeight: 56, inputWidth: 56, outHeight: 56, outWidth: 56, channels: 256, filters: 256 },
    }
    for (const target of [gpu, { ...gpu, subgroupSize: 32 }]) {
      expect(preferred(matmul, { ...product, m: 4096, n: 4096, k: 4096 }, target)).toBe('tiled128')
      expect(preferred(matmul, { ...product, m: 4096, n: 32, k: 4096 }, target)).toBe('tiled32')
      expect(preferred(matmul, { ...product, m: 512, n: 512, k: 64 }, target)).toBe('tiled32')
      expect(preferred(matmul, { ...product, m: 1, n: 4096, k: 25088 }, target)).toBe('tiled32')
      expect(preferred(matmul, { ...product, m: 4096, n: 1, k: 64 }, target)).toBe('plain')
      for (const { family } of convJobs(conv)) expect(preferred(family, vgg, target), family.name).toBe('tiled128')
    }
  })

  test('splits a sum over as many workgroups as the variant says', () => {
    const key = { ...product, m: 32, n: 32, k: 2 ** 16 }
    const splitsOf = (variant: string): number | undefined =>
      planKernel(matmul, key, gpu, variant).dispatches[0]?.workgroups[0]
    expect([splitsOf('tiled32'), splitsOf('tiled32/128groups')]).toEqual([256, 128])
  })

  test("stays within the adapter's limits, and falls back to the plain variant", () => {
    const poor = { ...gpu, maxWorkgroupSize: 64 }
    expect(preferred(matmul, { ...product, m: 4096, n: 4096, k: 4096 }, poor)).toBe('tiled32')
    const poorer = { ...gpu, maxWorkgroupStorageBytes: 1024 }
    expect(preferred(matmul, { ...product, m: 4096, n: 4096, k: 4096 }, poorer)).toBe('plain')
  })

  test('is offered to a CPU without subgroups, and not to one with them', () => {
    const cpu: Target = { ...gpu, class: 'cpu' }
    expect(preferred(matmul, { ...product, m: 256, n: 256, k: 256 }, { ...cpu, subgroupSize: 8 })).toBe(
      'subgroupRows16',
    )
    expect(() => planKernel(matmul, product, { ...cpu, subgroupSize: 8 }, 'tiled32')).toThrow(/no variant tiled32/)
    expect(preferred(matmul, { ...product, m: 256, n: 256, k: 256 }, cpu)).toBe('tiled128')
    expect(preferred(matmul, { ...product, m: 128, n: 10, k: 256 }, cpu)).toBe('plain')
  })

  test('shares shaders between shapes', () => {
    const plans = [
      { ...product, m: 64, n: 32, k: 40 },
      { ...product, m: 4096, n: 100, k: 8 },
    ].map((key) => planKernel(matmul, key, gpu, 'tiled64'))
    expect(plans[0]?.dispatches[0]?.wgsl).toBe(plans[1]?.dispatches[0]?.wgsl)
  })
})
