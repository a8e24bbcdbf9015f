/** Images of four classes, small enough for trainings that take a second. */
import { Random } from '../../src/random.ts'

export const side = 8
export const classes = 4

/** Noisy images, brighter in the quarter that is their class. */
export function pictures(count: number, seed = 1) {
  const random = new Random(seed, 'pictures')
  const labels = Uint8Array.from({ length: count }, () => random.below(classes))
  const images = new Uint8Array(count * side * side)
  labels.forEach((label, i) => {
    for (let y = 0; y < side; y++)
      for (let x = 0; x < side; x++) {
        const isBright = Math.floor(y / 4) * 2 + Math.floor(x / 4) === label
        images[(i * side + y) * side + x] = random.below(128) + (isBright ? random.below(128) : 0)
      }
  })
  return { images, labels, height: side, width: side, channels: 1, classes }
}
