/** Pictures and tables of a page's user as data sets: what the browser decodes is what Pillow reads. */
import { describe, expect, it } from 'vitest'
import { commands } from 'vitest/browser'
import { data } from 'weftgrad'
import { useBrowserDevice } from './browser-device.ts'
import { bytesOfBase64 } from './fixture-files.ts'

const device = useBrowserDevice()
const folder = 'test/fixtures/pictures/'

interface PillowPicture {
  readonly width: number
  readonly height: number
  readonly data: readonly number[]
}

/** A file as `<input webkitdirectory>` gives it. */
async function chosen(name: string): Promise<File> {
  const file = new File([bytesOfBase64(await commands.readFile(folder + name, { encoding: 'base64' }))], name)
  return Object.defineProperty(file, 'webkitRelativePath', { value: name })
}

describe('pictures of a page', () => {
  it('are decoded upright, on white, as Pillow reads them', async () => {
    const pillow: Record<string, PillowPicture> = JSON.parse(await commands.readFile(`${folder}pillow.json`))
    for (const [name, { width, height, data: pixels }] of Object.entries(pillow)) {
      if (name === 'turned/6.webp') continue // Chromium turns no WebP
      const options = { size: [height, width], channels: 3, device: device(), classOf: () => 'all' } as const
      using set = await data.imageFiles([await chosen(name)], options)
      const own = await set.images.data()
      const most = name.endsWith('jpg') ? 2 : 1
      expect(Math.max(...own.map((v, i) => Math.abs(v - (pixels[i] ?? Number.NaN)))), name).toBeLessThanOrEqual(most)
    }
  })

  it('have the classes of their folders, and bad ones are named', async () => {
    const files = await Promise.all(['shoes/sandal/b.png', 'shoes/boot/b.png', 'shoes/boot/a.jpg'].map(chosen))
    const options = { size: 4, channels: 1, device: device() } as const
    using set = await data.imageFiles(files, options)
    expect([set.names, set.classNames]).toEqual([
      ['shoes/boot/a.jpg', 'shoes/boot/b.png', 'shoes/sandal/b.png'],
      ['boot', 'sandal'],
    ])
    expect([...set.labelsOf()]).toEqual([0, 0, 1])
    const bad = Object.defineProperty(new File(['text'], 'c.png'), 'webkitRelativePath', { value: 'shoes/boot/c.png' })
    const reading = data.imageFiles([...files, bad], options)
    await expect(reading).rejects.toMatchObject({ code: 'data', message: expect.stringMatching(/1 of 4.*boot\/c.png/) })
    await expect(data.imageFiles([new File([], 'a.png')], options)).rejects.toMatchObject({ code: 'argument' })
  })
})

it('a table is read in a page', () => {
  using set = data.csv('a;b\n1;x\n2;y\n', { target: 'b', device: device() })
  expect([set.classNames, set.shape]).toEqual([['x', 'y'], [1]])
})
