/**
 * Every activation gives the same bits whether a kernel applies it to its result or an elementwise kernel does, in
 * every variant: for NaN, infinities, denormals, numbers near zero and large ones.
 */
import { describe, expect, test } from 'vitest'
import type { Conv2dKey } from '../src/kernels/conv2d/conv2d.ts'
import { conv2dForward } from '../src/kernels/conv2d/conv2d.ts'
import type { Conv2dPoolKey } from '../src/kernels/conv2d/quad/pooled.ts'
import { conv2dPool } from '../src/kernels/conv2d/quad/pooled.ts'
import { elementwise } from '../src/kernels/elementwise/elementwise.ts'
import type { Dispatch, Family, KernelPlan, Target } from '../src/kernels/kernel.ts'
import { planKernel } from '../src/kernels/kernel.ts'
import type { MatmulKey } from '../src/kernels/matmul/matmul.ts'
import { matmul } from '../src/kernels/matmul/matmul.ts'
import type { FusedActivation } from '../src/kernels/wgsl/activation.ts'
import { activationFunction } from '../src/kernels/wgsl/activation.ts'
import type { FloatType } from '../src/kernels/wgsl/functions.ts'
import { activations, declareFunctions, widths } from '../src/kernels/wgsl/functions.ts'
import { useDevice } from './support/device.ts'
import type { ElementwiseKind } from './support/elementwise-step.ts'
import { step } from './support/elementwise-step.ts'
import type { HostArray } from './support/run-plan.ts'
import { runPlan, targetOf } from './support/run-plan.ts'

type Numbers = Float32Array<ArrayBuffer>

const device = useDevice()
const kinds = Object.keys(activations) as Exclude<FusedActivation, 'linear'>[]

const magnitudes = [
  0,
  1e-45,
  1e-40,
  1.2e-38,
  1e-6,
  1e-3,
  0.3,
  0.6249999,
  0.625,
  1,
  9.99,
  10.01,
  20,
  88,
  104,
  1e4,
  3e38,
  Infinity,
]
const specials = [Number.NaN, Number.NaN, ...magnitudes, ...magnitudes.map((x) => -x)]

function targets(): Target[] {
  return [
    targetOf(device()),
    targetOf(device(), { class: 'gpu' }),
    targetOf(device(), { class: 'gpu', subgroupSize: undefined }),
  ]
}

/** All NaN count as equal: WGSL does not say which NaN arithmetic gives. */
function bitsOf(numbers: HostArray | undefined): number[] {
  const values = numbers instanceof Float32Array ? numbers : new Float32Array()
  return [...new Uint32Array(values.map((x) => (Number.isNaN(x) ? Number.NaN : x)).buffer)]
}

/** The numbers after the elementwise kernels, all of whose variants must agree. */
async function unfused(kind: ElementwiseKind, ...inputs: Numbers[]): Promise<Numbers> {
  const count = inputs[0]?.length ?? 0
  const steps = [
    ...inputs.map((_, index) => ({ kind: 'input', index }) as const),
    step(
      kind,
      inputs.map((_, index) => index),
    ),
  ]
  const operands = inputs.map(() => ({ shape: [count], dtype: 'f32' }) as const)
  const key = { shape: [count], inputs: operands, steps, output: 'f32' } as const
  const results: Numbers[] = []
  for (const { name } of elementwise.variants) {
    const plan = planKernel(elementwise, key, targetOf(device()), name)
    const [result] = await runPlan(device(), plan, inputs, [new Float32Array(count).fill(7)])
    results.push(result)
  }
  const [first = new Float32Array(), ...others] = results
  for (const other of others) expect(bitsOf(other), kind).toEqual(bitsOf(first))
  return first
}

interface Fused<Key> {
  readonly family: Family<Key>
  readonly key: (activation: FusedActivation) => Key
  readonly inputs: readonly HostArray[]
  readonly count: number
}

/** Full tests compile a kernel with each activation, as users run it; others compile one that has them all. */
const compilesEach = process.env.WEFTGRAD_TEST_FULL === '1'
const types = Object.keys(widths) as FloatType[]

/** The text of a kernel that applies an activation, from its text without one. */
function activated(linear: string, functionOf: (type: FloatType) => string): string {
  return types.reduce((text, type) => text.replace(activationFunction('linear', type), functionOf(type)), linear)
}

/** The statements of the function `activate`, which comes last. */
const bodyOf = (text: string): string => text.slice(text.indexOf('{', text.lastIndexOf('fn activate(')) + 1, -1)

/** A kernel without an activation, changed to apply the one of this number among `kinds`, which a uniform chooses. */
function choosing(plan: KernelPlan, chosen: number): KernelPlan {
  const functions = kinds.map((kind) => activations[kind])
  const functionOf = (type: FloatType): string => `${declareFunctions(functions, widths[type])}
fn activate(x: ${type}) -> ${type} {
  switch u.chosen {
${kinds.map((kind, i) => `    case ${i}u: {${bodyOf(activationFunction(kind, type))}}`).join('\n')}
    default: { return x; }
  }
}`
  const dispatches = plan.dispatches.map((one): Dispatch => {
    const wgsl = activated(one.wgsl, functionOf)
    if (wgsl === one.wgsl) return one
    const [groups = 0, firstGroup = 0, ...others] = one.uniforms
    const uniforms = Uint32Array.of(groups, firstGroup, chosen, ...others, 0, 0, 0)
    return { ...one, wgsl: wgsl.replace('  firstGroup: u32,', '  firstGroup: u32,\n  chosen: u32,'), uniforms }
  })
  return { ...plan, dispatches }
}

/** Runs every variant with and without the activation. Without it, the result goes through the elementwise kernel. */
async function expectOneText<Key>({ family, key, inputs, count }: Fused<Key>): Promise<void> {
  const run = async (plan: KernelPlan): Promise<Numbers> => {
    const [result] = await runPlan(device(), plan, inputs, [new Float32Array(count).fill(7)])
    return result
  }
  for (const [i, target] of targets().entries())
    for (const { name, supports } of family.variants) {
      if (!supports(key('linear'), target)) continue
      const linear = planKernel(family, key('linear'), target, name)
      const plain = await run(compilesEach ? linear : choosing(linear, kinds.length))
      for (const [chosen, kind] of kinds.entries()) {
        const what = `${kind} in ${family.name}, ${name}, target ${i}`
        const fused = planKernel(family, key(kind), target, name)
        // Kernels differ in that function alone, so that one with all of them shows what each does.
        expect(
          linear.dispatches.map(({ wgsl }) => activated(wgsl, (type) => activationFunction(kind, type))),
          what,
        ).toEqual(fused.dispatches.map(({ wgsl }) => wgsl))
        const result = await run(compilesEach ? fused : choosing(linear, chosen))
        expect(bitsOf(result), what).toEqual(bitsOf(await unfused(kind, plain)))
      }
    }
}

const product: MatmulKey = {
  ...{ batch: 1, m: specials.length, n: 1, k: 1, transposeA: false, transposeB: false },
  ...{ batchedA: false, batchedB: false, bias: false, activation: 'linear' },
}
const ones = (count: number): Numbers => new Float32Array(count).fill(1)

describe('an activation fused into a kernel gives the same bits as the elementwise one', () => {
  // As f32, vec2f and vec4f: it depends on the columns per lane.
  test.each([1, 16, 32])('matmul, %i columns', { timeout: 120_000 }, async (n) => {
    const inputs = [Float32Array.from(specials), ones(n)]
    const key = (activation: FusedActivation): MatmulKey => ({ ...product, n, activation })
    await expectOneText({ family: matmul, key, inputs, count: specials.length * n })
  })

  test('matmul with a split sum', { timeout: 120_000 }, async () => {
    const k = 1024
    const left = new Float32Array(specials.length * k)
    specials.forEach((x, row) => {
      left[row * k] = x
    })
    const key = (activation: FusedActivation): MatmulKey => ({ ...product, k, activation })
    await expectOneText({ family: matmul, key, inputs: [left, ones(k)], count: specials.length })
  })

  test('conv2d, in every variant', { timeout: 120_000 }, async () => {
    const side = Math.ceil(specials.length / 2)
    const filters = 4
    const pixels = Float32Array.from({ length: 2 * side }, (_, i) => specials[i] ?? 0)
    const shape: Conv2dKey = {
      ...{ batch: side, inputHeight: 2, inputWidth: 2, channels: 1, outHeight: 2, outWidth: 2, filters, groups: 1 },
      ...{ kernelHeight: 1, kernelWidth: 1, strides: [1, 1], dilation: [1, 1], padTop: 0, padLeft: 0 },
      ...{ bias: false, activation: 'linear' },
    }
    const images = new Float32Array(4 * side)
    images.set(pixels)
    const key = (activation: FusedActivation): Conv2dKey => ({ ...shape, activation })
    await expectOneText({ family: conv2dForward, key, inputs: [images, ones(filters)], count: images.length * filters })
  })
})

describe("relu's derivative fused into a kernel gives the same bits as the elementwise one", () => {
  test('the mask of a product', { timeout: 120_000 }, async () => {
    const n = 4
    const key: MatmulKey = { ...product, n, mask: true }
    const mask = Float32Array.from({ length: specials.length * n }, (_, i) => specials[i % specials.length] ?? 0)
    const zeros = new Float32Array(mask.length)
    const positive = await unfused('greater', mask, zeros)
    const expected = await unfused('where', positive, ones(mask.length), zeros)
    for (const [i, target] of targets().entries())
      for (const { name, supports } of matmul.variants) {
        if (!supports(key, target)) continue
        const inputs = [ones(specials.length), ones(n), mask]
        const [result] = await runPlan(device(), planKernel(matmul, key, target, name), inputs, [zeros])
        expect(bitsOf(result), `${name}, target ${i}`).toEqual(bitsOf(expected))
      }
  })

  test('pooling and relu in one kernel, and which gradients pass', async () => {
    const width = 8
    const windows = Math.ceil(specials.length / (width / 2)) * (width / 2)
    const height = (windows / (width / 2)) * 2
    // Every window holds one of the numbers four times.
    const image = Float32Array.from({ length: height * width }, (_, i) => {
      const [y, x] = [Math.floor(i / width), i % width]
      return specials[Math.floor(y / 2) * (width / 2) + Math.floor(x / 2)] ?? 0
    })
    const key: Conv2dPoolKey = {
      ...{
        batch: 1,
        inputHeight: height,
        inputWidth: width,
        channels: 1,
        outHeight: height,
        outWidth: width,
        filters: 2,
        groups: 1,
      },
      ...{ kernelHeight: 1, kernelWidth: 1, strides: [1, 1], dilation: [1, 1], padTop: 0, padLeft: 0 },
      ...{ bias: false, activation: 'linear' },
    }
    for (const [i, target] of targets().entries())
      for (const { name, supports } of conv2dPool.variants) {
        if (!supports(key, target)) continue
        const run = (activation: 'linear' | 'relu') =>
          runPlan(device(), planKernel(conv2dPool, { ...key, activation }, target, name), [image, ones(2)], [
            new Float32Array(2 * windows),
            new Uint32Array(2 * windows),
          ] as const)
        const what = `${name}, target ${i}`
        const [plain] = await run('linear')
        const [activated, codes] = await run('relu')
        expect(bitsOf(activated), what).toEqual(bitsOf(await unfused('relu', plain)))
        const passes = await unfused('greater', activated, new Float32Array(2 * windows))
        expect(
          [...codes].map((code) => (code === 4 ? 0 : 1)),
          what,
        ).toEqual([...passes])
      }
  })
})
