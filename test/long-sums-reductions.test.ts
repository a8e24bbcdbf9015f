/**
 * Sums of up to a million terms, in pools, movements, reductions, losses and training steps: within 2e-6 of float64,
 * whatever the terms.
 */
import { describe, expect, test } from 'vitest'
import { planKernel } from '../src/kernels/kernel.ts'
import { gatherRowsGradient } from '../src/kernels/movement/gather.ts'
import { resizeGradient } from '../src/kernels/movement/resize.ts'
import { averagePool, averagePoolGradient } from '../src/kernels/pool/average.ts'
import { maxPoolGradient } from '../src/kernels/pool/pool.ts'
import { reduce } from '../src/kernels/reduce/reduce.ts'
import { crossEntropy, crossEntropyGradient, crossEntropyWithGradient, softmax } from '../src/kernels/reduce/softmax.ts'
import { sumPartials } from '../src/kernels/schedule/split-k.ts'
import { finishStep, recordStep } from '../src/kernels/training/state.ts'
import { elementwiseError } from './support/compare.ts'
import { useDevice } from './support/device.ts'
import type { Numbers } from './support/long-sums.ts'
import { bound, longSumsOn, manyTerms, ones, side, tenth, tenths } from './support/long-sums.ts'
import type { HostArray } from './support/run-plan.ts'
import { runPlan, targetOf } from './support/run-plan.ts'

const device = useDevice()
const { eachResult, expectSums } = longSumsOn(device)

test('pooling over a large window, and its gradients under many windows', async () => {
  const pool = { batch: 1, inputHeight: side, inputWidth: side, channels: 4, outHeight: 1, outWidth: 1 }
  const window = {
    kernelHeight: side,
    kernelWidth: side,
    strides: [1, 1],
    dilation: [1, 1],
    padTop: 0,
    padLeft: 0,
  } as const
  await expectSums(averagePool, { ...pool, ...window }, [tenths(4 * manyTerms)], [4], tenth)

  const many = 5000
  const row = {
    ...pool,
    inputHeight: 1,
    inputWidth: 2 * many - 1,
    outHeight: 1,
    outWidth: many,
    kernelHeight: 1,
    kernelWidth: many,
  } as const
  const key = { ...window, ...row }
  const middle = 4 * (many - 1)
  const check = (expected: number) => (outputs: readonly HostArray[], what: string) => {
    const sums = outputs[0]?.slice(middle, middle + 4) ?? [Number.NaN]
    expect(
      elementwiseError(sums, () => expected),
      what,
    ).toBeLessThan(bound)
  }
  const size = [4 * row.inputWidth]
  await eachResult(averagePoolGradient, key, [tenths(4 * many)], size, check(tenth))
  // Every window has its maximum at the same element.
  const codes = Uint32Array.from({ length: 4 * many }, (_, i) => many - 1 - Math.floor(i / 4))
  await eachResult(maxPoolGradient, key, [tenths(4 * many), codes], size, check(tenth * many))
})

test('the gradient of enlarging a pixel', async () => {
  const key = { batch: 1, height: 1, width: 1, channels: 1, outHeight: side, outWidth: side }
  await expectSums(resizeGradient, key, [tenths(manyTerms)], [1], tenth * manyTerms)
})

test('the gradient of gathering one row again and again', async () => {
  const key = { rows: 2, rowElements: 1, count: manyTerms }
  const indices = Uint32Array.from({ length: manyTerms }, (_, i) => i % 2)
  await expectSums(gatherRowsGradient, key, [tenths(manyTerms), indices], [2], (tenth * manyTerms) / 2)
})

describe('reductions', () => {
  test.each([
    ['everything', [manyTerms], [0]],
    ['rows', [3, manyTerms], [1]],
    ['columns', [manyTerms, 3], [0]],
    ['columns in fours', [manyTerms, 4], [0]],
    ['more outputs than lanes', [200, 20_000], [1]],
    ['more columns than lanes', [20_000, 600], [0]],
    ['two axes around one that stays', [side, 2, side], [0, 2]],
  ] as [string, number[], number[]][])('over %s', async (_, shape, axes) => {
    const count = shape.reduce((a, b) => a * b)
    const terms = axes.reduce((total, axis) => total * (shape[axis] ?? 1), 1)
    await expectSums(reduce, { operation: 'sum', shape, axes }, [tenths(count)], [count / terms], tenth * terms)
  })
})

describe('many classes', () => {
  /** One likely class; all the others together have 0.56 %. */
  const classes = 100_000
  const rows = 16
  const logits = new Float32Array(rows * classes)
  for (let row = 0; row < rows; row++) logits[row * classes + row * 6000] = 16.7
  const likely = Math.exp(Math.fround(16.7))
  const total = likely + classes - 1
  const loss = Math.log1p((classes - 1) / likely)
  const labels = Uint32Array.from({ length: rows }, (_, row) => row * 6000)
  const dense = new Float32Array(rows * classes)
  for (let row = 0; row < rows; row++) dense[row * classes + row * 6000] = 1
  const isLabel = (i: number): boolean => labels[Math.floor(i / classes)] === i % classes

  // `exp` itself is accurate to 4e-6; the bound on the loss is 2e-6 of the sum, relative to 0.0056.
  test('softmax and its logarithm', async () => {
    const sizes = [rows * classes]
    await eachResult(softmax, { rows, classes, log: false }, [logits], sizes, (outputs, what) => {
      const expected = (i: number): number => (isLabel(i) ? likely : 1) / total
      expect(elementwiseError(outputs[0] ?? [], expected), what).toBeLessThan(1e-5)
    })
    await eachResult(softmax, { rows, classes, log: true }, [logits], sizes, (outputs, what) => {
      const others = (i: number): number => -loss - (isLabel(i) ? 0 : Math.fround(16.7))
      expect(elementwiseError(outputs[0] ?? [], others), what).toBeLessThan(bound / loss)
    })
  })

  test('cross-entropy', async () => {
    for (const kind of ['sparse', 'dense'] as const) {
      const inputs = [logits, kind === 'sparse' ? labels : dense]
      await eachResult(crossEntropy, { rows, classes, labels: kind }, inputs, [rows], (outputs, what) => {
        expect(
          elementwiseError(outputs[0] ?? [], () => loss),
          what,
        ).toBeLessThan(bound / loss)
      })
    }
  })

  test('the gradients of cross-entropy', async () => {
    const expected = (i: number): number => (isLabel(i) ? 1 - classes : 1) / total
    const check = (output: number) => (outputs: readonly HostArray[], what: string) => {
      // p - 1 is rounded to one unit in the last place of 1.
      expect(
        elementwiseError(outputs[output] ?? [], (i) => (isLabel(i) ? (1 - classes) / total : expected(i))),
        what,
      ).toBeLessThan(bound / loss)
    }
    const size = rows * classes
    const key = { rows, classes, labels: 'sparse' } as const
    await eachResult(crossEntropyGradient, key, [logits, labels, ones(rows)], [size], check(0))
    await eachResult(crossEntropyGradient, { ...key, labels: 'dense' }, [logits, dense, ones(rows)], [size], check(0))
    await eachResult(crossEntropyWithGradient, { rows, classes, scale: 1 }, [logits, labels], [rows, size], check(1))
  })

  test('targets spread over all classes, whose sum matters', async () => {
    const spread = tenths(rows * manyTerms)
    const key = { rows, classes: manyTerms, labels: 'dense' } as const
    const zeros = new Float32Array(rows * manyTerms)
    const all = tenth * manyTerms * Math.log(manyTerms)
    await expectSums(crossEntropy, key, [zeros, spread], [rows], all)
    // The gradient is (softmax * sum of targets - target): 1 for one class without a target.
    spread.fill(0.1)
    for (let row = 0; row < rows; row++) spread[row * manyTerms] = 0
    const wanted = (tenth * (manyTerms - 1)) / manyTerms
    await eachResult(crossEntropyGradient, key, [zeros, spread, ones(rows)], [rows * manyTerms], (outputs, what) => {
      const first = ones(rows).map((_, row) => outputs[0]?.[row * manyTerms] ?? Number.NaN)
      expect(
        elementwiseError(first, () => wanted),
        what,
      ).toBeLessThan(bound)
    })
  })
})

describe('a training step', () => {
  const record = (numbers: HostArray | undefined): Numbers => Float32Array.of(numbers?.[0] ?? Number.NaN)

  test('the mean loss of a large batch', async () => {
    const key = { batch: manyTerms, classes: 1, metrics: [] }
    const inputs = [tenths(manyTerms), ones(manyTerms), new Uint32Array(manyTerms)]
    for (const kind of ['cpu', 'gpu'] as const) {
      const plan = planKernel(recordStep, key, targetOf(device(), { class: kind }))
      const [rows] = await runPlan(device(), plan, inputs, [new Float32Array(4), new Uint32Array(4)])
      expect(elementwiseError(record(rows), () => tenth)).toBeLessThan(bound)
    }
  })

  test('partial sums by the thousand', async () => {
    const parts = 100_000
    const target = targetOf(device())
    const sum = sumPartials({ label: 'partials', count: 1, splits: parts, activation: 'linear' }, target)
    const bindings = sum.bindings.map((b) =>
      b.name === 'partial' ? { ...b, operand: { role: 'input', index: 0 } as const } : b,
    )
    const plan = { variant: '', dispatches: [{ ...sum, bindings }], scratchBytes: [], flops: 0 }
    const [result] = await runPlan(device(), plan, [tenths(parts)], [new Float32Array(1)])
    expect(elementwiseError(result, () => tenth * parts)).toBeLessThan(bound)

    const pending = [{ splits: parts, count: 1, targets: [{ from: 0, to: 0, count: 1 }] }]
    const step = planKernel(finishStep, { batch: 1, classes: 1, metrics: [], count: 1, sums: pending }, target)
    const inputs = [ones(1), ones(1), new Uint32Array(1), tenths(parts)]
    const [, , gradients] = await runPlan(device(), step, inputs, [
      new Float32Array(4),
      new Uint32Array(4),
      new Float32Array(1),
    ])
    expect(elementwiseError(gradients, () => tenth * parts)).toBeLessThan(bound)
  })
})
