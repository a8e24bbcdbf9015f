/** Writes the first images of Fashion-MNIST, as many as the trajectory sees, as the loader's four files: for `pack-check.sh`. */

import { loadFashionMnist } from '../src/data/fashion-mnist.node.ts'
import { writeHalf } from '../test/support/fashion-files.ts'
import { trajectoryImages } from '../test/support/lenet-trajectory.ts'

const [folder] = process.argv.slice(2)
if (folder === undefined) throw new Error('Name the folder to write into.')
const loaded = await loadFashionMnist({ log: (line) => console.error(line) })
for (const half of ['train', 'test'] as const) {
  const { images, labels } = loaded[half]
  const count = half === 'train' ? trajectoryImages : 10
  await writeHalf(folder, half, images.subarray(0, count * 28 * 28), labels.subarray(0, count))
}
