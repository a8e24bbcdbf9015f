/** Small data sets in Fashion-MNIST's files, for jobs. */
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fashionMnistFiles } from '../../src/data/fashion-mnist.ts'
import { writeIdx } from '../../src/format/idx.ts'
import { Random } from '../../src/random.ts'

/** Images of a bright bar whose place tells the class, in noise. */
export function barImages(count: number, stream: string): { readonly pixels: Uint8Array; readonly labels: Uint8Array } {
  const random = new Random(7, stream)
  const labels = Uint8Array.from({ length: count }, (_, i) => i % 10)
  const pixels = Uint8Array.from({ length: count * 784 }, (_, at) => {
    const row = Math.floor((at % 784) / 28)
    const onBar = Math.abs(row - 2 * (labels[Math.floor(at / 784)] ?? 0) - 4) < 2
    return random.below(onBar ? 256 : 120)
  })
  return { pixels, labels }
}

/** Writes such images into a folder that `--data-dir` may name. Other streams are other noise. */
export async function writeBars(folder: string, trainCount: number, testCount: number, stream = ''): Promise<string> {
  await mkdir(folder, { recursive: true })
  for (const [half, count] of [
    ['train', trainCount],
    ['test', testCount],
  ] as const) {
    const { pixels, labels } = barImages(count, `${half} ${trainCount}${stream}`)
    const put = (name: string, shape: number[], data: Uint8Array) =>
      writeFile(join(folder, name), writeIdx({ shape, data }))
    await put(fashionMnistFiles[`${half}Images`].name, [count, 28, 28], pixels)
    await put(fashionMnistFiles[`${half}Labels`].name, [count], labels)
  }
  return folder
}
