/**
 * TensorFlow.js graph models, whose operations its converter has folded and fused: `loadModel` builds them, and they compute what
 * Keras computed and TensorFlow.js computes. `fixtures/tfjs-graph-models/write.py` made the files.
 */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { unzipSync } from 'fflate'
import { describe, expect, it } from 'vitest'
import { WeftgradError } from '../src/errors.ts'
import { memorySource } from '../src/format/byte-source.ts'
import { openWeightFile } from '../src/format/open-weights.node.ts'
import { readSafetensors, toFloat32 } from '../src/format/safetensors.ts'
import { openTensorflowJs } from '../src/format/tensorflowjs.ts'
import type { WeightFile } from '../src/format/weight-file.ts'
import { elementCount } from '../src/kernels/kernel.ts'
import { pad } from '../src/operators/index.ts'
import { tensor } from '../src/operators/tensor.ts'
import { loadModel } from '../src/weights/load-model.ts'
import { useDevice } from './support/device.ts'
import { failure } from './support/failure.ts'
import { loadTensorFlow } from './support/tfjs.ts'

const device = useDevice()
const decoded = (bytes: Uint8Array | undefined) => JSON.parse(new TextDecoder().decode(bytes))

interface Description {
  readonly modelTopology: { node: { name: string; op: string; input?: string[]; attr: Record<string, unknown> }[] }
  readonly weightsManifest: readonly [{ readonly paths: readonly [string]; readonly weights: unknown[] }]
}

function archive(name: string) {
  const url = new URL(`fixtures/tfjs-graph-models/${name}.zip`, import.meta.url)
  const { 'model.json': model, 'output.json': output, ...shards } = unzipSync(new Uint8Array(readFileSync(url)))
  const description: Description = decoded(model)
  const [weights = new Uint8Array()] = Object.values(shards)
  const open = (changed: unknown = description): Promise<WeightFile> =>
    openTensorflowJs(
      new TextEncoder().encode(JSON.stringify(changed)),
      async (path) => memorySource(shards[path] ?? new Uint8Array(), path),
      name,
    )
  return { description, weights, output: decoded(output) as number[], open }
}

const input = (shape: readonly number[]): Float32Array =>
  Float32Array.from({ length: 2 * elementCount(shape) }, (_, i) => Math.sin(i + 1))

function expectNear(found: ArrayLike<number>, wanted: readonly number[]): void {
  expect(found).toHaveLength(wanted.length)
  const largest = Math.max(...wanted.map(Math.abs))
  for (const [i, value] of wanted.entries())
    expect(Math.abs((found[i] ?? Number.NaN) - value)).toBeLessThanOrEqual(2e-5 * largest)
}

describe.each(['plain', 'gates'])('the graph of %s', (name) => {
  it("computes what Keras computed before the conversion, and what TensorFlow.js' own reader computes", async () => {
    const { open, output, description, weights } = archive(name)
    using model = await loadModel(await open(), { device: device() })
    const numbers = input(model.inputShape)
    const found = await model.call(tensor(numbers, [2, ...model.inputShape])).data()
    expectNear(found, output)
    const tf = await loadTensorFlow()
    const { loadGraphModelSync } = await import('@tensorflow/tfjs-converter')
    const theirs = loadGraphModelSync({
      modelTopology: description.modelTopology,
      weightSpecs: description.weightsManifest[0].weights as never,
      weightData: Uint8Array.from(weights).buffer,
    })
    const y = theirs.predict(tf.tensor(numbers, [2, ...model.inputShape] as [number, number, number, number]))
    if (!(y instanceof tf.Tensor)) throw new Error('the graph has one output')
    expectNear(found, [...(await y.data())])
  })
})

it('reads the graph of a LeNet-5', async () => {
  const folder = new URL('fixtures/models/', import.meta.url)
  const file = await openWeightFile(fileURLToPath(new URL('tfjs-graph', folder)))
  using model = await loadModel(file, { device: device() })
  file.close()
  const { tensors } = readSafetensors(new Uint8Array(readFileSync(new URL('expected.safetensors', folder))), 'expected')
  const [images, probabilities] = ['images', 'probabilities'].map((name) => tensors.get(name))
  if (images === undefined || probabilities === undefined) throw new Error(`there are ${[...tensors.keys()]}`)
  const bytes = toFloat32(images)
  const inner = tensor(
    bytes.map((byte) => byte / 255),
    [bytes.length / 784, 28, 28, 1],
  )
  const x = pad(inner, [
    [0, 0],
    [2, 2],
    [2, 2],
    [0, 0],
  ])
  expectNear(await model.call(x).data(), [...toFloat32(probabilities)])
})

describe('a graph', () => {
  const changed = (edit: (nodes: Description['modelTopology']['node']) => void) => {
    const { description, open } = archive('plain')
    const copy = structuredClone(description)
    edit(copy.modelTopology.node)
    return open(copy)
  }
  const refusal = async (edit: Parameters<typeof changed>[0]) =>
    failure(changed(edit).then((file) => loadModel(file, { device: device() })))

  it('with unknown operations is refused, with the names of all', async () => {
    const error = await refusal((nodes) => {
      for (const node of nodes)
        if (['Tanh', 'AvgPool'].includes(node.op)) node.op = node.op === 'Tanh' ? 'Sin' : 'Cumsum'
    })
    expect(error).toMatchObject({
      code: 'argument',
      message: expect.stringMatching(/Sin \(.*Tanh\).*Cumsum \(.*AvgPool\)/),
    })
  })

  it('is refused for attributes that change the numbers', async () => {
    for (const [op, key, value, text] of [
      ['_FusedConv2D', 'data_format', { s: btoa('NCHW') }, 'NCHW'],
      ['_FusedMatMul', 'transpose_a', { b: true }, 'transposes'],
      ['MaxPool', 'strides', { list: { i: ['1', '2', '2', '2'] } }, 'strides'],
      ['FusedDepthwiseConv2dNative', 'fused_ops', { list: { s: [btoa('Squared')] } }, 'Squared'],
    ] as const)
      expect(
        await refusal((nodes) => {
          for (const node of nodes) if (node.op === op) node.attr = { ...node.attr, [key]: value }
        }),
      ).toMatchObject({ code: 'mismatch', message: expect.stringContaining(text) })
  })

  it('that is hostile throws nothing but typed errors, and leaves no memory behind', { timeout: 120_000 }, async () => {
    for (const name of ['plain', 'gates']) {
      const { description, open } = archive(name)
      const strange = fc.constantFrom<unknown>(
        ...[
          null,
          true,
          -1,
          1e9,
          '',
          'Reshape',
          'Pack',
          'Shape',
          [],
          {},
          ['1', '1', '1', '1'],
          { i: '-7' },
          { s: 'U0FNRQ==' },
        ],
        ...[
          { list: { i: ['1', '9', '0', '1'] } },
          { b: true },
          { f: 1e300 },
          'input_1',
          [`${name}:3`],
          ['Identity', 'Identity'],
        ],
      )
      const places = description.modelTopology.node.flatMap((node, i) =>
        node.op === 'Const'
          ? []
          : ['op', 'name', 'input', ...Object.keys(node.attr).map((key) => `attr/${key}`)].map(
              (key) => [i, key] as const,
            ),
      )
      await fc.assert(
        fc.asyncProperty(
          fc.array(fc.tuple(fc.nat(places.length - 1), strange), { minLength: 1, maxLength: 3 }),
          async (edits) => {
            const copy = structuredClone(description)
            for (const [at, value] of edits) {
              const [i = 0, key = ''] = places[at] ?? []
              const node = copy.modelTopology.node[i] as unknown as Record<string, Record<string, unknown> | unknown>
              if (key.startsWith('attr/')) (node.attr as Record<string, unknown>)[key.slice(5)] = value
              else node[key] = value
            }
            try {
              using model = await loadModel(await open(copy), { device: device() })
              model.summary()
            } catch (error) {
              if (!(error instanceof WeftgradError)) throw error
            }
          },
        ),
        { numRuns: 150, seed: 5 },
      )
    }
    const { description, open } = archive('gates')
    const copy = structuredClone(description)
    const { node } = copy.modelTopology
    const pack = node.find(({ op }) => op === 'Pack')
    if (pack === undefined) throw new Error('there is a Pack')
    for (let i = 0; i < 60; i++) {
      const before = i === 0 ? (pack.input?.[1] ?? '') : `p${i - 1}`
      node.push({ name: `p${i}`, op: 'Pack', input: [before, before], attr: {} })
    }
    pack.input = ['p59', 'p59']
    expect(await failure(open(copy).then((file) => loadModel(file, { device: device() })))).toBeInstanceOf(
      WeftgradError,
    )
    expect(device().memory().liveBytes).toBe(0)
  })
})
