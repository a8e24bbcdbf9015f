/** Pictures decoded in Node.js, by sharp and by WebAssembly, against what Pillow reads: see fixtures/pictures. */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { exifOrientation } from '../src/format/exif.ts'
import { decodeByWasm, decodePicture, type PictureDecoder, sharpDecoder } from '../src/format/picture.node.ts'
import type { PngImage } from '../src/format/png.ts'
import { failure } from './support/failure.ts'

const folder = fileURLToPath(new URL('fixtures/pictures/', import.meta.url))
const bytesOf = (name: string): Uint8Array => new Uint8Array(readFileSync(`${folder}${name}`))
const read = JSON.parse(readFileSync(`${folder}pillow.json`, 'utf8')) as Record<
  string,
  { readonly width: number; readonly height: number; readonly data: readonly number[] }
>

/** RGB on white. */
function rgb({ channels, data }: PngImage): number[] {
  const color = channels >= 3 ? 3 : 1
  return Array.from({ length: (data.length / channels) * 3 }, (_, i) => {
    const pixel = Math.floor(i / 3) * channels
    const alpha = channels === color ? 255 : (data[pixel + color] ?? 0)
    return Math.round(((data[pixel + (color === 3 ? i % 3 : 0)] ?? 0) * alpha + 255 * (255 - alpha)) / 255)
  })
}

const sharp = await sharpDecoder()

describe.each<[by: string, decoder: PictureDecoder | undefined]>([
  ['sharp', sharp],
  ['WebAssembly', decodeByWasm],
])('pictures decoded by %s', (by, decoder) => {
  it('has a decoder', () => expect(decoder).toBeDefined())

  it.each(Object.keys(read).filter((name) => by === 'sharp' || !name.endsWith('gif')))(
    '%s is as Pillow reads it, upright',
    async (name) => {
      const image = await decodePicture(bytesOf(name), name, decoder)
      const { width, height, data } = read[name] ?? { width: 0, height: 0, data: [] }
      expect([image.width, image.height]).toEqual([width, height])
      // Decoders of JPEG may round in other ways.
      const most = name.endsWith('jpg') ? 2 : 1
      expect(
        Math.max(...rgb(image).map((sample, i) => Math.abs(sample - (data[i] ?? Number.NaN)))),
      ).toBeLessThanOrEqual(most)
    },
  )

  it('are refused if they are cut off, damaged or something else, and the next one is read', async () => {
    const png = bytesOf('shoes/boot/b.png')
    for (const [name, bytes] of [
      ['cut.jpg', bytesOf('cut.jpg')],
      ['a.webp', bytesOf('shoes/sandal/a.webp').subarray(0, 40)],
      ['b.png', png.subarray(0, png.length - 20)],
      ['junk.jpg', Uint8Array.of(0xff, 0xd8, 0xff, 1, 2, 3)],
      ['text.txt', new TextEncoder().encode('a picture')],
      ['empty.png', new Uint8Array()],
    ] as const) {
      const error = await failure(decodePicture(bytes, name, decoder))
      expect(error).toMatchObject({ code: 'format', message: expect.stringMatching(name) })
    }
    expect((await decodePicture(bytesOf('shoes/boot/a.jpg'), 'a.jpg', decoder)).width).toBe(8)
  })
})

it('a GIF without sharp is refused, saying what to install', async () => {
  const error = await failure(decodePicture(bytesOf('still.gif'), 'still.gif', decodeByWasm))
  expect(error).toMatchObject({ code: 'format', message: expect.stringMatching(/npm install sharp/) })
})

it('an orientation in damaged data counts as none', () => {
  const whole = bytesOf('turned/6.jpg')
  expect(exifOrientation(whole)).toBe(6)
  for (let length = 0; length < 60; length++) expect([1, 6]).toContain(exifOrientation(whole.subarray(0, length)))
  expect(exifOrientation(whole.subarray(0, 30))).toBe(1)
})
