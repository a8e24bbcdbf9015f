/** `weftgrad classify`: ImageNet's classes, by a network with made-up weights, and what is said when files are missing. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { builtCommand } from './support/built-package.ts'
import { type Outcome, runCommand } from './support/command.ts'
import { flower } from './support/flower-folder.ts'

let place = ''
let photo = ''
beforeAll(async () => {
  place = await mkdtemp(join(tmpdir(), 'weftgrad-classify-'))
  photo = join(place, 'photo.png')
  await writeFile(photo, flower(1, 5))
  await builtCommand()
}, 300_000)
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
  expect(await classify(photo, '--model', 'alexnet')).toMatchObject({ code: 2, stderr: expect.stringContaining('alexnet') })
  expect(await classify(photo, '--weights', photo)).toMatchObject({ code: 1, stdout: '' })
}, 60_000)

it('names the five most probable classes, and the files that are no pictures', async () => {
  const names = Object.fromEntries(Array.from({ length: 1000 }, (_, i) => [String(i), [`n${i}`, `thing ${i}`]]))
  await writeFile(join(place, 'imagenet_class_index.json'), JSON.stringify(names))
  const bad = join(place, 'bad.png')
  await writeFile(bad, 'not a picture')
  const { code, stdout, stderr } = await classify(photo, bad, '--model', 'xception', '--weights', 'hashed', '--json')
  expect({ code, stderr }).toMatchObject({ code: 1, stderr: expect.stringContaining('bad.png is not a readable picture') })
  const { predictions, failed, meaningless } = JSON.parse(stdout)
  expect([meaningless, failed.length, predictions.length]).toEqual([true, 1, 1])
  const [{ image, top }] = predictions
  expect([image, top.length]).toEqual([photo, 5])
  const shares: number[] = top.map((one: { probability: number }) => one.probability)
  expect(shares).toEqual(shares.toSorted((a, b) => b - a))
  expect(shares.every((share) => share > 0 && share <= 1)).toBe(true)
  for (const one of top) expect(one.class).toMatch(/^thing \d+$/)
}, 300_000)
