/** Bilinear resizing with pixel centres at halves. */
import type { Array64 } from './array64.ts'
import { at, build } from './array64.ts'

export function resize(x: Array64, [outHeight, outWidth]: readonly [number, number]): Array64 {
  const [batch = 0, height = 0, width = 0, channels = 0] = x.shape
  return build([batch, outHeight, outWidth, channels], ([n = 0, row = 0, column = 0, c = 0]) => {
    const down = place(row, height, outHeight)
    const across = place(column, width, outWidth)
    let sum = 0
    for (const [y, rowWeight] of down)
      for (const [left, columnWeight] of across) sum += rowWeight * columnWeight * at(x, [n, y, left, c])
    return sum
  })
}

/** The two old pixels on either side of a new one, and their weights. */
function place(position: number, extent: number, outExtent: number): [number, number][] {
  const centre = Math.min(extent - 1, Math.max(0, ((position + 0.5) * extent) / outExtent - 0.5))
  const low = Math.floor(centre)
  return [
    [low, 1 - (centre - low)],
    [Math.min(low + 1, extent - 1), centre - low],
  ]
}
