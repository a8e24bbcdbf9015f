/** The random number generator, compared with its published vectors, and dropout. */
import { describe, expect, it } from 'vitest'
import type { DropoutKey } from '../src/kernels/elementwise/dropout.ts'
import { dropout } from '../src/kernels/elementwise/dropout.ts'
import type { Dispatch, KernelPlan } from '../src/kernels/kernel.ts'
import { dispatch, input, output, planKernel, reads, writes } from '../src/kernels/kernel.ts'
import { threefryFunction } from '../src/kernels/wgsl/random.ts'
import { useDevice } from './support/device.ts'
import { runPlan, targetOf } from './support/run-plan.ts'

const device = useDevice()
const alone = (only: Dispatch): KernelPlan => ({ variant: 'test', dispatches: [only], scratchBytes: [], flops: 0 })

describe('threefry4x32', () => {
  it('gives the answers that its authors published for 20 rounds (Random123, tests/kat_vectors)', async () => {
    const pi = [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0, 0x082efa98, 0xec4e6c89]
    const kernel = dispatch({
      label: 'test.threefry',
      bindings: [reads('questions', input(0), 'vec4u'), writes('answers', output(0), 'vec4u')],
      workgroupSize: 8,
      workgroups: 1,
      declarations: threefryFunction,
      body: '  if (index < 3u) { answers[index] = threefry4x32(questions[2u * index], questions[2u * index + 1u]); }',
    })
    const questions = Uint32Array.of(...Array(8).fill(0), ...Array(8).fill(0xffffffff), ...pi)
    const [answers] = await runPlan(device(), alone(kernel), [questions], [new Uint32Array(12)])
    // biome-ignore format: a row a vector
    expect(Array.from(answers)).toEqual([
      0x9c6ca96a, 0xe17eae66, 0xfc10ecd4, 0x5256a7d8,
      0x2a881696, 0x57012287, 0xf6c7446e, 0xa16a6732,
      0x59cd1dbb, 0xb8879579, 0x86b5d00c, 0xac8b6d84,
    ])
  })

  it('becomes floats in [0, 1) whose mean and variance are those of the uniform distribution', async () => {
    const blocks = 1 << 14
    const kernel = dispatch({
      label: 'test.unitInterval',
      bindings: [writes('result', output(0), 'vec4f')],
      workgroupSize: 64,
      workgroups: blocks / 64,
      declarations: threefryFunction,
      body: `
  let words = threefry4x32(vec4u(index, 0u, 0u, 0u), vec4u(1u, 2u, 3u, 4u));
  result[index] = vec4f(words >> vec4u(8u)) * 5.9604644775390625e-8; // multiples of 2^-24`,
    })
    const [values] = await runPlan(device(), alone(kernel), [], [new Float32Array(4 * blocks)])
    const mean = values.reduce((sum, x) => sum + x, 0) / values.length
    const variance = values.reduce((sum, x) => sum + (x - mean) ** 2, 0) / values.length
    expect(values.every((x) => x >= 0 && x < 1)).toBe(true)
    expect(mean).toBeCloseTo(0.5, 2) // 0.0011 is one standard error
    expect(variance).toBeCloseTo(1 / 12, 2)
  })
})

describe('dropout', () => {
  async function masked(key: DropoutKey, step = 0, kind: 'cpu' | 'gpu' = 'cpu'): Promise<Float32Array> {
    const x = new Float32Array(key.count).fill(3)
    const plan = planKernel(dropout, key, targetOf(device(), { class: kind }))
    const [result] = await runPlan(device(), plan, [x, Uint32Array.of(step, 9)], [new Float32Array(key.count)] as const)
    return result
  }
  const key: DropoutKey = { count: 40_001, rate: 0.25, seed: 7, stream: 2 }

  it('drops numbers at the given rate, and scales the rest by 1 / (1 - rate)', async () => {
    for (const rate of [0, 0.1, 0.5, 0.9]) {
      const result = await masked({ ...key, rate })
      const kept = result.filter((x) => x !== 0)
      expect(kept.length / result.length).toBeCloseTo(1 - rate, 2) // 0.0025 is one standard error
      expect(kept.every((x) => x === Math.fround(3 * Math.fround(1 / (1 - rate))))).toBe(true)
    }
  })

  it('repeats the mask for the same seed, stream and step, on every kind of adapter', async () => {
    const first = await masked(key, 5)
    expect(await masked(key, 5)).toEqual(first)
    expect(await masked(key, 5, 'gpu')).toEqual(first)
  })

  it('makes unrelated masks for other seeds, streams and steps', async () => {
    const first = await masked(key)
    const others = [await masked(key, 1), await masked({ ...key, seed: 8 }), await masked({ ...key, stream: 3 })]
    others.push(await masked({ ...key, seed: 7 + 2 ** 32 }))
    for (const other of others) {
      const equal = first.filter((x, i) => x === other[i]).length / first.length
      expect(equal).toBeCloseTo(0.75 ** 2 + 0.25 ** 2, 1)
    }
  })

  it('continues the same mask for a longer tensor', async () => {
    const short = await masked({ ...key, count: 1001 })
    expect(short).toEqual((await masked(key)).subarray(0, 1001))
  })

  it('drops NaN to exactly zero and keeps the others', async () => {
    const count = 64
    const plan = planKernel(dropout, { ...key, count, rate: 0.5 }, targetOf(device()))
    const inputs = [new Float32Array(count).fill(Number.NaN), Uint32Array.of(0)]
    const [result] = await runPlan(device(), plan, inputs, [new Float32Array(count)])
    const dropped = result.filter((x) => x === 0).length
    expect(dropped).toBeGreaterThan(16)
    expect(result.filter((x) => Number.isNaN(x))).toHaveLength(count - dropped)
  })

  it.each([
    [{ ...key, rate: 1 }, 'argument'],
    [{ ...key, rate: -0.1 }, 'argument'],
    [{ ...key, rate: Number.NaN }, 'argument'],
    [{ ...key, seed: -1 }, 'argument'],
    [{ ...key, seed: 0.5 }, 'argument'],
    [{ ...key, stream: 2 ** 32 }, 'argument'],
    [{ ...key, count: 0 }, 'shape'],
  ] as [DropoutKey, string][])('refuses %j', (refused, code) => {
    expect(() => planKernel(dropout, refused, targetOf(device()))).toThrow(expect.objectContaining({ code }))
  })
})
