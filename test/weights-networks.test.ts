/**
 * The pretrained networks from files: with hashed weights that TensorFlow.js wrote, or in the layout that Keras
 * publishes, and with the published weights. They must give the features that Keras gives.
 */
import { createHash } from 'node:crypto'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { WeftgradError } from '../src/errors.ts'
import { openWeightFile } from '../src/format/open-weights.node.ts'
import { freeze } from '../src/nn/freeze.ts'
import type { Model } from '../src/nn/model.ts'
import { type PretrainedName, pretrained } from '../src/nn/models/pretrained.ts'
import { downloadFile } from '../src/weights/download.node.ts'
import { findWeights, lookUpWeights } from '../src/weights/find.node.ts'
import { hashedGains, hashedWeight } from '../src/weights/hashed.ts'
import { loadWeights } from '../src/weights/load.ts'
import { guessAt } from '../src/weights/recognize.ts'
import { tryLoading } from '../src/weights/try-loading.node.ts'
import { zoo } from '../src/weights/zoo.ts'
import { useDevice } from './support/device.ts'
import { failure } from './support/failure.ts'
import { featureErrors, kerasFeatures } from './support/keras-features.ts'
import { writeKerasH5 } from './support/keras-h5-writer.ts'
import { hashedLayersModel, kerasLayout, writeLayersModel } from './support/layers-model.ts'
import { loadTensorFlow } from './support/tfjs.ts'

const device = useDevice()
let folder = ''
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'weftgrad-networks-'))
})
afterAll(() => rm(folder, { recursive: true }))

/** Loads a file into a network; returns a description of the file. */
async function load(model: Model, path: string): Promise<string> {
  const file = await openWeightFile(path)
  try {
    expect((await loadWeights(model, device(), file)).ignored).toEqual([])
    return guessAt(file.groups)
  } finally {
    file.close()
  }
}

async function expectFeatures(name: PretrainedName, weights: 'hashed' | 'imagenet', size: number, path: string) {
  const { build, preprocessing } = pretrained[name]
  const whole = build({ size, pooling: 'avg' })
  // Hashed weights are run through the unfrozen networks in another test.
  for (const form of weights === 'imagenet' ? [whole, freeze(whole)] : [freeze(whole)]) {
    using model = form
    expect(await load(model, path)).toBe(`It looks like the weights of ${zoo[name].title} without its top.`)
    for (const [layer, error] of await featureErrors(model, preprocessing, kerasFeatures(name, weights, size)))
      expect(error, layer).toBeLessThan(2e-5)
  }
}

/** Checks every weight of the network, bit for bit. */
async function expectHashedWeights(name: PretrainedName, path: string) {
  using model = pretrained[name].build({ size: 75 })
  await load(model, path)
  for (const weight of model.weights) {
    const [own, wanted] = [await model.read(weight), hashedWeight(weight.name, weight.shape, hashedGains[name])]
    const same = Buffer.compare(Buffer.from(own.buffer), Buffer.from(wanted.buffer)) === 0
    expect(same, weight.name).toBe(true)
  }
}

const isFull = process.env.WEFTGRAD_TEST_FULL === '1'

/** ResNet152V2 through TensorFlow.js takes half a minute: `npm run test:full`. */
const layersModels = [['vgg16', 32], ['xception', 71], ...(isFull ? [['resnet152v2', 32] as const] : [])] as const

describe.each(layersModels)('a layers model of %s that TensorFlow.js wrote', (name, size) => {
  let path = ''
  beforeAll(async () => {
    const tf = await loadTensorFlow()
    const model = await hashedLayersModel(tf, name, size)
    path = join(folder, `layers-${name}`)
    await writeLayersModel(tf, model, path)
    model.dispose()
  })
  afterAll(() => rm(path, { recursive: true }))

  it('has every weight of it', () => expectHashedWeights(name, path))

  it(`gives the features of the reference at ${size} pixels`, () => expectFeatures(name, 'hashed', size, path))
})

/**
 * A published file's names for a layer's weights: today's names, or those of Keras 1, which are numbered in another
 * order.
 */
const publishedNames = {
  resnet152v2: (layer: string, weight: string) => `${layer}/${weight}:0`,
  xception: (layer: string, weight: string, i: number) =>
    `${layer.replace(/conv2d.*/, 'convolution2d').replace(/^batch_.*/, 'batchnormalization')}_${200 - i}_${oldRoles[weight] ?? weight}:0`,
}
const oldRoles: Readonly<Record<string, string>> = {
  kernel: 'W',
  moving_mean: 'running_mean',
  moving_variance: 'running_std',
}

describe.each([
  ['xception', 71],
  ['resnet152v2', 32],
] as const)("a file of %s in Keras' published layout", (name, size) => {
  let path = ''
  beforeAll(async () => {
    path = join(folder, `${name}.h5`)
    const layers = await kerasLayout(name)
    await writeKerasH5(
      path,
      layers.map((layer, i) => ({
        name: name === 'xception' ? `layer_${200 - i}` : layer.name,
        weights: layer.weights.map(([weight, shape]) => ({
          name: publishedNames[name](layer.name, weight, i),
          shape,
          data: () => hashedWeight(`${layer.name}/${weight}`, shape, hashedGains[name]),
        })),
      })),
    )
  })
  afterAll(() => rm(path))

  it('has every weight of it', () => expectHashedWeights(name, path))

  it(`gives the features of the reference at ${size} pixels`, () => expectFeatures(name, 'hashed', size, path))

  // 234 MB take half a minute on a busy machine.
  it.skipIf(name === 'resnet152v2' && !isFull)(
    'downloads although the connection breaks, and is verified, found and loaded',
    async () => {
      const server = await serveBroken(path, 0.5)
      const there = join(folder, 'downloaded')
      try {
        const { bytes } = server
        expect(bytes / (zoo[name].files.base.bytes ?? 0)).toBeCloseTo(1, 2)
        const file = { ...zoo[name].files.base, url: server.url, checksum: server.md5, bytes }
        const error = await failure(downloadFile(file, there))
        expect(error).toMatchObject({ code: 'fetch', message: expect.stringContaining('try again to resume') })
        const kept = Number((error as WeftgradError).details.keptBytes)
        expect(kept).toBeGreaterThan(bytes / 4)
        expect(await downloadFile(file, there)).toBe(join(there, file.name))
        expect(server.ranges).toEqual([undefined, `bytes=${kept}-`])
        expect(await readdir(there)).toEqual([file.name])

        const env = { WEFTGRAD_WEIGHTS_DIR: there }
        const found = await findWeights(name, { provision: false, surroundings: { env } })
        expect(found).toEqual({ path: join(there, file.name), place: 'WEFTGRAD_WEIGHTS_DIR' })
        const facts = { isPublished: false, isBuilt: true, parameters: zoo[name].parameters.base }
        expect(await tryLoading(name, found.path)).toEqual(facts)
      } finally {
        await server.close()
        await rm(there, { recursive: true, force: true })
      }
    },
  )
})

/** Serves a file, in ranges too. The first connection breaks after this share of it. */
async function serveBroken(path: string, share: number) {
  const content = await readFile(path)
  const ranges: (string | undefined)[] = []
  const server = createServer(({ headers: { range } }, response) => {
    const first = Number(/^bytes=(\d+)-$/.exec(range ?? '')?.[1] ?? 0)
    const last = ranges.push(range) === 1 ? Math.floor(share * content.length) : content.length
    const head = { 'content-length': content.length - first, etag: '"1"', 'content-type': 'application/octet-stream' }
    if (range === undefined) response.writeHead(200, head)
    else response.writeHead(206, { ...head, 'content-range': `bytes ${first}-${content.length - 1}/${content.length}` })
    response.write(content.subarray(first, last), () => {
      if (last === content.length) response.end()
      else response.destroy()
    })
  })
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening))
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}/weights.h5`,
    md5: createHash('md5').update(content).digest('hex'),
    bytes: content.length,
    ranges,
    async close() {
      server.closeAllConnections()
      await new Promise((closed) => server.close(closed))
    },
  }
}

describe.each([
  ['vgg16', 32],
  ['vgg16', 48],
  ['xception', 71],
] as const)('the published weights of %s', (name, size) => {
  it(`give the features of the reference at ${size} pixels`, async ({ skip }) => {
    const found = await lookUpWeights(name)
    if (found === undefined) {
      const reason = `${zoo[name].files.base.name} is neither in WEFTGRAD_WEIGHTS_DIR nor in a cache`
      console.warn(`Skipped: ${reason}.`)
      skip(reason)
      return
    }
    await expectFeatures(name, 'imagenet', size, found.path)
  })
})
