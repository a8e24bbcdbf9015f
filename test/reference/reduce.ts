/** Sums, means, extrema and argmax over axes. */
import type { Array64 } from './array64.ts'
import { at, axisOf, build, countOf, forEachIndex } from './array64.ts'

export interface ReduceOptions {
  readonly axes?: number | readonly number[]
  readonly keepDims?: boolean
}

function reducedAxes(x: Array64, options: ReduceOptions): number[] {
  const { axes } = options
  if (axes === undefined) return x.shape.map((_, axis) => axis)
  return (typeof axes === 'number' ? [axes] : axes).map((axis) => axisOf(axis, x.shape.length))
}

/** Collects, for every element of the result, the elements of x that contribute to it, in order. */
function reduce(x: Array64, options: ReduceOptions, combine: (values: readonly number[]) => number): Array64 {
  const axes = reducedAxes(x, options)
  const keptShape = x.shape.map((extent, axis) => (axes.includes(axis) ? 1 : extent))
  const groups = Array.from({ length: countOf(keptShape) }, (): number[] => [])
  forEachIndex(x.shape, (index, offset) => {
    let group = 0
    keptShape.forEach((extent, axis) => {
      group = group * extent + (extent === 1 ? 0 : (index[axis] ?? 0))
    })
    groups[group]?.push(x.data[offset] ?? Number.NaN)
  })
  const shape = options.keepDims ? keptShape : keptShape.filter((_, axis) => !axes.includes(axis))
  return { shape, data: Float64Array.from(groups, combine) }
}

const total = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0)

export const sum = (x: Array64, options: ReduceOptions = {}): Array64 => reduce(x, options, total)
export const mean = (x: Array64, options: ReduceOptions = {}): Array64 =>
  reduce(x, options, (values) => total(values) / values.length)
export const max = (x: Array64, options: ReduceOptions = {}): Array64 =>
  reduce(x, options, (values) => values.reduce((a, b) => Math.max(a, b)))
export const min = (x: Array64, options: ReduceOptions = {}): Array64 =>
  reduce(x, options, (values) => values.reduce((a, b) => Math.min(a, b)))

/** The first index of the largest element; NaN counts as the largest, as in numpy. */
export function argmax(x: Array64, axis = -1): Array64 {
  const along = axisOf(axis, x.shape.length)
  const shape = x.shape.filter((_, a) => a !== along)
  return build(shape, (index) => {
    let best = 0
    for (let i = 1; i < (x.shape[along] ?? 0); i++) {
      const candidate = at(x, index.toSpliced(along, 0, i))
      const largest = at(x, index.toSpliced(along, 0, best))
      if (candidate > largest || (Number.isNaN(candidate) && !Number.isNaN(largest))) best = i
    }
    return best
  })
}

/** The gradient of max or min: the elements that reach the extremum share the cotangent equally. */
export function extremumGradient(
  x: Array64,
  cotangent: Array64,
  options: ReduceOptions,
  extremum: typeof max,
): Array64 {
  const axes = reducedAxes(x, options)
  const best = extremum(x, { axes, keepDims: true })
  const spread = (array: Array64, index: readonly number[]): number =>
    at(
      array,
      index.map((position, axis) => (axes.includes(axis) ? 0 : position)),
    )
  const ties = sum(
    build(x.shape, (index) => (at(x, index) === spread(best, index) ? 1 : 0)),
    { axes, keepDims: true },
  )
  const wide = { shape: best.shape, data: cotangent.data }
  return build(x.shape, (index) =>
    at(x, index) === spread(best, index) ? spread(wide, index) / spread(ties, index) : 0,
  )
}
