/** Descriptions of models as Keras and TensorFlow.js write them, piece by piece: calls, settings, versions; and hostile ones. */
import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { WeftgradError } from '../src/errors.ts'
import { type Tensor, tensor } from '../src/operators/tensor.ts'
import { kerasModel } from '../src/weights/keras-model.ts'
import { useDevice } from './support/device.ts'
import { failure } from './support/failure.ts'

const device = useDevice()

type Json = Readonly<Record<string, unknown>>
const layer = (class_name: string, name: string, config: Json = {}, ...calls: unknown[]) => ({
  class_name,
  name,
  config: { name, ...config },
  inbound_nodes: calls,
})
const input = (shape: readonly number[], name = 'in') =>
  layer('InputLayer', name, { batch_input_shape: [null, ...shape] })
/** A call in the form of Keras 2. */
const on = (...names: (string | readonly [string, number])[]) =>
  names.map((one) => (typeof one === 'string' ? [one, 0, 0, {}] : [...one, 0, {}]))
const functional = (layers: readonly object[], output: unknown = ['out', 0, 0], name = 'f') => ({
  class_name: 'Functional',
  name,
  config: { name, layers, input_layers: [['in', 0, 0]], output_layers: [output] },
})
const dense = (name: string, ...calls: unknown[]) => layer('Dense', name, { units: 3, activation: 'tanh' }, ...calls)
const names = (described: unknown, options = {}): string[] => {
  using model = kerasModel(described, 'x.keras', options)
  return model.layers.map(({ layer }) => layer.name)
}
const output = async (described: unknown, x: Tensor, version = 3): Promise<number[]> => {
  using model = kerasModel(described, 'x.keras', {}, { version })
  return [...(await model.call(x).data({ device: device() }))]
}
const sequence = (shape: readonly number[], ...layers: readonly object[]) => ({
  class_name: 'Sequential',
  config: { name: 's', layers: [input(shape), ...layers] },
})

describe('a layer that is called several times', () => {
  it('has one set of weights, whichever form the calls have', () => {
    const history = (name: string, use: number) => ({
      class_name: '__keras_tensor__',
      config: { shape: [null, 3], dtype: 'float32', keras_history: [name, use, 0] },
    })
    const keras3 = functional([
      input([3]),
      dense('d', { args: [history('in', 0)], kwargs: {} }, { args: [history('d', 0)], kwargs: {} }),
      layer('Add', 'out', {}, { args: [[history('d', 1), history('d', 0)]], kwargs: {} }),
    ])
    const keras2 = functional([input([3]), dense('d', on('in'), on('d')), layer('Add', 'out', {}, on(['d', 1], 'd'))])
    for (const described of [keras2, keras3]) {
      expect(names(described)).toEqual(['d', 'd', 'out'])
      using model = kerasModel(described, 'x')
      expect(model.weights.map(({ name }) => name)).toEqual(['d/kernel', 'd/bias'])
      expect(model.layers.map(({ inputs }) => inputs)).toEqual([[-1], [0], [1, 0]])
    }
  })

  it('can be a nested model, whose calls Keras counts from 0 or from 1', () => {
    const tower = { class_name: 'Sequential', name: 't', config: { name: 't', layers: [input([3], 'i'), dense('d')] } }
    for (const first of [0, 1]) {
      const described = functional([
        input([3]),
        dense('a', on('in')),
        { ...tower, inbound_nodes: [on('in'), on('a')] },
        layer('Subtract', 'out', {}, on(['t', first], ['t', first + 1])),
      ])
      expect(names(described)).toEqual(['t/d', 'a', 't/d', 'out'])
      using model = kerasModel(described, 'x')
      expect(model.layers.map(({ inputs }) => inputs)).toEqual([[-1], [-1], [1], [0, 2]])
    }
  })

  it('is refused if a call takes one of several outputs, always trains, or is the model of several inputs or outputs', async () => {
    const of = (described: unknown) => failure(async () => kerasModel(described, 'x', {}, { version: 2 }))
    const second = functional([input([3]), dense('out', [['in', 0, 1, {}]])])
    expect(await of(second)).toMatchObject({ code: 'mismatch', message: expect.stringContaining("output 1 of 'in'") })
    const training = functional([
      input([3]),
      layer('Dropout', 'out', { rate: 0.5 }, [['in', 0, 0, { training: true }]]),
    ])
    expect(await of(training)).toMatchObject({ code: 'mismatch', message: expect.stringContaining('training=True') })
    const two = functional([input([3]), input([3], 'b'), dense('out', on('in'))])
    const withTwo = (key: string) => ({
      ...two,
      config: {
        ...two.config,
        [key]: [
          ['in', 0, 0],
          ['b', 0, 0],
        ],
      },
    })
    expect(await of(withTwo('input_layers'))).toMatchObject({ message: expect.stringContaining('2 inputs') })
    expect(await of(withTwo('output_layers'))).toMatchObject({ message: expect.stringContaining('2 outputs') })
  })
})

describe('settings', () => {
  const row = tensor([-3, -1, 0.5, 2], [1, 4])

  it('of Keras 1 have the names of today', () => {
    const old = {
      class_name: 'Sequential',
      config: [
        {
          class_name: 'Convolution2D',
          config: {
            ...{
              name: 'c',
              batch_input_shape: [null, 6, 6, 2],
              nb_filter: 4,
              nb_row: 3,
              nb_col: 2,
              border_mode: 'same',
            },
            ...{ subsample: [2, 1], dim_ordering: 'tf', bias: false, init: 'glorot_uniform', activation: 'relu' },
            ...{
              W_regularizer: { name: 'WeightRegularizer', l1: 0, l2: 0.5 },
              b_regularizer: null,
              W_constraint: null,
            },
          },
        },
        {
          class_name: 'BatchNormalization',
          config: { name: 'n', mode: 0, axis: -1, epsilon: 1e-5, momentum: 0.9, gamma_init: 'one' },
        },
        {
          class_name: 'MaxPooling2D',
          config: { name: 'p', pool_size: [2, 2], strides: [2, 2], border_mode: 'valid', dim_ordering: 'tf' },
        },
        { class_name: 'Dropout', config: { name: 'd', p: 0.25 } },
        { class_name: 'Flatten', config: { name: 'f' } },
        { class_name: 'Dense', config: { name: 'o', output_dim: 3, activation: 'softmax', bias: true, input_dim: 12 } },
      ],
    }
    using model = kerasModel(old, 'old.h5', {}, { version: 1 })
    expect(model.layers.map(({ layer, outputShape }) => [layer.className, outputShape])).toEqual([
      ...[
        ['Conv2D', [3, 6, 4]],
        ['BatchNormalization', [3, 6, 4]],
        ['MaxPooling2D', [1, 3, 4]],
      ],
      ...[
        ['Dropout', [1, 3, 4]],
        ['Flatten', [12]],
        ['Dense', [3]],
      ],
    ])
    expect(model.layers[0]?.layer.config).toMatchObject({ kernelSize: [3, 2], strides: [2, 1], useBias: false })
    expect(model.layers[3]?.layer.config).toMatchObject({ rate: 0.25 })
    expect(model.weights.filter(({ regularizer }) => regularizer !== undefined).map(({ name }) => name)).toEqual([
      'c/kernel',
    ])
  })

  it('of Keras 1 with the axes of Theano are refused, and its merging layers are several classes today', async () => {
    const merge = (mode: string) =>
      functional([
        input([3]),
        dense('a', on('in')),
        layer('Merge', 'out', { mode, concat_axis: -1, dot_axes: -1 }, on('a', 'in')),
      ])
    using sum = kerasModel(merge('sum'), 'x')
    using joined = kerasModel(merge('concat'), 'x')
    expect([sum, joined].map((model) => model.layers.at(-1)?.layer.className)).toEqual(['Add', 'Concatenate'])
    expect(joined.outputShape).toEqual([6])
    expect(await failure(async () => kerasModel(merge('dot'), 'x'))).toMatchObject({ code: 'argument' })
    const theano = { nb_filter: 4, nb_row: 3, nb_col: 3, dim_ordering: 'th' }
    expect(
      await failure(async () => kerasModel(sequence([6, 6, 2], layer('Convolution2D', 'c', theano)), 'x')),
    ).toMatchObject({
      code: 'mismatch',
      message: expect.stringContaining('channels_first'),
    })
  })

  it('name the hard sigmoid of their version', async () => {
    const described = sequence([4], layer('Activation', 'a', { activation: 'hard_sigmoid' }))
    const near = async (version: number, wanted: readonly number[]): Promise<void> => {
      const found = await output(described, row, version)
      for (const [i, value] of wanted.entries()) expect(found[i]).toBeCloseTo(value, 6)
    }
    await near(2, [0, 0.3, 0.6, 0.9])
    await near(3, [0, 1 / 3, 3.5 / 6, 5 / 6])
  })

  it('keep regularizers and frozen layers, which the caller can train all the same', () => {
    const l2 = { module: 'keras.regularizers', class_name: 'L2', config: { l2: 0.25 }, registered_name: null }
    const described = sequence(
      [4],
      layer('Dense', 'a', { units: 2, kernel_regularizer: l2 }),
      layer('Dense', 'b', { units: 2, trainable: false }),
    )
    using model = kerasModel(described, 'x')
    expect(model.penalty()).toBeDefined()
    expect(model.trainableWeights.map(({ name }) => name)).toEqual(['a/kernel', 'a/bias'])
    using all = kerasModel(described, 'x', { trainable: true })
    expect(all.trainableWeights).toHaveLength(4)
  })

  it('of TensorFlow operations are arithmetic with numbers, and unknown ones are named', async () => {
    const op = (name: string, named: string, ...calls: unknown[]) =>
      layer('TFOpLambda', name, { function: named }, ...calls)
    const described = functional([
      input([4]),
      op('plus', '__operators__.add', [['in', 0, 0, { y: 3, name: null }]]),
      op('six', 'nn.relu6', [['plus', 0, 0, { name: null }]]),
      op('part', 'math.multiply', [['six', 0, 0, { y: 0.5, name: null }]]),
      op('less', 'math.subtract', [['_CONSTANT_VALUE', -1, 1, { y: ['part', 0, 0], name: null }]]),
      op('out', 'math.multiply', [['less', 0, 0, { y: ['in', 0, 0], name: null }]]),
    ])
    expect(await output(described, row)).toEqual([-3, -0, -0.375, -3])
    const strange = functional([input([4]), op('out', 'image.resize', [['in', 0, 0, { size: [1, 2] }]])])
    expect(await failure(async () => kerasModel(strange, 'x'))).toMatchObject({
      code: 'argument',
      message: expect.stringContaining('tf.image.resize (out)'),
    })
  })

  it('of Keras 3 operations are arithmetic with numbers, whether the file says their module or not', async () => {
    const history = (name: string) => ({ class_name: '__keras_tensor__', config: { keras_history: [name, 0, 0] } })
    const call = (...args: unknown[]) => ({ args, kwargs: {} })
    const plain = [
      input([4]),
      layer('Add', 'a', {}, call(history('in'), 3)),
      layer('TrueDivide', 'b', {}, call(history('a'), 2)),
      layer('Relu', 'c', {}, call(history('b'))),
      layer('Subtract', 'out', {}, call(1, history('c'))),
    ]
    const named = plain.map((one, i) => (i === 0 ? one : { ...one, module: 'keras.src.ops.numpy' }))
    for (const layers of [plain, named]) expect(await output(functional(layers), row)).toEqual([1, 0, -0.75, -1.5])
    const strange = functional([input([4]), layer('Power', 'out', {}, call(history('in'), 3))])
    expect(await failure(async () => kerasModel(strange, 'x'))).toMatchObject({
      code: 'argument',
      message: expect.stringContaining('ops.Power (out)'),
    })
  })

  it('of layers that only change the inputs of training are left out', async () => {
    const described = sequence(
      [4],
      layer('GaussianNoise', 'noise', { stddev: 0.1, seed: null }),
      layer('ThresholdedReLU', 'r', { theta: 1 }),
    )
    expect((await output(described, row)).map((x) => x + 0)).toEqual([0, 0, 0, 2])
  })
})

describe('a hostile description', () => {
  const refusal = async (described: unknown): Promise<WeftgradError> => {
    const error = await failure(async () => kerasModel(described, 'x').dispose())
    expect(error).toBeInstanceOf(WeftgradError)
    return error as WeftgradError
  }

  it('with models that call each other without end is refused', async () => {
    let model: object = functional([input([3], 'in'), dense('out', on('in'))], ['out', 0, 0], 'out')
    for (let i = 0; i < 30; i++)
      model = functional(
        [input([3]), { ...model, name: 'out', inbound_nodes: [on('in'), on('out')] }],
        ['out', 1, 0],
        'out',
      )
    expect((await refusal(model)).message).toMatch(/more than 300000 times|nested without end/)
    let empty: object = functional([input([3])], ['in', 0, 0], 'out')
    for (let i = 0; i < 30; i++)
      empty = functional(
        [input([3]), { ...empty, name: 'out', inbound_nodes: [on('in'), on('out')] }],
        ['out', 1, 0],
        'out',
      )
    expect((await refusal(empty)).message).toMatch(/more than 300000 times|nested without end/)
  })

  it('with deep values, long names and wrong types is refused', async () => {
    let deep: unknown = 1
    for (let i = 0; i < 20_000; i++) deep = [deep]
    let kwargs: unknown = ['in', 0, 0]
    for (let i = 0; i < 20_000; i++) kwargs = ['in', 0, 0, { y: kwargs }]
    const long = 'x'.repeat(1e6)
    for (const described of [
      ...[deep, { class_name: deep }, { class_name: long, config: {} }, sequence([3], layer(long, 'a'))],
      ...[sequence([3], dense(long)), sequence([3], layer('Dense', 'a', { units: deep }))],
      ...[sequence([3], layer('Dense', 'a', { [long]: 1 })), functional([input([3]), dense('out', kwargs)])],
      ...[
        sequence([3], layer('Dense', 'a', { units: 2, data_format: deep })),
        functional([input([3]), dense('out', deep)]),
      ],
      ...[functional([input([3]), dense('out', { args: [deep], kwargs: {} })]), functional([], deep)],
      ...[functional([input([3])], deep), sequence([3], layer('Strange', 'a', { deep }))],
      ...['constructor', '__proto__', 'toString'].map((kind) =>
        sequence([3], layer(kind, 'a', { length: 1, border_mode: 'same' })),
      ),
      ...['constructor', 'toString'].map((key) => sequence([3], layer('Dense', 'a', { units: 2, [key]: 1 }))),
      ...[sequence([3], layer('Reshape', 'a', { target_shape: [1e300, -1] }))],
      ...[
        sequence([3], layer('CustomScaleLayer', 'a', { scale: long })),
        sequence([3], layer('Dense', 'a', { units: -1 })),
      ],
    ])
      expect((await refusal(described)).message.length).toBeLessThan(5000)
  })

  it('with huge extents takes no memory', async () => {
    for (const described of [
      ...[sequence([3], layer('Dense', 'a', { units: 1e300 })), sequence([1e300], dense('a'))],
      ...[
        sequence([4, 4, 1], layer('ZeroPadding2D', 'a', { padding: 1e300 })),
        sequence([4, 4, 1], layer('Conv2D', 'a', { filters: 2 ** 52, kernel_size: 1 })),
      ],
    ]) {
      using model = kerasModel(described, 'x')
      if (model.weights.length > 0) expect(await failure(async () => model.to(device()))).toBeInstanceOf(WeftgradError)
    }
    expect(device().memory().liveBytes).toBe(0)
  })

  it('of eight times as many layers takes about eight times as long', { timeout: 120_000 }, () => {
    /** The seconds to build a chain of layers, and one layer that is called again and again. */
    const seconds = (count: number): number => {
      const previous = (i: number, name: (i: number) => string | readonly [string, number]) =>
        on(i === 0 ? 'in' : name(i - 1))
      const chain = Array.from({ length: count }, (_, i) =>
        layer(
          'Activation',
          `a${i}`,
          { activation: 'relu' },
          previous(i, (k) => `a${k}`),
        ),
      )
      const calls = Array.from({ length: count }, (_, i) => previous(i, (k) => ['a', k]))
      const start = performance.now()
      using model = kerasModel(functional([input([3]), ...chain.reverse()], [`a${count - 1}`, 0, 0]), 'x')
      using shared = kerasModel(
        functional([input([3]), layer('Dense', 'a', { units: 3 }, ...calls)], ['a', count - 1, 0]),
        'x',
      )
      expect([model.layers.length, shared.layers.length]).toEqual([count, count])
      return (performance.now() - start) / 1000
    }
    const few = Math.max(seconds(5000), seconds(5000))
    // With quadratic work it would be 64 times as long.
    expect(seconds(40_000)).toBeLessThan(32 * few)
  })

  it('made of a real one by changes throws nothing but typed errors', () => {
    const fixture = new URL('fixtures/models/tfjs-layers-float32/model.json', import.meta.url)
    const { modelTopology } = JSON.parse(readFileSync(fixture, 'utf8'))
    const real: unknown = modelTopology.model_config ?? modelTopology
    const shared = functional([input([3]), dense('d', on('in'), on('d')), layer('Add', 'out', {}, on(['d', 1], 'd'))])
    /** All values of a description, by their paths. */
    const paths = (value: unknown, path: readonly string[] = []): string[][] =>
      typeof value === 'object' && value !== null
        ? [[...path], ...Object.entries(value).flatMap(([key, one]) => paths(one, [...path, key]))]
        : [[...path]]
    const strange = fc.oneof(
      fc.constantFrom<unknown>(null, true, -1, 0, 1e9, 1e308, '', 'relu', [], {}, [null], [-1, 2.5], ['in', 0, 0], {
        config: [],
      }),
      fc.jsonValue(),
    )
    for (const whole of [real, shared]) {
      const all = paths(whole)
      fc.assert(
        fc.property(fc.array(fc.tuple(fc.nat(all.length - 1), strange), { minLength: 1, maxLength: 3 }), (changes) => {
          const copy = structuredClone({ whole }) as Record<string, unknown>
          for (const [at, value] of changes) {
            const path = ['whole', ...(all[at] ?? [])]
            let place: unknown = copy
            for (const key of path.slice(0, -1)) place = (place as Record<string, unknown> | null)?.[key]
            if (typeof place === 'object' && place !== null)
              (place as Record<string, unknown>)[path.at(-1) ?? ''] = value
          }
          try {
            kerasModel(copy.whole, 'x').dispose()
          } catch (error) {
            if (!(error instanceof WeftgradError)) throw error
          }
        }),
        { numRuns: 500, seed: 7 },
      )
    }
  })
})
