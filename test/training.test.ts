/**
 * Training as a whole, on small synthetic images: the same numbers twice, across stops and losses of the device; nothing
 * allocated between steps; what is refused, and what stops a run; optimizers, schedules and evaluation against float64.
 */
import { describe, expect, it } from 'vitest'
import type { ImageDataset } from '../src/data/dataset.ts'
import { residentImages } from '../src/data/dataset.ts'
import { dropDuplicates } from '../src/data/duplicates.ts'
import { randomSplit } from '../src/data/split.ts'
import type { Device } from '../src/gpu/device.ts'
import { open } from '../src/gpu/node/open.ts'
import { nn, tensor } from '../src/index.ts'
import { elementCount } from '../src/kernels/kernel.ts'
import { decodeCheckpoint, encodeCheckpoint } from '../src/nn/checkpoint.ts'
import type { Callbacks, EpochLogs, FitOptions, History, TrainingCheckpoint } from '../src/nn/contract.ts'
import type { Model } from '../src/nn/model.ts'
import type { WeightNumbers } from '../src/nn/model-weights.ts'
import type { Optimizer } from '../src/nn/optimizers.ts'
import { optimizerTable } from '../src/nn/optimizers.ts'
import type { Schedule } from '../src/nn/schedules.ts'
import { Random } from '../src/random.ts'
import { disagreement } from './support/compare.ts'
import { useDevice } from './support/device.ts'

/** Where runs are stopped, and another where they resume; each compiles its shaders once. */
const stoppedOn = useDevice()
const resumedOn = useDevice()
/** Opened last: the one that tensors made from host values are computed on. */
const device = useDevice()
const side = 8
const classes = 4

/** Noisy images, brighter in the quarter that is their class. */
function pictures(count: number, seed = 1) {
  const random = new Random(seed, 'pictures')
  const labels = Uint8Array.from({ length: count }, () => random.below(classes))
  const images = new Uint8Array(count * side * side)
  labels.forEach((label, i) => {
    for (let y = 0; y < side; y++)
      for (let x = 0; x < side; x++) {
        const isBright = Math.floor(y / 4) * 2 + Math.floor(x / 4) === label
        images[(i * side + y) * side + x] = random.below(128) + (isBright ? random.below(128) : 0)
      }
  })
  return { images, labels, height: side, width: side, channels: 1, classes }
}

const pictureSet = (count: number, on: Device = device(), seed = 1): ImageDataset =>
  residentImages(on, pictures(count, seed))

/** Convolution and two dense layers. */
function plainModel(seed = 1): Model {
  return nn.sequential(
    'plain',
    [side, side, 1],
    [
      nn.conv2d('conv', 4, 3, { activation: 'relu' }),
      nn.maxPooling2d('pool'),
      nn.flatten('flatten'),
      nn.dense('hidden', 8, { activation: 'relu' }),
      nn.dense('logits', classes),
    ],
    { seed },
  )
}

/** What makes a step depend on more than weights and images: random masks and moving statistics. */
function restlessModel(seed = 1): Model {
  return nn.sequential(
    'restless',
    [side, side, 1],
    [
      nn.conv2d('conv', 4, 3, { useBias: false }),
      nn.batchNormalization('norm', { momentum: 0.8 }),
      nn.activation('relu', 'relu'),
      nn.dropout('drop', 0.3),
      nn.flatten('flatten'),
      nn.dense('hidden', 8, { activation: 'tanh' }),
      nn.dropout('drop again', 0.2),
      nn.dense('logits', classes),
    ],
    { seed },
  )
}

/** Epochs without what the clock says. */
function numbersOf(epochs: readonly EpochLogs[]): Omit<EpochLogs, 'seconds'>[] {
  return epochs.map(({ seconds: _, ...numbers }) => numbers)
}

interface Outcome {
  readonly weights: WeightNumbers
  readonly epochs: Omit<EpochLogs, 'seconds'>[]
  readonly bestEpoch: number
}

async function outcomeOf(model: Model, history: History): Promise<Outcome> {
  return { weights: await model.weightNumbers(), epochs: numbersOf(history.epochs), bestEpoch: history.bestEpoch }
}

/** Trains a model to the end, and releases everything. */
async function trained(
  makeModel: () => Model,
  count: number,
  options: Partial<FitOptions> = {},
  on: Device = device(),
): Promise<Outcome> {
  using data = pictureSet(count, on)
  using model = makeModel()
  const history = await nn.fit(model, data, { optimizer: nn.adam(), epochs: 2, batchSize: 16, ...options })
  return await outcomeOf(model, history)
}

/** The error that a promise rejects with. */
async function failure(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => {
      throw new Error('it should have failed')
    },
    (error: unknown) => error,
  )
}

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
    // One batch of all images: their order changes sums in the last bits only, masks change everything.
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

/** Climbs the loss after so many steps, so that the epoch before stays the best. */
function unlearningAfter(steps: number): Schedule {
  return { name: `unlearning after ${steps}`, rate: (step) => (step < steps ? 0.1 : -0.1) }
}

/** When to stop a run. */
interface Stop {
  readonly name: string
  readonly isInMidEpoch: boolean
  /** Arranges that `abort` is called; gives callbacks to train with. */
  arrange(on: Device, abort: () => void): Callbacks
}

/** Calls `act` with the next submission of work. */
function withNextSubmission(on: Device, act: () => void): void {
  const { queue } = on.gpu
  const submit = queue.submit
  queue.submit = (commands) => {
    queue.submit = submit
    act()
    return submit.call(queue, commands)
  }
}

const stops = {
  atOnce: {
    name: 'before the first step',
    isInMidEpoch: false,
    arrange: (_, abort) => ({ onBegin: abort }),
  },
  afterOneStep: {
    name: 'in the middle of the first epoch',
    isInMidEpoch: true,
    arrange: (_, abort) => ({ onFirstStep: abort }),
  },
  afterOneEpoch: {
    name: 'at the end of the first epoch',
    isInMidEpoch: false,
    arrange: (_, abort) => ({ onEpochEnd: abort }),
  },
  inSecondEpoch: {
    name: 'in the middle of the second epoch',
    isInMidEpoch: true,
    arrange: (on, abort) => ({
      onCheckpoint: ({ epoch, step }) => {
        if (epoch === 1 && step === 0) withNextSubmission(on, abort)
      },
    }),
  },
} satisfies Readonly<Record<string, Stop>>

/** Trains until `stop`, and gives the last checkpoint handed out. */
async function stopped(
  makeModel: () => Model,
  count: number,
  options: FitOptions,
  stop: Stop,
): Promise<TrainingCheckpoint> {
  const own = stoppedOn()
  using data = pictureSet(count, own)
  using model = makeModel()
  const controller = new AbortController()
  const callbacks = stop.arrange(own, () => controller.abort())
  const checkpoints: TrainingCheckpoint[] = []
  const onCheckpoint = async (checkpoint: TrainingCheckpoint): Promise<void> => {
    checkpoints.push(checkpoint)
    await callbacks.onCheckpoint?.(checkpoint)
  }
  const error = await failure(
    nn.fit(model, data, { ...options, signal: controller.signal, callbacks: { ...callbacks, onCheckpoint } }),
  )
  const last = checkpoints.at(-1)
  if (last === undefined) throw new Error('a stopped run hands out a checkpoint')
  expect(error).toMatchObject({ code: 'aborted', details: { epoch: last.epoch, step: last.step } })
  expect(await model.weightNumbers()).toEqual(last.weights)
  return last
}

/** Resumes from a checkpoint, on another device and with a model of its own. */
async function resumed(
  makeModel: () => Model,
  count: number,
  options: FitOptions,
  resume: TrainingCheckpoint,
): Promise<Outcome> {
  return await trained(makeModel, count, { ...options, resume }, resumedOn())
}

describe('a run that was stopped', () => {
  const settings: readonly {
    readonly name: string
    readonly model: (seed?: number) => Model
    readonly count: number
    readonly options: FitOptions
  }[] = [
    {
      name: 'with Adam and the best weights kept',
      model: plainModel,
      count: 100,
      options: { optimizer: nn.adam(), epochs: 3, batchSize: 10, validationSplit: 0.1, restoreBest: true },
    },
    {
      name: 'with dropout, moving statistics, Nesterov and a last batch that is smaller',
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
      it(`${name}, ${stop.name}, goes on elsewhere to the same weights, history and best epoch`, async () => {
        const whole = await trained(() => model(), count, options)
        const checkpoint = await stopped(() => model(), count, options, stop)
        expect(checkpoint.step > 0).toBe(stop.isInMidEpoch)
        // Through a file's bytes, into a model that began otherwise.
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

  it('and has already finished does not train again', async () => {
    const checkpoints: TrainingCheckpoint[] = []
    const options: FitOptions = { optimizer: nn.adam(), epochs: 2, batchSize: 16, validationSplit: 0.2 }
    const callbacks = { onCheckpoint: (checkpoint: TrainingCheckpoint) => void checkpoints.push(checkpoint) }
    const whole = await trained(plainModel, 40, { ...options, callbacks })
    const last = checkpoints.at(-1)
    if (last === undefined) throw new Error('there is a checkpoint an epoch')
    expect(checkpoints.map(({ epoch, step, globalStep }) => [epoch, step, globalStep])).toEqual([
      [1, 0, 2],
      [2, 0, 4],
    ])
    expect(await resumed(() => plainModel(9), 40, options, last)).toEqual(whole)
  })
})

describe('memory', () => {
  it('is the same after a thousand steps, and all the way there', async () => {
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
  /** Trains three epochs and gives what the second one asked of WebGPU, in order. */
  async function callsOfSecondEpoch(count: number): Promise<string[]> {
    using own = await open()
    using data = pictureSet(count, own)
    using model = restlessModel()
    const calls: string[] = []
    const watch = <T extends object>(target: T, names: readonly (keyof T & string)[]): void => {
      for (const name of names) {
        const method = target[name]
        if (typeof method !== 'function') throw new Error(`${name} is no method`)
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

describe('numbers that are not finite', () => {
  const options: FitOptions = { optimizer: nn.adam(), epochs: 2, batchSize: 10 }

  function poisoned(weights: WeightNumbers, name: string, value: number): WeightNumbers {
    const own = new Map([...weights].map(([key, { shape, data }]) => [key, { shape, data: Float32Array.from(data) }]))
    const data = own.get(name)?.data
    if (data === undefined) throw new Error(`there is no ${name}`)
    data[1] = value
    return own
  }

  it('stop a run whose learning rate is far too high, with the weights as they were before the bad step', async () => {
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
    'planted in %s (%d) are found there, and nothing else has changed: no moving statistics either',
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

  it('are found in the right epoch and step, including the last, smaller batch', async () => {
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
    // The rate is mad at the last step of the first epoch only: the first step of the second epoch is the bad one.
    const rate: Schedule = { name: 'mad', rate: (step) => (step === 4 ? 1e30 : 1e-3) }
    const error = await failure(trained(plainModel, 41, { ...options, optimizer: nn.sgd({ learningRate: rate }) }))
    expect(error).toMatchObject({ code: 'not-finite', details: { epoch: 2, step: 1 } })
    const before: Schedule = { name: 'mad', rate: (step) => (step === 3 ? 1e30 : 1e-3) }
    const last = await failure(trained(plainModel, 41, { ...options, optimizer: nn.sgd({ learningRate: before }) }))
    expect(last).toMatchObject({ code: 'not-finite', details: { epoch: 1, step: 5 } })
  })

  it('are not missed by a stop: no checkpoint is later than a bad step', async () => {
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

describe('a device that is lost in training', () => {
  const options: FitOptions = { optimizer: nn.adam(), epochs: 3, batchSize: 8, validationSplit: 0.2, restoreBest: true }

  it.each<[when: string, callback: 'onFirstStep' | 'onEpochEnd' | 'onCheckpoint' | 'onProgress']>([
    ['after the first step', 'onFirstStep'],
    ['at the end of the second epoch', 'onEpochEnd'],
    ['while the checkpoint is taken away', 'onCheckpoint'],
    ['on the way', 'onProgress'],
  ])('%s gives one error; the last checkpoint leads to the same end on another device', async (_, callback) => {
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

  it('can be disposed of by a callback: the run ends with an error that says so', async () => {
    const own = await open()
    const data = pictureSet(70, own)
    const model = plainModel()
    const error = await failure(nn.fit(model, data, { ...options, callbacks: { onFirstStep: () => own.dispose() } }))
    expect(error).toMatchObject({ code: 'disposed' })
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
          expect(imagesPerSecond).toBeGreaterThan(0)
          expect(etaSeconds).toBeGreaterThanOrEqual(0)
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
    // How many steps go together, hence how often progress is told, is up to the clock; each epoch's end is told.
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

describe('invalid input is refused before anything is changed', () => {
  const base: FitOptions = { optimizer: nn.adam(), epochs: 2, batchSize: 16 }

  it.each<[what: string, options: Partial<FitOptions>, mentions: RegExp]>([
    ['no epochs', { epochs: 0 }, /epochs .*0/],
    ['half an epoch', { epochs: 1.5 }, /epochs .*1\.5/],
    ['empty batches', { batchSize: 0 }, /batchSize .*0/],
    ['batches of NaN', { batchSize: Number.NaN }, /batchSize .*NaN/],
    ['everything for validation', { validationSplit: 1 }, /share.*1/],
    ['less than nothing for validation', { validationSplit: -0.1 }, /share.*-0\.1/],
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

  it('images and classes that the model cannot take, and validation images elsewhere', async () => {
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

describe('the state of a step besides the weights', () => {
  it('moving statistics: those of each batch, mixed in by the momentum', async () => {
    const [count, batchSize, epochs, seed, momentum] = [13, 5, 3, 6, 0.7]
    const bytes = pictures(count)
    using data = residentImages(device(), bytes)
    using model = nn.sequential(
      'normalised',
      [side, side, 1],
      [nn.batchNormalization('norm', { momentum }), nn.flatten('flatten'), nn.dense('logits', classes)],
    )
    await nn.fit(model, data, { optimizer: nn.adam(), epochs, batchSize, seed })

    let [movingMean, movingVariance] = [0, 1]
    for (let epoch = 0; epoch < epochs; epoch++) {
      const order = new Random(seed, `epoch ${epoch}`).shuffle(Uint32Array.from({ length: count }, (_, i) => i))
      for (let start = 0; start < count; start += batchSize) {
        const pixels = [...order.subarray(start, start + batchSize)].flatMap((i) =>
          Array.from(bytes.images.subarray(i * side * side, (i + 1) * side * side), (byte) => byte / 255),
        )
        const mean = pixels.reduce((sum, x) => sum + x, 0) / pixels.length
        const variance = pixels.reduce((sum, x) => sum + (x - mean) ** 2, 0) / pixels.length
        movingMean = momentum * movingMean + (1 - momentum) * mean
        movingVariance = momentum * movingVariance + (1 - momentum) * variance
      }
    }
    const weights = await model.weightNumbers()
    expect(weights.get('norm/moving_mean')?.data[0]).toBeCloseTo(movingMean, 5)
    expect(weights.get('norm/moving_variance')?.data[0]).toBeCloseTo(movingVariance, 5)
  })

  it('a count of steps, so that dropout draws another mask each time', async () => {
    // One picture, weights that stay as they are: only masks tell the epochs apart.
    const losses = async (rate: number): Promise<number[]> => {
      using data = pictureSet(1)
      using model = nn.sequential(
        'masked',
        [side, side, 1],
        [nn.flatten('flatten'), nn.dropout('drop', rate), nn.dense('logits', classes)],
      )
      const optimizer = nn.sgd({ learningRate: 1e-30 })
      return (await nn.fit(model, data, { optimizer, epochs: 6, batchSize: 1 })).epochs.map(({ loss }) => loss)
    }
    expect(new Set(await losses(0)).size).toBe(1)
    expect(new Set(await losses(0.5)).size).toBe(6)
  })
})

describe('schedules and tables of rates', () => {
  it('match their formulas', () => {
    const constant = nn.constantRate(0.02)
    expect([0, 1, 999].map((step) => constant.rate(step, 1000))).toEqual([0.02, 0.02, 0.02])
    const steps = nn.stepRate(0.5, { every: 10, factor: 0.2 })
    expect([0, 9, 10, 19, 20].map((step) => steps.rate(step, 100))).toEqual([
      0.5,
      0.5,
      expect.closeTo(0.1, 12),
      expect.closeTo(0.1, 12),
      expect.closeTo(0.02, 12),
    ])
    const cosine = nn.cosineRate(0.3, { warmupSteps: 4, final: 0.1 })
    const expected = Array.from({ length: 12 }, (_, step) =>
      step < 4 ? (0.3 * (step + 1)) / 4 : 0.1 + 0.2 * Math.cos((Math.PI * (step - 4)) / 8 / 2) ** 2,
    )
    expected.forEach((rate, step) => {
      expect(cosine.rate(step, 12)).toBeCloseTo(rate, 12)
    })
    expect(cosine.rate(3, 12)).toBe(0.3)
    expect(cosine.rate(4, 12)).toBe(0.3)
    expect(cosine.rate(12, 12)).toBeCloseTo(0.1, 12)
    expect(cosine.rate(50, 12)).toBeCloseTo(0.1, 12)
    expect(nn.cosineRate(1, { warmupSteps: 5 }).rate(5, 5)).toBe(1)
  })

  it('have names that include all their settings', () => {
    const names = [
      nn.constantRate(1),
      nn.constantRate(2),
      nn.stepRate(1, { every: 3 }),
      nn.stepRate(1, { every: 4 }),
      nn.stepRate(1, { every: 3, factor: 0.5 }),
      nn.cosineRate(1),
      nn.cosineRate(1, { warmupSteps: 2 }),
      nn.cosineRate(1, { final: 0.1 }),
    ].map(({ name }) => name)
    const optimizers = [
      nn.adam(),
      nn.adam({ beta1: 0.8 }),
      nn.adam({ beta2: 0.99 }),
      nn.adam({ epsilon: 1e-8 }),
      nn.adam({ learningRate: 1 }),
      nn.adamw(),
      nn.adamw({ weightDecay: 0.1 }),
      nn.sgd(),
      nn.sgd({ momentum: 0.9 }),
      nn.sgd({ momentum: 0.9, nesterov: true }),
    ].map(({ name }) => name)
    expect(new Set(names).size).toBe(names.length)
    expect(new Set(optimizers).size).toBe(optimizers.length)
  })

  it('hold bias corrections computed in float64, row after row, also late in a run', () => {
    const learningRate = nn.cosineRate(1e-3, { warmupSteps: 10 })
    const [first, steps, total] = [90_000, 3, 100_000]
    const table = optimizerTable(nn.adamw({ learningRate, weightDecay: 0.02 }), first, steps, total)
    const expected = Array.from({ length: steps }, (_, i) => {
      const rate = learningRate.rate(first + i, total)
      const t = first + i + 1
      const corrected = (rate * Math.sqrt(1 - 0.999 ** t)) / (1 - 0.9 ** t)
      return [corrected, rate * 0.02, 0, 0]
    })
    expect([...table]).toEqual(expected.flat().map(Math.fround))
    const [begin] = optimizerTable(nn.adam({ learningRate: 0.1 }), 0, 1, 10)
    expect(begin).toBe(Math.fround((0.1 * Math.sqrt(0.001)) / 0.1))
    expect([...optimizerTable(nn.sgd({ learningRate: nn.stepRate(1, { every: 2 }) }), 1, 2, 4)]).toEqual(
      [1, 0, 0, 0, 0.1, 0, 0, 0].map(Math.fround),
    )
  })
})

/** Plain float64 training of flatten, dense with tanh, dense: what the optimizers are compared with. */
class Reference {
  readonly weights: Float64Array[]
  readonly #features: number
  readonly #units: number

  constructor(weights: readonly ArrayLike<number>[], features: number, units: number) {
    this.weights = weights.map((one) => Float64Array.from(one))
    this.#features = features
    this.#units = units
  }

  /** The mean loss of a batch and the gradients of all weights. */
  gradients(batch: readonly { readonly x: readonly number[]; readonly label: number }[]): {
    loss: number
    slopes: Float64Array[]
  } {
    const [w1 = [], b1 = [], w2 = [], b2 = []]: ArrayLike<number>[] = this.weights
    const slopes = this.weights.map((one) => new Float64Array(one.length))
    const [dw1, db1, dw2, db2] = slopes
    if (dw1 === undefined || db1 === undefined || dw2 === undefined || db2 === undefined)
      throw new Error('the network has four weights')
    const [features, units] = [this.#features, this.#units]
    const at = (array: ArrayLike<number>, i: number): number => array[i] ?? Number.NaN
    const addTo = (array: Float64Array, i: number, value: number): void => {
      array[i] = at(array, i) + value
    }
    const range = (count: number): number[] => Array.from({ length: count }, (_, i) => i)
    let loss = 0
    for (const { x, label } of batch) {
      const h = range(units).map((j) =>
        Math.tanh(range(features).reduce((sum, i) => sum + at(x, i) * at(w1, i * units + j), at(b1, j))),
      )
      const logits = range(classes).map((k) =>
        range(units).reduce((sum, j) => sum + at(h, j) * at(w2, j * classes + k), at(b2, k)),
      )
      const largest = Math.max(...logits)
      const total = logits.reduce((sum, logit) => sum + Math.exp(logit - largest), 0)
      loss += (Math.log(total) + largest - at(logits, label)) / batch.length
      const dLogits = logits.map((logit, k) => (Math.exp(logit - largest) / total - Number(k === label)) / batch.length)
      for (const k of range(classes)) {
        addTo(db2, k, at(dLogits, k))
        for (const j of range(units)) addTo(dw2, j * classes + k, at(h, j) * at(dLogits, k))
      }
      for (const j of range(units)) {
        const dh = range(classes).reduce((sum, k) => sum + at(dLogits, k) * at(w2, j * classes + k), 0)
        const before = dh * (1 - at(h, j) ** 2)
        addTo(db1, j, before)
        for (const i of range(features)) addTo(dw1, i * units + j, at(x, i) * before)
      }
    }
    return { loss, slopes }
  }
}

/** New weight and new moments, from the weight, its gradient, the moments and the step from 1. */
type Update = (p: number, g: number, moments: readonly number[], t: number) => readonly [number, readonly number[]]

const adamUpdate =
  (rate: (t: number) => number, decay = 0): Update =>
  (p, g, [m = 0, v = 0], t) => {
    const first = 0.9 * m + 0.1 * g
    const second = 0.999 * v + 0.001 * g * g
    // Keras: epsilon outside the correction.
    const size = (rate(t) * Math.sqrt(1 - 0.999 ** t)) / (1 - 0.9 ** t)
    return [p - rate(t) * decay * p - (size * first) / (Math.sqrt(second) + 1e-7), [first, second]]
  }

const sgdUpdate =
  (rate: number, momentum: number, nesterov: boolean): Update =>
  (p, g, [velocity = 0]) => {
    const v = momentum * velocity - rate * g
    return [p + (nesterov ? momentum * v - rate * g : v), [v]]
  }

describe('optimizers follow the same steps in float64:', () => {
  const cosine = nn.cosineRate(0.02, { warmupSteps: 3 })

  it.each<[name: string, optimizer: Optimizer, update: Update]>([
    ['Adam', nn.adam({ learningRate: 0.01 }), adamUpdate(() => 0.01)],
    ['Adam along a cosine', nn.adam({ learningRate: cosine }), adamUpdate((t) => cosine.rate(t - 1, 24))],
    ['AdamW', nn.adamw({ learningRate: 0.01, weightDecay: 0.1 }), adamUpdate(() => 0.01, 0.1)],
    ['plain descent', nn.sgd({ learningRate: 0.3 }), sgdUpdate(0.3, 0, false)],
    ['momentum', nn.sgd({ learningRate: 0.1, momentum: 0.9 }), sgdUpdate(0.1, 0.9, false)],
    ["Nesterov's momentum", nn.sgd({ learningRate: 0.1, momentum: 0.8, nesterov: true }), sgdUpdate(0.1, 0.8, true)],
  ])('%s', async (_, optimizer, update) => {
    const [count, batchSize, epochs, units, seed] = [23, 4, 4, 5, 11]
    const bytes = pictures(count)
    using data = residentImages(device(), bytes)
    using model = nn.sequential(
      'two layers',
      [side, side, 1],
      [nn.flatten('flatten'), nn.dense('hidden', units, { activation: 'tanh' }), nn.dense('logits', classes)],
      { seed: 4 },
    )
    const begin = await model.weightNumbers()
    const { epochs: history } = await nn.fit(model, data, { optimizer, epochs, batchSize, seed })

    const reference = new Reference(
      [...begin.values()].map((one) => one.data),
      side * side,
      units,
    )
    const moments = reference.weights.map((one) => Array.from(one, (): readonly number[] => []))
    let t = 0
    for (let epoch = 0; epoch < epochs; epoch++) {
      const order = new Random(seed, `epoch ${epoch}`).shuffle(Uint32Array.from({ length: count }, (__, i) => i))
      let total = 0
      for (let start = 0; start < count; start += batchSize) {
        t++
        const batch = [...order.subarray(start, start + batchSize)].map((i) => ({
          x: Array.from(bytes.images.subarray(i * side * side, (i + 1) * side * side), (byte) => byte / 255),
          label: bytes.labels[i] ?? -1,
        }))
        const { loss, slopes } = reference.gradients(batch)
        total += loss * batch.length
        reference.weights.forEach((weight, w) => {
          weight.forEach((p, i) => {
            const [next, own] = update(p, slopes[w]?.[i] ?? Number.NaN, moments[w]?.[i] ?? [], t)
            weight[i] = next
            const list = moments[w]
            if (list !== undefined) list[i] = own
          })
        })
      }
      expect(Math.abs((history[epoch]?.loss ?? 0) - total / count), `loss of epoch ${epoch}`).toBeLessThan(1e-5)
    }
    const end = [...(await model.weightNumbers()).values()]
    end.forEach(({ data: numbers }, i) => {
      expect(disagreement(numbers, reference.weights[i] ?? [], { rtol: 2e-4, atol: 2e-5 })).toBeUndefined()
      const moved = numbers.some((x, j) => Math.abs(x - ([...begin.values()][i]?.data[j] ?? 0)) > 0.01)
      expect(moved).toBe(true)
    })
  })
})

/** Loss, predictions and confusion matrix worked out on the host from the model's logits. */
async function countedOnHost(model: Model, images: Uint8Array, labels: Uint8Array) {
  const count = labels.length
  const x = tensor(
    Float32Array.from(images, (byte) => byte / 255),
    [count, side, side, 1],
  )
  const logits = await model.call(x).data({ device: device() })
  const confusion = Array.from({ length: classes }, () => new Array<number>(classes).fill(0))
  const predictions: number[] = []
  let loss = 0
  labels.forEach((label, i) => {
    const row = [...logits.subarray(i * classes, (i + 1) * classes)]
    const predicted = row.indexOf(Math.max(...row))
    predictions.push(predicted)
    const line = confusion[label]
    if (line !== undefined) line[predicted] = (line[predicted] ?? 0) + 1
    loss += Math.log(row.reduce((sum, logit) => sum + Math.exp(logit), 0)) - (row[label] ?? 0)
  })
  const hits = confusion.reduce((sum, row, k) => sum + (row[k] ?? 0), 0)
  return { loss: loss / count, accuracy: hits / count, confusion, predictions }
}

describe('evaluation', () => {
  const bytes = pictures(53, 9)

  it.each([7, 53, 1, 1000])('in batches of %i agrees with counting on the host', async (batchSize) => {
    using data = residentImages(device(), bytes)
    using model = restlessModel(3)
    const expected = await countedOnHost(model, bytes.images, bytes.labels)
    const before = device().memory()
    const actual = await nn.evaluate(model, data, { batchSize })
    expect(actual.loss).toBeCloseTo(expected.loss, 5)
    expect(actual.accuracy).toBeCloseTo(expected.accuracy, 6)
    expect(actual.confusion).toEqual(expected.confusion)
    expect([...actual.predictions]).toEqual(expected.predictions)
    expect(device().memory()).toMatchObject({ liveBytes: before.liveBytes, liveBuffers: before.liveBuffers })
  })

  it('takes the images of a subset in its order, with the labels the data has for them', async () => {
    using data = residentImages(device(), bytes)
    using model = plainModel(3)
    const positions = [50, 3, 3, 17, 0, 52, 8]
    const subset = data.subset([0, 1, ...positions]).subset(positions.map((_, i) => i + 2))
    expect([...subset.labelsOf()]).toEqual(positions.map((i) => bytes.labels[i]))
    const images = positions.flatMap((i) => [...bytes.images.subarray(i * side * side, (i + 1) * side * side)])
    const expected = await countedOnHost(model, Uint8Array.from(images), Uint8Array.from(subset.labelsOf()))
    const actual = await nn.evaluate(model, subset, { batchSize: 3 })
    expect(actual.loss).toBeCloseTo(expected.loss, 5)
    expect(actual.confusion).toEqual(expected.confusion)
    expect([...actual.predictions]).toEqual(expected.predictions)
    const rows = actual.confusion.map((row) => row.reduce((a, b) => a + b, 0))
    expect(rows).toEqual(Array.from({ length: classes }, (_, k) => subset.labelsOf().filter((x) => x === k).length))
  })

  it('can be repeated while the weights change', async () => {
    using data = residentImages(device(), bytes)
    using model = plainModel(1)
    using other = plainModel(2)
    const evaluator = await nn.Evaluator.create(model, data, { batchSize: 10 })
    const [first, again] = [await evaluator.run(), await evaluator.run()]
    expect(again).toEqual(first)
    expect(first.predictions).toHaveLength(0)
    model.setWeights(await other.weightNumbers())
    const changed = await evaluator.run({ predictions: true })
    expect(changed).toEqual(await nn.evaluate(other, data, { batchSize: 10 }))
    expect(changed.loss).not.toBe(first.loss)
    evaluator.dispose()
  })

  it('of empty batches, and of images or classes that do not fit, is refused', async () => {
    using data = residentImages(device(), bytes)
    using many = residentImages(device(), { ...bytes, classes: 5 })
    using model = plainModel()
    for (const batchSize of [0, -1, 2.5, Number.NaN])
      expect(await failure(nn.evaluate(model, data, { batchSize }))).toMatchObject({ code: 'argument' })
    expect(await failure(nn.evaluate(model, many))).toMatchObject({ code: 'mismatch' })
    using lenet = nn.sequential('narrow', [4, 4, 1], [nn.flatten('flatten'), nn.dense('logits', classes)])
    expect(await failure(nn.evaluate(lenet, data))).toMatchObject({ code: 'shape' })
  })

  it('of a disposed data set is refused, and the device stays usable', async () => {
    const data = residentImages(device(), bytes)
    using model = plainModel()
    const evaluator = await nn.Evaluator.create(model, data)
    data.dispose()
    expect(await failure(evaluator.run())).toMatchObject({ code: 'disposed' })
    expect(await failure(nn.evaluate(model, data))).toMatchObject({ code: 'disposed' })
    evaluator.dispose()
    expect(await tensor([1, 2]).data({ device: device() })).toEqual(Float32Array.of(1, 2))
  })

  it('gives probabilities for images of bytes, padded to the input', async () => {
    using model = nn.sequential('wide', [10, 11, 1], [nn.flatten('flatten'), nn.dense('logits', classes)], { seed: 2 })
    model.to(device())
    const probabilities = await nn.predict(model, bytes.images.subarray(0, 2 * side * side), [side, side, 1])
    expect(probabilities).toHaveLength(2 * classes)
    const kernel = (await model.weightNumbers()).get('logits/kernel')?.data ?? new Float32Array()
    for (const i of [0, 1]) {
      const logits = Array.from({ length: classes }, (_, k) => {
        let total = 0
        for (let y = 0; y < side; y++)
          for (let x = 0; x < side; x++) {
            const byte = bytes.images[(i * side + y) * side + x] ?? 0
            total += (byte / 255) * (kernel[((y + 1) * 11 + x + 1) * classes + k] ?? 0)
          }
        return Math.exp(total)
      })
      const sum = logits.reduce((a, b) => a + b, 0)
      logits.forEach((logit, k) => {
        expect(probabilities[i * classes + k]).toBeCloseTo(logit / sum, 5)
      })
    }
    for (const size of [63, 0])
      expect(await failure(nn.predict(model, new Uint8Array(size), [side, side, 1]))).toMatchObject({ code: 'shape' })
    expect(await failure(nn.predict(model, new Uint8Array(144), [12, 12, 1]))).toMatchObject({ code: 'shape' })
  })
})

describe('small numbers of images', () => {
  it('can be trained one at a time, and validated by one', async () => {
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

  it('are each taken once an epoch, the last batch included', async () => {
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

describe('data sets', () => {
  it('refuse bytes that are not labelled images, and keep nothing', () => {
    const before = device().memory()
    const good = pictures(3)
    const cases: readonly [code: string, Partial<ReturnType<typeof pictures>>][] = [
      ['data', { images: good.images.subarray(1) }],
      ['data', { labels: new Uint8Array(0), images: new Uint8Array(0) }],
      ['data', { labels: Uint8Array.of(0, 1, classes) }],
      ['argument', { height: 0, images: new Uint8Array(0) }],
      ['argument', { classes: 0 }],
      ['argument', { classes: Number.NaN }],
      ['argument', { width: 7.5, images: good.images.subarray(0, 180) }],
    ]
    for (const [code, changes] of cases)
      expect(() => residentImages(device(), { ...good, ...changes })).toThrow(expect.objectContaining({ code }))
    expect(device().memory()).toEqual(before)
  })

  it('refuse empty subsets, and subsets of unknown images', () => {
    using data = pictureSet(3)
    for (const positions of [[], [3], [-1], [0.5]])
      expect(() => data.subset(positions)).toThrow(expect.objectContaining({ code: 'argument' }))
    expect([...data.subset([2, 0]).indices]).toEqual([2, 0])
    expect(data.subset([2, 0]).subset([1]).indices).toEqual(Uint32Array.of(0))
  })

  it('are released with the set they were taken from, and not by a subset', async () => {
    const before = device().memory().liveBytes
    const data = pictureSet(3)
    data.subset([1]).dispose()
    expect((await data.images.data())[0]).toBe(pictures(3).images[0])
    data.dispose()
    expect(device().memory().liveBytes).toBe(before)
    await expect(data.images.data()).rejects.toMatchObject({ code: 'disposed' })
  })
})

describe('splits', () => {
  it('hold out a random share by the seed, each position on one side, in ascending order', () => {
    for (const [count, share, held] of [
      [100, 0.1, 10],
      [7, 0.5, 4],
      [3, 0.01, 1],
      [3, 0.99, 2],
    ] as const) {
      const split = randomSplit(count, share, 5)
      expect(split.held).toHaveLength(held)
      const isRising = (positions: Uint32Array): boolean =>
        positions.every((p, i) => i === 0 || p > (positions[i - 1] ?? 0))
      expect(isRising(split.held) && isRising(split.rest)).toBe(true)
      expect([...split.rest, ...split.held].sort((a, b) => a - b)).toEqual(Array.from({ length: count }, (_, i) => i))
      expect(randomSplit(count, share, 5)).toEqual(split)
    }
    expect(randomSplit(100, 0.3, 6)).not.toEqual(randomSplit(100, 0.3, 5))
    // No position is favoured: over many seeds each is held out about as often.
    const times = new Array<number>(10).fill(0)
    for (let seed = 0; seed < 2000; seed++)
      for (const position of randomSplit(10, 0.3, seed).held) times[position] = (times[position] ?? 0) + 1
    // 600 expected, 20 is a standard deviation.
    expect(Math.min(...times)).toBeGreaterThan(510)
    expect(Math.max(...times)).toBeLessThan(690)
  })

  it('refuse shares and counts that leave nothing on a side', () => {
    for (const [count, share] of [
      [10, 0],
      [10, 1],
      [10, Number.NaN],
      [1, 0.5],
      [2.5, 0.5],
    ] as const)
      expect(() => randomSplit(count, share, 1)).toThrow(expect.objectContaining({ code: 'argument' }))
  })

  it('find exact duplicates, and keep the first of each', () => {
    const images = Uint8Array.of(1, 2, 3, 4, 1, 2, 1, 3, 3, 4, 2, 1)
    expect([...dropDuplicates(images, 2)]).toEqual([0, 1, 3, 5])
    expect([...dropDuplicates(images, 12)]).toEqual([0])
    expect([...dropDuplicates(new Uint8Array(0), 2)]).toEqual([])
    for (const size of [0, 5, -2, 1.5, Number.NaN])
      expect(() => dropDuplicates(images, size)).toThrow(expect.objectContaining({ code: 'argument' }))
  })
})

describe('a model', () => {
  it('describes its layers', () => {
    expect(nn.lenet5().summary()).toMatchInlineSnapshot(`
      "lenet5: [batch, 32, 32, 1]
      -----------------------------------------------------
      Layer                 Output shape         Parameters
      -----------------------------------------------------
      conv1 (Conv2D)        [batch, 28, 28, 6]          156
      pool1 (MaxPooling2D)  [batch, 14, 14, 6]            0
      conv2 (Conv2D)        [batch, 10, 10, 16]       2,416
      pool2 (MaxPooling2D)  [batch, 5, 5, 16]             0
      flatten (Flatten)     [batch, 400]                  0
      dense1 (Dense)        [batch, 256]            102,656
      dense2 (Dense)        [batch, 32]               8,224
      logits (Dense)        [batch, 10]                 330
      -----------------------------------------------------
      Parameters: 113,782"
    `)
    expect(restlessModel().summary()).toMatchInlineSnapshot(`
      "restless: [batch, 8, 8, 1]
      -------------------------------------------------------
      Layer                      Output shape      Parameters
      -------------------------------------------------------
      conv (Conv2D)              [batch, 6, 6, 4]          36
      norm (BatchNormalization)  [batch, 6, 6, 4]          16
      relu (Activation)          [batch, 6, 6, 4]           0
      drop (Dropout)             [batch, 6, 6, 4]           0
      flatten (Flatten)          [batch, 144]               0
      hidden (Dense)             [batch, 8]             1,160
      drop again (Dropout)       [batch, 8]                 0
      logits (Dense)             [batch, 4]                36
      -------------------------------------------------------
      Parameters: 1,248 (8 not trainable)"
    `)
  })

  it('starts with weights that depend only on the seed and their names', async () => {
    const dense = (name: string, seed: number, before: number): Model =>
      nn.sequential('m', [6], [...(before > 0 ? [nn.dense('first', 6)] : []), nn.dense(name, 5)], { seed })
    const kernelOf = async (model: Model, name: string): Promise<Float32Array | undefined> =>
      (await model.weightNumbers()).get(`${name}/kernel`)?.data
    const first = await kernelOf(dense('a', 1, 0), 'a')
    expect(first).toHaveLength(30)
    expect(await kernelOf(dense('a', 1, 1), 'a')).toEqual(first)
    expect(await kernelOf(dense('b', 1, 0), 'b')).not.toEqual(first)
    expect(await kernelOf(dense('a', 2, 0), 'a')).not.toEqual(first)
    using placed = dense('a', 1, 0).to(device())
    expect(await kernelOf(placed, 'a')).toEqual(first)
  })

  it("starts with kernels within Glorot's limits, zero biases, and neutral statistics", async () => {
    for (const model of [nn.lenet5(), restlessModel()]) {
      for (const [name, { shape, data }] of await model.weightNumbers()) {
        if (!name.endsWith('kernel')) {
          const expected = name.endsWith('gamma') || name.endsWith('variance') ? 1 : 0
          expect(
            data.every((x) => x === expected),
            name,
          ).toBe(true)
          continue
        }
        const field = elementCount(shape.slice(0, -2))
        const limit = Math.sqrt(6 / (field * ((shape.at(-2) ?? 0) + (shape.at(-1) ?? 0))))
        const largest = data.reduce((most, x) => Math.max(most, Math.abs(x)), 0)
        expect(largest, name).toBeLessThanOrEqual(limit)
        expect(largest, name).toBeGreaterThan(0.85 * limit)
        const mean = data.reduce((sum, x) => sum + x, 0) / data.length
        // Four standard errors of a uniform distribution's mean.
        expect(Math.abs(mean), name).toBeLessThan((4 * limit) / Math.sqrt(3 * data.length))
      }
    }
  })

  it('can start with He-normal kernels: variance 2 / inputs, none beyond two deviations', async () => {
    const layer = nn.dense('d', 100, { kernelInitializer: nn.heNormal })
    const data = (await nn.sequential('m', [50], [layer]).weightNumbers()).get('d/kernel')?.data ?? new Float32Array()
    const variance = data.reduce((sum, x) => sum + x * x, 0) / data.length
    expect(variance).toBeGreaterThan(0.04 * 0.93)
    expect(variance).toBeLessThan(0.04 * 1.07)
    const largest = data.reduce((most, x) => Math.max(most, Math.abs(x)), 0)
    expect(largest).toBeLessThan((2 * 0.2) / 0.8796)
  })

  it('accepts complete, fitting sets of weights, and changes nothing for others', async () => {
    for (const isPlaced of [false, true]) {
      using model = plainModel(1)
      using other = plainModel(2)
      if (isPlaced) model.to(device())
      const own = await model.weightNumbers()
      const given = new Map(await other.weightNumbers())
      const bias = given.get('logits/bias')
      if (bias === undefined) throw new Error('the model has a bias')
      const without = new Map([...given].filter(([name]) => name !== 'logits/bias'))
      const cases: readonly [WeightNumbers, RegExp][] = [
        [without, /logits\/bias\[4\] that the given weights lack/],
        [new Map([...given, ['extra/kernel', bias]]), /no weight extra\/kernel/],
        [
          new Map([...given, ['logits/bias', { ...bias, shape: [2, 2] }]]),
          /logits\/bias is \[4\] here and \[2, 2\] there/,
        ],
        [new Map([...given, ['logits/bias', { ...bias, data: new Float32Array(3) }]]), /logits\/bias/],
      ]
      for (const [numbers, message] of cases) {
        expect(() => model.setWeights(numbers)).toThrow(
          expect.objectContaining({ code: 'mismatch', message: expect.stringMatching(message) }),
        )
        expect(await model.weightNumbers()).toEqual(own)
      }
      model.setWeights(given)
      expect(await model.weightNumbers()).toEqual(await other.weightNumbers())
    }
  })

  it('copies the weights it is given, and returns copies', async () => {
    using model = plainModel()
    const given = await model.weightNumbers()
    given.get('conv/kernel')?.data.fill(7)
    expect((await model.weightNumbers()).get('conv/kernel')?.data[0]).not.toBe(7)
    model.setWeights(given)
    given.get('conv/kernel')?.data.fill(8)
    expect((await model.weightNumbers()).get('conv/kernel')?.data[0]).toBe(7)
  })

  it('lives on one device, until it is disposed of', async () => {
    using other = await open()
    const before = device().memory().liveBytes
    const model = plainModel().to(device())
    expect(model.to(device()).device).toBe(device())
    expect(() => model.to(other)).toThrow(expect.objectContaining({ code: 'argument' }))
    const numbers = await model.weightNumbers()
    model.dispose()
    model.dispose()
    expect(device().memory().liveBytes).toBe(before)
    const refusal = { code: 'disposed' }
    expect(() => model.to(device())).toThrow(expect.objectContaining(refusal))
    expect(() => model.setWeights(numbers)).toThrow(expect.objectContaining(refusal))
    await expect(model.weightNumbers()).rejects.toMatchObject(refusal)
    await expect(model.call(tensor(new Float32Array(64), [1, 8, 8, 1])).data()).rejects.toMatchObject(refusal)
  })

  it('refuses duplicate layer names, layers without inputs, and inputs of another shape', () => {
    const layer = nn.dense('d', 3)
    const refusal = { code: 'argument' }
    expect(() => nn.sequential('m', [4], [layer, layer])).toThrow(expect.objectContaining(refusal))
    expect(() => nn.sequential('m', [4], [])).toThrow(expect.objectContaining(refusal))
    for (const inputs of [[0], [1], [-2]])
      expect(() => new nn.Model('m', [4], [{ layer, inputs }])).toThrow(expect.objectContaining(refusal))
    expect(() => nn.dense('d', 0)).toThrow(expect.objectContaining(refusal))
    expect(() => nn.lenet5({ units: [1.5, 2] })).toThrow(expect.objectContaining(refusal))
    expect(() => plainModel().call(tensor(new Float32Array(9), [1, 3, 3, 1]))).toThrow(
      expect.objectContaining({ code: 'shape' }),
    )
  })
})
