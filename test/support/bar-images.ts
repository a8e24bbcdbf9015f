/** Images that are the same on every host, and that networks learn within a few steps. */
import { Random } from '../../src/random.ts'

/** Noisy 28x28 images with a bright bar whose position is the class. Each stream has its own noise. */
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
