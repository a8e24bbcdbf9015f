/** Keras' HDF5 layouts: lists in pieces, large tensors in slices, and other kinds of numbers. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { File, ready } from 'h5wasm/node'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openWeightFile } from '../src/format/open-weights.node.ts'
import type { WeightFile } from '../src/format/weight-file.ts'
import { h5FilesIn, hashed, listKernel } from './support/h5-files.ts'
import type { KerasLayer } from './support/keras-h5-writer.ts'
import { writeKerasH5 } from './support/keras-h5-writer.ts'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'weftgrad-h5-'))
  await ready
})
afterAll(() => rm(folder, { recursive: true }))
const fileWith = h5FilesIn(() => folder)

async function readAll(file: WeightFile): Promise<Map<string, Float32Array>> {
  const all = new Map<string, Float32Array>()
  for (const { name, weights } of file.groups)
    for (const entry of weights) all.set(`${name} ${entry.name}`, await file.read(entry))
  return all
}

describe('a file in the layout of published weights', () => {
  it('is read back as it was written', async () => {
    const layers: KerasLayer[] = [
      {
        name: 'conv1_conv',
        weights: [
          { name: 'conv1_conv/kernel:0', shape: [7, 7, 3, 5], data: hashed('k', 7, 7, 3, 5) },
          { name: 'conv1_conv/bias:0', shape: [5], data: () => hashed('b', 5) },
        ],
      },
      { name: 'pool', weights: [] },
      { name: 'scale', weights: [{ name: 'by', shape: [], data: Float32Array.of(3) }] },
      { name: 'nothing', weights: [{ name: 'of it', shape: [0, 4], data: new Float32Array(0) }] },
    ]
    const path = join(folder, 'published.h5')
    await writeKerasH5(path, layers)
    const file = await openWeightFile(path)
    expect(file.groups).toEqual([
      {
        name: 'conv1_conv',
        weights: [
          { name: 'conv1_conv/kernel:0', shape: [7, 7, 3, 5], dtype: 'float32' },
          { name: 'conv1_conv/bias:0', shape: [5], dtype: 'float32' },
        ],
      },
      { name: 'scale', weights: [{ name: 'by', shape: [], dtype: 'float32' }] },
      { name: 'nothing', weights: [{ name: 'of it', shape: [0, 4], dtype: 'float32' }] },
    ])
    expect([...(await readAll(file)).values()]).toEqual([
      hashed('k', 7, 7, 3, 5),
      hashed('b', 5),
      Float32Array.of(3),
      new Float32Array(0),
    ])
    file.close()
  })

  it('keeps the order of more layers than one attribute can hold', async () => {
    // 4000 names of 40 bytes are more than two attributes hold.
    const names = Array.from({ length: 4000 }, (_, i) => `layer_with_a_name_as_long_as_they_come_${4000 - i}`)
    const path = join(folder, 'many.h5')
    await writeKerasH5(
      path,
      names.map((name, i) => ({
        name,
        weights: i % 1000 === 0 ? [{ name: 'w', shape: [1], data: Float32Array.of(i) }] : [],
      })),
    )
    const written = new File(path, 'r')
    expect(Object.keys(written.attrs)).toEqual(expect.arrayContaining(['layer_names0', 'layer_names1', 'layer_names2']))
    written.close()
    const file = await openWeightFile(path)
    const expected = [0, 1000, 2000, 3000].map((i) => [`${names[i]} w`, Float32Array.of(i)])
    expect([...(await readAll(file))]).toEqual(expected)
    file.close()
  })

  it('reads tensors larger than a slice, of any shape and chunking', async () => {
    // Slices are 1 MB: 262,144 numbers.
    const large: [string, number[], number[]?][] = [
      ['wide', [2, 400_000]],
      ['deep', [3, 5, 7, 5000]],
      ['long', [300_000, 2]],
      ['flat', [600_000]],
      ['packed', [150, 90, 60], [64, 50, 60]],
      ['narrow', [1100, 300], [1100, 7]],
    ]
    const path = join(folder, 'large.h5')
    await writeKerasH5(
      path,
      large.map(([name, shape, chunks]) => ({
        name,
        weights: [
          { name: 'kernel', shape, data: () => hashed(name, ...shape), ...(chunks === undefined ? {} : { chunks }) },
        ],
      })),
    )
    const file = await openWeightFile(path)
    for (const { name, weights } of file.groups) {
      const [entry] = weights
      if (entry === undefined) throw new Error(`${name} has no weights`)
      const read = await file.read(entry)
      const expected = hashed(name, ...entry.shape)
      expect(read.length, name).toBe(expected.length)
      expect(
        read.findIndex((value, i) => value !== expected[i]),
        name,
      ).toBe(-1)
    }
    file.close()
  })

  it('names the layer or weight that is listed but missing', async () => {
    const missing = await fileWith('missing-layer.h5', (file) => {
      file.delete_attribute('layer_names')
      file.create_attribute('layer_names', ['conv', 'dense'])
      file.create_group('conv').create_attribute('weight_names', new Float64Array(0), [0])
    })
    await expect(openWeightFile(missing)).rejects.toMatchObject({ message: expect.stringContaining("lists 'dense'") })
    const linked = await fileWith('linked.h5', (file) => {
      listKernel(file)
      file.create_external_link(join(folder, 'published.h5'), '/scale/by', 'a/kernel')
    })
    await expect(openWeightFile(linked)).rejects.toMatchObject({ message: expect.stringContaining("lists 'kernel'") })
    const unlisted = await fileWith('unlisted.h5', (file) => {
      file.delete_attribute('layer_names')
      file.create_attribute('layer_names', ['conv'])
      file.create_group('conv')
    })
    await expect(openWeightFile(unlisted)).rejects.toMatchObject({ message: expect.stringContaining('weight_names') })
    const other = await fileWith('other.h5', (file) => file.delete_attribute('layer_names'))
    await expect(openWeightFile(other)).rejects.toMatchObject({
      message: expect.stringContaining('no Keras weights'),
    })
  })
})

describe('numbers', () => {
  it('of 16 and 64 bits and of the other byte order become float32; others are refused with a reason', async () => {
    const file = await openWeightFile(fileURLToPath(new URL('fixtures/hdf5/oddities.h5', import.meta.url)))
    const found: Record<string, unknown> = {}
    for (const { name, weights } of file.groups) {
      const [entry] = weights
      if (entry === undefined) continue
      const read = file.read(entry).then((values) => [...values])
      found[name] = [
        entry.dtype,
        await read.catch((error: Error) => error.message.replace(/^.*readable HDF5 file: /, '')),
      ]
    }
    file.close()
    const expected = [0, 0.25, 0.5, 0.75, 1, 1.25]
    expect(found).toEqual({
      half: ['float16', expected],
      big_endian: ['float32', expected],
      double: ['float64', expected],
      packed: ['float32', expected],
      bytes: ['uint8', expect.stringContaining('holds uint8')],
      truth: ['enum', expect.stringContaining('holds enum')],
      text: ['string', expect.stringContaining('holds string')],
      elsewhere: ['float32', expect.stringContaining('in other files')],
      raw_elsewhere: ['float32', expect.stringContaining('external')],
    })
  })

  it('of 16 bits are distinguished by their type in the file', async () => {
    const readBias = async (name: string): Promise<number[]> => {
      const file = await openWeightFile(fileURLToPath(new URL(`fixtures/hdf5/${name}`, import.meta.url)))
      try {
        const [entry] = file.groups[0]?.weights ?? []
        return entry === undefined ? [] : [...(await file.read(entry))]
      } finally {
        file.close()
      }
    }
    expect(await readBias('bfloat16.h5')).toEqual([0.125, -3, 0.5])
    await expect(readBias('both-halves.h5')).rejects.toMatchObject({
      code: 'format',
      message: expect.stringContaining('holds float16 or bfloat16'),
    })
    // A missing filter is named, with a workaround, and the file stays open for the rest.
    await expect(readBias('zstandard.h5')).rejects.toMatchObject({
      code: 'format',
      message: expect.stringMatching(/compressed by Zstandard.*Write it uncompressed or with gzip/),
    })
  })

  it("in Theano's kernel layout are refused", async () => {
    const written = (name: string, shape: number[]): Promise<string> =>
      fileWith(name, (file) => {
        listKernel(file)
        if (file.attrs.backend !== undefined) file.delete_attribute('backend')
        file.create_attribute('backend', 'theano')
        file.create_dataset({ name: 'a/kernel', data: new Float32Array(9), shape })
      })
    await expect(openWeightFile(await written('turned.h5', [3, 3, 1, 1]))).rejects.toMatchObject({
      code: 'format',
      message: expect.stringMatching(/Theano.*'a' by 180 degrees/),
    })
    ;(await openWeightFile(await written('flat.h5', [3, 3]))).close()
  })

  it('are refused if the file cannot hold as many as a dataset claims', async () => {
    const path = await fileWith('hollow.h5', (file) => {
      listKernel(file)
      // Chunks that were never written take no space.
      const data = Float32Array.of(1)
      const dataset = { name: 'a/kernel', data, shape: [1], maxshape: [null], chunks: [1024] }
      file.create_dataset(dataset).resize([2 ** 20])
    })
    const file = await openWeightFile(path)
    const [entry] = file.groups[0]?.weights ?? []
    if (entry === undefined) throw new Error('the file has no weights')
    expect(entry.shape).toEqual([2 ** 20])
    await expect(file.read(entry)).rejects.toMatchObject({
      code: 'format',
      message: expect.stringContaining('claims 4194304 bytes'),
    })
    file.close()
  })

  it.each([
    ['one dataset', 1, 2 ** 40],
    ['several together, none of them too large alone', 3, 2 ** 25],
  ])(
    'are refused when the file is opened where %s would unpack to far more than the file holds',
    async (_, count, extent) => {
      const path = await fileWith(`bomb-${count}.h5`, (file) => {
        file.delete_attribute('layer_names')
        file.create_attribute('layer_names', ['a'])
        const names = Array.from({ length: count }, (__, i) => `kernel_${i}`)
        file.create_group('a').create_attribute('weight_names', names)
        for (const name of names) {
          const data = Float32Array.of(1)
          const dataset = { name: `a/${name}`, data, shape: [1], maxshape: [null], chunks: [1024] }
          file.create_dataset({ ...dataset, compression: 'gzip', compression_opts: 9 }).resize([extent])
        }
      })
      await expect(openWeightFile(path)).rejects.toMatchObject({
        code: 'format',
        message: expect.stringMatching(/claim \d+ bytes, but at most 268435456 are unpacked from a file of \d+/),
      })
    },
  )
})

describe('Keras 3', () => {
  it('orders the layers of a class by number, and leaves out the optimizer and random states', async () => {
    const path = await fileWith('keras3.weights.h5', (file) => {
      file.delete_attribute('layer_names')
      const put = (group: string, ...values: number[]): void => {
        group.split('/').reduce((path, part) => {
          const at = path === '' ? part : `${path}/${part}`
          if (file.get(at) === null) file.create_group(at)
          return at
        }, '')
        for (const [i, value] of values.entries()) {
          file.create_dataset({ name: `${group}/${i}`, data: Float32Array.of(value), shape: [1] })
        }
      }
      for (const i of [11, 2, 1, 10, 0]) put(`layers/conv2d${i === 0 ? '' : `_${i}`}/vars`, i)
      put('layers/separable_conv2d/vars', ...Array.from({ length: 12 }, (_, i) => i))
      put('layers/dropout/vars')
      put('layers/dropout/seed_generator/vars', 1)
      put('layers/functional/layers/dense/vars', 7)
      put('optimizer/vars', 1, 2)
    })
    const file = await openWeightFile(path)
    expect(file.groups.map(({ name, className }) => [name, className])).toEqual([
      ['conv2d', 'Conv2D'],
      ['conv2d_1', 'Conv2D'],
      ['conv2d_2', 'Conv2D'],
      ['conv2d_10', 'Conv2D'],
      ['conv2d_11', 'Conv2D'],
      ['dense', 'Dense'],
      ['separable_conv2d', 'SeparableConv2D'],
    ])
    const separable = file.groups.at(-1)
    expect(separable?.weights.map(({ name }) => name)).toEqual(Array.from({ length: 12 }, (_, i) => `vars/${i}`))
    const [eleventh] = separable?.weights.slice(11) ?? []
    expect(eleventh && [...(await file.read(eleventh))]).toEqual([11])
    file.close()
  })

  it('is refused if a group contains itself', async () => {
    const path = await fileWith('cycle.weights.h5', (file) => {
      file.delete_attribute('layer_names')
      file.create_group('layers')
      for (const name of ['a', 'b']) file.create_hard_link('/layers', `layers/${name}`)
    })
    await expect(openWeightFile(path)).rejects.toMatchObject({
      code: 'format',
      message: expect.stringContaining('without end'),
    })
  })
})
