/** Folders of small generated pictures, a folder for each class. */
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { encodePng } from '../../src/format/png.ts'

/** A picture of one class: one of red, green and blue is bright; with one channel, rows or columns are. */
export function flower(kind: number, i: number, channels: 1 | 3 = 3): Uint8Array {
  const [width, height] = [12, 10]
  const data = Uint8Array.from({ length: width * height * channels }, (_, at) => {
    const stripe = channels === 3 ? at % 3 : (kind === 0 ? at : Math.floor(at / width)) % 2
    const bright = channels === 3 ? stripe === kind : stripe === 0
    return bright ? 150 + ((at * 7 + i * 31) % 100) : (at * 13 + i * 17) % 90
  })
  return encodePng({ width, height, channels, data })
}

/** Writes `count` pictures for each class; `kinds` gives a class the looks of another. */
export async function writeFlowers(
  folder: string,
  count: number,
  { kinds = { daisy: 0, rose: 1, tulip: 2 }, channels = 3 }: { kinds?: Record<string, number>; channels?: 1 | 3 } = {},
): Promise<string> {
  for (const [name, kind] of Object.entries(kinds)) {
    await mkdir(join(folder, name), { recursive: true })
    for (let i = 0; i < count; i++) await writeFile(join(folder, name, `${i}.png`), flower(kind, i, channels))
  }
  return folder
}
