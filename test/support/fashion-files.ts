/** Small data sets in Fashion-MNIST's file format, for jobs. */
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fashionMnistFiles } from '../../src/data/fashion-mnist.ts'
import { writeIdx } from '../../src/format/idx.ts'
import { barImages } from './bar-images.ts'

export { barImages } from './bar-images.ts'

/** Writes images of bars into a folder for `--data-dir`. Each stream has its own noise. */
export async function writeBars(folder: string, trainCount: number, testCount: number, stream = ''): Promise<string> {
  await mkdir(folder, { recursive: true })
  for (const [half, count] of [
    ['train', trainCount],
    ['test', testCount],
  ] as const) {
    const { pixels, labels } = barImages(count, `${half} ${trainCount}${stream}`)
    await writeHalf(folder, half, pixels, labels)
  }
  return folder
}

/** Writes images of 28x28 bytes and their labels as the two files of one split. */
export async function writeHalf(
  folder: string,
  half: 'train' | 'test',
  images: Uint8Array,
  labels: Uint8Array,
): Promise<void> {
  const put = (name: string, shape: number[], data: Uint8Array) =>
    writeFile(join(folder, name), writeIdx({ shape, data }))
  await put(fashionMnistFiles[`${half}Images`].name, [labels.length, 28, 28], images)
  await put(fashionMnistFiles[`${half}Labels`].name, [labels.length], labels)
}
