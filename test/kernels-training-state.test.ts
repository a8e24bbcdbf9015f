/** The state of a training run on the GPU: finite checks, step records, confusion matrices. */
import { describe, expect, test } from 'vitest'
import type { Target } from '../src/kernels/kernel.ts'
import { planKernel } from '../src/kernels/kernel.ts'
import type { GradientSplitSum } from '../src/kernels/training/state.ts'
import {
  blockStarts,
  confusion,
  finishStep,
  globalStepWord,
  notFiniteWord,
  recordStep,
  recordWidth,
  settledFlagWord,
  stepInEpochWord,
  stepRecordColumns,
  trainingStateWords,
} from '../src/kernels/training/state.ts'
import { useDevice } from './support/device.ts'
import { runPlan, targetOf } from './support/run-plan.ts'

const device = useDevice()
const targets = (): Target[] => [targetOf(device()), targetOf(device(), { class: 'gpu' })]

let seed = 5
const random = () => {
  seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0
  return seed / 2 ** 32
}
const state = (words: { step?: number; flag?: number; global?: number } = {}) => {
  const result = new Uint32Array(trainingStateWords)
  result[stepInEpochWord] = words.step ?? 0
  result[notFiniteWord] = words.flag ?? 0
  result[globalStepWord] = words.global ?? 0
  return result
}

/** The first largest logit; undefined for a row with a NaN. */
function predict(row: Float32Array): number | undefined {
  return row.some(Number.isNaN) ? undefined : row.indexOf(Math.max(...row))
}

function batchOf(batch: number, classes: number) {
  // Few distinct values, so that rows tie; now and then NaNs, and labels beyond the classes.
  const logits = Float32Array.from({ length: batch * classes }, () => {
    const r = random()
    return r < 0.01 ? Number.NaN : r < 0.05 ? Number.NEGATIVE_INFINITY : Math.floor(random() * 5) - 2
  })
  const labels = Uint32Array.from({ length: batch }, () => Math.floor(random() * (classes + 1)))
  const loss = Float32Array.from({ length: batch }, () => random() * 3)
  const predictions = Array.from(labels, (_, i) => predict(logits.subarray(i * classes, (i + 1) * classes)))
  return { logits, labels, loss, predictions }
}

describe('finishStep', () => {
  const batch = 6
  const classes = 3
  const finish = async (
    gradients: Float32Array<ArrayBuffer>,
    target: Target,
    {
      sums = [],
      partials = [],
      before = state(),
    }: { sums?: GradientSplitSum[]; partials?: Float32Array<ArrayBuffer>[]; before?: Uint32Array<ArrayBuffer> } = {},
  ) => {
    const { logits, labels, loss } = batchOf(batch, classes)
    const plan = planKernel(finishStep, { batch, classes, metrics: [], count: gradients.length, sums }, target)
    const outputs = [new Float32Array(4 * stepRecordColumns), before, gradients] as const
    return runPlan(device(), plan, [loss, logits, labels, ...partials], outputs)
  }

  test.each([1, 3, 4, 61, 1030, 20001])('finds one bad value anywhere among %i gradients', async (count) => {
    const good = Float32Array.from({ length: count }, () => (random() - 0.5) * 3e38)
    for (const target of targets()) {
      const [, clean] = await finish(good, target, { before: state({ step: 1, global: 9 }) })
      expect(clean).toEqual(state({ step: 2, global: 10 }))
      for (const at of new Set([0, count >> 1, count - 1]))
        for (const value of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
          const bad = good.slice()
          bad[at] = value
          const [, after] = await finish(bad, target)
          expect(after, `${value} at ${at}`).toEqual(state({ step: 1, flag: 1, global: 1 }))
        }
    }
  })

  test('adds up pending partial sums in order, and checks the results too', async () => {
    const sums: GradientSplitSum[] = [
      {
        splits: 3,
        count: 12,
        targets: [
          { from: 0, to: 64, count: 8 },
          { from: 8, to: 128, count: 4 },
        ],
      },
      { splits: 5, count: 4, targets: [{ from: 0, to: 200, count: 4 }] },
    ]
    const partials = sums.map((sum) => Float32Array.from({ length: sum.splits * sum.count }, () => random() - 0.5))
    const start = Float32Array.from({ length: 320 }, () => random())
    const expected = start.slice()
    sums.forEach((sum, s) => {
      for (const target of sum.targets)
        for (let i = 0; i < target.count; i++) {
          let total = 0
          for (let split = 0; split < sum.splits; split++)
            total = Math.fround(total + (partials[s]?.[split * sum.count + target.from + i] ?? Number.NaN))
          expected[target.to + i] = total
        }
    })
    for (const target of targets()) {
      const [, clean, gradients] = await finish(start, target, { sums, partials })
      expect(gradients).toEqual(expected)
      expect(clean).toEqual(state({ step: 1, global: 1 }))
      const bad = partials.map((partial) => partial.slice())
      bad[1]?.fill(Number.NaN, 13, 14)
      const [, after] = await finish(start, target, { sums, partials: bad })
      expect(after[notFiniteWord]).toBe(1)
    }
  })

  test('adds up many partial sums, which several lanes share on a GPU', async () => {
    const [splits, count] = [37, 300]
    const sums: GradientSplitSum[] = [{ splits, count, targets: [{ from: 0, to: 8, count }] }]
    // Whole numbers: their sum is exact in any order.
    const partial = Float32Array.from({ length: splits * count }, () => Math.floor(random() * 1000))
    const expected = new Float32Array(320)
    partial.forEach((x, i) => {
      expected[8 + (i % count)] = (expected[8 + (i % count)] ?? 0) + x
    })
    for (const target of targets()) {
      const [, clean, gradients] = await finish(new Float32Array(320), target, { sums, partials: [partial] })
      expect(gradients).toEqual(expected)
      expect(clean).toEqual(state({ step: 1, global: 1 }))
    }
  })

  test('stops advancing once the flag has settled, and never clears it', async () => {
    const settled = state({ step: 2, flag: 1, global: 2 })
    settled[settledFlagWord] = 1
    const [, after] = await finish(new Float32Array(8), targetOf(device()), { before: settled })
    expect(after).toEqual(settled)
  })
})

const sizes = [
  [1, 1],
  [5, 3],
  [128, 10],
  [97, 17],
] as const

describe('recordStep', () => {
  const untouched = -7
  const record = (rows: number) => new Float32Array(rows * stepRecordColumns).fill(untouched)

  test.each(sizes)(
    'writes mean loss and correct rows of a batch of %i and advances (%i classes)',
    async (batch, classes) => {
      const { logits, labels, loss, predictions } = batchOf(batch, classes)
      const correct = predictions.filter((p, i) => p === labels[i]).length
      const mean = loss.reduce((sum, value) => sum + value, 0) / batch
      for (const target of targets()) {
        const plan = planKernel(recordStep, { batch, classes, metrics: [] }, target)
        const outputs = [record(4), state({ step: 2, global: 0xffffffff })] as const
        const [rows, after] = await runPlan(device(), plan, [loss, logits, labels], outputs)
        expect(rows[8]).toBeCloseTo(mean, 5)
        expect([...rows.subarray(9, 12)]).toEqual([correct, batch, 0])
        expect([...rows].toSpliced(8, 4).every((value) => value === untouched)).toBe(true)
        expect(after).toEqual(state({ step: 3, global: 0 }))
      }
    },
  )

  test('a loss that is not finite sets the flag, and the counters stay one past that step', async () => {
    const { logits, labels, loss } = batchOf(20, 4)
    const plan = planKernel(recordStep, { batch: 20, classes: 4, metrics: [] }, targetOf(device()))
    for (const value of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
      const bad = loss.slice()
      bad[13] = value
      let [rows, after] = await runPlan(device(), plan, [bad, logits, labels], [record(3), state({ step: 1 })] as const)
      expect(rows[4]).toBe(value)
      expect(after).toEqual(state({ step: 2, flag: 1, global: 1 }))
      const bits = rows.subarray(4, 8).slice()
      for (let again = 0; again < 2; again++) {
        ;[rows, after] = await runPlan(device(), plan, [loss, logits, labels], [rows, after] as const)
      }
      expect(after).toEqual(state({ step: 2, flag: 1, global: 1 }))
      expect(rows.subarray(4, 8)).toEqual(bits)
      // Later steps, whose updates are gated, write their records after it.
      expect(rows[10]).toBe(20)
    }
  })

  test.each(sizes)('adds the metrics of a batch of %i, with %i classes and without', async (batch, classes) => {
    const metrics = [1, 2]
    const { logits, labels, predictions } = batchOf(batch, classes)
    const correct = predictions.filter((p, i) => p === labels[i]).length
    const [, one = 0, two = 0] = blockStarts({ batch, metrics })
    const numbers = Float32Array.from({ length: two + 2 * batch }, () => random() * 3)
    const sum = (start: number, stride = 1): number =>
      Array.from({ length: batch }, (_, row) => numbers[start + row * stride] ?? Number.NaN).reduce((a, b) => a + b)
    const width = recordWidth(metrics)
    for (const target of targets())
      for (const counted of [classes, 0]) {
        const plan = planKernel(recordStep, { batch, classes: counted, metrics }, target)
        const inputs = counted === 0 ? [numbers] : [numbers, logits, labels]
        const before = new Float32Array(3 * width).fill(untouched)
        const [rows] = await runPlan(device(), plan, inputs, [before, state({ step: 1 })] as const)
        const expected = [sum(0) / batch, counted === 0 ? 0 : correct, batch, 0, sum(one), sum(two, 2), sum(two + 1, 2)]
        for (const [i, x] of expected.entries())
          expect((rows[width + i] ?? Number.NaN) / (x || 1)).toBeCloseTo(x === 0 ? 0 : 1, 5)
        expect([...rows].toSpliced(width, width).every((value) => value === untouched)).toBe(true)
      }
  })

  test('a step beyond the record does not change it', async () => {
    const { logits, labels, loss } = batchOf(9, 4)
    const plan = planKernel(recordStep, { batch: 9, classes: 4, metrics: [] }, targetOf(device()))
    const outputs = [record(3), state({ step: 3, flag: 1 })] as const
    const [rows, after] = await runPlan(device(), plan, [loss, logits, labels], outputs)
    expect(rows).toEqual(record(3))
    expect(after).toEqual(state({ step: 3, flag: 1 }))
  })
})

describe('confusion', () => {
  test.each(sizes)('adds a batch of %i rows to the counts (%i classes)', async (batch, classes) => {
    const { logits, labels, predictions } = batchOf(batch, classes)
    const before = Uint32Array.from({ length: classes * classes }, () => Math.floor(random() * 100))
    const expected = before.slice()
    for (const [i, column] of predictions.entries()) {
      const row = labels[i] ?? 0
      if (column === undefined || row >= classes) continue
      expected[row * classes + column] = (expected[row * classes + column] ?? 0) + 1
    }
    for (const target of targets()) {
      const plan = planKernel(confusion, { batch, classes }, target)
      const [counts] = await runPlan(device(), plan, [logits, labels], [before] as const)
      expect(counts).toEqual(expected)
    }
  })
})

test('invalid keys are refused', () => {
  const target: Target = { class: 'cpu', subgroupSize: 8, maxWorkgroupSize: 256, maxWorkgroupStorageBytes: 16384 }
  for (const count of [0, -1, 0.5, 2 ** 31])
    expect(() => planKernel(finishStep, { batch: 1, classes: 1, metrics: [], count, sums: [] }, target)).toThrow(
      'finishStep',
    )
  for (const key of [
    { batch: 0, classes: 3 },
    { batch: 3, classes: 1.5 },
    { batch: 2 ** 20, classes: 2 ** 20 },
  ]) {
    expect(() => planKernel(recordStep, { ...key, metrics: [] }, target)).toThrow('recordStep')
    expect(() => planKernel(confusion, key, target)).toThrow('confusion')
  }
  expect(() => planKernel(confusion, { batch: 1, classes: 2 ** 16 }, target)).toThrow('confusion')
})
