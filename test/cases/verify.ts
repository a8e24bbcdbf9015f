/** Checks a case on a device: compares what the engine computes with the reference. */
import type { Device } from '../../src/gpu/device.ts'
import type { Tensor } from '../../src/index.ts'
import { evaluate, gradients, mul, planOf, sum, tensor } from '../../src/index.ts'
import type { Array64 } from '../reference/array64.ts'
import { directionalDerivative, elementDerivative } from '../reference/differences.ts'
import type { NumbersWithShape } from '../support/compare.ts'
import { assertAllClose } from '../support/compare.ts'
import type { Case, CaseInput } from './case.ts'
import { cotangentOf, inputsOf, randomStream, toleranceFor } from './case.ts'

/** Inputs of at most this many elements are differentiated element by element, larger ones at a sample of elements. */
const wholeUpTo = 64
const sampleSize = 32

interface Derivatives {
  /** The elements of the input that these belong to. */
  readonly elements: readonly number[]
  readonly expected: Float64Array
  /** The derivative in a random direction, for inputs of which only a sample is tested. */
  readonly directional: { readonly direction: Float64Array; readonly expected: number } | undefined
}

/** The reference's results for a case. */
export interface Expectation {
  readonly inputs: readonly CaseInput[]
  readonly forward: NumbersWithShape
  readonly cotangent: Array64
  /** One per differentiable input. */
  readonly derivatives: readonly Derivatives[]
}

export function expectationOf(testCase: Case): Expectation {
  const inputs = inputsOf(testCase.inputs)
  const exact = inputs.map((input) => input.exact)
  const result = testCase.reference(...exact)
  const random = randomStream(7)
  const cotangent = cotangentOf(result.shape, random)
  const byConvention = testCase.gradients?.(cotangent, ...exact)
  const differentiated = { f: testCase.reference, inputs: exact, cotangent }
  const derivatives = testCase.differentiable.map((position, i): Derivatives => {
    const count = exact[position]?.data.length ?? 0
    const all = Array.from({ length: count }, (_, element) => element)
    const known = byConvention?.[i]
    if (known !== undefined) return { elements: all, expected: known.data, directional: undefined }
    const sampled = count > wholeUpTo
    const elements = sampled ? Array.from({ length: sampleSize }, () => Math.floor(random() * count)) : all
    const direction = Float64Array.from({ length: count }, () => random() * 2 - 1)
    return {
      elements,
      expected: Float64Array.from(elements, (element) =>
        elementDerivative(differentiated, position, element, testCase.relativeSteps),
      ),
      directional: sampled
        ? { direction, expected: directionalDerivative(differentiated, position, direction) }
        : undefined,
    }
  })
  // Beyond float32's range the engine must give infinities, below it zeros.
  return { inputs, forward: { shape: result.shape, data: Float32Array.from(result.data) }, cotangent, derivatives }
}

/** The tensors of a case: its result and, if it has any, its gradients. */
export function traced(
  testCase: Case,
  { inputs, cotangent }: { readonly inputs: readonly CaseInput[]; readonly cotangent?: Array64 },
): { y: Tensor; gradients: readonly Tensor[] } {
  const leaves = inputs.map((input) => tensor(input.data, [...input.shape], input.dtype))
  const y = testCase.run(...leaves)
  const wanted = leaves.filter((_, position) => testCase.differentiable.includes(position))
  if (wanted.length === 0) return { y, gradients: [] }
  const weights = tensor(Float32Array.from((cotangent ?? cotangentOf(y.shape)).data), [...y.shape])
  return { y, gradients: gradients(sum(mul(y, weights)), wanted) }
}

export type Variants = Readonly<Record<string, string>>

export interface Computed {
  readonly forward: NumbersWithShape
  readonly gradients: readonly NumbersWithShape[]
}

export interface RunOptions {
  readonly variants?: Variants
  /** False runs the graph as traced. */
  readonly fuse?: boolean
}

/** Runs a case: computes its result and its gradients in one evaluation. */
export async function computed(
  device: Device,
  testCase: Case,
  expectation: Expectation,
  { variants = {}, fuse = true }: RunOptions = {},
): Promise<Computed> {
  const { y, gradients: dx } = traced(testCase, expectation)
  const all = [y, ...dx]
  const numbers = await evaluate(all, { device, variants, fuse })
  const [forward, ...derivatives] = all.map(
    (t, i): NumbersWithShape => ({ shape: t.shape, data: numbers[i] ?? new Float32Array() }),
  )
  if (forward === undefined) throw new Error('nothing was computed')
  return { forward, gradients: derivatives }
}

export function checkForward(testCase: Case, actual: NumbersWithShape, expected: NumbersWithShape, what: string): void {
  assertAllClose(actual, expected, toleranceFor(expected.data, testCase.tolerance), what)
}

export function checkGradients(
  testCase: Case,
  expectation: Expectation,
  actual: readonly NumbersWithShape[],
  what: string,
) {
  expectation.derivatives.forEach(({ elements, expected, directional }, i) => {
    const position = testCase.differentiable[i] ?? -1
    const gradient = actual[i]
    const input = expectation.inputs[position]
    if (gradient === undefined || input === undefined) throw new Error(`input ${position} has no gradient`)
    if (gradient.shape.join() !== input.shape.join())
      throw new Error(`${what}: shape [${gradient.shape}] of input ${position}`)
    const tolerance = toleranceFor(expected, testCase.gradientTolerance)
    const picked = elements.map((element) => gradient.data[element] ?? Number.NaN)
    assertAllClose(
      { shape: [elements.length], data: picked },
      { shape: [elements.length], data: expected },
      tolerance,
      `${what}, input ${position}, elements ${elements.slice(0, 3).join(', ')} ...`,
    )
    if (directional === undefined) return
    const products = Float64Array.from(directional.direction, (d, j) => d * (gradient.data[j] ?? Number.NaN))
    const total = products.reduce((a, b) => a + b, 0)
    // The sum may cancel, so the tolerance is that of its terms.
    const size = products.reduce((a, b) => a + Math.abs(b), 0)
    assertAllClose(
      { shape: [], data: [total] },
      { shape: [], data: [directional.expected] },
      { rtol: 0, atol: tolerance.atol + tolerance.rtol * size },
      `${what}, input ${position}, in a random direction`,
    )
  })
}

/**
 * The runs that cover every variant of every kernel family of a case: the n-th run takes each family's n-th variant.
 */
export function variantRuns(device: Device, testCase: Case, expectation: Expectation): Variants[] {
  const { y, gradients: dx } = traced(testCase, expectation)
  const { choices } = planOf([y, ...dx], { device })
  const variantsOf = new Map<string, Set<string>>()
  for (const { family, alternatives } of choices) {
    variantsOf.set(family, new Set([...(variantsOf.get(family) ?? []), ...alternatives]))
  }
  const most = Math.max(0, ...[...variantsOf.values()].map((names) => names.size))
  return Array.from({ length: most }, (_, n) => {
    const run: Record<string, string> = {}
    for (const [family, names] of variantsOf) {
      const variant = [...names][n]
      if (variant !== undefined) run[family] = variant
    }
    return run
  })
}
