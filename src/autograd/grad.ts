/**
 * Reverse-mode differentiation: walks the traced graph backward and adds the nodes of the gradient to it. Nothing runs;
 * the result is a graph like any other, so gradients can be differentiated again if their operators have rules.
 * Accumulation and un-broadcasting are done here, once, for all rules.
 */

import { WeftgradError } from '../errors.ts'
import type { Node, TensorType } from '../graph/node.ts'
import { keyOf, outputsOf, sameShape, shapeText, topologicalOrder } from '../graph/node.ts'
import type { EvaluateOptions } from '../graph/run/evaluate.ts'
import { evaluateKinds, evaluateValues } from '../graph/run/evaluate.ts'
import { elementCount } from '../kernels/kernel.ts'
import { broadcast } from '../operators/checks.ts'
import { add, mul, ones, reshape, sum, zeros } from '../operators/index.ts'
import { isOperator, noDerivative } from '../operators/operator.ts'
import { Tensor, tensor } from '../operators/tensor.ts'
import { aNumber, checkOptions, countFrom1, positive } from '../options.ts'
import { Random } from '../random.ts'

/**
 * The gradients of a traced scalar with respect to each of `wrt`, in their shapes; zeros if the scalar does not depend
 * on one. Like {@link grad}, for a result instead of a function.
 * @throws WeftgradError 'shape' if `y` has more than one element, 'no-gradient' if the path leads through an operator
 * without a derivative or a tensor of `wrt` is not f32.
 */
export function gradients(y: Tensor, wrt: readonly Tensor[]): Tensor[] {
  if (y.size !== 1 || y.dtype !== 'f32')
    throw new WeftgradError(
      'shape',
      `grad: the function must return one f32 number, not ${y}; sum or average it first.`,
    )
  for (const t of wrt)
    if (t.dtype !== 'f32')
      throw new WeftgradError('no-gradient', `grad: ${t} has no gradient: only f32 tensors have one.`)

  const order = topologicalOrder([y.value])
  const wanted = new Set(wrt.map((t) => keyOf(t.value)))
  const active = activeNodes(order, wanted)
  const cotangents = new Map<string, Tensor>([[keyOf(y.value), ones(y.shape)]])

  for (const node of [...order].reverse()) {
    if (!active.has(node.id)) continue
    const reached = node.outputs.map((_, index) => cotangents.get(keyOf({ node, index })))
    if (reached.every((cotangent) => cotangent === undefined)) continue
    const needs = node.inputs.map((value) => active.has(value.node.id) || wanted.has(keyOf(value)))
    if (!needs.includes(true)) continue
    backward(node, reached).forEach((gradient, i) => {
      const value = node.inputs[i]
      if (gradient === undefined || value === undefined || !needs[i]) return
      const key = keyOf(value)
      const own = sumTo(gradient, value.type, node.op.name)
      const known = cotangents.get(key)
      cotangents.set(key, known === undefined ? own : add(known, own))
    })
  }
  return wrt.map((t) => cotangents.get(keyOf(t.value)) ?? zeros(t.shape))
}

/** The nodes that produce, or depend on, a wanted value. */
function activeNodes(order: readonly Node[], wanted: ReadonlySet<string>): Set<number> {
  const active = new Set<number>()
  for (const node of order) {
    const gives = node.outputs.some((_, index) => wanted.has(keyOf({ node, index })))
    if (gives || node.inputs.some((value) => active.has(value.node.id))) active.add(node.id)
  }
  return active
}

/** The cotangents of a node's inputs. */
function backward(node: Node, cotangents: readonly (Tensor | undefined)[]): readonly (Tensor | undefined)[] {
  const { op, attributes } = node
  const outputs = outputsOf(node).map((value) => new Tensor(value))
  const [y] = outputs
  if (!isOperator(op) || y === undefined) return noDerivative(op)
  return op.vjp({
    name: op.name,
    attributes,
    inputs: node.inputs.map((value) => new Tensor(value)),
    outputs,
    y,
    cotangents,
    cotangent: cotangents[0] ?? zeros(y.shape),
  })
}

/**
 * Sums over the axes along which an operand was broadcast. Throws 'shape' if the operand does not broadcast to the
 * gradient's shape.
 */
function sumTo(gradient: Tensor, { shape }: TensorType, operator: string): Tensor {
  if (sameShape(gradient.shape, shape)) return gradient
  if (!sameShape(broadcast([gradient.shape, shape]) ?? [], gradient.shape))
    throw new WeftgradError(
      'shape',
      `${operator}: its vjp returns ${shapeText(gradient.shape)} for an operand of ${shapeText(shape)}.`,
    )
  const lead = gradient.shape.length - shape.length
  const axes = gradient.shape.flatMap((extent, axis) =>
    axis < lead || (shape[axis - lead] === 1 && extent !== 1) ? [axis] : [],
  )
  return reshape(sum(gradient, { axes }), shape)
}

/** A function of tensors that returns one f32 number. */
export type ScalarFunction<In extends Tensor[] = Tensor[]> = (...inputs: In) => Tensor

/** A gradient for each of the given tensors, in its shape. */
export type GradientsOf<Tensors extends readonly Tensor[]> = { -readonly [I in keyof Tensors]: Tensor }

/**
 * Returns a function that gives the value of `f` and its gradients with respect to the tensors in `wrt` (parameters
 * that `f` closes over), or to all of its arguments. It only traces; `evaluate` value and gradients together.
 *
 * Reverse mode (Baydin et al., "Automatic Differentiation in Machine Learning: a Survey", 2018, section 3.2): one backward
 * walk gives all gradients. A gradient has its tensor's shape, and is zero where `f` does not depend on it.
 * @throws WeftgradError the function throws 'shape' if `f` returns anything but one f32 number; 'no-gradient' if the
 * path leads through an operator without a derivative, or one of the tensors is not f32.
 */
export function valueAndGrad<In extends Tensor[]>(
  f: ScalarFunction<In>,
): (...inputs: In) => [value: Tensor, gradients: GradientsOf<In>]
export function valueAndGrad<In extends Tensor[], const Wrt extends readonly Tensor[]>(
  f: ScalarFunction<In>,
  wrt: Wrt,
): (...inputs: In) => [value: Tensor, gradients: GradientsOf<Wrt>]
export function valueAndGrad(
  f: ScalarFunction,
  wrt?: readonly Tensor[],
): (...inputs: Tensor[]) => [value: Tensor, gradients: Tensor[]] {
  return (...inputs) => {
    const value = f(...inputs)
    return [value, gradients(value, wrt ?? inputs)]
  }
}

/**
 * Like {@link valueAndGrad}, but returns only the gradients. They are graphs and can be differentiated again.
 * @throws WeftgradError as the function from `valueAndGrad`.
 */
export function grad<In extends Tensor[]>(f: ScalarFunction<In>): (...inputs: In) => GradientsOf<In>
export function grad<In extends Tensor[], const Wrt extends readonly Tensor[]>(
  f: ScalarFunction<In>,
  wrt: Wrt,
): (...inputs: In) => GradientsOf<Wrt>
export function grad(f: ScalarFunction, wrt?: readonly Tensor[]): (...inputs: Tensor[]) => Tensor[] {
  return (...inputs) => gradients(f(...inputs), wrt ?? inputs)
}

/** Options of {@link gradCheck}. */
export interface GradCheckOptions extends EvaluateOptions {
  /**
   * Half the distance between the two points of a central difference. 1e-2 by default: float32 needs large differences.
   */
  readonly epsilon?: number
  /** Number of random directions. 4 by default. */
  readonly directions?: number
  /** Seed of the directions. 1 by default. */
  readonly seed?: number
}

/** The result of {@link gradCheck}: how far gradients and difference quotients differ. */
export interface GradCheckResult {
  /** |difference quotient - directional derivative| / max(1, |either|), the largest over the directions. */
  readonly error: number
  /** Each direction's two slopes. */
  readonly directions: readonly {
    /** (f(x + epsilon d) - f(x - epsilon d)) / (2 epsilon) */
    readonly numeric: number
    /** The dot product of the gradients and the direction d. */
    readonly analytic: number
  }[]
}

/**
 * Compares the gradients of `f` at `inputs` with central differences along random directions. All arithmetic is float32
 * on the device: expect errors around 1e-3, and larger ones near kinks.
 * @param f returns one f32 number. @param inputs f32 tensors at which it is smooth.
 * @throws WeftgradError as the function from {@link grad}, and as `Tensor.data`.
 */
export async function gradCheck(
  f: ScalarFunction,
  inputs: readonly Tensor[],
  given: GradCheckOptions = {},
): Promise<GradCheckResult> {
  const kinds = { ...evaluateKinds, epsilon: positive, directions: countFrom1, seed: aNumber }
  const { epsilon = 1e-2, directions = 4, seed = 1, ...options } = checkOptions('gradCheck', given, kinds)
  const slopes = gradients(f(...inputs), inputs)
  const random = new Random(seed, 'gradCheck')
  const pairs = Array.from({ length: directions }, () => {
    const along = inputs.map((x) => {
      const values = Float32Array.from({ length: elementCount(x.shape) }, () => random.uniform() * 2 - 1)
      return tensor(values, x.shape)
    })
    const moved = (step: number): Tensor => f(...inputs.map((x, i) => add(x, mul(along[i] ?? 0, step))))
    const analytic = slopes.map((slope, i) => sum(mul(slope, along[i] ?? 0))).reduce((a, b) => add(a, b))
    return [moved(epsilon), moved(-epsilon), analytic] as const
  })
  const numbers = await evaluateValues(
    pairs.flat().map((t) => t.value),
    options,
  )
  const results = pairs.map((_, i) => {
    const [above = 0, below = 0, analytic = 0] = [0, 1, 2].map((k) => numbers[3 * i + k]?.[0] ?? Number.NaN)
    return { numeric: (above - below) / (2 * epsilon), analytic }
  })
  const error = Math.max(
    ...results.map(({ numeric, analytic }) => {
      const scale = Math.max(1, Math.abs(numeric), Math.abs(analytic))
      return Math.abs(numeric - analytic) / scale
    }),
  )
  return { error, directions: results }
}
