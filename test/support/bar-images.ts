/** Images that any host makes alike, and that networks learn within a few steps. */
import { Random } from '../../src/random.ts'

/** Images of 28x28 with a bright bar whose place tells the class, in noise. Other streams are other noise. */
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
