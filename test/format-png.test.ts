import fc from 'fast-check'
import { zlibSync } from 'fflate'
import { describe, expect, it } from 'vitest'
import { WeftgradError } from '../src/errors.ts'
import { decodePng, encodePng, type PngImage } from '../src/format/png.ts'

const crcTable = Uint32Array.from({ length: 256 }, (_, n) => {
  let c = n
  for (let k = 0; k < 8; k++) c = c & 1 ? 0xedb88320 ^ (c >>> 1) : c >>> 1
  return c
})

function chunk(type: string, content: readonly number[] | Uint8Array, claimed = content.length): number[] {
  const body = [...new TextEncoder().encode(type), ...content]
  const crc = ~body.reduce((c, byte) => (crcTable[(c ^ byte) & 0xff] ?? 0) ^ (c >>> 8), -1)
  return [...word(claimed), ...body, ...word(crc)]
}

const word = (value: number): number[] => [value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255]
const signature = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]
const ihdr = (width: number, height: number, depth: number, colorType: number, interlace = 0): number[] =>
  chunk('IHDR', [...word(width), ...word(height), depth, colorType, 0, 0, interlace])
const idat = (rows: readonly number[]): number[] => chunk('IDAT', zlibSync(Uint8Array.from(rows)))
const iend = chunk('IEND', [])
const png = (...chunks: number[][]): Uint8Array => Uint8Array.from([...signature, ...chunks.flat()])

const refusal = (bytes: Uint8Array): string => {
  try {
    decodePng(bytes, 'x.png')
  } catch (error) {
    expect(error).toMatchObject({ name: 'WeftgradError', code: 'format' })
    return error instanceof Error ? error.message : ''
  }
  return expect.fail('was not refused')
}

describe('decodePng', () => {
  it('reads back what encodePng wrote', () => {
    const image = fc
      .tuple(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 9 }), fc.constantFrom(1, 2, 3, 4))
      .chain(([width, height, channels]) => {
        const length = width * height * channels
        return fc
          .uint8Array({ minLength: length, maxLength: length })
          .map((data): PngImage => ({ width, height, channels: channels as PngImage['channels'], data }))
      })
    fc.assert(
      fc.property(image, (value) => {
        expect(decodePng(encodePng(value))).toEqual(value)
      }),
      { seed: 1, numRuns: 60 },
    )
  })

  it('converts 1, 2, 4 and 16 bits to 8', () => {
    const data = (bytes: Uint8Array) => [...decodePng(bytes).data]
    expect(data(png(ihdr(3, 2, 1, 0), idat([0, 0b10100000, 0, 0b01000000]), iend))).toEqual([255, 0, 255, 0, 255, 0])
    expect(data(png(ihdr(5, 1, 2, 0), idat([0, 0b00011011, 0b10000000]), iend))).toEqual([0, 85, 170, 255, 170])
    expect(data(png(ihdr(3, 1, 4, 0), idat([0, 0x0f, 0x80]), iend))).toEqual([0, 255, 136])
    expect(data(png(ihdr(3, 1, 16, 0), idat([0, 0xff, 0xff, 0x80, 0x00, 0x00, 0x81]), iend))).toEqual([255, 128, 1])
    expect(decodePng(png(ihdr(1, 1, 16, 6), idat([0, 255, 255, 0, 0, 1, 1, 128, 128]), iend))).toMatchObject({
      channels: 4,
      data: Uint8Array.of(255, 0, 1, 128),
    })
  })

  it('resolves palettes, with and without transparency', () => {
    const palette = chunk('PLTE', [10, 20, 30, 40, 50, 60])
    const rows = idat([0, 0b01000000])
    expect(decodePng(png(ihdr(2, 1, 1, 3), palette, rows, iend))).toEqual({
      width: 2,
      height: 1,
      channels: 3,
      data: Uint8Array.of(10, 20, 30, 40, 50, 60),
    })
    expect(decodePng(png(ihdr(2, 1, 1, 3), palette, chunk('tRNS', [7]), rows, iend))).toMatchObject({
      channels: 4,
      data: Uint8Array.of(10, 20, 30, 7, 40, 50, 60, 255),
    })
    expect(refusal(png(ihdr(2, 1, 2, 3), palette, idat([0, 0b01100000]), iend))).toContain('palette')
    expect(refusal(png(ihdr(2, 1, 1, 3), rows, iend))).toContain('palette')
  })

  it('turns a transparent colour into an alpha channel', () => {
    const grey = png(ihdr(3, 1, 4, 0), chunk('tRNS', [0, 15]), idat([0, 0x0f, 0xe0]), iend)
    expect(decodePng(grey)).toMatchObject({ channels: 2, data: Uint8Array.of(0, 255, 255, 0, 238, 255) })
    const rgb = png(ihdr(3, 1, 8, 2), chunk('tRNS', [0, 1, 0, 2, 0, 3]), idat([0, 1, 2, 3, 1, 2, 4, 0, 0, 0]), iend)
    expect(decodePng(rgb)).toMatchObject({ channels: 4, data: Uint8Array.of(1, 2, 3, 0, 1, 2, 4, 255, 0, 0, 0, 255) })
  })

  it('reads interlaced images of 8 bits and refuses smaller ones', () => {
    // 2x2: pass 1 has (0,0), pass 6 (1,0), pass 7 the second row.
    expect(decodePng(png(ihdr(2, 2, 8, 0, 1), idat([0, 1, 0, 2, 0, 3, 4]), iend)).data).toEqual(
      Uint8Array.of(1, 2, 3, 4),
    )
    expect(refusal(png(ihdr(2, 2, 4, 0, 1), idat([0, 16, 0, 32, 0, 0x34]), iend))).toContain('without interlacing')
  })

  it('ignores chunks that do not affect the picture', () => {
    const profileBomb = chunk('iCCP', [97, 0, 0, ...zlibSync(new Uint8Array(100_000))])
    const image = png(ihdr(1, 1, 8, 0), profileBomb, chunk('tEXt', [0, 0, 0]), idat([0, 9]), iend)
    expect(decodePng(image).data).toEqual(Uint8Array.of(9))
    expect(refusal(png(ihdr(1, 1, 8, 0), chunk('ABCD', []), idat([0, 9]), iend))).toContain('unknown kind')
  })

  it('refuses hostile sizes before unpacking anything', () => {
    expect(refusal(png(ihdr(0xffffffff, 0xffffffff, 16, 6), iend))).toContain('4294967295x4294967295')
    expect(refusal(png(ihdr(0, 5, 8, 0), idat([0]), iend))).toContain('0x5')
    expect(refusal(png(ihdr(8192, 8192, 8, 0), idat([0, 1, 2, 3]), iend))).toContain(
      'unpack to 4 instead of 67117056 bytes.',
    )
    expect(refusal(png(ihdr(1, 1, 8, 0), idat([0, 1, 2, 3]), iend))).toContain('unpack to more than 2 bytes.')
    for (const [wide, high, depth, colorType] of [
      [65_536, 1, 8, 0],
      [1, 65_536, 8, 0],
      [8192, 8192, 16, 6],
      [8192, 8192, 16, 0],
      [8192, 8192, 8, 2],
      [8192, 8192, 8, 3],
    ] as const)
      expect(refusal(png(ihdr(wide, high, depth, colorType), idat([0]), iend))).toMatch(
        /allowed are .* Make it smaller/,
      )
    const bomb = png(ihdr(2, 2, 8, 0), chunk('IDAT', zlibSync(new Uint8Array(30_000_000))), iend)
    expect(refusal(bomb)).toContain('more than')
    expect(refusal(png(ihdr(1, 1, 8, 0), chunk('IDAT', [1, 2], 0xfffffff0), iend))).toContain('claims 4294967280 bytes')
    for (const [depth, colorType, interlace] of [
      [3, 0, 0],
      [4, 2, 0],
      [16, 3, 0],
      [8, 5, 0],
      [8, 0, 2],
    ] as const) {
      refusal(png(ihdr(1, 1, depth, colorType, interlace), idat([0, 0, 0, 0, 0, 0, 0]), iend))
    }
    expect(refusal(png(ihdr(1, 1, 8, 0), ihdr(9, 9, 8, 0), idat([0, 9]), iend))).toContain('a second IHDR')
    expect(refusal(png(chunk('IDAT', []), iend))).toContain('not a header')
    expect(refusal(png(ihdr(1, 1, 8, 0), idat([9, 9]), iend))).toContain('filter')
    expect(refusal(new TextEncoder().encode('GIF89a..'))).toContain('signature')
  })

  it('refuses every prefix, and turns flipped bits into an image or a format error', () => {
    const data = Uint8Array.from({ length: 60 }, (_, i) => (i * 37) % 256)
    const bytes = encodePng({ width: 5, height: 4, channels: 3, data })
    for (let length = 0; length < bytes.length; length++) refusal(bytes.subarray(0, length))
    let decoded = 0
    for (let at = 0; at < bytes.length; at++) {
      for (let bit = 0; bit < 8; bit++) {
        const flipped = Uint8Array.from(bytes)
        flipped[at] = (flipped[at] ?? 0) ^ (1 << bit)
        try {
          decodePng(flipped)
          decoded++
        } catch (error) {
          expect(error).toMatchObject({ name: 'WeftgradError', code: 'format' })
        }
      }
    }
    // Chunk checksums catch nearly all; a change of case in IEND's type is not checked.
    expect(decoded).toBeLessThan(5)
  })

  it('turns any content with valid checksums into an image or a format error', () => {
    const shape = fc.tuple(
      fc.integer({ min: 0, max: 4 }),
      fc.integer({ min: 0, max: 4 }),
      fc.constantFrom(1, 2, 4, 8, 16),
      fc.constantFrom(0, 2, 3, 4, 6),
      fc.nat(1),
    )
    const bytes = fc.array(fc.nat(255), { maxLength: 80 })
    const extra = fc.array(fc.tuple(fc.constantFrom('PLTE', 'tRNS', 'IDAT', 'IEND'), bytes), { maxLength: 3 })
    fc.assert(
      fc.property(shape, extra, bytes, fc.boolean(), ([w, h, depth, color, interlace], chunks, pixels, compressed) => {
        const file = png(
          ihdr(w, h, depth, color, interlace),
          ...chunks.map(([type, content]) => chunk(type, content)),
          compressed ? idat(pixels) : chunk('IDAT', pixels),
          iend,
        )
        try {
          const image = decodePng(file)
          expect(image.data).toHaveLength(image.width * image.height * image.channels)
        } catch (error) {
          expect(error).toMatchObject({ name: 'WeftgradError', code: 'format' })
        }
      }),
      { seed: 5, numRuns: 2000 },
    )
  })
})

describe('encodePng', () => {
  it('refuses data that do not match the size', () => {
    for (const image of [
      { width: 0, height: 1, channels: 1 },
      { width: 2, height: 2, channels: 2 },
      { width: 2 ** 20, height: 2 ** 20, channels: 1 },
    ] as const) {
      expect(() => encodePng({ ...image, data: new Uint8Array(4) })).toThrow(WeftgradError)
    }
  })
})
