/**
 * A training resumes only as what it was: whatever changes a training is in its checkpoint, and another value is refused by its
 * name. What only watches or ends a training may change.
 */
import { describe, expect, it } from 'vitest'
import { data, mean, nn, square, type Tensor } from '../src/index.ts'
import type { FitOptions } from '../src/nn/contract.ts'
import { useDevice } from './support/device.ts'
import { failure } from './support/failure.ts'

const device = useDevice()

interface Training {
  readonly options: FitOptions
  /** Layers between the images and the logits. */
  readonly layers: () => readonly nn.Layer[]
  readonly model?: nn.ModelOptions
  readonly weightOf?: (row: number) => number
  readonly targetOf?: (row: number) => number
  /** The examples to train on; all by default. */
  readonly rows?: readonly number[]
}

const count = 24
const shape = [4, 4, 1]
const x = Float32Array.from({ length: count * 16 }, (_, i) => Math.abs(Math.sin(i)))

/** The training of all cases: each case changes one thing. */
const base: Training = {
  layers: () => [
    nn.conv2d('conv', 2, 3, { padding: 'same', activation: 'relu', kernelRegularizer: 'l2' }),
    nn.batchNormalization('norm'),
    nn.flatten('flat'),
    nn.dropout('drop', 0.25),
  ],
  weightOf: (row) => 1 + (row % 2),
  options: {
    ...{ optimizer: nn.adam(), epochs: 4, batchSize: 5, seed: 3, validationSplit: 0.25, monitor: 'validationLoss' },
    ...{ loss: nn.categoricalCrossentropy({ labelSmoothing: 0.1 }), metrics: [nn.accuracy()] },
    ...{ augmentation: nn.augment({ flip: 'horizontal' }), callbacks: [nn.reduceLROnPlateau({ patience: 1 })] },
  },
}

/** Trains; with `stopAfter`, until it has done that many steps, and returns the checkpoint as a file holds it. */
async function train(training: Training, resume?: nn.TrainingCheckpoint, stopAfter = Number.POSITIVE_INFINITY) {
  const {
    layers,
    options,
    model: modelOptions,
    weightOf = () => 1,
    targetOf = (row: number) => row % 3,
    rows,
  } = training
  const all = Array.from({ length: count }, (_, i) => i)
  using whole = data.arrays({
    ...{ x, shape, y: Uint8Array.from(all, targetOf), classes: 3, device: device() },
    sampleWeight: all.map(weightOf),
  })
  using model = nn.sequential('m', shape, [...layers(), nn.dense('logits', 3)], modelOptions)
  const abort = new AbortController()
  let checkpoint: nn.TrainingCheckpoint | undefined
  const { callbacks = [] } = options
  const stopping: nn.Callbacks = {
    onCheckpoint(next) {
      checkpoint = nn.decodeCheckpoint(nn.encodeCheckpoint(next))
      if (next.globalStep >= stopAfter) abort.abort()
    },
  }
  const done = nn.fit(model, rows === undefined ? whole : whole.subset(rows), {
    ...{ ...options, signal: abort.signal, ...(resume && { resume }) },
    callbacks: [...(Array.isArray(callbacks) ? callbacks : [callbacks]), stopping],
  })
  await done.catch((error: unknown) => {
    if (!abort.signal.aborted) throw error
  })
  if (checkpoint === undefined) throw new Error('each epoch gives a checkpoint')
  return checkpoint
}

const withOptions = (options: Partial<FitOptions>): Partial<Training> => ({ options: { ...base.options, ...options } })
const withLayer = (position: number, layer: () => nn.Layer): Partial<Training> => ({
  layers: () => base.layers().map((own, i) => (i === position ? layer() : own)),
})
const convolution = (changes: object) => () =>
  nn.conv2d('conv', 2, 3, { padding: 'same', activation: 'relu', kernelRegularizer: 'l2', ...changes })
const ownLoss = (output: Tensor): Tensor => mean(square(output), { axes: 1 })

/** What each option of `fit` changes, as the checkpoint names it; `watches` changes no weight. */
const options = {
  optimizer: {
    'learning rate': nn.adam({ learningRate: 2e-3 }),
    algorithm: nn.rmsprop(),
    beta: nn.adam({ beta1: 0.8 }),
    epsilon: nn.adam({ epsilon: 1e-5 }),
    'weight decay': nn.adamw(),
    'clipping by value': nn.adam({ clipValue: 1 }),
    'clipping by norm': nn.adam({ clipNorm: 1 }),
    'clipping by the norm of all': nn.adam({ globalClipNorm: 1 }),
    averages: nn.adam({ emaMomentum: 0.9 }),
    accumulation: nn.adam({ gradientAccumulationSteps: 2 }),
    schedule: nn.adam({ learningRate: nn.cosineRate(1e-3) }),
    groups: [{ weights: /./, optimizer: nn.adam() }],
  },
  loss: {
    smoothing: nn.categoricalCrossentropy({ labelSmoothing: 0.2 }),
    'weights of classes': nn.sparseCategoricalCrossentropy({ classWeights: [1, 2, 1] }),
    'a function': ownLoss,
  },
  metrics: { 'another one': [nn.topKAccuracy(2)] },
  augmentation: {
    none: undefined,
    'another one': nn.augment({ flip: 'vertical' }),
    strength: nn.augment({ flip: 'horizontal', rotation: 5 }),
    mixup: nn.augment({ flip: 'horizontal', mixup: 0.2 }),
  },
  batchSize: { smaller: 4 },
  seed: { another: 4 },
  monitor: { another: 'loss' },
  validationSplit: { larger: 0.5 },
  callbacks: { 'a plateau': [nn.reduceLROnPlateau({ patience: 2 })], none: [] },
  // The number of validation examples is compared, whichever option sets it apart.
  validation: 'validationSplit',
  ...{ epochs: 'ends', earlyStopping: 'ends', restoreBest: 'ends', signal: 'ends' },
  ...{ resume: 'watches', variants: 'watches' },
} satisfies Record<keyof FitOptions, Readonly<Record<string, unknown>> | 'validationSplit' | 'ends' | 'watches'>

/** The checkpoint's name of an option, where it has another. */
const names: Readonly<Record<string, string>> = { validationSplit: 'trainCount' }

const cases: readonly (readonly [what: string, names: string, changes: Partial<Training>])[] = [
  ...Object.entries(options).flatMap(([option, values]) =>
    typeof values === 'string'
      ? []
      : Object.entries(values).map(([what, value]) => {
          const { [option as 'seed']: _, ...rest } = base.options
          const changed = (value === undefined ? rest : { ...rest, [option]: value }) as FitOptions
          return [`${option}: ${what}`, names[option] ?? option, { options: changed }] as const
        }),
  ),
  ['no regularizer', 'layer conv', withLayer(0, convolution({ kernelRegularizer: undefined }))],
  ['another regularizer', 'layer conv', withLayer(0, convolution({ kernelRegularizer: nn.l1(0.01) }))],
  ['a stronger regularizer', 'layer conv', withLayer(0, convolution({ kernelRegularizer: nn.l2(0.1) }))],
  [
    "a regularizer of one's own",
    'layer conv',
    withLayer(0, convolution({ kernelRegularizer: (w: Tensor) => mean(w) })),
  ],
  ['another activation', 'layer conv', withLayer(0, convolution({ activation: 'tanh' }))],
  ['momentum of a normalisation', 'layer norm', withLayer(1, () => nn.batchNormalization('norm', { momentum: 0.9 }))],
  ['rate of dropout', 'layer drop', withLayer(3, () => nn.dropout('drop', 0.5))],
  ['another kind of layer', 'layer drop', withLayer(3, () => nn.activation('drop', 'linear'))],
  ['fewer layers', 'layer logits', { layers: () => base.layers().slice(0, 3) }],
  ['layers that are trained', 'layer conv', { model: { trainable: ({ name }) => name !== 'conv' } }],
  ['weights of the examples', 'data', { weightOf: (row) => 1 + (row % 3) }],
  ['targets', 'data', { targetOf: (row) => (row + 1) % 3 }],
]

describe('a training does not resume with another', () => {
  it.each(cases)('%s', async (_, name, changes) => {
    const checkpoint = await train(base, undefined, 4)
    expect(await failure(train({ ...base, ...changes }, checkpoint))).toMatchObject({
      code: 'mismatch',
      message: expect.stringContaining(`written with ${name} `),
      details: { name },
    })
  })

  it('choice of examples', async () => {
    const all = Array.from({ length: count }, (_, i) => i)
    const checkpoint = await train({ ...base, rows: all.slice(1) }, undefined, 4)
    const other = train({ ...base, rows: all.slice(0, -1) }, checkpoint)
    expect(await failure(other)).toMatchObject({ code: 'mismatch', details: { name: 'data' } })
  })

  it('number of epochs, if the rates so far depend on it', async () => {
    const cosine = withOptions({ optimizer: nn.adam({ learningRate: nn.cosineRate(1e-3) }) })
    const training = { ...base, ...cosine }
    const checkpoint = await train(training, undefined, 4)
    const longer = { ...training, options: { ...training.options, epochs: 8 } }
    expect(await failure(train(longer, checkpoint))).toMatchObject({
      code: 'mismatch',
      details: { name: 'learning rate' },
    })
  })
})

describe('a training resumes', () => {
  it.each([
    ['as it was', {}],
    ['for more epochs, at a constant rate', withOptions({ epochs: 5 })],
    ['to stop earlier, or keep the best weights', withOptions({ earlyStopping: { patience: 9 }, restoreBest: true })],
    ['with other initial weights', withLayer(0, convolution({ kernelInitializer: nn.heNormal }))],
    [
      'watched by more callbacks',
      withOptions({ callbacks: [nn.reduceLROnPlateau({ patience: 1 }), { onEpochEnd: () => undefined }] }),
    ],
  ] satisfies [string, Partial<Training>][])('%s', async (_, changes) => {
    const checkpoint = await train(base, undefined, 4)
    const whole = await train({ ...base, ...changes })
    const resumed = await train({ ...base, ...changes }, checkpoint)
    expect(resumed.globalStep).toBe(whole.globalStep)
    if ('layers' in changes) return // The whole training began with other weights.
    expect(resumed.weights).toEqual(whole.weights)
  })
})
