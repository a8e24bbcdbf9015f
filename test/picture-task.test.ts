/** The task of a folder of pictures: what is found in the folder, and how it is split. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { chosenTask, taskOfRun } from '../src/tasks/choice.node.ts'
import { pictureFacts, pictureFolderTask } from '../src/tasks/picture-folder.node.ts'
import { smallCnn } from '../src/tasks/small-cnn.ts'
import { failure } from './support/failure.ts'
import { flower, writeFlowers } from './support/flower-folder.ts'

const root = await mkdtemp(join(tmpdir(), 'picture-task-'))
afterAll(() => rm(root, { recursive: true }))

const flowers = await writeFlowers(join(root, 'flowers'), 10)

describe('the pictures of a folder', () => {
  it('have the names of their folders, and colour if one of them has', async () => {
    expect(await pictureFacts(flowers, { size: 8 })).toEqual({
      ...{ size: 8, channels: 3, classNames: ['daisy', 'rose', 'tulip'] },
    })
    const grey = await writeFlowers(join(root, 'grey'), 2, { kinds: { rows: 1, columns: 0 }, channels: 1 })
    expect(await pictureFacts(grey, {})).toEqual({ size: 96, channels: 1, classNames: ['columns', 'rows'] })
    expect(await pictureFacts(grey, { channels: 3 })).toMatchObject({ channels: 3 })
  })

  it('are tested on a fifth of each class, the same each time', async () => {
    const task = pictureFolderTask(flowers, await pictureFacts(flowers, { size: 8 }))
    const [first, again] = [await task.data.load(), await task.data.load()]
    expect(again).toEqual(first)
    expect([first.published, first.train.count, first.test.count]).toEqual([undefined, 24, 6])
    expect([...first.test.labels]).toEqual([0, 0, 1, 1, 2, 2])
    const { train, test } = first
    expect(train.images).toHaveLength(24 * 8 * 8 * 3)
    expect(new Set([...(train.names ?? []), ...(test.names ?? [])]).size).toBe(30)
    expect(test.names?.every((name) => /^(daisy|rose|tulip)\/\d\.png$/.test(name))).toBe(true)
  })

  it.each(['validation', 'test'])('are tested on those in %s, if there are such folders', async (held) => {
    const folder = join(root, `halves-${held}`)
    await writeFlowers(join(folder, 'train'), 4)
    await writeFlowers(join(folder, held), 3)
    await writeFlowers(join(folder, 'drafts'), 1)
    const { data } = pictureFolderTask(folder, await pictureFacts(folder, { size: 8 }))
    const notes: string[] = []
    const { train, test } = await data.load({ log: (line) => notes.push(line) })
    expect([train.count, test.count, test.names?.[0]]).toEqual([12, 9, `${held}/daisy/0.png`])
    expect(data.classNames).toEqual(['daisy', 'rose', 'tulip'])
    expect(notes.join()).toContain('drafts')
  })
})

it('belongs to runs on pictures only, and no other folder does', async () => {
  const run = join(root, 'run')
  const config = (facts: object): string =>
    JSON.stringify({
      ...{ job: 'lenet5', startedAt: '', data: { folder: flowers, fingerprint: '' }, adapter: { driver: '' } },
      ...{ kernels: {}, versions: {}, ...facts },
    })
  const put = (facts: object): Promise<void> => writeFile(join(run, 'config.json'), config(facts))
  await mkdir(run)
  await put({ task: 'pictures', pictures: { size: 8, channels: 1, classNames: ['a', 'b'] } })
  const task = await taskOfRun(run)
  expect([task.name, task.data.image.channels, task.data.classNames]).toEqual(['pictures', 1, ['a', 'b']])
  expect(await failure(task.data.load({ dataDir: root }))).toMatchObject({ code: 'argument' })
  expect(await failure(taskOfRun(run, { channels: 3 }))).toMatchObject({ code: 'mismatch' })
  await put({ task: 'pictures', pictures: { size: 0, channels: 1, classNames: ['a', 'b'] } })
  expect(await failure(taskOfRun(run))).toMatchObject({ code: 'format' })
  await put({})
  expect((await taskOfRun(run)).name).not.toBe('pictures')
  for (const made of [taskOfRun(run, { images: flowers }), chosenTask({ images: flowers, resume: run })])
    expect(await failure(made)).toMatchObject({ code: 'mismatch' })
})

describe('a folder is refused', () => {
  const codeOf = async (made: Promise<unknown>): Promise<unknown> => await failure(made)

  it('that is not there, or has fewer than two classes, or more than a label can name', async () => {
    expect(await codeOf(chosenTask({ images: join(root, 'absent') }))).toMatchObject({ code: 'file' })
    const one = await writeFlowers(join(root, 'one'), 2, { kinds: { daisy: 0 } })
    expect(await codeOf(pictureFacts(one, {}))).toMatchObject({
      code: 'data',
      message: expect.stringContaining('daisy'),
    })
    await mkdir(join(root, 'none', 'daisy'), { recursive: true })
    expect(await codeOf(pictureFacts(join(root, 'none'), {}))).toMatchObject({ code: 'data' })
    const kinds = Object.fromEntries(Array.from({ length: 257 }, (_, i) => [`c${i}`, i % 3]))
    const many = await writeFlowers(join(root, 'many'), 1, { kinds })
    expect(await codeOf(pictureFacts(many, { channels: 3 }))).toMatchObject({ code: 'limit' })
  })

  it('with files that are no pictures, all named', async () => {
    const folder = await writeFlowers(join(root, 'bad'), 5)
    for (const name of ['rose/x.png', 'daisy/y.jpg']) await writeFile(join(folder, name), 'not a picture')
    const { data } = pictureFolderTask(folder, await pictureFacts(folder, { size: 8 }))
    const error = await failure(data.load())
    expect(error).toMatchObject({ code: 'data', message: expect.stringContaining('2 of 17 files') })
    for (const name of ['rose/x.png', 'daisy/y.jpg'])
      expect(error).toMatchObject({ message: expect.stringContaining(name) })
  })

  it('with nothing to test, or with a class that the run does not know', async () => {
    const single = await writeFlowers(join(root, 'single'), 1)
    const facts = await pictureFacts(single, { size: 8 })
    expect(await failure(pictureFolderTask(single, facts).data.load())).toMatchObject({ code: 'data' })
    expect(
      await failure(pictureFolderTask(flowers, { ...facts, classNames: ['daisy', 'rose'] }).data.load()),
    ).toMatchObject({
      code: 'data',
      message: expect.stringContaining('tulip'),
    })
  })
})

it('pictures to classify are stretched and coloured as those of the training', async () => {
  const { decodePng } = await import('../src/format/png.ts')
  const picture = decodePng(flower(1, 0))
  const { data } = pictureFolderTask(flowers, await pictureFacts(flowers, { size: 8 }))
  const { train, test } = await data.load()
  const { pixels } = data.inputOf(picture, { invert: false })
  const at = [...(train.names ?? []), ...(test.names ?? [])].indexOf('rose/0.png')
  const all = [...train.images, ...test.images]
  expect([...pixels]).toEqual(all.slice(at * pixels.length, (at + 1) * pixels.length))
  expect(() => data.inputOf(picture, { invert: true })).toThrow(expect.objectContaining({ code: 'argument' }))
})

it.each([
  [8, ['conv1', 'pool1', 'flatten', 'dense1', 'dropout1', 'logits'], [4, 4, 16]],
  [
    96,
    ['conv1', 'pool1', 'conv2', 'pool2', 'conv3', 'pool3', 'conv4', 'pool4', 'flatten', 'dense1', 'dropout1', 'logits'],
    [6, 6, 64],
  ],
])('the small network halves images of %i pixels until they are small', (size, names, map) => {
  using model = smallCnn({ height: size, width: size, channels: 3, classes: 5, units: [32], dropout: 0.2 }, { seed: 1 })
  expect(model.layers.map(({ layer }) => layer.name)).toEqual(names)
  expect(model.layers[names.indexOf('flatten') - 1]?.outputShape).toEqual(map)
  expect(model.outputShape).toEqual([5])
})
