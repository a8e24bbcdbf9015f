/** Central differences of the float64 reference: gradients without calculus. */
import type { Array64 } from './array64.ts'

export interface Differentiated {
  readonly f: (...inputs: Array64[]) => Array64
  readonly inputs: readonly Array64[]
  /** The weights of the result's elements; sum(cotangent * f(inputs)) is differentiated. */
  readonly cotangent: Array64
}

const stepSize = 1e-5

/** d/dt of sum(cotangent * f(..., x + t * direction, ...)) at t = 0, for the input x at a position. */
export function directionalDerivative(
  { f, inputs, cotangent }: Differentiated,
  position: number,
  direction: Float64Array,
): number {
  const moved = (t: number): Float64Array =>
    f(
      ...inputs.map((input, i) =>
        i === position
          ? { shape: input.shape, data: input.data.map((value, j) => value + t * (direction[j] ?? 0)) }
          : input,
      ),
    ).data
  const above = moved(stepSize)
  const below = moved(-stepSize)
  // Differences first: elements that do not depend on x then cancel exactly.
  return cotangent.data.reduce(
    (sum, weight, i) => sum + (weight * ((above[i] ?? 0) - (below[i] ?? 0))) / (2 * stepSize),
    0,
  )
}

/** The derivative with respect to one element; with `relative` the step is a fraction of the element. */
export function elementDerivative(
  differentiated: Differentiated,
  position: number,
  element: number,
  relative = false,
): number {
  const values = differentiated.inputs[position]?.data ?? new Float64Array()
  const scale = relative ? Math.abs(values[element] ?? 1) : 1
  const direction = new Float64Array(values.length)
  direction[element] = scale
  return directionalDerivative(differentiated, position, direction) / scale
}
