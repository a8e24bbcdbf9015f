/** Writes the first images of Fashion-MNIST, as many as the trajectory sees, as the loader's four files: for `pack-check.sh`. */

import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { loadFashionMnist } from '../src/data/fashion-mnist.node.ts'
import { fashionMnistFiles } from '../src/data/fashion-mnist.ts'
import { writeIdx } from '../src/format/idx.ts'
import { trajectoryImages } from '../test/support/lenet-trajectory.ts'

const [folder] = process.argv.slice(2)
if (folder === undefined) throw new Error('Name the folder to write into.')
const loaded = await loadFashionMnist({ log: (line) => console.error(line) })
for (const half of ['train', 'test'] as const) {
  const { images, labels } = loaded[half]
  const count = half === 'train' ? trajectoryImages : 10
  const put = (name: string, shape: number[], data: Uint8Array): Promise<void> =>
    writeFile(join(folder, `${name}.gz`), gzipSync(writeIdx({ shape, data })))
  await put(fashionMnistFiles[`${half}Images`].name, [count, 28, 28], images.subarray(0, count * 28 * 28))
  await put(fashionMnistFiles[`${half}Labels`].name, [count], labels.subarray(0, count))
}
