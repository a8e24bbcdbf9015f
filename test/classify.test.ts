/** `weftgrad classify`: ImageNet's classes, by a network with made-up weights, and what is said when files are missing. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import { picturePixels } from '../src/data/pictures.ts'
import { decodePng } from '../src/format/png.ts'
import { pretrained } from '../src/nn/models/pretrained.ts'
import { preprocessInput } from '../src/nn/preprocessing.ts'
import { tensor } from '../src/operators/tensor.ts'
import { classifyPictures } from '../src/transfer/classify.node.ts'
import { hashedGains, hashedReader } from '../src/weights/hashed.ts'
import { builtCommand } from './support/built-package.ts'
import { type Outcome, runCommand } from './support/command.ts'
import { useDevice } from './support/device.ts'
import { flower } from './support/flower-folder.ts'

const device = useDevice()
let place = ''
let photo = ''
beforeAll(async () => {
  place = await mkdtemp(join(tmpdir(), 'weftgrad-classify-'))
  photo = join(place, 'photo.png')
  await writeFile(photo, flower(1, 5))
  await builtCommand()
}, 300_000)
afterAll(() => vi.unstubAllEnvs())
afterAll(() => rm(place, { recursive: true, force: true }))

const classify = (...args: readonly string[]): Promise<Outcome> =>
  runCommand(['classify', ...args], {
    env: { WEFTGRAD_WEIGHTS_DIR: place, KERAS_HOME: join(place, 'keras'), XDG_CACHE_HOME: join(place, 'cache') },
  })

it('says in one line which files are missing and where to put them', async () => {
  const { code, stdout, stderr } = await classify(photo, '--model', 'xception', '--json')
  expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
  const lines = stderr.trim().split('\n')
  expect(lines).toHaveLength(1)
  for (const words of [
    ...['xception_weights_tf_dim_ordering_tf_kernels.h5', 'imagenet_class_index.json', 'WEFTGRAD_WEIGHTS_DIR'],
    'weftgrad weights get xception --top',
  ])
    expect(stderr).toContain(words)
}, 60_000)

it('refuses an unknown network and a file that is no weights file', async () => {
  expect(await classify(photo, '--model', 'alexnet')).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('alexnet'),
  })
  expect(await classify(photo, '--weights', photo)).toMatchObject({ code: 1, stdout: '' })
}, 60_000)

it('names the five most probable classes, as the network itself does, and the files that are no pictures', async () => {
  const names = Object.fromEntries(Array.from({ length: 1000 }, (_, i) => [String(i), [`n${i}`, `thing ${i}`]]))
  await writeFile(join(place, 'imagenet_class_index.json'), JSON.stringify(names))
  vi.stubEnv('WEFTGRAD_WEIGHTS_DIR', place)
  const bad = join(place, 'bad.png')
  await writeFile(bad, 'not a picture')
  const size = 71
  const result = await classifyPictures([photo, bad], { model: 'xception', weights: 'hashed', size })
  expect(result).toMatchObject({ meaningless: true, failed: [{ image: bad }], predictions: [{ image: photo }] })
  const [{ top } = { top: [] }] = result.predictions

  using network = await pretrained.xception
    .build({ size, includeTop: true })
    .load(device(), hashedReader(hashedGains.xception))
  const pixels = picturePixels(decodePng(flower(1, 5)), { height: size, width: size, channels: 3 })
  const x = tensor(Float32Array.from(pixels), [1, size, size, 3])
  const shares = Array.from(await network.call(preprocessInput(x, 'tf')).data(), (share, i) => ({
    share,
    name: `thing ${i}`,
  }))
  const expected = shares.sort((a, b) => b.share - a.share).slice(0, 5)
  expect(top.map((one) => one.class)).toEqual(expected.map(({ name }) => name))
  for (const [i, { probability }] of top.entries()) expect(probability).toBeCloseTo(expected[i]?.share ?? Number.NaN, 4)
}, 300_000)
