/**
 * Models built from ONNX files that torch and onnx wrote: they give ONNX Runtime's outputs, and are models like any other, which
 * train and are saved. See test/fixtures/onnx/write.py.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { residentImages } from '../src/data/dataset.ts'
import { memorySource } from '../src/format/byte-source.ts'
import { encodeOnnx } from '../src/format/onnx/messages.ts'
import { openWeights } from '../src/format/open-weights.ts'
import { mul, type Tensor, tensor } from '../src/index.ts'
import { elementCount } from '../src/kernels/kernel.ts'
import * as nn from '../src/nn/index.ts'
import { loadModel } from '../src/weights/load-model.ts'
import { useDevice } from './support/device.ts'
import { failure } from './support/failure.ts'
import { onnxBytes, type SmallGraph } from './support/onnx-files.ts'

const device = useDevice()
const folder = fileURLToPath(new URL('fixtures/onnx/', import.meta.url))
const names = readdirSync(folder).flatMap((name) => (name.endsWith('.onnx') ? [name.replace('.onnx', '')] : []))

interface Recorded {
  readonly input: readonly number[]
  readonly output: readonly number[]
  readonly numbers: readonly number[]
}

/** The writer's input. */
const example = (count: number): Float32Array =>
  Float32Array.from({ length: count }, (_, i) => ((7 * i) % 13) / 13 - 0.5)

/** [n, channels, ...positions] as [n, ...positions, channels]. */
function channelsLast(numbers: ArrayLike<number>, shape: readonly number[]): Float32Array {
  const [n = 1, channels = 1, ...rest] = shape
  const positions = elementCount(rest)
  return Float32Array.from({ length: elementCount(shape) }, (_, i) => {
    const [channel, position, one] = [
      i % channels,
      Math.floor(i / channels) % positions,
      Math.floor(i / (channels * positions)),
    ]
    return numbers[(one * channels + channel) * positions + position] ?? Number.NaN
  }).subarray(0, n * channels * positions)
}

const opened = (bytes: Uint8Array, name: string) => openWeights(memorySource(bytes, name))
const fixture = (name: string): Uint8Array => new Uint8Array(readFileSync(`${folder}${name}.onnx`))

async function fixtureModel(name: string): Promise<nn.Model> {
  const file = await opened(fixture(name), name)
  try {
    return await loadModel(file, { device: device() })
  } finally {
    file.close()
  }
}

describe('a file of ONNX', () => {
  it.each(names)('%s gives the outputs of ONNX Runtime', async (name) => {
    const recorded: Recorded = JSON.parse(readFileSync(`${folder}${name}.json`, 'utf8'))
    const before = device().memory().liveBytes
    {
      using model = await fixtureModel(name)
      const isLast = name !== 'channels_last'
      const x = example(elementCount(recorded.input))
      const input = isLast ? channelsLast(x, recorded.input) : x
      const expected =
        recorded.output.length > 2
          ? channelsLast(recorded.numbers, recorded.output)
          : Float32Array.from(recorded.numbers)
      const found = await model.call(tensor(input, [recorded.input[0] ?? 1, ...model.inputShape])).data()
      expect(found).toHaveLength(expected.length)
      const most = Math.max(...expected.map(Math.abs))
      for (const [i, value] of expected.entries())
        expect(Math.abs((found[i] ?? Number.NaN) - value)).toBeLessThan(5e-6 * most)
      // The same model out of weftgrad's own file.
      const { model: copy } = nn.decodeModel(await nn.encodeModel(model))
      const again = await copy.call(tensor(input, [recorded.input[0] ?? 1, ...model.inputShape])).data()
      expect([...again]).toEqual([...found])
      copy.dispose()
    }
    expect(device().memory().liveBytes).toBe(before)
  })

  it("consists of Keras' layers, named after the file's weights", async () => {
    using model = await fixtureModel('images')
    const classes = model.layers.map(({ layer }) => layer.className)
    expect(classes).toEqual(
      expect.arrayContaining(['Conv2D', 'DepthwiseConv2D', 'MaxPooling2D', 'Add', 'Dense', 'Softmax']),
    )
    expect(model.layers.map(({ layer }) => layer.name)).toEqual(
      expect.arrayContaining(['stem', 'grouped', 'squeeze', 'head']),
    )
    expect(model.inputShape).toEqual([11, 14, 3])
    const [features] = model.features(tensor(example(11 * 14 * 3), [1, 11, 14, 3]), ['stem'])
    expect(features?.shape).toEqual([1, 6, 7, 8])
  })

  it('trains', async () => {
    using model = await fixtureModel('sequence')
    const data = residentImages(device(), {
      images: Uint8Array.from({ length: 4 * 64 }, (_, i) => (i * 37) % 251),
      labels: Uint8Array.from([0, 1, 2, 1]),
      ...{ height: 8, width: 8, channels: 1, classes: 3 },
    })
    const history = await nn.fit(model, data, { optimizer: nn.adam({ learningRate: 1e-2 }), epochs: 8, batchSize: 4 })
    const losses = history.epochs.map(({ loss }) => loss)
    expect(losses.at(-1)).toBeLessThan((losses[0] ?? 0) - 0.02)
    data.dispose()
  })
})

const graph = (more: Partial<SmallGraph>): SmallGraph => ({
  nodes: [{ opType: 'Relu', input: ['x'], output: ['y'] }],
  input: ['n', 4],
  ...more,
})

async function refusal(small: SmallGraph, options: Parameters<typeof loadModel>[1] = {}): Promise<unknown> {
  const file = await opened(onnxBytes(small), 'model.onnx')
  const found = await failure(loadModel(file, { device: device(), ...options }))
  file.close()
  return found
}

describe('loadModel refuses', () => {
  it('unknown operators all at once, with their attributes', async () => {
    const nodes = [
      { opType: 'Twist', input: ['x'], output: ['a'], attribute: [{ name: 'turns', type: 2, i: 3n }] },
      { opType: 'Bend', domain: 'com.example', input: ['a'], output: ['y'] },
    ]
    expect(await refusal(graph({ nodes }))).toMatchObject({
      code: 'argument',
      details: { classes: ['Twist', 'com.example.Bend'] },
      message: expect.stringContaining('Twist (a): {"turns":3}'),
    })
  })

  it.each([
    [
      'an operator that mixes examples',
      { nodes: [{ opType: 'ReduceSum', input: ['x'], output: ['y'] }] },
      'along the examples',
    ],
    ['an open extent', { input: ['n', 'features'] }, 'inputShape'],
    [
      'a constant output',
      { nodes: [{ opType: 'Identity', input: ['k'], output: ['y'] }], tensors: { k: [1, 2] } },
      'does not depend',
    ],
    [
      'an empty tensor',
      { nodes: [{ opType: 'Slice', input: ['x', 'k', 'k', 'a'], output: ['y'] }], integers: { k: [1], a: [1] } },
      'empty',
    ],
    ['several inputs', { more: ['z'] }, "'z'"],
  ])('%s', async (_, more, message) => {
    expect(await refusal(graph(more))).toMatchObject({ code: 'mismatch', message: expect.stringContaining(message) })
  })

  it.each([
    [
      'a cycle',
      [
        { opType: 'Add', input: ['x', 'b'], output: ['a'] },
        { opType: 'Relu', input: ['a'], output: ['b'] },
        { opType: 'Relu', input: ['b'], output: ['y'] },
      ],
      'depends on itself',
    ],
    ['an output that nothing gives', [{ opType: 'Relu', input: ['q'], output: ['y'] }], "nothing gives 'q'"],
  ])('%s', async (_, nodes, message) => {
    expect(await refusal(graph({ nodes }))).toMatchObject({ code: 'format', message: expect.stringContaining(message) })
  })
})

it('customLayers supply operators that weftgrad lacks', async () => {
  const nodes = [{ opType: 'Twist', input: ['x'], output: ['y'], attribute: [{ name: 'turns', type: 2, i: 3n }] }]
  const file = await opened(onnxBytes(graph({ nodes })), 'model.onnx')
  const twist = (name: string, { turns }: Readonly<Record<string, unknown>>): nn.Layer => ({
    name,
    className: 'Twist',
    outputShape: ([shape = []]) => shape,
    weights: () => [],
    call: ([x]) => mul(x as Tensor, Number(turns)),
  })
  using model = await loadModel(file, { device: device(), customLayers: { Twist: twist } })
  expect([...(await model.call(tensor([1, 2, 3, 4], [1, 4])).data())]).toEqual([3, 6, 9, 12])
})

it('a graph of 100,000 nodes is built in linear time', async () => {
  const long = (count: number): Uint8Array =>
    onnxBytes(
      graph({
        nodes: Array.from({ length: count }, (_, i) => ({
          opType: 'Relu',
          input: [i === 0 ? 'x' : `v${i}`],
          output: [i === count - 1 ? 'y' : `v${i + 1}`],
        })),
      }),
    )
  const { onnxModel } = await import('../src/weights/onnx/onnx-model.ts')
  const file = await opened(long(100_000), 'long.onnx')
  const { model } = onnxModel(file.onnx ?? expect.fail(), 'long.onnx')
  expect(model.layers).toHaveLength(100_000)
  model.dispose()
}, 180_000)

it('encodeOnnx writes what openWeights reads', async () => {
  const file = await opened(encodeOnnx({ irVersion: 8n, graph: { name: 'g' }, opsetImport: [{ version: 17n }] }), 'a')
  expect(file.format).toBe('onnx')
})
