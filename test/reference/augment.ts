/** Random changes of a batch of images in float64: the generator, what is drawn from its words, and the changes. */
import type { Array64 } from './array64.ts'
import { at, build } from './array64.ts'

const rotations = [
  [10, 26],
  [11, 21],
  [13, 27],
  [23, 5],
  [6, 20],
  [17, 11],
  [25, 10],
  [18, 20],
] as const

type Words = readonly [number, number, number, number]

/** Threefry-4x32 with 20 rounds, as the paper states it: Salmon et al., SC 2011, section 3.2. */
export function threefry4x32(counter: Words, key: Words): Words {
  const keys = [...key, key.reduce((all, word) => all ^ word, 0x1bd11bda)]
  const keyAt = (i: number): number => keys[i % 5] ?? 0
  const x = counter.map((word, i) => (word + keyAt(i)) >>> 0)
  const mix = (a: number, b: number, bits: number): void => {
    const sum = ((x[a] ?? 0) + (x[b] ?? 0)) >>> 0
    const word = x[b] ?? 0
    x[a] = sum
    x[b] = (((word << bits) | (word >>> (32 - bits))) ^ sum) >>> 0
  }
  for (let round = 0; round < 20; round++) {
    const [first, second] = rotations[round % 8] ?? [0, 0]
    const swapped = round % 2 === 1
    mix(0, swapped ? 3 : 1, first)
    mix(2, swapped ? 1 : 3, second)
    if (round % 4 !== 3) continue
    const injection = (round + 1) / 4
    for (let i = 0; i < 4; i++) x[i] = ((x[i] ?? 0) + keyAt(injection + i) + (i === 3 ? injection : 0)) >>> 0
  }
  const [a = 0, b = 0, c = 0, d = 0] = x
  return [a, b, c, d]
}

/** Settings of {@link drawsOf}, by the kernel's names. */
export interface DrawSettings {
  readonly outHeight: number
  readonly outWidth: number
  readonly spareHeight: number
  readonly spareWidth: number
  readonly flipHorizontal: number
  readonly flipVertical: number
  readonly shift: number
  readonly rotation: number
  readonly zoom: number
  readonly contrast: number
  readonly brightness: number
  readonly cutout: number
  readonly mixup: number
  readonly seed: number
}

const share = (word: number): number => ((word >>> 9) + 0.5) / 2 ** 23
const centred = (word: number): number => 2 * share(word) - 1
const below = (word: number, count: number): number => Math.floor(((word >>> 16) * count) / 2 ** 16)

/** The draws of a row: its affine map, contrast, brightness, the erased square's corner, its share and its partner. */
export function drawsOf(settings: DrawSettings, step: number, row: number, batch: number): number[] {
  const { outHeight, outWidth, shift, rotation, zoom, cutout, mixup, seed } = settings
  const words = (block: number, ofRow = row): Words =>
    threefry4x32([ofRow, step, block, 0], [seed >>> 0, Math.floor(seed / 2 ** 32), 2 ** 31 + 1, 0])
  const [first, second, third] = [words(0), words(1), words(2)]
  const mirrorX = share(first[0]) < settings.flipHorizontal ? -1 : 1
  const mirrorY = share(first[1]) < settings.flipVertical ? -1 : 1
  const angle = (rotation * centred(second[0]) * Math.PI) / 180
  const scale = 1 + zoom * centred(second[1])
  const moved = [below(first[2], 2 * shift + 1) - shift, below(first[3], 2 * shift + 1) - shift] as const
  const window = [below(third[0], settings.spareWidth + 1), below(third[1], settings.spareHeight + 1)] as const
  const [x, y] = [(outWidth - 1) / 2, (outHeight - 1) / 2]
  const across = [mirrorX * scale * Math.cos(angle), -mirrorX * scale * Math.sin(angle)] as const
  const down = [mirrorY * scale * Math.sin(angle), mirrorY * scale * Math.cos(angle)] as const
  return [
    ...[...across, x + window[0] - moved[0] - across[0] * x - across[1] * y],
    ...[...down, y + window[1] - moved[1] - down[0] * x - down[1] * y],
    ...[1 + settings.contrast * centred(second[2]), settings.brightness * centred(second[3])],
    below(third[3], outHeight) - Math.floor(cutout / 2),
    below(third[2], outWidth) - Math.floor(cutout / 2),
    ...(mixup > 0
      ? [betaShare((block) => words(block), mixup), (row + 1 + below(words(3, 0)[0], Math.max(batch, 2) - 1)) % batch]
      : [1, row]),
  ]
}

/** Jöhnk's method, with powers. */
function betaShare(words: (block: number) => Words, alpha: number): number {
  for (let tries = 0; ; tries++) {
    const four = words(4 + (tries >> 1))
    const [u, v] = tries % 2 === 0 ? [four[0], four[1]] : [four[2], four[3]]
    const [x, y] = [share(u) ** (1 / alpha), share(v) ** (1 / alpha)]
    if (x + y <= 1) return x / (x + y)
  }
}

/** Samples images bilinearly at column a0 c + a1 r + a2 and row a3 c + a4 r + a5; `fillValue` outside. */
export function affineTransform(
  x: Array64,
  transforms: Array64,
  [outHeight, outWidth]: readonly [number, number],
  fillValue = 0,
): Array64 {
  const [batch = 0, height = 0, width = 0, channels = 0] = x.shape
  return build([batch, outHeight, outWidth, channels], ([n = 0, row = 0, column = 0, channel = 0]) => {
    const [a0, a1, a2, a3, a4, a5] = [0, 1, 2, 3, 4, 5].map((i) => at(transforms, [n, i])) as [
      ...[number, number, number, number, number, number],
    ]
    const [left, top] = [a0 * column + a1 * row + a2, a3 * column + a4 * row + a5]
    let sum = 0
    for (const y of [Math.floor(top), Math.floor(top) + 1])
      for (const c of [Math.floor(left), Math.floor(left) + 1]) {
        const isInside = y >= 0 && y < height && c >= 0 && c < width
        const value = isInside ? at(x, [n, y, c, channel]) : fillValue
        sum += (1 - Math.abs(top - y)) * (1 - Math.abs(left - c)) * value
      }
    return sum
  })
}

const clipped = (value: number): number => Math.min(1, Math.max(0, value))

/** The changes after the affine map, with each row's draws. */
export function augmentedColors(
  x: Array64,
  draws: readonly (readonly number[])[],
  { contrast, brightness, cutout }: Pick<DrawSettings, 'contrast' | 'brightness' | 'cutout'>,
  fillValue = 0,
): Array64 {
  const [, height = 0, width = 0] = x.shape
  return build(x.shape, ([n = 0, row = 0, column = 0, channel = 0]) => {
    const [factor = 1, delta = 0, top = 0, left = 0] = draws[n]?.slice(6) ?? []
    if (row >= top && row < top + cutout && column >= left && column < left + cutout) return fillValue
    let value = at(x, [n, row, column, channel])
    if (contrast > 0) {
      let sum = 0
      for (let r = 0; r < height; r++) for (let c = 0; c < width; c++) sum += at(x, [n, r, c, channel])
      const mean = sum / (height * width)
      value = clipped((value - mean) * factor + mean)
    }
    return brightness > 0 ? clipped(value + delta) : value
  })
}

/** Each row mixed with another one. */
export function mixedRows(x: Array64, draws: readonly (readonly number[])[]): Array64 {
  return build(x.shape, ([n = 0, ...rest]) => {
    const [share = 1, row = 0] = draws[n]?.slice(10) ?? []
    return share * at(x, [n, ...rest]) + (1 - share) * at(x, [row, ...rest])
  })
}
