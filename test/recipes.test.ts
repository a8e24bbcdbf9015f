/**
 * LeNet-5's recipes on a real adapter with small data: what is augmented and what is not, and that runs can be
 * repeated.
 */

import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { residentImages } from '../src/data/dataset.ts'
import { FeatureDataset } from '../src/data/feature-dataset.ts'
import { randomSplit } from '../src/data/split.ts'
import { nn } from '../src/index.ts'
import type { FitOptions, TrainingCheckpoint } from '../src/nn/contract.ts'
import { readAnyConfig } from '../src/runs/run-folder.node.ts'
import { evaluateRun } from '../src/study/use-run.node.ts'
import { fashionMnistLenet5 as task } from '../src/tasks/fashion-mnist-lenet5.node.ts'
import { type TrainOptions, train } from '../src/train/run.node.ts'
import { recipeOf, settingsWith, type TrainingSettings } from '../src/train/settings.ts'
import { useDevice } from './support/device.ts'
import { writeBars } from './support/fashion-files.ts'
import { noiseImages } from './support/noise.ts'

const { recipes } = task
const recipeWith = (given: Partial<TrainingSettings>) => recipeOf(task, settingsWith(task, given))

const device = useDevice()
let place = ''
let dataDir = ''
beforeAll(async () => {
  place = await mkdtemp(join(tmpdir(), 'weftgrad-recipe-'))
  dataDir = await writeBars(join(place, 'data'), 200, 40)
})
afterAll(() => rm(place, { recursive: true, force: true }))

const small = { recipe: 'best', units: [16, 8], epochs: 2, batchSize: 24 } as const

describe('augmentation in training', () => {
  const training = { optimizer: nn.adam(), epochs: 2, batchSize: 16, seed: 5 } as const
  const model = () => nn.lenet5({ units: [8, 8] }, { seed: 2 })

  it('leaves validation images as they are', async () => {
    using data = residentImages(device(), noiseImages(60))
    using own = model()
    const history = await nn.fit(own, data, {
      ...training,
      validationSplit: 0.5,
      augmentation: { flip: 'random', shift: 3 },
    })
    using again = model()
    const unaugmented = await nn.fit(again, data, { ...training, validationSplit: 0.5 })
    expect(history.epochs.at(-1)?.loss).not.toBe(unaugmented.epochs.at(-1)?.loss)
    const { held } = randomSplit(60, 0.5, 5)
    const tested = await nn.evaluate(own, data.subset(held))
    const last = history.epochs.at(-1)
    expect([last?.validationLoss, last?.validationAccuracy]).toEqual([tested.loss, tested.accuracy])
  })

  it('that changes nothing trains as if absent, bit for bit', async () => {
    using data = residentImages(device(), noiseImages(40))
    const weightsAfter = async (options: Partial<FitOptions>) => {
      using own = model()
      await nn.fit(own, data, { ...training, ...options })
      return await own.weightNumbers()
    }
    const plain = await weightsAfter({})
    expect(await weightsAfter({ augmentation: {} })).toEqual(plain)
    expect(await weightsAfter({ augmentation: { flip: 'random' } })).not.toEqual(plain)
  })

  it('is reproducible, and resumes within an epoch bit for bit; another augmentation rejects the checkpoint', async () => {
    using data = residentImages(device(), noiseImages(80))
    const augmentation = { flip: 'random', shift: 2 } as const
    using whole = model()
    await nn.fit(whole, data, { ...training, augmentation })
    const controller = new AbortController()
    let checkpoint: TrainingCheckpoint | undefined
    using stopped = model()
    await nn
      .fit(stopped, data, {
        ...training,
        augmentation,
        signal: controller.signal,
        callbacks: {
          onProgress: () => controller.abort(),
          onCheckpoint: (one) => {
            checkpoint = one
          },
        },
      })
      .catch(() => undefined)
    if (checkpoint === undefined) throw new Error('no checkpoint was handed out')
    expect(checkpoint.step).toBeGreaterThan(0)
    using resumed = model()
    await nn.fit(resumed, data, { ...training, augmentation, resume: checkpoint })
    expect(await resumed.weightNumbers()).toEqual(await whole.weightNumbers())
    using other = model()
    await expect(nn.fit(other, data, { ...training, resume: checkpoint })).rejects.toMatchObject({ code: 'mismatch' })
  })

  it('of features is refused', async () => {
    using features = FeatureDataset.allocate(device(), { width: 4, labels: Uint8Array.of(0, 1), classes: 2 })
    using head = nn.sequential('head', [4], [nn.dense('logits', 2)])
    await expect(nn.fit(head, features, { ...training, augmentation: { shift: 1 } })).rejects.toMatchObject({
      code: 'argument',
    })
  })
})

describe('averaging over flips', () => {
  it('takes the mean of the probabilities of an image and its mirror image, in tests and in predictions', async () => {
    const bytes = noiseImages(21)
    const mirrored = bytes.images.map((_, i) => bytes.images[i - (i % 28) + 27 - (i % 28)] ?? 0)
    using data = residentImages(device(), bytes)
    using model = nn.lenet5({ units: [8, 8] }, { seed: 4 })
    model.to(device())
    const [own, other] = [
      await nn.predict(model, bytes.images, [28, 28, 1]),
      await nn.predict(model, mirrored, [28, 28, 1]),
    ]
    const expected = own.map((p, i) => (p + (other[i] ?? 0)) / 2)
    expect(expected).not.toEqual(own)
    const tested = await nn.evaluate(model, data, { flipAverage: true, probabilities: true, batchSize: 8 })
    const predicted = await nn.predict(model, bytes.images, [28, 28, 1], { flipAverage: true })
    for (const probabilities of [tested.probabilities ?? [], predicted]) {
      expect(probabilities).toHaveLength(210)
      for (const [i, p] of expected.entries()) expect(probabilities[i]).toBeCloseTo(p, 6)
    }
    const losses = Array.from(bytes.labels, (label, i) => -Math.log(expected[i * 10 + label] ?? 0))
    expect(tested.loss).toBeCloseTo(losses.reduce((a, b) => a + b) / 21, 5)
  })

  it('has a finite loss if both probabilities are too small for a float32', async () => {
    using data = residentImages(device(), { ...noiseImages(4), classes: 10 })
    using model = nn.lenet5({ units: [8, 8] }, { seed: 4 })
    const numbers = await model.weightNumbers()
    const bias = Float32Array.from({ length: 10 }, (_, k) => (k === 9 ? 500 : 0))
    model.setWeights(new Map([...numbers]).set('logits/bias', { shape: [10], data: bias }))
    const { loss } = await nn.evaluate(model, data, { flipAverage: true })
    expect(loss).toBeGreaterThan(490)
    expect(loss).toBeLessThan(510)
  })
})

describe('a run with the best recipe', () => {
  it('trains on all images, averages over flips, keeps its settings, and resumes bit for bit', async () => {
    const whole = await train(task, { ...small, dataDir, out: join(place, 'whole') })
    const { settings, recipe, data } = await readAnyConfig(join(place, 'whole'))
    expect(settings).toMatchObject({ epochs: 2, batchSize: 24, learningRate: recipes.best.train.learningRate })
    expect(recipe).toEqual(recipes.best.recipe)
    expect(data.train).toBe(200)
    expect(whole.validation).toBeNull()
    expect(whole.errors).toMatchObject({ images: 40, confusion: whole.confusion })
    expect(await evaluateRun(task, join(place, 'whole'), { dataDir })).toMatchObject({ test: whole.test })

    const controller = new AbortController()
    const out = join(place, 'stopped')
    const stop = { onProgress: () => controller.abort() }
    await train(task, { ...small, dataDir, out, signal: controller.signal }, stop).catch(() => undefined)
    const other: TrainOptions = { resume: out, dataDir, shift: 2 }
    await expect(train(task, other)).rejects.toMatchObject({
      code: 'mismatch',
      message: expect.stringContaining('--shift 1, not 2'),
    })
    const resumed = await train(task, { resume: out, recipe: 'best', dataDir })
    expect(resumed.test).toEqual(whole.test)
    const model = (run: string) => readFile(join(place, run, 'model.safetensors'))
    expect((await model('stopped')).equals(await model('whole'))).toBe(true)
  }, 120_000)
})

describe('recipes', () => {
  it('are overridden by options, one by one', () => {
    expect(recipeWith({})).toEqual(recipes.seed)
    const { train, recipe } = recipeWith({ recipe: 'best', epochs: 3, flips: false, validation: 0.1 })
    expect(train).toEqual({ ...recipes.best.train, epochs: 3 })
    expect(recipe).toEqual({ ...recipes.best.recipe, flips: false, validation: 0.1 })
  })

  it('refuse invalid values, naming the option', () => {
    for (const [given, flag] of [
      [{ dropout: 1 }, '--dropout'],
      [{ shift: 1.5 }, '--shift'],
      [{ validation: 1 }, '--validation'],
      [{ weightDecay: -1 }, '--weight-decay'],
      [{ warmupEpochs: -1 }, '--warmup-epochs'],
    ] as const)
      expect(() => recipeWith(given)).toThrow(expect.objectContaining({ message: expect.stringContaining(flag) }))
  })
})
