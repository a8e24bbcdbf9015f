/** Trainings interrupted by stops and lost devices: they resume elsewhere to the same numbers, bit for bit. */
import { describe, expect, it } from 'vitest'
import { open } from '../src/gpu/node/open.ts'
import { nn } from '../src/index.ts'
import { decodeCheckpoint, encodeCheckpoint } from '../src/nn/checkpoint.ts'
import type { Callbacks, FitOptions, TrainingCheckpoint } from '../src/nn/contract.ts'
import type { Model } from '../src/nn/model.ts'
import { failure } from './support/failure.ts'
import { plainModel, restlessModel } from './support/small-models.ts'
import type { Stop } from './support/stopped-training.ts'
import { stops, useStoppedTraining } from './support/stopped-training.ts'
import { unlearningAfter } from './support/training.ts'

const { pictureSet, trained, stopped, resumed } = useStoppedTraining()

describe('a stopped run', () => {
  const settings: readonly {
    readonly name: string
    readonly model: (seed?: number) => Model
    readonly count: number
    readonly options: FitOptions
  }[] = [
    {
      name: 'with Adam, keeping the best weights',
      model: plainModel,
      count: 100,
      options: { optimizer: nn.adam(), epochs: 3, batchSize: 10, validationSplit: 0.1, restoreBest: true },
    },
    {
      name: 'with dropout, moving statistics, Nesterov and a smaller last batch',
      model: restlessModel,
      count: 80,
      options: {
        optimizer: nn.sgd({ learningRate: nn.cosineRate(0.05, { warmupSteps: 3 }), momentum: 0.9, nesterov: true }),
        epochs: 3,
        batchSize: 8,
        validationSplit: 0.15,
        restoreBest: true,
        seed: 3,
      },
    },
  ]

  for (const { name, model, count, options } of settings) {
    for (const stop of Object.values<Stop>(stops)) {
      it(`${name}, ${stop.name}, resumes elsewhere to the same weights, history and best epoch`, async () => {
        const whole = await trained(() => model(), count, options)
        const checkpoint = await stopped(() => model(), count, options, stop)
        expect(checkpoint.step > 0).toBe(stop.isInMidEpoch)
        // Through a file's bytes, into a model with other initial weights.
        const reread = decodeCheckpoint(encodeCheckpoint(checkpoint))
        expect(await resumed(() => model(99), count, options, reread)).toEqual(whole)
      })
    }
  }

  it('twice ends like an uninterrupted one', async () => {
    const options: FitOptions = { optimizer: nn.adamw(), epochs: 3, batchSize: 12, seed: 5 }
    const whole = await trained(restlessModel, 50, options)
    const first = await stopped(restlessModel, 50, options, stops.afterOneStep)
    const second = await stopped(restlessModel, 50, { ...options, resume: first }, stops.inSecondEpoch)
    expect([first.epoch, second.epoch]).toEqual([0, 1])
    expect(await resumed(restlessModel, 50, options, second)).toEqual(whole)
  })

  it('restores the weights of the best epoch, even from before the stop', async () => {
    const options: FitOptions = {
      optimizer: nn.sgd({ learningRate: unlearningAfter(10) }),
      epochs: 3,
      batchSize: 10,
      validationSplit: 0.1,
      restoreBest: true,
    }
    const whole = await trained(plainModel, 111, options)
    const checkpoint = await stopped(plainModel, 111, options, stops.afterOneEpoch)
    expect(whole.bestEpoch).toBe(1)
    expect(whole.weights).toEqual(checkpoint.best?.weights)
    expect(await resumed(plainModel, 111, options, checkpoint)).toEqual(whole)
  })

  it('that had already finished does not train again', async () => {
    const checkpoints: TrainingCheckpoint[] = []
    const options: FitOptions = { optimizer: nn.adam(), epochs: 2, batchSize: 16, validationSplit: 0.2 }
    const callbacks = { onCheckpoint: (checkpoint: TrainingCheckpoint) => void checkpoints.push(checkpoint) }
    const whole = await trained(plainModel, 40, { ...options, callbacks })
    const last = checkpoints.at(-1)
    if (last === undefined) throw new Error('there is one checkpoint per epoch')
    expect(checkpoints.map(({ epoch, step, globalStep }) => [epoch, step, globalStep])).toEqual([
      [1, 0, 2],
      [2, 0, 4],
    ])
    expect(await resumed(() => plainModel(9), 40, options, last)).toEqual(whole)
  })
})

describe('a device that is lost in training', () => {
  const options: FitOptions = { optimizer: nn.adam(), epochs: 3, batchSize: 8, validationSplit: 0.2, restoreBest: true }

  it.each<[when: string, callback: 'onFirstStep' | 'onEpochEnd' | 'onCheckpoint' | 'onProgress']>([
    ['after the first step', 'onFirstStep'],
    ['at the end of the second epoch', 'onEpochEnd'],
    ['while the checkpoint is taken away', 'onCheckpoint'],
    ['on the way', 'onProgress'],
  ])('%s gives one error; the last checkpoint leads to the same result on another device', async (_, callback) => {
    const whole = await trained(restlessModel, 70, options)
    const own = await open()
    const data = pictureSet(70, own)
    const model = restlessModel()
    const checkpoints: TrainingCheckpoint[] = []
    let calls = 0
    const lose = (): void => {
      if (++calls === (callback === 'onFirstStep' ? 1 : 2)) own.gpu.destroy()
    }
    const callbacks: Callbacks = {
      [callback]: lose,
      onCheckpoint: (checkpoint) => {
        checkpoints.push(checkpoint)
        if (callback === 'onCheckpoint') lose()
      },
    }
    const strays: unknown[] = []
    const onStray = (reason: unknown): void => void strays.push(reason)
    process.on('unhandledRejection', onStray)
    const error = await failure(nn.fit(model, data, { ...options, callbacks }))
    expect(error).toMatchObject({
      code: 'device-lost',
      message: expect.stringContaining('resume from the last checkpoint'),
    })
    await new Promise((resolve) => setTimeout(resolve, 50))
    process.off('unhandledRejection', onStray)
    expect(strays).toEqual([])
    await expect(model.weightNumbers()).rejects.toBe(error)
    model.dispose()
    data.dispose()
    expect(own.memory().liveBytes).toBe(0)
    own.dispose()

    const last = checkpoints.at(-1)
    if (last === undefined) {
      expect(['onFirstStep', 'onProgress']).toContain(callback)
      return
    }
    expect(await resumed(() => restlessModel(8), 70, options, last)).toEqual(whole)
  })

  it('can be disposed by a callback: the run ends with an error that says so', async () => {
    const own = await open()
    const data = pictureSet(70, own)
    const model = plainModel()
    const error = await failure(nn.fit(model, data, { ...options, callbacks: { onFirstStep: () => own.dispose() } }))
    expect(error).toMatchObject({ code: 'disposed' })
  })
})
