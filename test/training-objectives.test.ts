/** Training with losses, metrics, monitors and callbacks of one's own. */
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Dataset } from '../src/data/contract.ts'
import type { EpochLogs, FitOptions, TrainingCheckpoint } from '../src/nn/contract.ts'
import { nn } from '../src/node.ts'
import { abs, mean, reshape, slice, sub } from '../src/operators/index.ts'
import type { Tensor } from '../src/operators/tensor.ts'
import { Random } from '../src/random.ts'
import { useDevice } from './support/device.ts'
import { failure } from './support/failure.ts'
import { numberSet } from './support/number-set.ts'

const device = useDevice()
const count = 60
const width = 4
const random = new Random(3)
const x = Float32Array.from({ length: count * width }, () => random.uniform() * 2 - 1)
/** 2 x0 - x1, x2 + 0.5. */
const y = Float32Array.from({ length: count * 2 }, (_, i) => {
  const row = x.subarray(Math.floor(i / 2) * width)
  return i % 2 === 0 ? 2 * (row[0] ?? 0) - (row[1] ?? 0) : (row[2] ?? 0) + 0.5
})
let data: Dataset
let folder: string
beforeAll(async () => {
  data = await numberSet(device(), { x, y }, count)
  folder = await mkdtemp(join(tmpdir(), 'weftgrad-objectives-'))
})
afterAll(() => rm(folder, { recursive: true }))

const linear = (): nn.Model => nn.sequential('linear', [width], [nn.dense(2)])
const options = { epochs: 6, batchSize: 8, optimizer: nn.adam({ learningRate: 0.05 }), loss: nn.meanSquaredError() }

async function fitted(more: Partial<FitOptions> = {}, set = data) {
  using model = linear()
  const history = await nn.fit(model, set, { ...options, ...more })
  const scores = await nn.evaluate(model, set, { loss: nn.meanSquaredError(), metrics: [nn.meanAbsoluteError()] })
  return { ...history, scores, weights: await model.weightNumbers() }
}

/** Mean absolute error of the first column. */
function firstError(output: Tensor, target: Tensor): Tensor {
  const column = (t: Tensor): Tensor => mean(t, { axes: 1 })
  return abs(sub(column(output), column(target)))
}

describe("a loss and metrics of one's own", () => {
  it('are made small and reported, for training and validation', async () => {
    const { epochs, scores } = await fitted({
      epochs: 40,
      validation: data,
      metrics: [nn.meanAbsoluteError(), firstError],
    })
    const last = epochs.at(-1)
    expect(Object.keys(last ?? {})).toEqual([
      ...['epoch', 'loss', 'meanAbsoluteError', 'firstError'],
      ...['validationLoss', 'validationMeanAbsoluteError', 'validationFirstError', 'learningRate', 'seconds'],
    ])
    expect(last?.loss).toBeLessThan(0.01 * (epochs[0]?.loss ?? 0))
    // The same batches: those of a pass, not of training.
    expect(scores.loss).toBe(last?.validationLoss)
    expect(scores.meanAbsoluteError).toBe(last?.validationMeanAbsoluteError)
    expect(last?.validationFirstError).toBeLessThanOrEqual((last?.validationMeanAbsoluteError ?? 0) + 1e-6)
  })

  it('do not change a training by being reported', async () => {
    const { weights } = await fitted()
    expect((await fitted({ metrics: [nn.meanAbsoluteError()] })).weights).toEqual(weights)
  })

  it('need targets that fit, and names', async () => {
    const refused = (more: Partial<FitOptions>) => failure(fitted(more))
    expect(await refused({ loss: undefined as never })).toMatchObject({ code: 'argument' })
    expect(await refused({ metrics: [(a) => a] })).toMatchObject({ code: 'argument' })
    expect(await refused({ metrics: [firstError, firstError] })).toMatchObject({ code: 'argument' })
    expect(await refused({ metrics: [{ ...nn.meanAbsoluteError(), name: 'loss' }] })).toMatchObject({
      code: 'argument',
    })
    expect(await refused({ loss: (output) => mean(output) })).toMatchObject({ code: 'shape' })
    const everyPair = (output: Tensor, target: Tensor): Tensor => sub(output, slice(reshape(target, [-1]), [0], [1]))
    expect(await refused({ metrics: [everyPair] })).toMatchObject({
      code: 'shape',
      message: expect.stringMatching(/a target of \[\d, 2\]\. Bring both to one shape/),
    })
    expect(await refused({ loss: nn.sparseCategoricalCrossentropy() })).toMatchObject({ code: 'argument' })
    expect(await refused({ monitor: 'accuracy' })).toMatchObject({
      code: 'argument',
      message: expect.stringContaining('it has loss'),
    })
  })

  it('weigh examples', async () => {
    const half = Float32Array.from({ length: count }, (_, i) => (i < count / 2 ? 2 : 0))
    const spoilt = y.map((value, i) => (i < count ? value : 1e3))
    const weighed = await numberSet(device(), { x, y: spoilt, sampleWeight: half }, count)
    const { epochs } = await fitted({ epochs: 60 }, weighed)
    expect(epochs.at(-1)?.loss).toBeLessThan(0.01)
  })

  it('decide which epoch is the best', async () => {
    const { epochs, bestEpoch } = await fitted({
      validation: data,
      metrics: [firstError],
      monitor: 'validationFirstError',
    })
    const errors = epochs.map(({ validationFirstError = Number.NaN }) => validationFirstError)
    expect(bestEpoch).toBe(1 + errors.indexOf(Math.min(...errors)))
    const worst = await fitted({ validation: data, monitor: { name: 'validationLoss', mode: 'max' } })
    expect(worst.bestEpoch).toBe(1)
  })
})

describe('callbacks', () => {
  it('are a list, called in order, and stop a training without a throw', async () => {
    const called: string[] = []
    const log = (name: string) => ({ onEpochEnd: ({ epoch }: EpochLogs) => void called.push(`${name} ${epoch}`) })
    const stop = { decide: (history: readonly EpochLogs[]) => ({ stop: history.length === 2 }) }
    const { epochs } = await fitted({ callbacks: [log('a'), log('b'), stop] })
    expect(epochs).toHaveLength(2)
    expect(called).toEqual(['a 1', 'b 1', 'a 2', 'b 2'])
  })

  it('stop early as Keras does', async () => {
    // Nothing improves by 10 once the loss is below it: the first epoch is the best, three more are waited for.
    const stopping = nn.earlyStopping({ monitor: 'loss', patience: 3, minDelta: 10 })
    expect((await fitted({ epochs: 20, callbacks: [stopping] })).epochs).toHaveLength(4)
    const missing = await failure(fitted({ callbacks: [nn.earlyStopping()] }))
    expect(missing).toMatchObject({ code: 'argument', message: expect.stringContaining('validationLoss') })
  })

  it('reduce the learning rate on a plateau as Keras does', async () => {
    const plateau = { monitor: 'loss', minDelta: 10, factor: 0.5, patience: 2, cooldown: 1, minLearningRate: 0.02 }
    const { epochs } = await fitted({ epochs: 10, callbacks: [nn.reduceLROnPlateau(plateau)] })
    const rates = epochs.map(({ learningRate }) => Number(learningRate.toFixed(4)))
    // Epochs 2 and 3 wait; 4 is cooldown and its end, so it counts; then 5 reduces again, to the least rate.
    expect(rates).toEqual([0.05, 0.05, 0.05, 0.025, 0.025, 0.02, 0.02, 0.02, 0.02, 0.02])
  })

  it('write a CSV log and a checkpoint, from which a training goes on with the same decisions and bits', async () => {
    const [csv, file] = [join(folder, 'log.csv'), join(folder, 'last.checkpoint')]
    const deciding = () => nn.reduceLROnPlateau({ monitor: 'loss', minDelta: 10, factor: 0.5, patience: 1 })
    const whole = await fitted({ callbacks: [deciding(), nn.csvLog(csv)] })
    const lines = (await readFile(csv, 'utf8')).trimEnd().split('\n')
    expect(lines).toHaveLength(7)
    expect(lines[0]).toBe('epoch,loss,learningRate,seconds')
    expect(lines.slice(1).map((line) => Number(line.split(',')[1]))).toEqual(whole.epochs.map(({ loss }) => loss))

    const stop = { decide: (history: readonly EpochLogs[]) => ({ stop: history.length === 3 }) }
    await fitted({ callbacks: [deciding(), nn.checkpointFile(file), stop, nn.csvLog(csv)] })
    const resume: TrainingCheckpoint = nn.readCheckpoint(file)
    const rest = await fitted({ resume, callbacks: [deciding(), nn.csvLog(csv, { append: true })] })
    expect(rest.weights).toEqual(whole.weights)
    expect(rest.epochs.map(({ loss, learningRate }) => [loss, learningRate])).toEqual(
      whole.epochs.map(({ loss, learningRate }) => [loss, learningRate]),
    )
    expect((await readFile(csv, 'utf8')).trimEnd().split('\n')).toHaveLength(7)
    const other = await failure(fitted({ resume, loss: nn.huber(), callbacks: [] }))
    expect(other).toMatchObject({ code: 'mismatch', message: expect.stringContaining('loss') })
  })
})

describe('optimizers', () => {
  it('share the weights out by name', async () => {
    const kernels = { weights: /kernel$/, optimizer: nn.sgd({ learningRate: 0.1 }) }
    const rest = { weights: () => true, optimizer: nn.sgd({ learningRate: 1e-9 }) }
    const { weights } = await fitted({ optimizer: [kernels, rest] })
    expect([...(weights.get('dense/bias')?.data ?? [])].every((bias) => Math.abs(bias) < 1e-6)).toBe(true)
    const same = await fitted({
      optimizer: [
        { weights: /bias/, optimizer: nn.adam() },
        { ...rest, optimizer: nn.adam() },
      ],
    })
    expect(same.weights).toEqual((await fitted({ optimizer: nn.adam() })).weights)
    expect(await failure(fitted({ optimizer: [kernels] }))).toMatchObject({ code: 'argument' })
    expect(await failure(fitted({ optimizer: [rest, kernels] }))).toMatchObject({ code: 'argument' })
    expect(await failure(fitted({ optimizer: [] }))).toMatchObject({ code: 'argument' })
  })

  it('replace weights by their averages at the end', async () => {
    const averaged = await fitted({ optimizer: nn.adam({ learningRate: 0.05, emaMomentum: 0.9 }) })
    const plain = await fitted()
    expect(averaged.epochs.map(({ loss }) => loss)).toEqual(plain.epochs.map(({ loss }) => loss))
    expect(averaged.weights).not.toEqual(plain.weights)
  })
})

describe('predict', () => {
  it('takes and gives floats', async () => {
    using model = linear()
    await nn.fit(model, data, { ...options, epochs: 60 })
    const outputs = await nn.predict(model, x)
    expect(Math.max(...outputs.map((value, i) => Math.abs(value - (y[i] ?? 0))))).toBeLessThan(0.1)
    expect(await failure(nn.predict(model, x.subarray(1)))).toMatchObject({ code: 'shape' })
  })
})
