/**
 * Training as a whole, on small synthetic images: the same numbers twice, nothing allocated between steps, and what
 * callbacks receive.
 */
import { describe, expect, it } from 'vitest'
import { open } from '../src/gpu/node/open.ts'
import { nn } from '../src/index.ts'
import type { FitOptions } from '../src/nn/contract.ts'
import type { Optimizer } from '../src/nn/optimizers.ts'
import { failure } from './support/failure.ts'
import { plainModel, restlessModel } from './support/small-models.ts'
import { unlearningAfter, useTraining } from './support/training.ts'

const { device, pictureSet, trained } = useTraining()

describe('two runs', () => {
  it('with one seed give the same weights and history, bit for bit', async () => {
    const options = { validationSplit: 0.2, seed: 7 }
    const first = await trained(restlessModel, 90, options)
    expect(await trained(restlessModel, 90, options)).toEqual(first)
    expect(first.epochs).toHaveLength(2)
  })

  it('with other seeds differ in initial weights, order of images and dropout masks', async () => {
    const first = await trained(plainModel, 48, { epochs: 1, seed: 1 })
    const reordered = await trained(plainModel, 48, { epochs: 1, seed: 2 })
    const begunElsewhere = await trained(() => plainModel(2), 48, { epochs: 1, seed: 1 })
    expect(reordered.weights).not.toEqual(first.weights)
    expect(begunElsewhere.weights).not.toEqual(first.weights)
    // A single batch of all images: their order changes only the last bits of sums; masks change everything.
    const masks = await Promise.all(
      [1, 2].map((seed) => trained(restlessModel, 16, { epochs: 1, seed, optimizer: nn.sgd({ learningRate: 1 }) })),
    )
    const [a = [], b = []] = masks.map(({ weights }) => [...(weights.get('hidden/kernel')?.data ?? [])])
    expect(Math.max(...a.map((x, i) => Math.abs(x - (b[i] ?? 0))))).toBeGreaterThan(1e-3)
  })

  it('learn: the loss falls, and the classes are recognised', async () => {
    const { epochs } = await trained(plainModel, 200, { epochs: 12, optimizer: nn.adam({ learningRate: 0.01 }) })
    const [first, last] = [epochs[0], epochs.at(-1)]
    expect(last?.loss).toBeLessThan(0.5 * (first?.loss ?? 0))
    expect(last?.accuracy).toBeGreaterThan(0.85)
  })
})

describe('memory', () => {
  it('stays the same over a thousand steps', async () => {
    const before = device().memory()
    {
      using data = pictureSet(45)
      using model = plainModel().to(device())
      const held = device().memory()
      const onTheWay: number[] = []
      const callbacks = { onEpochEnd: () => void onTheWay.push(device().memory().liveBytes) }
      await nn.fit(model, data, {
        optimizer: nn.adam(),
        epochs: 200,
        batchSize: 8,
        validationSplit: 0.2,
        callbacks,
      })
      expect(onTheWay).toHaveLength(200)
      expect(new Set(onTheWay).size).toBe(1)
      expect(device().memory()).toMatchObject({ liveBytes: held.liveBytes, liveBuffers: held.liveBuffers })
    }
    expect(device().memory()).toMatchObject({ liveBytes: before.liveBytes, liveBuffers: before.liveBuffers })
  })

  it('is the same after a stopped, a failed and a refused run', async () => {
    using data = pictureSet(40)
    using model = plainModel().to(device())
    const before = device().memory()
    const base: FitOptions = { optimizer: nn.adam(), epochs: 2, batchSize: 16, validationSplit: 0.2 }
    const complaint = new Error('the disk is full')
    const complain = (): never => {
      throw complaint
    }
    const signal = AbortSignal.abort()
    const cases: readonly [Partial<FitOptions>, unknown][] = [
      [{ signal }, expect.objectContaining({ code: 'aborted' })],
      [{ callbacks: { onFirstStep: complain } }, complaint],
      [{ callbacks: { onEpochEnd: async () => complain() } }, complaint],
      [{ callbacks: { onCheckpoint: complain } }, complaint],
      [{ optimizer: { ...nn.sgd(), plan: complain } }, complaint],
      [{ optimizer: brokenOptimizer }, expect.objectContaining({ code: 'device' })],
    ]
    for (const [options, expected] of cases) {
      expect(await failure(nn.fit(model, data, { ...base, ...options }))).toEqual(expected)
      expect(device().memory()).toMatchObject({ liveBytes: before.liveBytes, liveBuffers: before.liveBuffers })
    }
  })
})

/** An optimizer whose kernel does not compile. */
const brokenOptimizer: Optimizer = {
  ...nn.sgd(),
  plan: (count, target) => {
    const plan = nn.sgd().plan(count, target)
    return { ...plan, dispatches: plan.dispatches.map((one) => ({ ...one, wgsl: 'nonsense' })) }
  },
}

describe('between the steps of an epoch', () => {
  /** Trains three epochs and returns the calls of WebGPU in the second one, in order. */
  async function callsOfSecondEpoch(count: number): Promise<string[]> {
    using own = await open()
    using data = pictureSet(count, own)
    using model = restlessModel()
    const calls: string[] = []
    const watch = <T extends object>(target: T, names: readonly (keyof T & string)[]): void => {
      for (const name of names) {
        const method = target[name]
        if (typeof method !== 'function') throw new Error(`${name} is not a method`)
        const watched = (...parameters: unknown[]): unknown => {
          calls.push(name)
          return Reflect.apply(method, target, parameters)
        }
        Object.defineProperty(target, name, { value: watched, configurable: true })
      }
    }
    watch(own.gpu, [
      'createBuffer',
      'createBindGroup',
      'createBindGroupLayout',
      'createShaderModule',
      'createComputePipeline',
      'createComputePipelineAsync',
    ])
    watch(own.gpu.queue, ['writeBuffer', 'submit'])
    const marks: number[] = []
    await nn.fit(model, data, {
      optimizer: nn.adam(),
      epochs: 3,
      batchSize: 4,
      callbacks: { onEpochEnd: () => void marks.push(calls.length) },
    })
    return calls.slice(marks[0], marks[1])
  }

  it('nothing is created, written or compiled: an epoch writes, submits, and reads back once', async () => {
    const [short, long] = [await callsOfSecondEpoch(22), await callsOfSecondEpoch(402)]
    for (const calls of [short, long]) expect(calls.join(' ')).toMatch(/^(writeBuffer )+(submit )+createBuffer submit$/)
    const count = (calls: readonly string[], name: string): number => calls.filter((one) => one === name).length
    expect(count(long, 'writeBuffer')).toBe(count(short, 'writeBuffer'))
    expect(count(long, 'createBuffer')).toBe(1)
  })
})

describe('callbacks', () => {
  it('run in order, and training waits for slow ones', async () => {
    using data = pictureSet(60)
    using model = plainModel()
    const events: string[] = []
    let isBusy = false
    const slowly = async (event: string): Promise<void> => {
      events.push(event)
      isBusy = true
      await new Promise((resolve) => setTimeout(resolve, 20))
      isBusy = false
    }
    const note = (event: string): void => {
      expect(isBusy, event).toBe(false)
      events.push(event)
    }
    const history = await nn.fit(model, data, {
      optimizer: nn.adam(),
      epochs: 2,
      batchSize: 16,
      validationSplit: 0.2,
      callbacks: {
        onBegin: (facts) => {
          expect(facts).toMatchObject({
            parameters: model.parameterCount,
            trainCount: 48,
            validationCount: 12,
            stepsPerEpoch: 3,
          })
          expect(facts.device).toBe(device())
          expect(facts.dispatchesPerStep).toBeGreaterThan(5)
          expect(facts.choices.map(({ family }) => family)).toContain('gatherBatch')
          note('begin')
        },
        onFirstStep: (seconds) => {
          expect(seconds).toBeGreaterThan(0)
          note('first step')
        },
        onProgress: ({ epoch, epochs, step, steps, imagesPerSecond, etaSeconds }) => {
          expect([epochs, steps]).toEqual([2, 3])
          // The first step compiles: no rate follows from it.
          if (events.some((event) => event.startsWith('progress'))) {
            expect(imagesPerSecond).toBeGreaterThan(0)
            expect(etaSeconds).toBeGreaterThanOrEqual(0)
          } else expect([imagesPerSecond, etaSeconds]).toEqual([Number.NaN, Number.NaN])
          note(`progress ${epoch}:${step}`)
        },
        onEpochEnd: ({ epoch, validationLoss, validationAccuracy, learningRate, seconds }) => {
          expect(validationLoss).toBeGreaterThan(0)
          expect(validationAccuracy).toBeGreaterThanOrEqual(0)
          expect(learningRate).toBe(1e-3)
          expect(seconds).toBeGreaterThan(0)
          return slowly(`epoch ${epoch}`)
        },
        onCheckpoint: ({ epoch, step }) => slowly(`checkpoint ${epoch}:${step}`),
      },
    })
    // The steps per submission, and so the number of reports, depend on the clock; the end of each epoch is always
    // reported.
    const fixed = events.filter((event) => !event.startsWith('progress') || event.endsWith(':3'))
    expect(fixed).toEqual([
      'begin',
      'first step',
      'progress 1:3',
      'epoch 1',
      'checkpoint 1:0',
      'progress 2:3',
      'epoch 2',
      'checkpoint 2:0',
    ])
    expect(history.epochs.map(({ epoch }) => epoch)).toEqual([1, 2])
    expect(history.firstStepSeconds).toBeGreaterThan(0)
    expect(history.millisecondsPerStep).toBeGreaterThan(0)
    expect(history.dispatchesPerStep).toBeGreaterThan(5)
  })

  it('are not needed to find the best epoch, or to keep its weights', async () => {
    const options: FitOptions = {
      optimizer: nn.sgd({ learningRate: unlearningAfter(16) }),
      epochs: 3,
      batchSize: 10,
      validationSplit: 0.2,
    }
    const kept = await trained(plainModel, 200, { ...options, restoreBest: true })
    const plain = await trained(plainModel, 200, options)
    expect(plain.bestEpoch).toBe(kept.bestEpoch)
    expect(plain.epochs).toEqual(kept.epochs)
    const best = [...plain.epochs].sort(
      (a, b) =>
        (b.validationAccuracy ?? 0) - (a.validationAccuracy ?? 0) || (a.validationLoss ?? 0) - (b.validationLoss ?? 0),
    )[0]
    expect(best?.epoch).toBeLessThan(3)
    expect(plain.bestEpoch).toBe(best?.epoch)
    expect(kept.weights).not.toEqual(plain.weights)
    const shorter = await trained(plainModel, 200, { ...options, epochs: plain.bestEpoch })
    expect(kept.weights).toEqual(shorter.weights)
  })

  it('see the last epoch as the best without validation', async () => {
    expect((await trained(plainModel, 20, { epochs: 3 })).bestEpoch).toBe(3)
  })
})

describe('small numbers of images', () => {
  it('can be trained one at a time, and validated with one', async () => {
    using data = pictureSet(9)
    using model = plainModel()
    const validation = data.subset([4])
    const { epochs } = await nn.fit(model, data, { optimizer: nn.adam(), epochs: 1, batchSize: 1, validation })
    const { loss, accuracy } = await nn.evaluate(model, validation)
    expect(epochs[0]?.validationLoss).toBe(loss)
    expect(epochs[0]?.validationAccuracy).toBe(accuracy)
    expect([0, 1]).toContain(accuracy)
  })

  it('can be fewer than a batch: one step takes them all', async () => {
    const { epochs } = await trained(plainModel, 5, { batchSize: 64, epochs: 2 })
    expect(epochs).toHaveLength(2)
    const one = await trained(plainModel, 1, { batchSize: 64, epochs: 2 })
    expect(one.epochs[1]?.loss).toBeLessThan(one.epochs[0]?.loss ?? 0)
  })

  it('are each used once per epoch, including the last batch', async () => {
    using data = pictureSet(10)
    using model = plainModel()
    // A rate this small changes nothing: the epoch's loss is the data set's.
    const optimizer = nn.sgd({ learningRate: 1e-30 })
    const { epochs } = await nn.fit(model, data, { optimizer, epochs: 3, batchSize: 4 })
    const { loss, accuracy } = await nn.evaluate(model, data)
    for (const logs of epochs) {
      expect(logs.loss).toBeCloseTo(loss, 6)
      expect(logs.accuracy).toBe(accuracy)
    }
  })
})
