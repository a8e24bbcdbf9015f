/**
 * The definition of an operator case, and how its inputs are made. A case is data as far as possible: shapes,
 * generators, tolerances and reasons. Only the calls of the engine, of the reference and of TensorFlow.js are code.
 *
 * The table drives the tests of the forward pass, of the gradients and of every kernel variant, the benchmarks, and the
 * table of operators in docs/support.md.
 */
import type { Tensor as TensorFlowTensor } from '@tensorflow/tfjs'
import type { Tensor } from '../../src/index.ts'
import type { Array64 } from '../reference/array64.ts'
import { array64, countOf } from '../reference/array64.ts'
import type { Tolerance } from '../support/compare.ts'
import type { TensorFlow } from '../support/tfjs.ts'

/** How to make an input's numbers. They are rounded to float32 (or are whole), so that all sides get the same. */
export type InputNumbers =
  /** Listed one by one. */
  | { readonly values: readonly number[] }
  /**
   * Uniform in [low, high); at least `margin` (0.05) away from the points `awayFrom`, where the operator has a kink.
   */
  | {
      readonly uniform: readonly [low: number, high: number]
      readonly awayFrom?: readonly number[]
      readonly margin?: number
      readonly seed?: number
    }
  /** Equally spaced in (low, high), shuffled: no two are near each other, so maxima have no near ties. */
  | { readonly distinct: readonly [low: number, high: number]; readonly seed?: number }
  /** Powers of ten with exponents uniform in [low, high). */
  | { readonly magnitudes: readonly [low: number, high: number]; readonly seed?: number }
  /** Whole numbers from 0 to below - 1. */
  | { readonly below: number; readonly seed?: number }

export type InputSpec = { readonly shape: readonly number[]; readonly dtype?: 'f32' | 'u32' } & InputNumbers

export interface Deviation extends Partial<Tolerance> {
  readonly because: string
}

export interface Case {
  /** Unique in the table; begins with the operator. */
  readonly name: string
  readonly operator: string
  readonly inputs: readonly InputSpec[]
  readonly run: (...inputs: Tensor[]) => Tensor
  readonly reference: (...inputs: Array64[]) => Array64
  /** The same work in TensorFlow.js, or the reason why it cannot be compared. */
  readonly tfjs: ((tf: TensorFlow, ...inputs: TensorFlowTensor[]) => TensorFlowTensor) | string
  /** Which inputs to differentiate with respect to. */
  readonly differentiable: readonly number[]
  /** Whether TensorFlow.js' gradients are comparable; if not, the reason. */
  readonly tfjsGradient: true | string
  /**
   * The gradients by convention, for inputs on a kink, where differences are meaningless: one per differentiable input.
   * Without it the gradients must agree with central differences of the reference.
   */
  readonly gradients?: (cotangent: Array64, ...inputs: Array64[]) => readonly Array64[]
  /**
   * Whether differences step by a fraction of each number, not by an absolute amount; for numbers of many magnitudes.
   */
  readonly relativeSteps?: boolean
  readonly tolerance?: Deviation
  readonly gradientTolerance?: Deviation
  /** The benchmarks that `npm run bench` runs; none by default. */
  readonly bench?: readonly Benchmark[]
}

/** What limits a kernel, and so what its speed is compared with: the adapter's GFLOP/s, or its GB/s. */
export type Bound = 'arithmetic' | 'memory'

/** The same work in TensorFlow.js: prepares what it needs once, and returns the function to time. */
export type TensorFlowWork = (tf: TensorFlow, ...inputs: TensorFlowTensor[]) => () => TensorFlowTensor

/** One kernel of a case, timed at one size: that of the forward pass, or of a gradient. */
export interface Benchmark {
  /** Unique in the table. Filters search it, and reports are compared by it. */
  readonly name: string
  readonly bound: Bound
  /** The shapes of the case's inputs. */
  readonly shapes: readonly (readonly number[])[]
  readonly tolerance: Tolerance
  /** Times the kernel of this gradient instead of the forward pass. */
  readonly gradient?: BenchmarkedGradient
  /** The forward pass in TensorFlow.js, if the case's own version is not the fastest. */
  readonly tfjs?: TensorFlowWork
}

export interface BenchmarkedGradient {
  /** The gradient is with respect to the input at this position. */
  readonly input: number
  /**
   * Its definition, given the cotangent of the result. It is checked against central differences of the case's
   * reference.
   */
  readonly reference: (cotangent: Array64, ...inputs: Array64[]) => Array64
  /** Its kernel in TensorFlow.js, without the forward pass. */
  readonly tfjs: (tf: TensorFlow, cotangent: TensorFlowTensor, ...inputs: TensorFlowTensor[]) => () => TensorFlowTensor
}

/** For cases about numbers that have no useful gradient, such as NaN. */
export const forwardOnly = {
  differentiable: [],
  tfjsGradient: 'the forward pass is the subject',
} as const satisfies Partial<Case>

/** rtol 1e-5; the absolute part allows for cancellation in sums and grows with the largest number expected. */
export function toleranceFor(expected: ArrayLike<number>, deviation?: Deviation): Tolerance {
  let largest = 1
  for (let i = 0; i < expected.length; i++) {
    const magnitude = Math.abs(expected[i] ?? 0)
    if (Number.isFinite(magnitude) && magnitude > largest) largest = magnitude
  }
  return { rtol: deviation?.rtol ?? 1e-5, atol: deviation?.atol ?? 1e-6 * largest }
}

/** A stream of uniform numbers in [0, 1) (Mulberry32, T. Ettinger 2017). */
export function randomStream(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

function numbersOf(spec: InputSpec, position: number): ArrayLike<number> {
  if ('values' in spec) return spec.values
  const numbers = new Float64Array(countOf(spec.shape))
  const random = randomStream(spec.seed ?? 1000 + position)
  if ('below' in spec) return numbers.map(() => Math.floor(random() * spec.below))
  if ('magnitudes' in spec) {
    const [low, high] = spec.magnitudes
    return numbers.map(() => 10 ** (low + (high - low) * random()))
  }
  if ('distinct' in spec) {
    const [low, high] = spec.distinct
    const spaced = numbers.map((_, i) => low + ((high - low) * (i + 0.5)) / numbers.length)
    return shuffle(spaced, random)
  }
  const [low, high] = spec.uniform
  const margin = spec.margin ?? 0.05
  return numbers.map(() => {
    for (;;) {
      const number = low + (high - low) * random()
      if (spec.awayFrom?.every((kink) => Math.abs(number - kink) > margin) ?? true) return number
    }
  })
}

/** Shuffles in place (Fisher and Yates). */
function shuffle(numbers: Float64Array, random: () => number): Float64Array {
  for (let i = numbers.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1))
    const [a = 0, b = 0] = [numbers[i], numbers[j]]
    numbers[i] = b
    numbers[j] = a
  }
  return numbers
}

export interface CaseInput {
  readonly shape: readonly number[]
  readonly dtype: 'f32' | 'u32'
  readonly data: Float32Array | Uint32Array
  /** The same numbers in float64. */
  readonly exact: Array64
}

/** The numbers of a case's inputs; the same every time. */
export function inputsOf(inputs: readonly InputSpec[]): CaseInput[] {
  return inputs.map((spec, position) => {
    const dtype = spec.dtype ?? 'f32'
    const numbers = numbersOf(spec, position)
    const data = dtype === 'f32' ? Float32Array.from(numbers) : Uint32Array.from(numbers)
    return { shape: spec.shape, dtype, data, exact: array64(spec.shape, data) }
  })
}

/** The cotangent of a case: weights of the result's elements in [-1, 1), the same every time. */
export function cotangentOf(shape: readonly number[], random: () => number = randomStream(7)): Array64 {
  return { shape, data: Float64Array.from({ length: countOf(shape) }, () => Math.fround(random() * 2 - 1)) }
}

/** Gradients by convention rather than calculus: the derivative of f, element by element. */
export const byElement =
  (derivative: (x: number) => number) =>
  (cotangent: Array64, x: Array64): Array64[] => [
    { shape: x.shape, data: x.data.map((value, i) => derivative(value) * (cotangent.data[i] ?? Number.NaN)) },
  ]
