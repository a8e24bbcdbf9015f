/**
 * Frozen features: from bytes on the device through a pretrained network, compared with Keras; the job that caches
 * them.
 */

import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type ImageDataset, residentImages } from '../src/data/dataset.ts'
import { readSafetensors } from '../src/format/safetensors.ts'
import { tensor } from '../src/index.ts'
import { freeze } from '../src/nn/freeze.ts'
import type { Model } from '../src/nn/model.ts'
import { type PretrainedName, pretrained } from '../src/nn/models/pretrained.ts'
import { fashionMnistLenet5 as task } from '../src/tasks/fashion-mnist-lenet5.node.ts'
import type { FeaturePooling } from '../src/tasks/feature-taps.ts'
import { extractFeatures, type FeatureProgress, type FeatureReporter } from '../src/transfer/features.node.ts'
import { extractionBatch, FeatureExtractor, featureColumns, pooled, pooledShape } from '../src/transfer/features.ts'
import { hashedGains, hashedReader } from '../src/weights/hashed.ts'
import { disagreement } from './support/compare.ts'
import { useDevice } from './support/device.ts'
import { barImages, writeBars } from './support/fashion-files.ts'
import { kerasFeatures } from './support/keras-features.ts'

const device = useDevice()

async function hashedBase(name: PretrainedName, size: number, keep: readonly string[]): Promise<Model> {
  const { build } = pretrained[name]
  return await freeze(build({ size }), { keep }).load(device(), hashedReader(hashedGains[name]))
}

function bars(count: number): ImageDataset {
  const { pixels, labels } = barImages(count, 'bars')
  return residentImages(device(), { images: pixels, labels, height: 28, width: 28, channels: 1, classes: 10 })
}

describe('features of byte images on the device', () => {
  it.each([
    ['vgg16', 32, 'block5_pool'],
    ['xception', 71, 'block14_sepconv2_act'],
  ] as const)('equal those of Keras: %s at %i pixels, to 2e-5 of the largest', async (name, size, layer) => {
    const { images, features } = kerasFeatures(name, 'hashed', size)
    const bytes = Uint8Array.from(await images.data())
    const labels = new Uint8Array(4)
    using data = residentImages(device(), { images: bytes, labels, height: 28, width: 28, channels: 1, classes: 10 })
    using base = await hashedBase(name, size, [layer])
    const { preprocessing } = pretrained[name]
    // Three at a time, so the last batch is not full.
    using extractor = await FeatureExtractor.create(base, data, [{ layer, pooling: 'avg' }], {
      preprocessing,
      batch: 3,
    })
    const rows = await extractor.extract(0, 4)
    const largest = features.reduce((most, x) => Math.max(most, Math.abs(x)), 0)
    expect(disagreement(rows, features, { rtol: 0, atol: 2e-5 * largest })).toBeUndefined()
  })

  it('are those of the requested images, in order, for any batch size; nothing stays on the device', async () => {
    const taps = [
      { layer: 'block1_pool', pooling: 'avg2' },
      { layer: 'block2_pool', pooling: 'max' },
    ] as const
    const before = device().memory().liveBytes
    {
      using data = bars(23)
      using base = await hashedBase('vgg16', 32, ['block1_pool', 'block2_pool'])
      const subset = data.subset([20, 3, 3, 11, 7])
      const extracted = async (set: ImageDataset, batch: number, first: number, count: number) => {
        using extractor = await FeatureExtractor.create(base, set, taps, { preprocessing: 'caffe', batch })
        const told: number[] = []
        const rows = await extractor.extract(first, count, { onProgress: (done) => told.push(done) })
        return { rows, told, width: extractor.width }
      }
      const whole = await extracted(data, 8, 0, 23)
      expect(whole).toMatchObject({ width: 4 * 64 + 128, told: [8, 16, 23] })
      const row = (i: number): Float32Array => whole.rows.subarray(i * whole.width, (i + 1) * whole.width)
      const part = await extracted(subset, 2, 1, 4)
      for (const [i, image] of [3, 3, 11, 7].entries()) {
        const own = part.rows.subarray(i * whole.width, (i + 1) * whole.width)
        expect(disagreement(own, row(image), { rtol: 1e-5, atol: 1e-3 }), `image ${image}`).toBeUndefined()
      }
      const columns = featureColumns(base, taps)
      expect(columns.map(({ from, count }) => [from, count])).toEqual([
        [0, 256],
        [256, 128],
      ])
    }
    expect(device().memory().liveBytes).toBe(before)
  })

  it('can be stopped by a signal, and the next extraction is correct', async () => {
    using data = bars(12)
    using base = await hashedBase('vgg16', 32, ['block1_pool'])
    const taps = [{ layer: 'block1_pool', pooling: 'avg' }] as const
    using extractor = await FeatureExtractor.create(base, data, taps, { preprocessing: 'caffe', batch: 4 })
    const whole = await extractor.extract(0, 12)
    const controller = new AbortController()
    const stopped = extractor.extract(0, 12, { signal: controller.signal, onProgress: () => controller.abort() })
    await expect(stopped).rejects.toMatchObject({ code: 'aborted' })
    expect(await extractor.extract(0, 12)).toEqual(whole)
  })

  it('are refused for unknown layers, and for an empty list', async () => {
    using data = bars(2)
    using base = await hashedBase('vgg16', 32, ['block1_pool'])
    const create = (layers: readonly string[]) =>
      FeatureExtractor.create(
        base,
        data,
        layers.map((layer) => ({ layer, pooling: 'avg' })),
        { preprocessing: 'caffe' },
      )
    await expect(create([])).rejects.toMatchObject({ code: 'argument' })
    await expect(create(['block1_poll'])).rejects.toThrow(/did you mean block1_pool/)
  })
})

describe('pooling', () => {
  const waves = (height: number, width: number): Float32Array =>
    Float32Array.from({ length: 2 * height * width * 3 }, (_, i) => Math.sin(i * 1.7) * 3)

  /** The mean or maximum over some rows and columns, for each image and channel. */
  function over(
    x: Float32Array,
    [height, width]: readonly [number, number],
    rows: number[],
    columns: number[],
    isMax = false,
  ) {
    return [0, 1].map((n) =>
      [0, 1, 2].map((c) => {
        const values = rows.flatMap((y) =>
          columns.map((left) => x[((n * height + y) * width + left) * 3 + c] ?? Number.NaN),
        )
        return isMax ? Math.max(...values) : values.reduce((sum, v) => sum + v, 0) / values.length
      }),
    )
  }
  const halves = (extent: number): number[][] => {
    if (extent === 1) return [[0]]
    const half = Math.ceil(extent / 2)
    return [0, extent - half].map((from) => Array.from({ length: half }, (_, i) => from + i))
  }
  const all = (extent: number): number[] => Array.from({ length: extent }, (_, i) => i)

  it.each([
    [4, 4],
    [5, 5],
    [3, 2],
    [1, 1],
    [1, 6],
  ] as const)('of images of %ix%i gives means, means of halves, maxima, or everything', async (height, width) => {
    const x = waves(height, width)
    const grids = halves(height).flatMap((rows) =>
      halves(width).map((columns) => over(x, [height, width], rows, columns)),
    )
    const expected: Record<FeaturePooling, number[]> = {
      avg: over(x, [height, width], all(height), all(width)).flat(),
      avg2: [0, 1].flatMap((n) => grids.flatMap((grid) => grid[n] ?? [])),
      max: over(x, [height, width], all(height), all(width), true).flat(),
      none: [...x],
    }
    for (const [pooling, values] of Object.entries(expected) as [FeaturePooling, number[]][]) {
      const y = pooled(tensor(x, [2, height, width, 3]), pooling)
      expect([2, ...pooledShape([height, width, 3], pooling)], pooling).toEqual(y.shape)
      const own = await y.data({ device: device() })
      expect(disagreement(own, values, { rtol: 1e-5, atol: 1e-6 }), pooling).toBeUndefined()
    }
  })
})

describe('the number of images in a batch', () => {
  it('is a power of two whose largest activations fit a binding, and smaller for large images', () => {
    const taps = [{ layer: 'block5_pool', pooling: 'avg' }] as const
    const batches = [32, 64, 224, 512].map((size) => extractionBatch(pretrained.vgg16.build({ size }), taps, device()))
    for (const [i, size] of [32, 64, 224, 512].entries()) {
      const batch = batches[i] ?? 0
      expect(Math.log2(batch) % 1).toBe(0)
      expect(batch * size * size * 64 * 4).toBeLessThanOrEqual(device().limits.maxStorageBufferBindingSize)
    }
    expect([...batches].sort((a, b) => b - a)).toEqual(batches)
  })
})

describe('the job', () => {
  let place = ''
  let dataDir = ''
  beforeAll(async () => {
    place = await mkdtemp(join(tmpdir(), 'weftgrad-features-'))
    dataDir = await writeBars(join(place, 'data'), 40, 12)
  })
  afterAll(() => rm(place, { recursive: true, force: true }))

  const small = { model: 'vgg16', layers: ['block1_pool'], pool: 'avg', weights: 'hashed' } as const

  it('computes features once, reports progress, and finds them in the cache afterwards', async () => {
    const featureDir = join(place, 'once')
    const progress: FeatureProgress[] = []
    const reporter: FeatureReporter = { onFeatures: (now) => progress.push(now) }
    const first = await extractFeatures(task, { ...small, dataDir, featureDir }, reporter)
    expect(first).toMatchObject({ count: 52, computed: 52, cached: false, width: 64, isMeaningless: true })
    expect(first.imagesPerSecond).toBeGreaterThan(0)
    expect(progress.at(-1)).toMatchObject({ done: 52, total: 52, etaSeconds: 0 })
    expect((await readdir(first.folder)).sort()).toEqual(['test-00000.safetensors', 'train-00000.safetensors'])

    const again = await extractFeatures(
      task,
      { ...small, dataDir, featureDir },
      { onExtract: () => expect.fail('computed') },
    )
    expect(again).toMatchObject({ count: 52, computed: 0, cached: true, folder: first.folder })
  })

  it('computes only what is missing: the next limit, a damaged shard', async () => {
    const featureDir = join(place, 'missing')
    expect(await extractFeatures(task, { ...small, dataDir, featureDir, limit: 10 })).toMatchObject({
      count: 20,
      computed: 20,
    })
    const whole = await extractFeatures(task, { ...small, dataDir, featureDir })
    expect(whole).toMatchObject({ count: 52, computed: 52 })
    const path = join(whole.folder, 'test-00000.safetensors')
    const bytes = await readFile(path)
    await writeFile(path, bytes.subarray(0, bytes.length - 4))
    const notes: string[] = []
    const repaired = await extractFeatures(
      task,
      { ...small, dataDir, featureDir },
      { onNote: (line) => notes.push(line) },
    )
    expect(repaired).toMatchObject({ computed: 12, cached: false })
    expect(notes).toContainEqual(expect.stringContaining('is damaged'))
    // Everything except the time.
    expect(readSafetensors(await readFile(path)).tensors).toEqual(readSafetensors(bytes).tensors)
  })

  it('keeps features of different weights, data and layers apart', async () => {
    const featureDir = join(place, 'apart')
    const other = await writeBars(join(place, 'other'), 41, 12)
    const runs = [
      { ...small, dataDir },
      { ...small, dataDir: other },
      { ...small, dataDir, layers: ['block1_conv1'] },
      { ...small, dataDir, pool: 'max' },
      { ...small, dataDir, size: 33 },
    ] as const
    for (const options of runs)
      expect(await extractFeatures(task, { ...options, featureDir, limit: 10 })).toMatchObject({ computed: 20 })
    expect(await readdir(featureDir)).toHaveLength(runs.length)
  })

  it('refuses invalid options before anything is computed', async () => {
    const featureDir = join(place, 'refused')
    for (const [options, code] of [
      [{ size: 31 }, 'argument'],
      [{ layers: ['block9_pool'] }, 'argument'],
      [{ layers: ['block1_pool', 'block1_pool'] }, 'argument'],
      [{ weights: join(place, 'absent.h5') }, 'file'],
      [{ dataDir: join(place, 'absent') }, 'file'],
    ] as const)
      await expect(extractFeatures(task, { ...small, dataDir, featureDir, ...options })).rejects.toMatchObject({ code })
    await expect(readdir(featureDir)).rejects.toMatchObject({ code: 'ENOENT' })
  })
})
