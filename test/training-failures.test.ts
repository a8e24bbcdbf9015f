/** Invalid input that training refuses before it changes anything, and non-finite numbers, which stop a run. */
import { describe, expect, it } from 'vitest'
import type { ImageDataset } from '../src/data/dataset.ts'
import { residentImages } from '../src/data/dataset.ts'
import { open } from '../src/gpu/node/open.ts'
import { nn } from '../src/index.ts'
import type { Callbacks, FitOptions, TrainingCheckpoint } from '../src/nn/contract.ts'
import type { WeightNumbers } from '../src/nn/model-weights.ts'
import type { Schedule } from '../src/nn/schedules.ts'
import { failure } from './support/failure.ts'
import { pictures } from './support/pictures.ts'
import { plainModel, restlessModel } from './support/small-models.ts'
import { stops, useStoppedTraining } from './support/stopped-training.ts'

const { device, pictureSet, trained, stopped } = useStoppedTraining()

describe('numbers that are not finite', () => {
  const options: FitOptions = { optimizer: nn.adam(), epochs: 2, batchSize: 10 }

  function poisoned(weights: WeightNumbers, name: string, value: number): WeightNumbers {
    const own = new Map([...weights].map(([key, { shape, data }]) => [key, { shape, data: Float32Array.from(data) }]))
    const data = own.get(name)?.data
    if (data === undefined) throw new Error(`there is no ${name}`)
    data[1] = value
    return own
  }

  it('stop a run whose learning rate is far too high, with the weights from before the bad step', async () => {
    const wild = { ...options, optimizer: nn.sgd({ learningRate: 1e30 }) }
    using data = pictureSet(50)
    using model = plainModel()
    const error = await failure(nn.fit(model, data, wild))
    expect(error).toMatchObject({
      code: 'not-finite',
      details: { epoch: 1, step: 2, tensor: expect.stringMatching(/^the (output of (conv|hidden|logits)|loss)$/) },
      message: expect.stringMatching(/in epoch 1 at step 2: the .* is not finite \(loss .*\)\..*lower learning rate/),
    })
    const { weights, globalStep } = await stopped(plainModel, 50, wild, stops.afterOneStep)
    expect(globalStep).toBe(1)
    expect(await model.weightNumbers()).toEqual(weights)
    expect([...(weights.get('logits/kernel')?.data ?? [])].some((x) => Math.abs(x) > 1e20)).toBe(true)
  })

  it.each([
    ['conv/kernel', Number.NaN],
    ['logits/bias', Number.NaN],
    ['hidden/kernel', Number.POSITIVE_INFINITY],
  ])(
    'planted in %s (%d) are found there, and nothing else has changed, not even moving statistics',
    async (name, value) => {
      using data = pictureSet(45)
      using model = restlessModel().to(device())
      const bad = poisoned(await model.weightNumbers(), name, value)
      model.setWeights(bad)
      const error = await failure(nn.fit(model, data, options))
      expect(error).toMatchObject({
        code: 'not-finite',
        details: { epoch: 1, step: 1, tensor: `the weight ${name}` },
        message: expect.stringContaining(`the weight ${name} is not finite`),
      })
      expect(await model.weightNumbers()).toEqual(bad)
    },
  )

  it('are found in the right epoch and step, including the smaller last batch', async () => {
    using data = pictureSet(41)
    using model = restlessModel()
    let bad: WeightNumbers | undefined
    const callbacks: Callbacks = {
      onEpochEnd: async () => {
        bad = poisoned(await model.weightNumbers(), 'norm/gamma', Number.NaN)
        model.setWeights(bad)
      },
    }
    const error = await failure(nn.fit(model, data, { ...options, callbacks }))
    expect(error).toMatchObject({ details: { epoch: 2, step: 1, tensor: 'the weight norm/gamma' } })
    expect(await model.weightNumbers()).toEqual(bad)
  })

  it('in a batch of one image are named by the step that took it', async () => {
    // The rate explodes only at the last step of the first epoch: the first step of the second epoch is the bad one.
    const rate: Schedule = { name: 'mad', rate: (step) => (step === 4 ? 1e30 : 1e-3) }
    const error = await failure(trained(plainModel, 41, { ...options, optimizer: nn.sgd({ learningRate: rate }) }))
    expect(error).toMatchObject({ code: 'not-finite', details: { epoch: 2, step: 1 } })
    const before: Schedule = { name: 'mad', rate: (step) => (step === 3 ? 1e30 : 1e-3) }
    const last = await failure(trained(plainModel, 41, { ...options, optimizer: nn.sgd({ learningRate: before }) }))
    expect(last).toMatchObject({ code: 'not-finite', details: { epoch: 1, step: 5 } })
  })

  it('are not missed by a stop: no checkpoint is from after a bad step', async () => {
    using data = pictureSet(40)
    using model = plainModel().to(device())
    model.setWeights(poisoned(await model.weightNumbers(), 'logits/bias', Number.NaN))
    const controller = new AbortController()
    const checkpoints: TrainingCheckpoint[] = []
    const error = await failure(
      nn.fit(model, data, {
        ...options,
        signal: controller.signal,
        callbacks: {
          onFirstStep: () => controller.abort(),
          onCheckpoint: (checkpoint) => void checkpoints.push(checkpoint),
        },
      }),
    )
    expect(error).toMatchObject({ code: 'not-finite', details: { epoch: 1, step: 1 } })
    expect(checkpoints).toEqual([])
  })
})

describe('invalid input is refused before anything is changed', () => {
  const base: FitOptions = { optimizer: nn.adam(), epochs: 2, batchSize: 16 }

  it.each<[what: string, options: Partial<FitOptions>, mentions: RegExp]>([
    ['no epochs', { epochs: 0 }, /epochs .*0/],
    ['half an epoch', { epochs: 1.5 }, /epochs .*1\.5/],
    ['empty batches', { batchSize: 0 }, /batchSize .*0/],
    ['batches of NaN', { batchSize: Number.NaN }, /batchSize .*NaN/],
    ['everything for validation', { validationSplit: 1 }, /share.*1/],
    ['a negative share for validation', { validationSplit: -0.1 }, /share.*-0\.1/],
    ['NaN for validation', { validationSplit: Number.NaN }, /validationSplit.*NaN/],
  ])('%s', async (_, options, mentions) => {
    using data = pictureSet(30)
    using model = plainModel()
    const before = device().memory()
    const weights = await model.weightNumbers()
    expect(await failure(nn.fit(model, data, { ...base, ...options }))).toMatchObject({
      code: 'argument',
      message: expect.stringMatching(mentions),
    })
    expect(model.device).toBeUndefined()
    expect(await model.weightNumbers()).toEqual(weights)
    expect(device().memory()).toEqual(before)
  })

  it('images and classes that the model cannot take, and validation images on another device', async () => {
    using other = await open()
    using data = pictureSet(30)
    using elsewhere = pictureSet(30, other)
    using large = residentImages(device(), {
      ...pictures(1),
      images: new Uint8Array(20 * 20),
      labels: Uint8Array.of(0),
      height: 20,
      width: 20,
    })
    using many = residentImages(device(), { ...pictures(30), classes: 7 })
    using model = plainModel()
    const cases: readonly [ImageDataset, Partial<FitOptions>, string][] = [
      [large, {}, 'shape'],
      [data, { validation: large }, 'shape'],
      [many, {}, 'mismatch'],
      [data, { validation: many }, 'mismatch'],
      [data, { validation: elsewhere }, 'argument'],
      [data, { validation: data, validationSplit: 0.5 }, 'argument'],
    ]
    for (const [images, options, code] of cases) {
      expect(await failure(nn.fit(model, images, { ...base, ...options }))).toMatchObject({ code })
      expect(model.device).toBeUndefined()
    }
  })

  it('a checkpoint of another run, whatever differs', async () => {
    const options: FitOptions = { ...base, validationSplit: 0.2 }
    const good = await stopped(plainModel, 60, options, stops.afterOneStep)
    const renamed = new Map([...good.weights].map(([name, one]) => [name.replace('hidden', 'secret'), one]))
    const settings = (changes: Partial<TrainingCheckpoint['settings']>): TrainingCheckpoint => ({
      ...good,
      settings: { ...good.settings, ...changes },
    })
    const cases: readonly [what: string, checkpoint: TrainingCheckpoint, mentions: string][] = [
      ['seed', settings({ seed: 2 }), 'seed 2'],
      ['batch size', settings({ batchSize: 15 }), 'batchSize 15'],
      ['training images', settings({ trainCount: 47 }), 'trainCount 47'],
      ['validation images', settings({ validationCount: 11 }), 'validationCount 11'],
      ['optimizer', settings({ optimizer: 'sgd(constant(1), momentum 0)' }), 'sgd(constant(1), momentum 0)'],
      ['model', settings({ model: 'lenet5' }), 'lenet5'],
      ['moments', { ...good, moments: good.moments.slice(1) }, 'moments'],
      ['size of the moments', { ...good, moments: good.moments.map((m) => m.slice(1)) }, 'moments'],
      ['weights', { ...good, weights: renamed }, 'hidden/kernel'],
      ['best weights', { ...good, best: { epoch: 1, weights: renamed } }, 'hidden/kernel'],
      ['step', { ...good, step: 3 }, 'step 3'],
      ['record', { ...good, record: new Float32Array(0) }, 'step 1'],
      ['number of steps', { ...good, globalStep: 4 }, 'step 1'],
      ['history', { ...good, epoch: 1, globalStep: 4 }, 'epoch 1'],
    ]
    using data = pictureSet(60)
    using model = plainModel(5)
    const weights = await model.weightNumbers()
    for (const [what, resume, mentions] of cases) {
      expect(await failure(nn.fit(model, data, { ...options, resume })), what).toMatchObject({
        code: 'mismatch',
        message: expect.stringContaining(mentions),
      })
      expect(await model.weightNumbers(), what).toEqual(weights)
    }
  })

  it('invalid hyperparameters, when the optimizer is made', () => {
    const attempts: readonly (() => unknown)[] = [
      () => nn.adam({ learningRate: 0 }),
      () => nn.adam({ learningRate: Number.NaN }),
      () => nn.adam({ beta1: 1 }),
      () => nn.adam({ beta2: -0.1 }),
      () => nn.adamw({ weightDecay: 0 }),
      () => nn.sgd({ momentum: 1 }),
      () => nn.sgd({ learningRate: Number.POSITIVE_INFINITY }),
      () => nn.cosineRate(-1),
      () => nn.cosineRate(1, { warmupSteps: -1 }),
      () => nn.cosineRate(1, { final: Number.NaN }),
      () => nn.stepRate(1, { every: 0 }),
      () => nn.stepRate(1, { every: 10, factor: Number.NaN }),
    ]
    for (const attempt of attempts) expect(attempt).toThrow(expect.objectContaining({ code: 'argument' }))
  })
})
