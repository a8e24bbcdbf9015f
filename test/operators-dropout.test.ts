/** Dropout has no plain reference, because its mask is random. These tests check what must hold for any mask. */
import { expect, test } from 'vitest'
import type { Tensor } from '../src/index.ts'
import { dropout, gradients, sum, tensor } from '../src/index.ts'
import { useDevice } from './support/device.ts'
import { numbersOn } from './support/gradients.ts'

const device = useDevice()
const count = 10_000
const rate = 0.3

const numbers = numbersOn(device)

const ones = (): Tensor => tensor(new Float32Array(count).fill(1))
const counter = (step: number): Tensor => tensor([step], [1], 'u32')

test('dropout zeroes the given share, and scales the rest to keep the mean', async () => {
  const [y = []] = await numbers(dropout(ones(), { rate, seed: 1 }))
  const kept = y.filter((value) => value !== 0)
  for (const value of kept) expect(value).toBeCloseTo(1 / (1 - rate), 5)
  // Five standard deviations of a binomial distribution.
  expect(Math.abs(kept.length - count * (1 - rate))).toBeLessThan(5 * Math.sqrt(count * rate * (1 - rate)))
})

test('dropout has no pattern: neighbours, rows and halves are zeroed independently', async () => {
  const [y = []] = await numbers(dropout(ones(), { rate: 0.5, seed: 2 }))
  for (const distance of [1, 2, 4, 8, 32, 64, 100, 5000]) {
    const both = y.filter((value, i) => value !== 0 && y[(i + distance) % count] !== 0).length
    expect(Math.abs(both - count / 4)).toBeLessThan(6 * Math.sqrt((count * 3) / 16))
  }
})

test('dropout gives the same mask for the same seed, stream and counter, and a different one for others', async () => {
  const x = ones()
  const [first, again, otherSeed, otherStream, otherStep] = await numbers(
    dropout(x, { rate, seed: 3, counter: counter(5) }),
    dropout(x, { rate, seed: 3, counter: counter(5) }),
    dropout(x, { rate, seed: 4, counter: counter(5) }),
    dropout(x, { rate, seed: 3, stream: 1, counter: counter(5) }),
    dropout(x, { rate, seed: 3, counter: counter(6) }),
  )
  expect(again).toEqual(first)
  for (const other of [otherSeed, otherStream, otherStep]) expect(other).not.toEqual(first)
})

test('the gradient of dropout passes where the forward pass did, by the same factor', async () => {
  const x = tensor(Float32Array.from({ length: count }, (_, i) => 1 + i / count))
  const y = dropout(x, { rate, seed: 5, counter: counter(7) })
  const [dx] = gradients(sum(y), [x])
  if (dx === undefined) throw new Error('one input gives one gradient')
  const [forward = [], backward = []] = await numbers(y, dx)
  backward.forEach((derivative, i) => {
    const expected = forward[i] === 0 ? 0 : 1 / (1 - rate)
    if (Math.abs(derivative - expected) > 1e-5) throw new Error(`element ${i}: ${derivative}, not ${expected}`)
  })
})

test('a dropout rate of 0 changes nothing', async () => {
  const x = tensor(Float32Array.from({ length: 100 }, (_, i) => i))
  const [y, same] = await numbers(dropout(x, { rate: 0, seed: 1 }), x)
  expect(y).toEqual(same)
})

test('dropout drops NaN and infinities like other numbers, and otherwise keeps them', async () => {
  const specials = Float32Array.from({ length: 1000 }, (_, i) => (i % 2 === 0 ? Number.NaN : Number.POSITIVE_INFINITY))
  const [y = []] = await numbers(dropout(tensor(specials), { rate: 0.5, seed: 1 }))
  y.forEach((value, i) => {
    if (value !== 0) expect(value).toBe(specials[i])
  })
  expect(y.filter((value) => value === 0).length).toBeGreaterThan(400)
  expect(y.filter((value) => value === 0).length).toBeLessThan(600)
})
