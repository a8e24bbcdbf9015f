/**
 * The arrays of the plain reference: a shape and float64 numbers in row-major order. Code in this folder is meant to be
 * obviously correct, not fast: one loop per axis, no shared subexpressions, no tricks. NaN propagates as in IEEE 754
 * and numpy: any NaN in a sum or a maximum makes the result NaN.
 */

export interface Array64 {
  readonly shape: readonly number[]
  readonly data: Float64Array
}

export function countOf(shape: readonly number[]): number {
  return shape.reduce((product, extent) => product * extent, 1)
}

/** Wraps numbers; throws if their count does not fit the shape. */
export function array64(shape: readonly number[], values: ArrayLike<number>): Array64 {
  if (values.length !== countOf(shape)) {
    throw new RangeError(`${values.length} numbers do not fill the shape [${shape.join(', ')}]`)
  }
  return { shape, data: Float64Array.from(values) }
}

export function scalar64(value: number): Array64 {
  return array64([], [value])
}

/**
 * An array given by the definition of its elements. `data` computes all of them, once; `elementOf` only the requested
 * one.
 */
class DefinedArray implements Array64 {
  readonly shape: readonly number[]
  readonly #element: (offset: number) => number
  #data: Float64Array | undefined

  constructor(shape: readonly number[], element: (offset: number) => number) {
    this.shape = shape
    this.#element = element
  }

  get data(): Float64Array {
    if (this.#data === undefined) {
      const data = new Float64Array(countOf(this.shape))
      for (let offset = 0; offset < data.length; offset++) data[offset] = this.#element(offset)
      this.#data = data
    }
    return this.#data
  }

  element(offset: number): number {
    return this.#data?.[offset] ?? this.#element(offset)
  }
}

/**
 * An array whose elements are computed when needed, from their row-major offsets. For operators that sum many products:
 * a benchmark compares a few thousand elements of results that would take minutes to compute whole.
 */
export function define(shape: readonly number[], element: (offset: number) => number): Array64 {
  return new DefinedArray(shape, element)
}

/** The element at a row-major offset. In an array made by `define`, only this element is computed. */
export function elementOf(x: Array64, offset: number): number {
  return x instanceof DefinedArray ? x.element(offset) : (x.data[offset] ?? Number.NaN)
}

/** The multi-index of a row-major offset in a shape of four axes. */
export function indexIn4(shape: readonly number[], offset: number): [number, number, number, number] {
  const [, b = 1, c = 1, d = 1] = shape
  return [Math.floor(offset / (b * c * d)), Math.floor(offset / (c * d)) % b, Math.floor(offset / d) % c, offset % d]
}

/** The element at a multi-index; throws outside the array, so that a wrong index cannot go unnoticed. */
export function at(x: Array64, index: readonly number[]): number {
  if (index.length !== x.shape.length) throw new RangeError(`index [${index}] does not fit the shape [${x.shape}]`)
  let offset = 0
  x.shape.forEach((extent, axis) => {
    const position = index[axis] ?? -1
    if (position < 0 || position >= extent) throw new RangeError(`index [${index}] is outside the shape [${x.shape}]`)
    offset = offset * extent + position
  })
  return x.data[offset] ?? Number.NaN
}

/** Calls `visit` with every multi-index of a shape in row-major order. The index is reused: copy it to keep it. */
export function forEachIndex(
  shape: readonly number[],
  visit: (index: readonly number[], offset: number) => void,
): void {
  const index = shape.map(() => 0)
  const count = countOf(shape)
  for (let offset = 0; offset < count; offset++) {
    visit(index, offset)
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      const next = (index[axis] ?? 0) + 1
      index[axis] = next < (shape[axis] ?? 1) ? next : 0
      if (index[axis] !== 0) break
    }
  }
}

/** An array whose elements are computed from their indices. */
export function build(shape: readonly number[], value: (index: readonly number[]) => number): Array64 {
  const data = new Float64Array(countOf(shape))
  forEachIndex(shape, (index, offset) => {
    data[offset] = value(index)
  })
  return { shape, data }
}

/** Normalises an axis; negative axes count from the end. */
export function axisOf(axis: number, rank: number): number {
  return axis < 0 ? axis + rank : axis
}
