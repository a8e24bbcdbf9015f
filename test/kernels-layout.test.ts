/** Transpose, slice, pad and concatenate: every variant moves every element where it belongs. */
import { describe, expect, it } from 'vitest'
import type { Family, Shape } from '../src/kernels/kernel.ts'
import { elementCount, planKernel, stridesOf } from '../src/kernels/kernel.ts'
import type { PadKey, SliceKey } from '../src/kernels/movement/copy.ts'
import { concatenate, pad, slice } from '../src/kernels/movement/copy.ts'
import type { TransposeKey } from '../src/kernels/movement/transpose.ts'
import { transpose } from '../src/kernels/movement/transpose.ts'
import { useDevice } from './support/device.ts'
import type { HostArray } from './support/run-plan.ts'
import { runPlan, targetOf } from './support/run-plan.ts'

const device = useDevice()

async function expectAll<Key>(
  family: Family<Key>,
  key: Key,
  inputs: readonly HostArray[],
  expected: number[],
): Promise<void> {
  for (const kind of ['cpu', 'gpu'] as const) {
    const target = targetOf(device(), { class: kind })
    for (const variant of family.variants) {
      if (!variant.supports(key, target)) continue
      const poison = new Float32Array(expected.length).fill(-7)
      const [result] = await runPlan(device(), planKernel(family, key, target, variant.name), inputs, [poison])
      expect(Array.from(result), `${variant.name} for a ${kind}`).toEqual(expected)
    }
  }
}

const counted = (count: number, from = 1) => Float32Array.from({ length: count }, (_, i) => i + from)

/** The coordinates of every element of a tensor, in order. */
function coordinates(shape: Shape): number[][] {
  const strides = stridesOf(shape)
  return Array.from({ length: elementCount(shape) }, (_, i) =>
    shape.map((extent, axis) => Math.floor(i / (strides[axis] ?? 1)) % extent),
  )
}

const offset = (shape: Shape, at: readonly number[]): number =>
  stridesOf(shape).reduce((sum, stride, axis) => sum + stride * (at[axis] ?? 0), 0)

describe('transpose', () => {
  it.each([
    [[], []],
    [[5], [0]],
    [
      [3, 5],
      [1, 0],
    ],
    [
      [8, 12],
      [1, 0],
    ], // blocks
    [
      [4, 8],
      [0, 1],
    ],
    [
      [3, 4, 8],
      [0, 2, 1],
    ],
    [
      [3, 4, 8],
      [2, 0, 1],
    ],
    [
      [3, 4, 8],
      [1, 0, 2],
    ], // vec4
    [
      [4, 3, 8, 4],
      [3, 2, 1, 0],
    ],
    [
      [1, 4, 1, 4],
      [3, 2, 1, 0],
    ],
    [
      [2, 3, 4, 2, 3, 2, 2, 4],
      [7, 5, 3, 1, 0, 2, 4, 6],
    ],
    [
      [101, 67],
      [1, 0],
    ],
    [
      [64, 132],
      [1, 0],
    ],
  ] as [number[], number[]][])('moves %j by %j', async (shape, permutation) => {
    const turned = permutation.map((axis) => shape[axis] ?? 1)
    const expected = coordinates(turned).map((at) => {
      const from = shape.map((_, axis) => at[permutation.indexOf(axis)] ?? 0)
      return offset(shape, from) + 1
    })
    await expectAll(transpose, { shape, permutation }, [counted(elementCount(shape))], expected)
  })

  it.each([
    { shape: [2, 3], permutation: [0] },
    { shape: [2, 3], permutation: [0, 0] },
    { shape: [2, 3], permutation: [0, 2] },
    { shape: [2, 0], permutation: [0, 1] },
  ] as TransposeKey[])('refuses %j', (key) => {
    expect(() => planKernel(transpose, key, targetOf(device()))).toThrow(expect.objectContaining({ code: 'shape' }))
  })
})

describe('slice', () => {
  it.each([
    [[], [], []],
    [[5], [1], [3]],
    [[8], [4], [4]],
    [
      [8, 8],
      [2, 4],
      [3, 4],
    ],
    [
      [8, 7],
      [2, 3],
      [3, 3],
    ],
    [
      [8, 8],
      [2, 0],
      [3, 8],
    ],
    [
      [4, 5, 8],
      [1, 2, 0],
      [3, 2, 8],
    ],
    [
      [4, 5, 6],
      [1, 1, 1],
      [2, 3, 4],
    ],
    [
      [3, 4],
      [2, 3],
      [1, 1],
    ],
    [
      [70, 40],
      [7, 8],
      [60, 16],
    ],
  ] as [number[], number[], number[]][])('cuts out of %j from %j the size %j', async (shape, begin, size) => {
    const expected = coordinates(size).map(
      (at) =>
        offset(
          shape,
          at.map((n, axis) => n + (begin[axis] ?? 0)),
        ) + 1,
    )
    await expectAll(slice, { shape, begin, size }, [counted(elementCount(shape))], expected)
  })

  it.each([
    { shape: [4], begin: [2], size: [3] },
    { shape: [4], begin: [-1], size: [3] },
    { shape: [4], begin: [0], size: [0] },
    { shape: [4, 4], begin: [0], size: [1] },
  ] as SliceKey[])('refuses %j', (key) => {
    expect(() => planKernel(slice, key, targetOf(device()))).toThrow(expect.objectContaining({ code: 'shape' }))
  })
})

describe('pad', () => {
  it.each([
    [[], [], []],
    [[5], [1], [2]],
    [[4], [4], [8]],
    [
      [2, 5, 5, 3],
      [0, 1, 2, 0],
      [0, 2, 0, 0],
    ],
    [
      [2, 5, 5, 4],
      [0, 1, 2, 0],
      [0, 2, 0, 0],
    ],
    [
      [3, 3],
      [1, 1],
      [1, 1],
    ],
    [
      [1, 1, 4],
      [0, 3, 0],
      [0, 0, 4],
    ],
    [
      [2, 3, 4],
      [0, 0, 0],
      [0, 0, 0],
    ],
  ] as [number[], number[], number[]][])(
    'puts borders around %j: %j before, %j after',
    async (shape, before, after) => {
      const padded = shape.map((extent, axis) => extent + (before[axis] ?? 0) + (after[axis] ?? 0))
      for (const value of [0, Number.NEGATIVE_INFINITY, Number.NaN]) {
        const expected = coordinates(padded).map((at) => {
          const from = at.map((n, axis) => n - (before[axis] ?? 0))
          return from.every((n, axis) => n >= 0 && n < (shape[axis] ?? 1)) ? offset(shape, from) + 1 : value
        })
        await expectAll(pad, { shape, before, after, value }, [counted(elementCount(shape))], expected)
      }
    },
  )

  it('pads u32 tensors with whole numbers', async () => {
    const plan = planKernel(
      pad,
      { shape: [2], before: [1], after: [1], value: 2 ** 32 - 1, dtype: 'u32' },
      targetOf(device()),
    )
    const [result] = await runPlan(device(), plan, [Uint32Array.of(5, 6)], [new Uint32Array(4)])
    expect(Array.from(result)).toEqual([2 ** 32 - 1, 5, 6, 2 ** 32 - 1])
  })

  it.each([
    [{ shape: [4], before: [-1], after: [0], value: 0 }, 'shape'],
    [{ shape: [4], before: [], after: [0], value: 0 }, 'shape'],
    [{ shape: [4], before: [1], after: [0], value: -1, dtype: 'u32' }, 'argument'],
  ] as [PadKey, string][])('refuses %j', (key, code) => {
    expect(() => planKernel(pad, key, targetOf(device()))).toThrow(expect.objectContaining({ code }))
  })
})

describe('concatenate', () => {
  it.each([
    [0, [[3], [4]]],
    [0, [[3]]],
    [
      1,
      [
        [2, 3],
        [2, 1],
        [2, 5],
      ],
    ],
    [
      1,
      [
        [2, 4],
        [2, 8],
      ],
    ],
    [
      0,
      [
        [2, 3],
        [4, 3],
      ],
    ],
    [
      1,
      [
        [3, 2, 4],
        [3, 5, 4],
      ],
    ],
    [
      1,
      [
        [100, 3],
        [100, 70],
      ],
    ],
    [1, Array.from({ length: 15 }, (_, i) => [7, i + 1, 2])], // three dispatches
    [2, Array.from({ length: 13 }, (_, i) => [5, 3, 4 * i + 4])],
  ] as [number, number[][]][])('joins along axis %d: %j', async (axis, shapes) => {
    const inputs = shapes.map((shape, i) => counted(elementCount(shape), 10_000 * i))
    const rows = elementCount(shapes[0]?.slice(0, axis) ?? [])
    const expected: number[] = []
    for (let row = 0; row < rows; row++) {
      for (const own of inputs)
        expected.push(...own.subarray((row * own.length) / rows, ((row + 1) * own.length) / rows))
    }
    await expectAll(concatenate, { shapes, axis }, inputs, expected)
  })

  it.each([
    { shapes: [], axis: 0 },
    { shapes: [[2], [2]], axis: 1 },
    {
      shapes: [
        [2, 3],
        [3, 3],
      ],
      axis: 1,
    },
    { shapes: [[2, 3], [2]], axis: 0 },
    {
      shapes: [
        [2, 3],
        [0, 3],
      ],
      axis: 0,
    },
  ])('refuses %j', (key) => {
    expect(() => planKernel(concatenate, key, targetOf(device()))).toThrow(expect.objectContaining({ code: 'shape' }))
  })
})
