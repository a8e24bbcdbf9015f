/** Rows of a tensor that is already in memory are read in place, if they start where a binding may start. */

import { describe, expect, it } from 'vitest'
import { planOf } from '../src/autograd/tensors.ts'
import { add, reshape, slice } from '../src/operators/index.ts'
import { tensor } from '../src/operators/tensor.ts'
import { useDevice } from './support/device.ts'

const device = useDevice()
const numbers = Float32Array.from({ length: 640 }, (_, i) => i)
const rows = tensor(numbers, [10, 64]) // a row is 256 bytes

const labels = (x: ReturnType<typeof add>): string[] =>
  planOf([x], { device: device() }).dispatches.map(({ label }) => label.replace(/\/.*/, ''))

describe('a slice of rows', () => {
  it('needs no kernel, and has the right numbers', async () => {
    const some = slice(rows, [3, 0], [2, -1])
    expect(labels(add(some, 1))).toEqual(['elementwise.add'])
    expect(await add(some, 1).data()).toEqual(numbers.slice(192, 320).map((x) => x + 1))
    expect(await add(slice(reshape(rows, [5, 2, 64]), [4, 0, 0], [1, 2, 64]), 0).data()).toEqual(numbers.slice(512))
  })

  it('can be the result itself', async () => {
    const some = slice(rows, [9, 0], [1, 64])
    expect(labels(some)).toEqual([])
    expect(await some.data({ device: device() })).toEqual(numbers.slice(576))
    using kept = await some.keep({ device: device() })
    expect(await kept.data()).toEqual(numbers.slice(576))
  })

  it('is copied if it is unaligned, leaves out columns, or is part of a computed tensor', async () => {
    const odd = slice(tensor(numbers, [20, 32]), [1, 0], [2, 32])
    const columns = slice(rows, [0, 0], [10, 32])
    const computed = slice(add(rows, 1), [1, 0], [2, 64])
    for (const some of [odd, columns, computed]) expect(labels(add(some, 1))).toContain('slice')
    expect(await odd.data()).toEqual(numbers.slice(32, 96))
    expect((await columns.data())[32]).toBe(64)
    expect((await computed.data())[0]).toBe(65)
  })
})
