/**
 * Draws docs/augmentation.png: one image of Fashion-MNIST under each option of `augment`, a row for each, with the image
 * itself on the left.
 *
 *     node --import ./scripts/tsx.mjs scripts/augmentation-picture.ts
 */
import { writeFileSync } from 'node:fs'
import { encodePng } from '../src/format/png.ts'
import type { AugmentOptions } from '../src/nn/augment.ts'
import { data, nn, open, tensor } from '../src/node.ts'
import { imageGrid } from '../src/plots/pictures.ts'

/** An ankle boot, and the T-shirt that it is mixed with. */
const images = [0, 1]
const columns = 10
/** In the order of docs/library.md. */
const options: readonly AugmentOptions[] = [
  { flip: 'both' },
  { shift: 4 },
  { rotation: 30 },
  { zoom: 0.3 },
  { contrast: 0.8 },
  { brightness: 0.5 },
  { cutout: 10 },
  { mixup: 1 },
]

const device = await open()
const { train } = await data.fashionMnist(device)
const [side, batch] = [28, 2 * (columns - 1)]
const all = await train.images.data()
const pixels = images.map((image) =>
  Float32Array.from(all.subarray(image * side ** 2, (image + 1) * side ** 2), (byte) => byte / 255),
)
const x = new Float32Array(batch * side ** 2)
// Every second row is the first image. In the step below, each is mixed with one at an odd distance.
for (let row = 0; row < batch; row++) x.set(pixels[row % 2] ?? [], row * side ** 2)
const bytesOf = (numbers: ArrayLike<number>): Uint8Array => Uint8Array.from(numbers, (value) => Math.round(value * 255))
const rows = options.map(async (own) => {
  const { x: changed } = nn
    .augment(own)
    .apply(
      { x: tensor(x, [batch, side, side, 1]), target: tensor(new Uint32Array(batch)) },
      { seed: 1, counter: tensor([4], [1], 'u32'), inputShape: [side, side, 1], outputShape: [2] },
    )
  const numbers = await changed.data()
  const drawn = Array.from({ length: columns - 1 }, (_, i) =>
    numbers.subarray(2 * i * side ** 2, (2 * i + 1) * side ** 2),
  )
  return [pixels[0] ?? [], ...drawn].map(bytesOf)
})
const grid = imageGrid((await Promise.all(rows)).flat(), { width: side, height: side, columns, scale: 2 })
writeFileSync(new URL('../docs/augmentation.png', import.meta.url), encodePng(grid))
device.dispose()
