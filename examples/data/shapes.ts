/** Pictures of bright shapes on dark backgrounds, of any colour and size, anywhere: data to try networks on. */
import { nn } from 'weftgrad/node'

/** A shape is where its function is true; it lies within -1 to 1 of its centre. */
const shapes: Readonly<Record<string, (u: number, v: number) => boolean>> = {
  circle: (u, v) => u * u + v * v < 1,
  ring: (u, v) => Math.abs(u * u + v * v - 0.7) < 0.3,
  square: (u, v) => Math.max(Math.abs(u), Math.abs(v)) < 0.85,
  frame: (u, v) => Math.abs(Math.max(Math.abs(u), Math.abs(v)) - 0.7) < 0.2,
  diamond: (u, v) => Math.abs(u) + Math.abs(v) < 1,
  triangle: (u, v) => v < 0.8 && 2 * Math.abs(u) < v + 1,
  plus: (u, v) => Math.min(Math.abs(u), Math.abs(v)) < 0.3 && Math.max(Math.abs(u), Math.abs(v)) < 1,
  cross: (u, v) => Math.abs(Math.abs(u) - Math.abs(v)) < 0.35 && Math.max(Math.abs(u), Math.abs(v)) < 0.9,
  half: (u, v) => u * u + v * v < 1 && v > 0,
  crescent: (u, v) => u * u + v * v < 1 && (u - 0.5) ** 2 + v * v > 0.6,
}
export const shapeNames = Object.keys(shapes)

/** Pictures of bytes, [count, side, side, 3]; the class of each; and its size: the radius as a share of the side. */
export function shapePictures(count: number, side: number, seed: number) {
  const source = new nn.Random(seed, 'shapes')
  const random = () => source.uniform()
  const images = new Uint8Array(count * side * side * 3)
  const labels = Uint8Array.from({ length: count }, () => Math.floor(random() * shapeNames.length))
  const sizes = Float32Array.from({ length: count }, () => 0.15 + 0.3 * random())
  const color = (least: number) => [random(), random(), random()].map((part) => least + 90 * part)
  labels.forEach((label, i) => {
    const isInside = Object.values(shapes)[label]
    const radius = (sizes[i] ?? 0) * side
    const [cx, cy] = [radius + random() * (side - 2 * radius), radius + random() * (side - 2 * radius)]
    const [front, back] = [color(130), color(10)]
    for (let pixel = 0; pixel < side * side; pixel++) {
      const [u, v] = [((pixel % side) + 0.5 - cx) / radius, (Math.floor(pixel / side) + 0.5 - cy) / radius]
      const own = isInside?.(u, v) ? front : back
      own.forEach((part, c) => {
        images[(i * side * side + pixel) * 3 + c] = part + 30 * random()
      })
    }
  })
  return { images, labels, sizes }
}
