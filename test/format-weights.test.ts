/**
 * One LeNet-5 in every format that Keras and the TensorFlow.js converter write: its readers give the same tensors under
 * the same layers, and for quantised files the numbers that TensorFlow.js itself reads.
 */
import { readFileSync } from 'node:fs'
import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { io } from '@tensorflow/tfjs-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { memorySource } from '../src/format/byte-source.ts'
import { freshHdf5 } from '../src/format/hdf5-instance.node.ts'
import { openWeightFile } from '../src/format/open-weights.node.ts'
import { openWeights } from '../src/format/open-weights.ts'
import { readSafetensors, type SafeTensor, writeSafetensors } from '../src/format/safetensors.ts'
import type { WeightFile } from '../src/format/weight-file.ts'
import { loadTensorFlow } from './support/tfjs.ts'

const models = fileURLToPath(new URL('fixtures/models', import.meta.url))
const { tensors } = readSafetensors(readFileSync(join(models, 'expected.safetensors')))
const layers = ['conv1', 'conv2', 'dense1', 'dense2', 'probabilities']
const classes = ['Conv2D', 'Conv2D', 'Dense', 'Dense', 'Dense']

function expectedWeight(layer: string, index: number): SafeTensor {
  const tensor = tensors.get(`weights/${layer}/${index}`)
  if (tensor === undefined) throw new Error(`expected.safetensors has no weight ${index} of ${layer}`)
  return tensor
}

async function allNumbers(file: WeightFile): Promise<Float32Array[]> {
  const numbers: Float32Array[] = []
  for (const { weights } of file.groups) for (const entry of weights) numbers.push(await file.read(entry))
  return numbers
}

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'weftgrad-weights-'))
})
afterAll(() => rm(folder, { recursive: true }))

describe('a LeNet-5 written by Keras and read', () => {
  it.each([
    ['lenet5.h5', 'keras-h5', 'lenet5/conv1/kernel', true],
    ['lenet5_keras2_weights.h5', 'keras-h5', 'conv1/kernel:0', false],
    ['lenet5.weights.h5', 'keras-3-h5', 'vars/0', true],
    ['lenet5.keras', 'keras-archive', 'vars/0', true],
    ['tfjs-layers-float32', 'tfjs-layers', 'conv1/kernel', true],
    ['tfjs-layers-float32/model.json', 'tfjs-layers', 'conv1/kernel', true],
    ['tfjs-graph', 'tfjs-graph', 'StatefulPartitionedCall/lenet5/conv1/Conv2D/ReadVariableOp', false],
  ] as const)(
    'from %s gives the layers, shapes and exact numbers that Keras had',
    async (path, format, first, tells) => {
      const file = await openWeightFile(join(models, path))
      expect(file).toMatchObject({ format, source: expect.stringContaining(path) })
      expect(file.groups.map(({ name }) => name)).toEqual(layers)
      expect(file.groups.map(({ className }) => className)).toEqual(classes.map((name) => (tells ? name : undefined)))
      expect(file.groups[0]?.weights[0]?.name).toBe(first)
      for (const { name, weights } of file.groups) {
        expect(weights).toHaveLength(2)
        for (const [i, entry] of weights.entries()) {
          const { shape, data } = expectedWeight(name, i)
          expect(entry).toMatchObject({ shape, dtype: 'float32' })
          expect(await file.read(entry)).toEqual(data)
        }
      }
      file.close()
    },
  )

  it.each(['float16', 'uint16', 'uint8'] as const)(
    'with %s weights gives the numbers that TensorFlow.js reads',
    async (dtype) => {
      const model = join(models, `tfjs-layers-${dtype}`)
      const tf = await loadTensorFlow()
      const json: io.ModelJSON = JSON.parse(readFileSync(join(model, 'model.json'), 'utf8'))
      const [{ paths, weights: weightSpecs }] = json.weightsManifest as [io.WeightsManifestConfig[number]]
      const weightData = Uint8Array.from(Buffer.concat(paths.map((path) => readFileSync(join(model, path))))).buffer
      const theirs = tf.io.decodeWeights(weightData, weightSpecs)

      const file = await openWeightFile(model)
      expect(file.groups.map(({ name }) => name)).toEqual(layers)
      expect(new Set(file.groups.flatMap(({ weights }) => weights.map((entry) => entry.dtype)))).toEqual(
        new Set([dtype]),
      )
      for (const entry of file.groups.flatMap(({ weights }) => weights)) {
        expect(await file.read(entry)).toEqual(theirs[entry.name]?.dataSync())
      }
      tf.dispose(theirs)
      file.close()
    },
  )

  it('can be read from bytes in memory', async () => {
    const bytes = readFileSync(join(models, 'lenet5_keras2_weights.h5'))
    const fromFile = await openWeightFile(join(models, 'lenet5_keras2_weights.h5'))
    // Without a loader, the library instance that browsers share is used.
    const file = await openWeights(memorySource(bytes, 'lenet5'))
    expect(await allNumbers(file)).toEqual(await allNumbers(fromFile))
    file.close()
    const model = join(models, 'tfjs-layers-uint8')
    const tfjs = await openWeights(memorySource(readFileSync(join(model, 'model.json')), 'tfjs'), {
      openShard: async (path) => memorySource(readFileSync(join(model, path)), path),
    })
    expect(await allNumbers(tfjs)).toHaveLength(10)
    expect(tfjs.source).toBe('tfjs')
    fromFile.close()
  })
})

it.each(['lenet5.h5', 'lenet5.keras', 'lenet5_keras2_weights.h5'])(
  '%s is read only where needed, not as a whole',
  async (path) => {
    const whole = memorySource(readFileSync(join(models, path)), path)
    let bytes = 0
    let most = 0
    const readInto = (target: Uint8Array, position: number): void => {
      bytes += target.length
      most = Math.max(most, target.length)
      whole.readInto(target, position)
    }
    const file = await openWeights({ ...whole, readInto }, { hdf5: freshHdf5 })
    // In an archive the checksum is compared first, so all of it is read once, in pieces.
    expect(bytes).toBeLessThan(whole.size * (path.endsWith('.keras') ? 1.25 : 0.25))
    expect(most).toBeLessThan(whole.size / 4)
    const [, bias] = file.groups[0]?.weights ?? []
    if (bias === undefined) throw new Error('the file has no bias')
    bytes = 0
    await file.read(bias)
    expect(bytes).toBeLessThan(10_000)
    file.close()
  },
)

describe('safetensors', () => {
  it('are read header first, then tensor by tensor', async () => {
    const reads: number[] = []
    const tensor: SafeTensor = { dtype: 'F32', shape: [1000], data: new Float32Array(1000).fill(2) }
    const whole = memorySource(
      writeSafetensors(
        new Map([
          ['a/b', tensor],
          ['a/c', tensor],
        ]),
      ),
      'x.safetensors',
    )
    const readInto = (target: Uint8Array, position: number): void => {
      reads.push(target.length)
      whole.readInto(target, position)
    }
    const file = await openWeights({ ...whole, readInto })
    expect(Math.max(...reads)).toBeLessThan(300)
    const [, second] = file.groups[0]?.weights ?? []
    expect(second && (await file.read(second))).toEqual(tensor.data)
    expect(reads.at(-1)).toBe(4000)
    file.close()
  })

  it('are grouped by the name before the last slash, or else the last dot', async () => {
    const tensor = (...data: number[]): SafeTensor => ({
      dtype: 'F32',
      shape: [data.length],
      data: Float32Array.from(data),
    })
    const path = join(folder, 'grouped.safetensors')
    const given = new Map<string, SafeTensor>([
      ['block.1/conv/bias', tensor(1)],
      ['block.1/conv/kernel', tensor(2, 3)],
      ['head.fc.weight', tensor(4)],
      ['scale', { dtype: 'F16', shape: [1], data: Uint16Array.of(0x3c00) }],
      ['wide', { dtype: 'F64', shape: [1], data: Float64Array.of(0.1) }],
      ['brain', { dtype: 'BF16', shape: [1], data: Uint16Array.of(0x4049) }],
      ['whole', { dtype: 'I32', shape: [1], data: Int32Array.of(7) }],
    ])
    await writeFile(path, writeSafetensors(given))
    const file = await openWeightFile(path)
    expect(file.format).toBe('safetensors')
    const found = new Map(file.groups.map(({ name, weights }) => [name, weights]))
    expect([...found.keys()].sort()).toEqual(['block.1/conv', 'brain', 'head.fc', 'scale', 'whole', 'wide'])
    expect(found.get('block.1/conv')?.map(({ name }) => name)).toEqual(['block.1/conv/bias', 'block.1/conv/kernel'])
    const read = async (group: string): Promise<number[]> => {
      const [entry] = found.get(group) ?? []
      return entry === undefined ? [] : [...(await file.read(entry))]
    }
    expect(await read('head.fc')).toEqual([4])
    expect(await read('scale')).toEqual([1])
    expect(await read('wide')).toEqual([Math.fround(0.1)])
    expect(await read('brain')).toEqual([3.140625])
    await expect(read('whole')).rejects.toMatchObject({ code: 'format', message: expect.stringContaining('int32') })
    file.close()
    await expect(read('scale')).rejects.toMatchObject({ code: 'disposed' })
  })
})

it('a safetensors file with unknown dtypes is opened, and its other tensors are read', async () => {
  const header =
    '{"__metadata__":null,"a/bias":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},' +
    '"b/scale":{"dtype":"F8_E4M3","shape":[3],"data_offsets":[4,7]}}'
  const bytes = new Uint8Array(8 + header.length + 7)
  new DataView(bytes.buffer).setBigUint64(0, BigInt(header.length), true)
  bytes.set(new TextEncoder().encode(header), 8)
  const file = await openWeights(memorySource(bytes, 'x.safetensors'))
  const [known, other] = file.groups.flatMap(({ weights }) => weights)
  if (known === undefined || other === undefined) throw new Error('the file has two tensors')
  expect([...(await file.read(known))]).toEqual([0])
  await expect(file.read(other)).rejects.toMatchObject({ code: 'format', message: expect.stringContaining('F8_E4M3') })
  file.close()
})

describe('openWeightFile', () => {
  it('says what is wrong with a path', async () => {
    const refusal = (path: string) => expect(openWeightFile(path)).rejects
    await refusal(join(folder, 'missing.h5')).toMatchObject({
      code: 'file',
      message: expect.stringContaining('no such'),
    })
    await refusal(folder).toMatchObject({ code: 'file', message: expect.stringContaining('model.json') })
    await refusal('/dev/null').toMatchObject({ code: 'file', message: expect.stringContaining('regular') })
    await symlink('loop.h5', join(folder, 'loop.h5'))
    await refusal(join(folder, 'loop.h5')).toMatchObject({ code: 'file' })
  })

  it.each([
    ['', 'an empty file'],
    ['<!DOCTYPE html><html>', 'a web page'],
    ['version https://git-lfs.github.com/spec/v1\noid sha256:4d7a', 'git lfs pull'],
    [String.fromCharCode(0x1f, 0x8b, 8), 'gzip'],
    ['label,pixel1,pixel2\n1,0,0\n', 'Supported: '],
    ['{"format":"layers-model"}', 'weightsManifest'],
    ['{"format":', 'weightsManifest'],
    ['PK\x05\x06', 'its end is missing'],
  ])('refuses a file that starts with %j and guesses what it is', async (start, message) => {
    const path = join(folder, 'other.h5')
    await writeFile(path, start, 'latin1')
    await expect(openWeightFile(path)).rejects.toMatchObject({
      name: 'WeftgradError',
      code: 'format',
      message: expect.stringContaining(message),
    })
  })

  it('reads only its own entries, and nothing after it is closed', async () => {
    const file = await openWeightFile(join(models, 'lenet5.keras'))
    const [entry] = file.groups[0]?.weights ?? []
    if (entry === undefined) throw new Error('the file has no weights')
    await expect(file.read({ ...entry })).rejects.toMatchObject({ code: 'argument' })
    file.close()
    file.close()
    await expect(file.read(entry)).rejects.toMatchObject({ code: 'disposed' })
  })
})
