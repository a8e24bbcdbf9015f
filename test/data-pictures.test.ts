/** Folders of pictures as data sets. The pictures are in fixtures/pictures, with what Pillow reads from them. */
import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, describe, expect, it } from 'vitest'
import { resize } from '../src/data/resize.ts'
import { data } from '../src/node.ts'
import { useDevice } from './support/device.ts'
import { failure } from './support/failure.ts'

const device = useDevice()
const shoes = fileURLToPath(new URL('fixtures/pictures/shoes', import.meta.url))
const root = await mkdtemp(join(tmpdir(), 'pictures-'))
afterAll(() => rm(root, { recursive: true }))

const options = (): data.PictureOptions => ({ size: 4, channels: 3, device: device() })
const all = ['boot/a.jpg', 'boot/b.png', 'boot/c.png', 'sandal/a.webp', 'sandal/b.png']

async function pixelsOf(set: data.ImageDataset): Promise<number[][]> {
  const bytes = await set.images.data()
  const size = bytes.length / set.count
  return Array.from({ length: set.count }, (_, i) => [...bytes.slice(i * size, (i + 1) * size)])
}

/** A copy of the folder for a test to change. */
async function copied(name: string): Promise<string> {
  const folder = join(root, name)
  await cp(shoes, folder, { recursive: true })
  return folder
}

describe('a folder of pictures', () => {
  it('becomes images of one size, with the names of their files and classes', async () => {
    using set = await data.imageFolder(shoes, options())
    expect([set.imageShape, set.classNames, set.names]).toEqual([[4, 4, 3], ['boot', 'sandal'], all])
    expect([...set.labelsOf()]).toEqual([0, 0, 0, 1, 1])
    const pixels = await pixelsOf(set)
    // As Pillow's BOX filter shrinks [8, 8] and [4, 8]: areas of 2x2 and of 1x2 pixels.
    const smooth = (x: number, y: number): number[] =>
      [40 + 20 * x + 9 * y, 200 - 14 * x - 6 * y, 90 + 3 * x + 22 * y].map((v) => Math.min(v, 255))
    const near = (a: number[] = [], b: number[] = []): number =>
      Math.max(...a.map((v, i) => Math.abs(v - (b[i] ?? Number.NaN))))
    const shrunk = (high: number): number[] =>
      Array.from({ length: 48 }, (_, i) => {
        const [x, y, c] = [Math.floor(i / 3) % 4, Math.floor(i / 12), i % 3]
        const area = Array.from({ length: 2 * high }, (_, k) => smooth(2 * x + (k % 2), high * y + (k >> 1))[c] ?? 0)
        return area.reduce((sum, v) => sum + v, 0) / area.length
      })
    expect(near(pixels[0], shrunk(2))).toBeLessThanOrEqual(2)
    expect(near(pixels[3], shrunk(1))).toBeLessThanOrEqual(1)
    // Transparent on white: columns have less and less colour.
    const white = Array.from({ length: 16 }, (_, i) =>
      smooth(i % 4, Math.floor(i / 4)).map((v) => 255 + ((v - 255) * (255 - 30 * (i % 4))) / 255),
    )
    expect(near(pixels[2], white.flat())).toBeLessThanOrEqual(1)
  })

  it('may be grey, and of any height and width', async () => {
    using set = await data.imageFolder(shoes, { ...options(), size: [3, 5], channels: 1 })
    expect(set.imageShape).toEqual([3, 5, 1])
    const small = { width: 2, height: 2, channels: 1, data: Uint8Array.of(140, 138, 149, 147) }
    const luma = [0, 1, 2, 3].map((i) => {
      const [x, y] = [i % 2, i >> 1]
      return Math.round(0.299 * (40 + 20 * x + 9 * y) + 0.587 * (200 - 14 * x - 6 * y) + 0.114 * (90 + 3 * x + 22 * y))
    })
    const expected = resize({ ...small, data: Uint8Array.from(luma) }, { width: 5, height: 3 })
    expect((await pixelsOf(set))[4]).toEqual([...expected.data])
  })

  it('has classes in a given order, and no others', async () => {
    using set = await data.imageFolder(shoes, { ...options(), classNames: ['sandal', 'slipper', 'boot'] })
    expect([set.classes, [...set.labelsOf()]]).toEqual([3, [2, 2, 2, 0, 0]])
    const error = await failure(data.imageFolder(shoes, { ...options(), classNames: ['boot'] }))
    expect(error).toMatchObject({ code: 'data', message: expect.stringMatching(/sandal\/a.webp is of none of/) })
  })

  it('is split at random by seed', async () => {
    const split = async (seed: number): Promise<(readonly string[] | undefined)[]> => {
      const { train, validation } = await data.imageFolder(shoes, { ...options(), split: 0.4, seed })
      using one = train
      using two = validation
      expect([one.classNames, two.classNames]).toEqual([
        ['boot', 'sandal'],
        ['boot', 'sandal'],
      ])
      return [one.names, two.names]
    }
    const [train = [], validation = []] = await split(1)
    expect([train.length, validation.length]).toEqual([3, 2])
    expect([...train, ...validation].sort()).toEqual(all)
    expect(await split(1)).toEqual([train, validation])
    const others = await Promise.all([2, 3, 4].map(split))
    expect(others).not.toEqual([0, 0, 0].map(() => [train, validation]))
  })

  it('is split as its folders are', async () => {
    await copied('parts/train')
    await cp(join(shoes, 'boot'), join(root, 'parts/validation/boot'), { recursive: true })
    const { train, validation } = await data.imageFolder(join(root, 'parts'), { ...options(), split: 'folders' })
    using one = train
    using two = validation
    expect([one.names, two.names]).toEqual([
      all.map((name) => `train/${name}`),
      all.slice(0, 3).map((name) => `validation/${name}`),
    ])
    expect(two.classes).toBe(2)
    await cp(join(shoes, 'boot'), join(root, 'parts/validation/clog'), { recursive: true })
    const error = await failure(data.imageFolder(join(root, 'parts'), { ...options(), split: 'folders' }))
    expect(error).toMatchObject({ code: 'data', message: expect.stringMatching(/validation\/clog\/a.jpg is of none/) })
  })

  it('leaves out hidden files and files beside the classes', async () => {
    const folder = await copied('hidden')
    for (const name of ['README.md', 'boot/.DS_Store', 'boot/Thumbs.db']) await writeFile(join(folder, name), 'text')
    using set = await data.imageFolder(folder, options())
    expect(set.names).toEqual(all)
  })

  it('with bad files is refused by their names, or read without them', async () => {
    const before = device().memory()
    const folder = await copied('bad')
    await cp(join(shoes, '../cut.jpg'), join(folder, 'boot/aa.jpg'))
    await writeFile(join(folder, 'sandal/notes.txt'), 'text')
    await mkdir(join(folder, 'sandal/more'))
    const error = await failure(data.imageFolder(folder, options()))
    expect(error).toMatchObject({
      code: 'data',
      message: expect.stringMatching(/^3 of 8 files.*boot\/aa.jpg is not.*more.*sandal\/notes.txt is not.*'skip'/s),
      details: { names: ['boot/aa.jpg', 'sandal/more', 'sandal/notes.txt'] },
    })
    expect(device().memory()).toMatchObject({ liveBytes: before.liveBytes, liveBuffers: before.liveBuffers })
    const bad: string[] = []
    for (const onBad of ['skip', (name: string) => void bad.push(name)] as const) {
      using set = await data.imageFolder(folder, { ...options(), onBad })
      expect(set.names).toEqual(all)
    }
    expect(bad.sort()).toEqual(['boot/aa.jpg', 'sandal/more', 'sandal/notes.txt'])
  })

  it('that is not there, has no classes, or no pictures is refused', async () => {
    await mkdir(join(root, 'empty/boot'), { recursive: true })
    for (const [folder, code] of [
      ['nowhere', 'file'],
      ['empty', 'data'],
      ['empty/boot', 'data'],
    ] as const)
      expect(await failure(data.imageFolder(join(root, folder), options()))).toMatchObject({ code })
  })
})

it('files of a page need a browser', async () => {
  const error = await failure(data.imageFiles([], { size: 4, channels: 3 }))
  expect(error).toMatchObject({ code: 'argument', message: expect.stringMatching(/imageFolder/) })
})
