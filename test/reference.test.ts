/** The float64 definitions of gradients that benchmarks use, compared with differences of the forward definitions. */
import { describe, expect, test } from 'vitest'
import { cotangentOf, inputsOf } from './cases/case.ts'
import { cases } from './cases.ts'
import { define, elementOf } from './reference/array64.ts'
import { elementDerivative } from './reference/differences.ts'
import { disagreement } from './support/compare.ts'

const benchmarks = cases.flatMap((testCase) => (testCase.bench ?? []).map((benchmark) => ({ testCase, benchmark })))

test('every benchmark has a unique name, and a shape for each input', () => {
  const names = benchmarks.map(({ benchmark }) => benchmark.name)
  expect(new Set(names).size).toBe(names.length)
  for (const { testCase, benchmark } of benchmarks)
    expect(benchmark.shapes, benchmark.name).toHaveLength(testCase.inputs.length)
})

/** One per case and input: the definition does not depend on the size. */
const gradients = new Map(
  benchmarks.flatMap(({ testCase, benchmark: { gradient } }) =>
    gradient === undefined ? [] : [[`${testCase.name}, input ${gradient.input}`, { testCase, gradient }] as const],
  ),
)

describe('the gradient of', () => {
  test.each([...gradients])(
    '%s agrees with central differences',
    (_, { testCase, gradient }) => {
      const inputs = inputsOf(testCase.inputs).map(({ exact }) => exact)
      const cotangent = cotangentOf(testCase.reference(...inputs).shape)
      const differentiated = { f: testCase.reference, inputs, cotangent }
      const actual = gradient.reference(cotangent, ...inputs)
      expect(actual.shape).toEqual(inputs[gradient.input]?.shape)
      // Strides that share no factor with the extents, so that every channel, row and column is sampled.
      const places = Array.from({ length: 24 }, (_, i) => (i * 7919) % actual.data.length)
      const expected = places.map((place) => elementDerivative(differentiated, gradient.input, place))
      const given = places.map((place) => elementOf(actual, place))
      expect(disagreement(given, expected, { rtol: 1e-6, atol: 1e-8 })).toBeUndefined()
    },
    60_000,
  )
})

test('a single element is the same as in the whole array', () => {
  const asked: number[] = []
  const squares = define([2, 3], (offset) => {
    asked.push(offset)
    return offset ** 2
  })
  expect(elementOf(squares, 4)).toBe(16)
  expect(asked).toEqual([4])
  expect([...squares.data]).toEqual([0, 1, 4, 9, 16, 25])
  expect(elementOf(squares, 5)).toBe(25)
  expect(asked).toHaveLength(7)
})
