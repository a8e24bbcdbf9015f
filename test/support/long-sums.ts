/** Sums of many equal terms, in every variant of a kernel that adds. */
import { expect } from 'vitest'
import type { Device } from '../../src/gpu/device.ts'
import type { Family, KernelPlan } from '../../src/kernels/kernel.ts'
import { planKernel } from '../../src/kernels/kernel.ts'
import { elementwiseError } from './compare.ts'
import type { HostArray } from './run-plan.ts'
import { runPlan, targetOf } from './run-plan.ts'

export type Numbers = Float32Array<ArrayBuffer>

/** A million terms take minutes on a CPU: only the full tests use that many, the others a tenth. */
export const side = process.env.WEFTGRAD_TEST_FULL === '1' ? 1000 : 320
export const manyTerms = side * side
export const bound = 2e-6
export const tenth = Math.fround(0.1)

export const ones = (count: number): Numbers => new Float32Array(count).fill(1)
export const tenths = (count: number): Numbers => new Float32Array(count).fill(0.1)

interface LongSums {
  /**
   * The variants' results, as planned for this adapter, and for GPUs with and without subgroups; equal plans only once.
   */
  eachResult<Key>(
    family: Family<Key>,
    key: Key,
    inputs: readonly HostArray[],
    sizes: readonly number[],
    check: (outputs: readonly HostArray[], what: string) => void,
  ): Promise<void>
  /** Expects every number of output `output` to be `expected`. */
  expectSums<Key>(
    family: Family<Key>,
    key: Key,
    inputs: readonly HostArray[],
    sizes: readonly number[],
    expected: number,
    output?: number,
  ): Promise<void>
}

/** Checks kernels on a device. */
export function longSumsOn(device: () => Device): LongSums {
  async function eachResult<Key>(
    family: Family<Key>,
    key: Key,
    inputs: readonly HostArray[],
    sizes: readonly number[],
    check: (outputs: readonly HostArray[], what: string) => void,
  ): Promise<void> {
    const seen = new Set<string>()
    const targets = [
      targetOf(device()),
      targetOf(device(), { class: 'gpu' }),
      targetOf(device(), { class: 'gpu', subgroupSize: undefined }),
    ]
    for (const [i, target] of targets.entries()) {
      for (const variant of family.variants) {
        if (!variant.supports(key, target)) continue
        const plan = planKernel(family, key, target, variant.name)
        if (!isNew(seen, plan)) continue
        const poison = sizes.map((size) => new Float32Array(size).fill(Number.NaN))
        check(await runPlan(device(), plan, inputs, poison), `${family.name}, ${variant.name}, target ${i}`)
      }
    }
  }

  async function expectSums<Key>(
    family: Family<Key>,
    key: Key,
    inputs: readonly HostArray[],
    sizes: readonly number[],
    expected: number,
    output = 0,
  ): Promise<void> {
    await eachResult(family, key, inputs, sizes, (outputs, what) => {
      expect(
        elementwiseError(outputs[output] ?? [Number.NaN], () => expected),
        what,
      ).toBeLessThan(bound)
    })
  }

  return { eachResult, expectSums }
}

function isNew(seen: Set<string>, plan: KernelPlan): boolean {
  const text = JSON.stringify(
    plan.dispatches.map(({ wgsl, uniforms, workgroups }) => [wgsl, [...uniforms], workgroups]),
  )
  if (seen.has(text)) return false
  seen.add(text)
  return true
}
