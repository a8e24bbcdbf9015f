/** TensorFlow.js models: order and names of layers, lengths that do not fit, and malicious paths. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import * as tfCore from '@tensorflow/tfjs-core'
import fc from 'fast-check'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { type ByteSource, memorySource } from '../src/format/byte-source.ts'
import { openTensorflowJs } from '../src/format/tensorflowjs.ts'
import type { WeightFile } from '../src/format/weight-file.ts'

type Json = Record<string, unknown>

const models = fileURLToPath(new URL('fixtures/models', import.meta.url))
const graphJson = (): Json => JSON.parse(readFileSync(join(models, 'tfjs-graph', 'model.json'), 'utf8'))
const graphShard = new Uint8Array(readFileSync(join(models, 'tfjs-graph', 'group1-shard1of1.bin')))

function open(model: unknown, shards: Readonly<Record<string, Uint8Array>>): Promise<WeightFile> {
  const json = typeof model === 'string' ? model : JSON.stringify(model)
  const shard = async (path: string): Promise<ByteSource> => memorySource(shards[path] ?? new Uint8Array(), path)
  return openTensorflowJs(new TextEncoder().encode(json), shard, 'model')
}

const float = (name: string, ...shape: number[]) => ({ name, shape, dtype: 'float32' })
const bytesOf = (...values: number[]): Uint8Array => new Uint8Array(Float32Array.from(values).buffer)

/** A layers model with these weights. */
const layersModel = (weights: readonly object[], paths: readonly unknown[] = ['a.bin'], extra: Json = {}): Json => ({
  format: 'layers-model',
  modelTopology: null,
  weightsManifest: [{ paths, weights }],
  ...extra,
})

afterEach(() => vi.restoreAllMocks())

describe('a layers model', () => {
  it('collects the weights of a layer from anywhere in the list', async () => {
    const weights = [float('bn/gamma', 1), float('conv/kernel', 2), float('bn/moving_mean', 1)]
    const file = await open(layersModel(weights, ['a.bin', 'sub/b.bin']), {
      'a.bin': bytesOf(1, 2),
      'sub/b.bin': bytesOf(3, 4),
    })
    expect(file.groups.map((group) => [group.name, group.weights.map(({ name }) => name)])).toEqual([
      ['bn', ['bn/gamma', 'bn/moving_mean']],
      ['conv', ['conv/kernel']],
    ])
    const read = async (group: number, weight: number): Promise<number[]> => {
      const entry = file.groups[group]?.weights[weight]
      return entry === undefined ? [] : [...(await file.read(entry))]
    }
    // The kernel spans both shards.
    expect(await read(1, 0)).toEqual([2, 3])
    expect(await read(0, 1)).toEqual([4])
    file.close()
  })

  it('can list more weights than a function call can take arguments', async () => {
    const count = 150_000
    const file = await open(layersModel(Array.from({ length: count }, (_, i) => float(`a/${i}`, 0))), {})
    expect(file.groups.map(({ weights }) => weights.length)).toEqual([count])
    file.close()
  })

  it('is decoded without registering a backend', async () => {
    const file = await open(layersModel([float('a/b', 1)]), { 'a.bin': bytesOf(5) })
    const before = [tfCore.engine().backendNames(), tfCore.engine().state.numTensors]
    const [entry] = file.groups[0]?.weights ?? []
    expect(entry && [...(await file.read(entry))]).toEqual([5])
    expect([tfCore.engine().backendNames(), tfCore.engine().state.numTensors]).toEqual(before)
    file.close()
  })

  it('refuses other types than floats, and unknown types', async () => {
    const whole = await open(layersModel([{ name: 'a/steps', shape: [], dtype: 'int32' }]), { 'a.bin': bytesOf(1) })
    const [entry] = whole.groups[0]?.weights ?? []
    if (entry === undefined) throw new Error('the model has no weights')
    await expect(whole.read(entry)).rejects.toMatchObject({ code: 'format', message: expect.stringContaining('int32') })
    whole.close()
    const quantised = (quantization: object) => ({ ...float('a/b', 1), quantization })
    for (const weight of [
      { ...float('a/b', 1), dtype: 'string' },
      { name: 'a/b', shape: [-1], dtype: 'float32' },
      { shape: [1], dtype: 'float32' },
      quantised({ dtype: 'uint4', min: 0, scale: 1 }),
      quantised({ dtype: 'uint8', min: 0 }),
      quantised({ dtype: 'uint8', min: 0, scale: null }),
      null,
    ]) {
      await expect(open(layersModel([weight as object]), { 'a.bin': bytesOf(1) })).rejects.toMatchObject({
        code: 'format',
      })
    }
  })

  it('refuses shards that are shorter or longer than listed, and extra shards', async () => {
    const weights = [float('a/kernel', 2, 2), float('a/bias', 2)]
    await expect(open(layersModel(weights), { 'a.bin': bytesOf(1, 2, 3, 4, 5) })).rejects.toMatchObject({
      message: expect.stringContaining("end within 'a/bias', after 20 bytes"),
    })
    await expect(open(layersModel(weights), { 'a.bin': bytesOf(1, 2, 3, 4, 5, 6, 7) })).rejects.toMatchObject({
      message: expect.stringContaining('have 28 bytes, but model.json lists 24'),
    })
    const giant = [float('a/kernel', 2 ** 31, 2 ** 31, 2 ** 31)]
    await expect(open(layersModel(giant), { 'a.bin': bytesOf(1) })).rejects.toMatchObject({ code: 'format' })
    const paths = Array.from({ length: 3000 }, (_, i) => `${i}.bin`)
    await expect(open(layersModel(weights, paths), {})).rejects.toMatchObject({
      message: expect.stringContaining('2048'),
    })
  })

  it.each(['../secret', '/etc/passwd', 'a/../../b', 'C:\\x', 'http://example.org/x', 'a\0b', '', 7])(
    'never asks for weights in %j',
    async (path) => {
      const asked = vi.fn()
      const json = new TextEncoder().encode(JSON.stringify(layersModel([float('a/b', 1)], [path])))
      await expect(openTensorflowJs(json, asked, 'model')).rejects.toMatchObject({
        code: 'format',
        message: expect.stringContaining('not beside'),
      })
      expect(asked).not.toHaveBeenCalled()
    },
  )

  it('closes its files when it is refused', async () => {
    const closed: string[] = []
    const shard = async (path: string): Promise<ByteSource> => {
      if (path === 'b.bin') throw new Error('no such file')
      return { ...memorySource(bytesOf(1), path), close: () => closed.push(path) }
    }
    const json = new TextEncoder().encode(JSON.stringify(layersModel([float('a/b', 2)], ['a.bin', 'b.bin'])))
    await expect(openTensorflowJs(json, shard, 'model')).rejects.toThrow('no such file')
    expect(closed).toEqual(['a.bin'])
  })
})

describe('a graph model', () => {
  const constant = (name: string) => ({ name, op: 'Const', attr: { dtype: { type: 'DT_FLOAT' } } })
  const node = (name: string, op: string, ...input: string[]) => ({ name, op, input })
  const graph = (nodes: readonly object[], weights: readonly object[]): Json => ({
    format: 'graph-model',
    modelTopology: { node: nodes, versions: { producer: 1 } },
    weightsManifest: [{ paths: ['a.bin'], weights }],
  })

  it('gives layers in the order of use, with their original names', async () => {
    const weights = [
      float('f/model/dense/MatMul/ReadVariableOp', 1, 1),
      float('f/model/sep/separable_conv2d/ReadVariableOp_1', 1),
      float('f/model/conv/Conv2D_bn_offset', 1),
      float('f/model/sep/separable_conv2d/ReadVariableOp', 1),
      float('f/model/conv/Conv2D_weights', 1),
      float('f/model/unused/MatMul/ReadVariableOp', 1),
      float('f/model/scale', 1),
      { name: 'f/model/shape', shape: [1], dtype: 'int32' },
    ].map((weight, i) => (weight.name === 'f/model/scale' ? { ...weight, shape: [] } : weight) && { ...weight, i })
    const nodes = [
      ...weights.map(({ name }) => constant(name)),
      node('out', 'Identity', 'f/model/dense/BiasAdd:0', '^f/model/sep/out'),
      node('f/model/dense/BiasAdd', 'MatMul', 'f/model/sep/out', 'f/model/dense/MatMul/ReadVariableOp'),
      node('f/model/conv/Relu', '_FusedConv2D', 'x', 'f/model/conv/Conv2D_weights', 'f/model/conv/Conv2D_bn_offset'),
      node(
        'f/model/sep/depthwise',
        'DepthwiseConv2dNative',
        'f/model/conv/Relu',
        'f/model/sep/separable_conv2d/ReadVariableOp',
      ),
      node('f/model/sep/out', 'Conv2D', 'f/model/sep/depthwise', 'f/model/sep/separable_conv2d/ReadVariableOp_1'),
      node('x', 'Placeholder'),
    ]
    const file = await open(graph(nodes, weights), { 'a.bin': bytesOf(0, 1, 2, 3, 4, 5, 6, 7) })
    expect(file.groups.map((group) => [group.name, group.weights.map(({ name }) => name)])).toEqual([
      ['conv', ['f/model/conv/Conv2D_weights', 'f/model/conv/Conv2D_bn_offset']],
      ['sep', ['f/model/sep/separable_conv2d/ReadVariableOp', 'f/model/sep/separable_conv2d/ReadVariableOp_1']],
      ['dense', ['f/model/dense/MatMul/ReadVariableOp']],
    ])
    const [kernel] = file.groups[0]?.weights ?? []
    expect(kernel && [...(await file.read(kernel))]).toEqual([4])
    file.close()
  })

  it('that TensorFlow.js cannot load, or that uses no weights, is refused', async () => {
    const weights = [float('w', 1)]
    const data = { 'a.bin': bytesOf(1) }
    await expect(open(graph([node('y', 'Identity', 'missing')], weights), data)).rejects.toMatchObject({
      code: 'format',
      message: expect.stringContaining('cannot load its graph'),
    })
    await expect(open(graph([node('x', 'Placeholder')], weights), data)).rejects.toMatchObject({
      message: expect.stringContaining('uses no weights'),
    })
    await expect(open(graph([{ name: 'x' }], weights), data)).rejects.toMatchObject({ code: 'format' })
  })

  it('can contain loops', async () => {
    const nodes = [
      constant('w'),
      node('a/Add', 'AddV2', 'w', 'b'),
      node('b', 'NextIteration', 'a/Add'),
      node('y', 'Identity', 'b'),
    ]
    const file = await open(graph(nodes, [float('w', 1)]), { 'a.bin': bytesOf(1) })
    expect(file.groups).toEqual([{ name: 'w', weights: [{ name: 'w', shape: [1], dtype: 'float32' }] }])
    file.close()
  })

  it('with any change to its model.json gives weights or a format error', async () => {
    const text = JSON.stringify(graphJson())
    const values = fc.constantFrom<unknown>(null, -1, 1e300, '', '__proto__', [], {}, [[]], true)
    /** Replaces the nth value of the JSON, counted in parsing order. */
    const changedJson = (nth: number, value: unknown): string => {
      let count = 0
      return JSON.stringify(JSON.parse(text, (_, old) => (count++ === nth ? value : old)))
    }
    let total = 0
    JSON.parse(text, () => total++)
    let refused = 0
    await fc.assert(
      fc.asyncProperty(fc.nat(total - 1), values, async (nth, value) => {
        try {
          const file = await open(changedJson(nth, value), { 'group1-shard1of1.bin': graphShard })
          for (const entry of file.groups.flatMap(({ weights }) => weights)) await file.read(entry)
          file.close()
        } catch (error) {
          expect(error).toMatchObject({ name: 'WeftgradError', code: 'format' })
          refused += 1
        }
      }),
      { seed: 7, numRuns: 400 },
    )
    expect(refused).toBeGreaterThan(20)
    for (const cut of [0, 1, 100, text.length - 1]) {
      await expect(open(text.slice(0, cut), {})).rejects.toMatchObject({ code: 'format' })
    }
  })
})
