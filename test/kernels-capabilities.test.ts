/**
 * How variants declare what they support: a key with a feature that a variant lacks is refused, whatever other
 * conditions hold.
 */
import { expect, test } from 'vitest'
import { conv2dFilterGradient, conv2dForward, conv2dInputGradient } from '../src/kernels/conv2d/conv2d.ts'
import { depthwise, depthwiseFilterGradient, depthwiseInputGradient } from '../src/kernels/depthwise/depthwise.ts'
import { elementwise } from '../src/kernels/elementwise/elementwise.ts'
import type { Target } from '../src/kernels/kernel.ts'
import { capabilities } from '../src/kernels/kernel.ts'
import { matmul } from '../src/kernels/matmul/matmul.ts'
import { gatherRows, gatherRowsGradient } from '../src/kernels/movement/gather.ts'
import { averagePool, averagePoolGradient } from '../src/kernels/pool/average.ts'
import { maxPool, maxPoolGather, maxPoolGradient } from '../src/kernels/pool/pool.ts'
import { reduce } from '../src/kernels/reduce/reduce.ts'
import { crossEntropy, softmax } from '../src/kernels/reduce/softmax.ts'

const target: Target = { class: 'cpu', subgroupSize: 8, maxWorkgroupSize: 256, maxWorkgroupStorageBytes: 16_384 }

interface Key {
  readonly count: number
  readonly groups: number
  readonly strides: readonly [number, number]
  readonly mask?: boolean
}
const key: Key = { count: 4, groups: 1, strides: [1, 1] }
const supports = capabilities<Key, 'groups' | 'strides' | 'mask'>({ groups: 1, strides: [1, 1], mask: false })

test('a variant refuses the features that it lacks, and no others', () => {
  const strided = supports({ groups: false, strides: true, mask: false })
  expect(strided(key, target)).toBe(true)
  expect(strided({ ...key, strides: [1, 2] }, target)).toBe(true)
  expect(strided({ ...key, mask: false }, target)).toBe(true)
  expect(strided({ ...key, groups: 2 }, target)).toBe(false)
  expect(strided({ ...key, mask: true }, target)).toBe(false)
  expect(supports({ groups: true, strides: false, mask: true })({ ...key, strides: [1, 2] }, target)).toBe(false)
})

test("a variant's further conditions are checked only for keys that it supports", () => {
  const even = supports({ groups: false, strides: false, mask: false }, ({ count, groups }) => {
    expect(groups).toBe(1)
    return count % 2 === 0
  })
  expect([even(key, target), even({ ...key, count: 3 }, target), even({ ...key, groups: 2 }, target)]).toEqual([
    true,
    false,
    false,
  ])
})

test('a feature that a variant does not name does not compile', () => {
  // @ts-expect-error `groups` is missing.
  expect(supports({ strides: true, mask: true })({ ...key, groups: 2 }, target)).toBe(false)
})

test('the reference variant is called plain, and no two variants of a family share a name', () => {
  const convolutions = [conv2dForward, conv2dInputGradient, conv2dFilterGradient]
  const depthwises = [depthwise, depthwiseInputGradient, depthwiseFilterGradient]
  const pools = [maxPool, maxPoolGather, maxPoolGradient, averagePool, averagePoolGradient]
  const others = [matmul, elementwise, reduce, softmax, crossEntropy, gatherRows, gatherRowsGradient]
  for (const { name, variants } of [...convolutions, ...depthwises, ...pools, ...others]) {
    const names = variants.map((variant) => variant.name)
    expect(names[0], name).toBe('plain')
    expect(new Set(names).size, name).toBe(names.length)
  }
})
