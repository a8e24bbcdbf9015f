/** Makes the bundled sample from the published Fashion-MNIST: the first images of each class, in the file's order. */
import { gzipSync } from 'node:zlib'
import { loadFashionMnist } from '../../src/data/fashion-mnist.node.ts'
import type { LabelledImages } from '../../src/data/fashion-mnist.ts'
import { writeIdx } from '../../src/format/idx.ts'
import { pixelsPerImage, sampleCounts, sampleRowBytes } from './layout.ts'

/** Returns about 1.1 MB. Finds the data set or downloads it; throws what `loadFashionMnist` throws. */
export async function makeSample(log: (line: string) => void = console.log): Promise<Uint8Array> {
  const { train, test } = await loadFashionMnist({ log })
  const rows = [...firstOfEach(train, sampleCounts.train), ...firstOfEach(test, sampleCounts.test)]
  const data = new Uint8Array(rows.length * sampleRowBytes)
  for (const [i, row] of rows.entries()) data.set(row, i * sampleRowBytes)
  return gzipSync(writeIdx({ shape: [rows.length, sampleRowBytes], data }), { level: 9 })
}

/** The rows of `count` images in all, the same number of each class. */
function firstOfEach({ images, labels, classes }: LabelledImages, count: number): Uint8Array[] {
  const left = Array.from({ length: classes }, () => count / classes)
  const rows: Uint8Array[] = []
  for (const [i, label] of labels.entries()) {
    if ((left[label] ?? 0) <= 0) continue
    left[label] = (left[label] ?? 0) - 1
    rows.push(Uint8Array.of(label, ...images.subarray(i * pixelsPerImage, (i + 1) * pixelsPerImage)))
  }
  return rows
}
