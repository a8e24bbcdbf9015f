/**
 * Properties over random shapes: whatever the shapes, forward and backward equal the plain reference. fast-check
 * shrinks a failure to the smallest shapes that show it. The seed is fixed, so that a run can be repeated.
 */
import fc from 'fast-check'
import { test } from 'vitest'
import {
  add,
  averagePool,
  conv2d,
  depthwiseConv2d,
  matmul,
  max,
  maxPool,
  mean,
  min,
  mul,
  pad,
  slice,
  sum,
} from '../src/index.ts'
import type { Case } from './cases/case.ts'
import { checkForward, checkGradients, computed, expectationOf } from './cases/verify.ts'
import * as reference from './reference/index.ts'
import { useDevice } from './support/device.ts'

const device = useDevice()
const seed = 20_240_607

/** The name says which attributes were drawn: a counterexample prints it. */
type Trial = Pick<Case, 'name' | 'inputs' | 'run' | 'reference'>

/** Tries random cases of an operator, differentiating with respect to every input. */
async function holds(trials: fc.Arbitrary<Trial>, numRuns: number): Promise<void> {
  await fc.assert(
    fc.asyncProperty(trials, async (trial) => {
      const testCase: Case = {
        operator: 'random',
        tfjs: 'the reference is enough',
        tfjsGradient: 'the reference is enough',
        differentiable: trial.inputs.map((_, i) => i),
        ...trial,
      }
      const expectation = expectationOf(testCase)
      const { forward, gradients } = await computed(device(), testCase, expectation)
      checkForward(testCase, forward, expectation.forward, 'forward')
      checkGradients(testCase, expectation, gradients, 'gradient')
    }),
    { seed, numRuns, includeErrorInReport: true },
  )
}

const extent = (most: number): fc.Arbitrary<number> => fc.integer({ min: 1, max: most })
const uniform = [-1, 1] as const
/** No two numbers are close, so that no maximum is near a tie; their sum is not near 0. */
const distinct = [-1.5, 2.5] as const

test('any two shapes that broadcast add and multiply like the reference', async () => {
  const shapes = fc.array(extent(4), { maxLength: 5 }).chain((shape) => {
    const narrowed = fc
      .tuple(fc.integer({ min: 0, max: shape.length }), fc.array(fc.boolean(), { minLength: 5, maxLength: 5 }))
      .map(([missing, ones]) => shape.map((e, axis) => (ones[axis] ? 1 : e)).slice(missing))
    return fc.tuple(narrowed, narrowed)
  })
  const trials = shapes.map(
    ([a, b]): Trial => ({
      name: 'x * y + y',
      inputs: [
        { shape: a, uniform },
        { shape: b, uniform },
      ],
      run: (x, y) => add(mul(x, y), y),
      reference: (x, y) => reference.add(reference.mul(x, y), y),
    }),
  )
  await holds(trials, 50)
})

/** Strides, dilations and padding of a window over an image that is large enough for it. */
const windows = fc
  .record({
    height: extent(8),
    width: extent(8),
    window: fc.tuple(extent(4), extent(4)),
    strides: fc.tuple(extent(3), extent(3)),
    dilationRate: fc.oneof(
      { weight: 2, arbitrary: fc.constant<[number, number]>([1, 1]) },
      fc.tuple(extent(2), extent(3)),
    ),
    padding: fc.oneof(
      fc.constantFrom('same' as const, 'valid' as const),
      fc.tuple(
        fc.tuple(fc.integer({ min: 0, max: 3 }), fc.integer({ min: 0, max: 3 })),
        fc.tuple(fc.integer({ min: 0, max: 3 }), fc.integer({ min: 0, max: 3 })),
      ),
    ),
  })
  .filter(({ height, width, window, strides, dilationRate, padding }) => {
    const [vertical, horizontal] = typeof padding === 'string' ? [padding, padding] : padding
    const rows = reference.slide(height, window[0], strides[0], dilationRate[0], vertical)
    const columns = reference.slide(width, window[1], strides[1], dilationRate[1], horizontal)
    return rows.out >= 1 && columns.out >= 1
  })

test('convolutions with any window, stride, dilation and padding equal the reference', async () => {
  const trials = fc
    .tuple(windows, extent(2), extent(5), extent(6), fc.boolean(), fc.constantFrom('linear' as const, 'tanh' as const))
    .map(([{ height, width, window, ...options }, batch, channels, filters, bias, activation]): Trial => {
      const inputs: Case['inputs'][number][] = [
        { shape: [batch, height, width, channels], uniform },
        { shape: [...window, channels, filters], uniform: [-0.5, 0.5] },
      ]
      if (bias) inputs.push({ shape: [filters], uniform })
      return {
        name: `conv2d ${JSON.stringify({ ...options, activation })}`,
        inputs,
        run: (x, w, b) => conv2d(x, w, b, { ...options, activation }),
        reference: (x, w, b) => reference.conv2d(x, w, b, { ...options, activation }),
      }
    })
  await holds(trials, 40)
})

test('depthwise convolutions with any window, stride, dilation and padding equal the reference', async () => {
  const trials = fc.tuple(windows, extent(2), extent(5), extent(3)).map(
    ([{ height, width, window, ...options }, batch, channels, multiplier]): Trial => ({
      name: `depthwiseConv2d ${JSON.stringify(options)}`,
      inputs: [
        { shape: [batch, height, width, channels], uniform },
        { shape: [...window, channels, multiplier], uniform },
      ],
      run: (x, w) => depthwiseConv2d(x, w, options),
      reference: (x, w) => reference.depthwiseConv2d(x, w, options),
    }),
  )
  await holds(trials, 40)
})

test('pooling with any window, stride and padding equals the reference', async () => {
  const trials = fc
    .tuple(windows, extent(2), extent(5), fc.boolean())
    // A window must reach the image: padding narrower than the window on every side.
    .filter(
      ([{ window, padding }]) =>
        typeof padding === 'string' ||
        padding.every((sides, axis) => sides.every((side) => side < (window[axis] ?? 1))),
    )
    .map(([{ height, width, window, strides, padding }, batch, channels, highest]): Trial => {
      const options = { poolSize: window, strides, padding }
      return {
        name: `${highest ? 'maxPool' : 'averagePool'} ${JSON.stringify(options)}`,
        inputs: [{ shape: [batch, height, width, channels], distinct }],
        run: (x) => (highest ? maxPool(x, options) : averagePool(x, options)),
        reference: (x) => (highest ? reference.maxPool(x, options) : reference.averagePool(x, options)),
      }
    })
    .filter((trial) => trial.inputs.length > 0 && fits(trial))
  await holds(trials, 40)
})

/** The windows were drawn for dilated kernels too; without dilation they always fit. */
function fits({ inputs, reference: compute }: Trial): boolean {
  const [input] = inputs
  return input !== undefined && compute(reference.build(input.shape, () => 0)).data.length > 0
}

test('matrix products of any extents, batches and transposes equal the reference', async () => {
  const trials = fc
    .record({
      m: extent(40),
      k: extent(40),
      n: extent(40),
      batch: fc.array(extent(3), { maxLength: 2 }),
      batched: fc.constantFrom('both', 'left', 'right'),
      transposeA: fc.boolean(),
      transposeB: fc.boolean(),
    })
    .map(({ m, k, n, batch, batched, ...transposes }): Trial => {
      const a = transposes.transposeA ? [k, m] : [m, k]
      const b = transposes.transposeB ? [n, k] : [k, n]
      return {
        name: `matmul ${JSON.stringify(transposes)}`,
        inputs: [
          { shape: batched === 'right' ? a : [...batch, ...a], uniform },
          { shape: batched === 'left' ? b : [...batch, ...b], uniform },
        ],
        run: (x, y) => matmul(x, y, transposes),
        reference: (x, y) => reference.matmul(x, y, transposes),
      }
    })
  await holds(trials, 30)
})

test('reductions over any axes equal the reference', async () => {
  const operators = {
    sum: { run: sum, reference: reference.sum },
    mean: { run: mean, reference: reference.mean },
    max: { run: max, reference: reference.max },
    min: { run: min, reference: reference.min },
  }
  const trials = fc
    .array(extent(7), { minLength: 1, maxLength: 5 })
    .chain((shape) =>
      fc.record({
        shape: fc.constant(shape),
        axes: fc.subarray(shape.map((_, axis) => axis)),
        keepDims: fc.boolean(),
        operator: fc.constantFrom('sum' as const, 'mean' as const, 'max' as const, 'min' as const),
      }),
    )
    .map(
      ({ shape, axes, keepDims, operator }): Trial => ({
        name: `${operator} over ${JSON.stringify({ axes, keepDims })}`,
        inputs: [{ shape, distinct }],
        run: (x) => operators[operator].run(x, { axes, keepDims }),
        reference: (x) => operators[operator].reference(x, { axes, keepDims }),
      }),
    )
  await holds(trials, 50)
})

test('any slice of any padded tensor equals the reference', async () => {
  const trials = fc
    .array(
      fc
        .record({ extent: extent(5), before: fc.integer({ min: 0, max: 3 }), after: fc.integer({ min: 0, max: 3 }) })
        .chain((axis) =>
          fc.integer({ min: 0, max: axis.before + axis.extent + axis.after - 1 }).chain((begin) =>
            fc.record({
              extent: fc.constant(axis.extent),
              padding: fc.constant<[number, number]>([axis.before, axis.after]),
              begin: fc.constant(begin),
              size: fc.integer({ min: 1, max: axis.before + axis.extent + axis.after - begin }),
            }),
          ),
        ),
      { minLength: 1, maxLength: 4 },
    )
    .map((axes): Trial => {
      const padding = axes.map((axis) => axis.padding)
      const begin = axes.map((axis) => axis.begin)
      const size = axes.map((axis) => axis.size)
      return {
        name: `slice ${JSON.stringify({ begin, size })} of pad ${JSON.stringify(padding)}`,
        inputs: [{ shape: axes.map((axis) => axis.extent), uniform }],
        run: (x) => slice(pad(x, padding, 0.5), begin, size),
        reference: (x) => reference.slice(reference.pad(x, padding, 0.5), begin, size),
      }
    })
  await holds(trials, 40)
})
