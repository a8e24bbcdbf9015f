/** Operators that move numbers without changing them. */
import type { Array64 } from './array64.ts'
import { array64, at, axisOf, build } from './array64.ts'

export const reshape = (x: Array64, shape: readonly number[]): Array64 => array64(shape, x.data)

/** Axis i of the result is axis permutation[i] of x; without a permutation the axes are reversed. */
export function transpose(x: Array64, permutation: readonly number[] = x.shape.map((_, i) => i).reverse()): Array64 {
  return build(
    permutation.map((axis) => x.shape[axis] ?? 0),
    (index) =>
      at(
        x,
        x.shape.map((_, axis) => index[permutation.indexOf(axis)] ?? -1),
      ),
  )
}

export function slice(x: Array64, begin: readonly number[], size: readonly number[]): Array64 {
  return build(size, (index) =>
    at(
      x,
      index.map((position, axis) => position + (begin[axis] ?? 0)),
    ),
  )
}

export function pad(x: Array64, padding: readonly (readonly [number, number])[], value = 0): Array64 {
  const shape = x.shape.map((extent, axis) => extent + (padding[axis]?.[0] ?? 0) + (padding[axis]?.[1] ?? 0))
  return build(shape, (index) => {
    const inside = index.map((position, axis) => position - (padding[axis]?.[0] ?? 0))
    return inside.every((position, axis) => position >= 0 && position < (x.shape[axis] ?? 0)) ? at(x, inside) : value
  })
}

export function concatenate(xs: readonly Array64[], axis: number): Array64 {
  const [first] = xs
  if (first === undefined) throw new RangeError('nothing to concatenate')
  const along = axisOf(axis, first.shape.length)
  const total = xs.reduce((sum, x) => sum + (x.shape[along] ?? 0), 0)
  return build(first.shape.with(along, total), (index) => {
    let position = index[along] ?? 0
    for (const x of xs) {
      if (position < (x.shape[along] ?? 0)) return at(x, index.with(along, position))
      position -= x.shape[along] ?? 0
    }
    return Number.NaN
  })
}

/** Gathers rows along the first axis; a row that does not exist is NaN. */
export function gather(x: Array64, indices: Array64): Array64 {
  const [rows = 0, ...rest] = x.shape
  return build([...indices.shape, ...rest], ([position = 0, ...inRow]) => {
    const row = at(indices, [position])
    return row < rows ? at(x, [row, ...inRow]) : Number.NaN
  })
}
