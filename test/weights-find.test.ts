/** Where weights are searched, and the message if there are none. */
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  type FindWeightsOptions,
  findClassIndex,
  findWeights,
  lookUpWeights,
  type WeightsSurroundings,
} from '../src/weights/find.node.ts'
import { kerasApplications } from '../src/weights/keras-applications.ts'
import { publishedNetworks, publishedOf } from '../src/weights/published.ts'
import { zoo, zooNameOf, zooNames } from '../src/weights/zoo.ts'

let folder = ''
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'weftgrad-find-'))
})
afterEach(() => rm(folder, { recursive: true }))

const file = 'vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5'
const topFile = 'vgg16_weights_tf_dim_ordering_tf_kernels.h5'

async function put(path: string): Promise<string> {
  const full = join(folder, path)
  await mkdir(dirname(full), { recursive: true })
  await writeFile(full, 'weights')
  return full
}

/** A computer without network. */
const surroundings = (env: WeightsSurroundings['env'] = {}): WeightsSurroundings => ({
  env,
  home: join(folder, 'home'),
  cache: join(folder, 'cache'),
})
const offline: FindWeightsOptions['fetch'] = async () => {
  throw new TypeError('fetch failed', { cause: new Error('no network') })
}

describe('weights are searched', () => {
  it('in the given folder, then in the caches of Keras and weftgrad', async () => {
    const env = { WEFTGRAD_WEIGHTS_DIR: join(folder, 'own'), KERAS_HOME: join(folder, 'keras') }
    const find = () => lookUpWeights('vgg16', { surroundings: surroundings(env) })
    expect(await find()).toBeUndefined()
    const cached = await put(`cache/weights/${file}`)
    expect(await find()).toEqual({ path: cached, place: "weftgrad's cache" })
    const keras = await put(`keras/models/${file}`)
    expect(await find()).toEqual({ path: keras, place: "Keras' cache" })
    const own = await put(`own/${file}`)
    expect(await find()).toEqual({ path: own, place: 'WEFTGRAD_WEIGHTS_DIR' })
    expect(await lookUpWeights('vgg16', { surroundings: surroundings(env), withTop: true })).toBeUndefined()
  })

  it("in the user's .keras if KERAS_HOME is not set", async () => {
    const keras = await put(`home/.keras/models/${topFile}`)
    expect(await lookUpWeights('vgg16', { surroundings: surroundings(), withTop: true })).toEqual({
      path: keras,
      place: "Keras' cache",
    })
  })

  it('nowhere else if a file is named', async () => {
    await put(`cache/weights/${file}`)
    const named = await put('mine.safetensors')
    const options = { surroundings: surroundings(), fetch: offline }
    expect(await findWeights('vgg16', { ...options, weights: named })).toEqual({ path: named, place: 'named' })
    await expect(findWeights('vgg16', { ...options, weights: join(folder, 'no.h5') })).rejects.toMatchObject({
      code: 'file',
      message: expect.stringContaining('no.h5 does not exist'),
    })
  })
})

describe('missing weights', () => {
  it('are downloaded unless that is switched off; then the message says how to get them', async () => {
    const lines: string[] = []
    const options = { surroundings: surroundings(), fetch: offline, log: (line: string) => lines.push(line) }
    await expect(findWeights('resnet152v2', options)).rejects.toMatchObject({
      code: 'fetch',
      message: expect.stringMatching(/no network.*By hand: put resnet152v2\w+_notop\.h5.*WEFTGRAD_WEIGHTS_DIR/),
    })
    expect(lines).toEqual([expect.stringContaining('downloading https://storage.googleapis.com/')])
    expect(await readdir(join(folder, 'cache', 'weights'))).toEqual([])

    const off = surroundings({ WEFTGRAD_NO_SETUP: '1' })
    const fetch = () => expect.fail('fetched')
    await expect(findWeights('vgg16', { surroundings: off, withTop: true, fetch })).rejects.toMatchObject({
      code: 'fetch',
      message: expect.stringMatching(/are not in .*cache.*weights get vgg16 --top`/),
    })
    await expect(findWeights('vgg16', { ...options, provision: false, fetch })).rejects.toMatchObject({ code: 'fetch' })
    await expect(findClassIndex({ surroundings: off, fetch })).rejects.toMatchObject({
      message: expect.stringContaining('imagenet_class_index.json'),
    })
  })

  it('are checked against the published length and checksum', async () => {
    const fetch = async () => new Response('something else')
    await expect(findClassIndex({ surroundings: surroundings(), fetch })).rejects.toMatchObject({ code: 'fetch' })
    const padded = async () => new Response(Buffer.alloc(35_363))
    await expect(findClassIndex({ surroundings: surroundings(), fetch: padded })).rejects.toMatchObject({
      code: 'checksum',
    })
    expect(await lookUpWeights('vgg16', { surroundings: surroundings() })).toBeUndefined()
  })
})

describe('the zoo', () => {
  it('has an address, a checksum and a unique name for every file', () => {
    const files = zooNames.flatMap((name) => Object.values(zoo[name].files))
    for (const { url, checksum, name } of files) {
      expect(url).toMatch(/^https:\/\/storage\.googleapis\.com\/tensorflow\/keras-applications\//)
      expect(url.endsWith(`/${name}`)).toBe(true)
      expect(checksum).toMatch(/^[0-9a-f]{32}$/)
    }
    for (const key of ['name', 'url', 'checksum'] as const) expect(new Set(files.map((one) => one[key])).size).toBe(6)
  })

  it('is followed by the other networks that Keras publishes, each file with its own checksum and address', () => {
    expect(publishedNetworks.size).toBe(3 + kerasApplications.length)
    const files = [...publishedNetworks.values()].flatMap((network) => Object.values(network.files))
    for (const { url, checksum } of files) {
      expect(new URL(url).origin).toBe('https://storage.googleapis.com')
      expect(checksum).toMatch(/^([0-9a-f]{32}|[0-9a-f]{64})$/)
    }
    for (const key of ['name', 'url', 'checksum'] as const)
      expect(new Set(files.map((one) => one[key])).size).toBe(files.length)
    // As Keras' cache has it, and as it is published.
    expect(publishedOf('NASNetLarge').files.base).toMatchObject({
      name: 'nasnet_large_no_top.h5',
      url: expect.stringMatching(/\/NASNet-large-no-top\.h5$/),
    })
    expect(() => publishedOf('resnet51')).toThrow(/did you mean resnet.*resnet50/)
  })

  it('is searched by name', () => {
    expect(zooNameOf('VGG16')).toBe('vgg16')
    expect(() => zooNameOf('vgg19')).toThrow("Unknown network 'vgg19'. Known are vgg16, xception, resnet152v2")
  })
})
