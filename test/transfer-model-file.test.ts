/**
 * Features of somebody's own model, from its file, and a head on them: Keras' LeNet-5 in each of its forms on grey images, and a
 * model that weftgrad saved on pictures in colour.
 */
import { copyFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { residentImages } from '../src/data/dataset.ts'
import { averagePooling2d, conv2d, dense, flatten } from '../src/nn/layers.ts'
import { sequential } from '../src/nn/model.ts'
import { encodeModel } from '../src/nn/model-file.ts'
import { pretrained } from '../src/nn/models/pretrained.ts'
import { tensor } from '../src/operators/tensor.ts'
import { fashionMnistLenet5 as task } from '../src/tasks/fashion-mnist-lenet5.node.ts'
import { extractFeatures } from '../src/transfer/features.node.ts'
import { FeatureExtractor, likelyTaps } from '../src/transfer/features.ts'
import { baseNamed, openBase } from '../src/transfer/pretrained-base.node.ts'
import { loadModel } from '../src/weights/load-model.ts'
import { openAnywhere } from '../src/weights/open.node.ts'
import { builtCommand } from './support/built-package.ts'
import { type Outcome, runCommand } from './support/command.ts'
import { disagreement } from './support/compare.ts'
import { useDevice } from './support/device.ts'
import { failure } from './support/failure.ts'
import { barImages, writeBars } from './support/fashion-files.ts'
import { writeFlowers } from './support/flower-folder.ts'

const device = useDevice()
const models = fileURLToPath(new URL('fixtures/models/', import.meta.url))
const lenet = join(models, 'lenet5.keras')

let place = ''
let dataDir = ''
let featureDir = ''
beforeAll(async () => {
  place = await mkdtemp(join(tmpdir(), 'weftgrad-model-file-'))
  dataDir = await writeBars(join(place, 'data'), 60, 20)
  featureDir = join(place, 'features')
})
afterAll(() => rm(place, { recursive: true, force: true }))

/** The file's bytes with another text in them, of the same length. */
async function changed(from: string, to: string, replace: (text: string) => string): Promise<string> {
  await writeFile(to, Buffer.from(replace(await readFile(from, 'latin1')), 'latin1'))
  return to
}

describe("a model's file as a base for features", () => {
  it('is told from a network by its name', () => {
    expect(baseNamed('VGG16')).toBe('vgg16')
    expect(baseNamed('./net.keras')).toBe(join(process.cwd(), 'net.keras'))
    expect(() => baseNamed('vgg19')).toThrow(/Unknown network 'vgg19'.*a model's file/)
  })

  it.each(['lenet5.keras', 'lenet5.h5', 'tfjs-layers-float32', 'tfjs-layers-float32/model.json'])(
    '%s gives the outputs that the model itself gives, prepared as asked',
    async (name) => {
      const path = join(models, name)
      const base = await openBase(path, { size: null, weights: null, preprocessing: 'tf' })
      const { pixels, labels } = barImages(5, 'bars')
      const wide = new Uint8Array(5 * 32 * 32).map((_, i) => pixels[i] ?? 0)
      const images = {
        images: wide,
        labels: labels.slice(0, 5),
        height: 32,
        width: 32,
        channels: 1,
        classes: 10,
      } as const
      using data = residentImages(device(), images)
      using network = await base.frozen(device(), ['pool2'])
      const { preprocessing } = base
      using extractor = await FeatureExtractor.create(network, data, [{ layer: 'pool2', pooling: 'none' }], {
        preprocessing,
      })
      const rows = await extractor.extract(0, 5)
      base.close()
      const file = await openAnywhere(path)
      using model = await loadModel(file, { device: device() })
      file.close()
      const x = tensor(
        Float32Array.from(wide, (pixel) => pixel / 127.5 - 1),
        [5, 32, 32, 1],
      )
      const [own] = model.features(x, ['pool2'])
      expect(disagreement(rows, await (own ?? x).data(), { rtol: 1e-4, atol: 1e-5 })).toBeUndefined()
    },
  )

  it('has features cached by its contents, not by its path or format', async () => {
    const features = async (model: string, more: object = {}) =>
      await extractFeatures(task, { model, layers: ['pool2'], pool: 'avg', dataDir, featureDir, ...more })
    const first = await features(lenet)
    expect(first).toMatchObject({
      model: lenet,
      size: 32,
      cached: false,
      computed: 80,
      width: 16,
      isMeaningless: false,
    })
    const copy = join(place, 'copy.keras')
    await copyFile(lenet, copy)
    expect(await features(copy)).toMatchObject({ model: copy, cached: true, folder: first.folder })
    // Another activation in the description, and the same weights: other features.
    const h5 = join(models, 'lenet5.h5')
    const plain = await features(h5)
    const other = await changed(h5, join(place, 'other.h5'), (text) =>
      text.replace('"activation": "relu"', '"activation": "tanh"'),
    )
    expect(await readFile(other, 'latin1')).toContain('"activation": "tanh"')
    const { folder, cached } = await features(other)
    expect(cached).toBe(false)
    expect(folder).not.toBe(plain.folder)
    expect((await features(lenet, { preprocessing: '0..1' })).folder).not.toBe(first.folder)
  })

  it('lists layers to name if none is named, and near ones for a wrong name', async () => {
    const options = { model: lenet, dataDir, featureDir }
    expect(await failure(extractFeatures(task, options))).toMatchObject({
      code: 'argument',
      message: expect.stringContaining('Likely ones of lenet5 are conv1, pool1, conv2, pool2.'),
    })
    expect(await failure(extractFeatures(task, { ...options, layers: ['poool2'] }))).toMatchObject({
      code: 'argument',
      message: expect.stringContaining('did you mean pool2'),
    })
  })

  it('is refused if it describes no model, has other weights, or takes no such images', async () => {
    const open = (name: string, more: object = {}) =>
      failure(openBase(join(models, name), { size: null, weights: null, ...more }))
    expect(await open('lenet5.weights.h5')).toMatchObject({
      code: 'mismatch',
      message: expect.stringContaining('no description'),
    })
    expect(await open('tfjs-graph')).toMatchObject({ code: 'mismatch' })
    expect(await open('absent.keras')).toMatchObject({ code: 'file' })
    expect(await open('lenet5.keras', { weights: 'hashed' })).toMatchObject({
      code: 'argument',
      message: expect.stringContaining('--weights'),
    })
    expect(await open('lenet5.keras', { size: 48 })).toMatchObject({ code: 'mismatch' })
    const extracting = { model: lenet, layers: ['pool2'], preprocessing: 'caffe', dataDir, featureDir } as const
    expect(await failure(extractFeatures(task, extracting))).toMatchObject({
      code: 'argument',
      message: expect.stringContaining('takes grey'),
    })
  })

  it('that takes images of any size needs one', async () => {
    const config = JSON.stringify({
      class_name: 'Sequential',
      config: {
        name: 'open',
        layers: [
          { class_name: 'InputLayer', config: { name: 'in', batch_shape: [null, null, null, 3] } },
          { class_name: 'ReLU', config: { name: 'relu' } },
        ],
      },
    })
    const path = join(place, 'model.json')
    await writeFile(
      path,
      JSON.stringify({
        format: 'layers-model',
        modelTopology: { model_config: JSON.parse(config) },
        weightsManifest: [],
      }),
    )
    const options = { weights: null }
    expect(await failure(openBase(path, { size: null, ...options }))).toMatchObject({
      code: 'argument',
      message: expect.stringContaining('--size'),
    })
    const base = await openBase(path, { size: 24, ...options })
    expect(base.model.inputShape).toEqual([24, 24, 3])
    base.close()
  })
})

describe('likely layers', () => {
  it('are those that summarise an image at each size, in a published network and in any other', () => {
    const of = (name: 'vgg16' | 'xception' | 'resnet152v2', size: number) =>
      likelyTaps(pretrained[name].build({ size }))
    expect(of('vgg16', 32)).toEqual(['block1_conv1', ...[1, 2, 3, 4, 5].map((n) => `block${n}_pool`)])
    expect(of('xception', 71).slice(2)).toEqual(['add', 'add_1', 'add_2', 'add_11', 'block14_sepconv2_act'])
    expect(of('resnet152v2', 64).slice(2)).toEqual([
      'conv2_block3_out',
      'conv3_block8_out',
      'conv4_block36_out',
      'post_relu',
    ])
    using flat = sequential('flat', [4], [dense('d', 2)])
    expect(likelyTaps(flat)).toEqual([])
  })
})

describe("the commands with a model of somebody's own", () => {
  const weftgrad = (...args: readonly string[]): Promise<Outcome> =>
    runCommand(args, { cwd: place, env: { WEFTGRAD_NO_SETUP: '1', WEFTGRAD_CACHE_DIR: '' } })
  beforeAll(async () => void (await builtCommand()), 600_000)

  it('transfer trains, fine-tunes, evaluates and classifies with pictures', async () => {
    const flowers = await writeFlowers(join(place, 'flowers'), 10, { kinds: { daisy: 0, rose: 1 } })
    using model = sequential(
      'own',
      [16, 16, 3],
      [
        conv2d('c1', 8, 3, { activation: 'relu' }),
        averagePooling2d('p1'),
        conv2d('c2', 8, 3, { activation: 'relu' }),
        flatten(),
        dense('out', 2),
      ],
    )
    await writeFile(join(place, 'own.safetensors'), await encodeModel(model))
    const out = join(place, 'run')
    const trained = await weftgrad(
      ...[
        'transfer',
        'own.safetensors',
        '--images',
        flowers,
        '--layers',
        'c2',
        '--preprocessing',
        '0..1',
        '--epochs',
        '2',
      ],
      ...['--unfreeze', 'c2', '--fine-tune-epochs', '1', '--out', out, '--json'],
    )
    expect({ code: trained.code, stderr: trained.stderr }).toMatchObject({ code: 0 })
    expect(trained.stderr).toContain('own.safetensors at 16x16')
    const report = JSON.parse(trained.stdout)
    expect(report).toMatchObject({
      ...{ model: join(place, 'own.safetensors'), size: 16, layers: ['c2'], meaningless: false },
      fineTuning: { from: 'c2' },
    })
    const tested = await weftgrad('evaluate', out, '--json')
    expect({ code: tested.code, stderr: tested.stderr }).toMatchObject({ code: 0 })
    expect(JSON.parse(tested.stdout).test).toEqual(report.test)
    const predicted = await weftgrad('predict', out, join(flowers, 'daisy/0.png'), '--json')
    expect(JSON.parse(predicted.stdout).predictions[0].top).toHaveLength(2)

    using other = sequential(
      'own',
      [16, 16, 3],
      model.layers.map(({ layer }) => layer),
      { seed: 9 },
    )
    await writeFile(join(place, 'own.safetensors'), await encodeModel(other))
    expect(await weftgrad('evaluate', out)).toMatchObject({ code: 1, stderr: expect.stringContaining('other weights') })
  }, 300_000)
})
