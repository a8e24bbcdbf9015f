/** Encodes PNGs with at most 256 colours, a third the size of full-colour ones: for screenshots in docs/. */
import { crc32, deflateSync } from 'node:zlib'
import type { PngImage } from '../src/format/png.ts'

const mostColors = 256

/** Keeps the most frequent colours and maps each other colour to the nearest of them. No dithering: text stays sharp. */
export function encodePalettePng({ width, height, channels, data }: PngImage): Uint8Array {
  const colorAt = (pixel: number): number => {
    const [red, green, blue] = channels < 3 ? [0, 0, 0] : [0, 1, 2]
    const at = pixel * channels
    return ((data[at + red] ?? 0) << 16) | ((data[at + green] ?? 0) << 8) | (data[at + blue] ?? 0)
  }
  const counts = new Map<number, number>()
  for (let i = 0; i < width * height; i++) counts.set(colorAt(i), (counts.get(colorAt(i)) ?? 0) + 1)
  const palette = [...counts]
    .sort(([, a], [, b]) => b - a)
    .slice(0, mostColors)
    .map(([color]) => color)
  const indices = new Map([...counts.keys()].map((color) => [color, nearest(palette, color)]))

  // Each row starts with its filter: none, which compresses indices best.
  const rows = new Uint8Array(height * (width + 1))
  for (let i = 0; i < width * height; i++) rows[i + Math.floor(i / width) + 1] = indices.get(colorAt(i)) ?? 0
  const header = Buffer.alloc(13)
  header.writeUInt32BE(width, 0)
  header.writeUInt32BE(height, 4)
  // 8 bits per pixel, indices into the palette.
  header.set([8, 3, 0, 0, 0], 8)
  return Buffer.concat([
    Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]),
    chunk('IHDR', header),
    chunk('PLTE', Buffer.from(palette.flatMap((color) => [color >> 16, (color >> 8) & 255, color & 255]))),
    chunk('IDAT', deflateSync(rows, { level: 9 })),
    chunk('IEND', Buffer.alloc(0)),
  ])
}

function nearest(palette: readonly number[], color: number): number {
  const distance = (other: number): number =>
    ((color >> 16) - (other >> 16)) ** 2 +
    (((color >> 8) & 255) - ((other >> 8) & 255)) ** 2 +
    ((color & 255) - (other & 255)) ** 2
  let best = 0
  for (let i = 1; i < palette.length; i++) if (distance(palette[i] ?? 0) < distance(palette[best] ?? 0)) best = i
  return best
}

function chunk(type: string, content: Uint8Array): Buffer {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), content])
  const [length, checksum] = [Buffer.alloc(4), Buffer.alloc(4)]
  length.writeUInt32BE(content.length)
  checksum.writeUInt32BE(crc32(body))
  return Buffer.concat([length, body, checksum])
}
