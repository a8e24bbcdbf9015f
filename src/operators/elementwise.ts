/**
 * Elementwise operators, with numpy's broadcasting: shapes are aligned at the last axis, and an extent of 1 repeats.
 * Gradients are summed over repeated extents. Chains of operators become one kernel. Their WGSL is in
 * kernels/elementwise/steps.ts.
 *
 * All throw 'shape' for operands that do not fit.
 */

import { WeftgradError } from '../errors.ts'
import type { NoAttributes, TensorType } from '../graph/node.ts'
import { planStep } from '../graph/rewrite/elementwise-chain.ts'
import type { StepRule } from '../kernels/elementwise/steps.ts'
import * as rules from '../kernels/elementwise/steps.ts'
import { broadcastShapes, f32, take, u32 } from './checks.ts'
import type { Operand, Operator } from './operator.ts'
import { apply, noDerivative } from './operator.ts'
import type { Tensor } from './tensor.ts'

export type Unary = Operator<NoAttributes, [x: Tensor]>
type Binary = Operator<NoAttributes, [a: Tensor, b: Tensor]>

/** The shape rule for f32 operands that broadcast. */
function elementwiseShape(name: string, inputs: readonly TensorType[]): TensorType[] {
  take(name, inputs, [])
  return [f32(broadcastShapes(name, inputs))]
}

/**
 * Makes an operator on one operand. `vjp` computes its cotangent from the result's cotangent, the operand and the
 * result.
 */
export function unary(
  name: string,
  rule: StepRule,
  vjp: (cotangent: Tensor, x: Tensor, y: Tensor) => Tensor | undefined,
  uniform?: (x: number) => number,
): Unary {
  return {
    name,
    shape: (inputs) => elementwiseShape(name, inputs),
    lower: planStep,
    step: () => ({ kind: name, rule }),
    vjp: ({ cotangent, inputs: [x], y }) => [vjp(cotangent, x, y)],
    ...(uniform && { uniform }),
  }
}

/** Makes an operator on two operands. */
function binary(
  name: string,
  rule: StepRule,
  vjp: (cotangent: Tensor, a: Tensor, b: Tensor, y: Tensor) => readonly (Tensor | undefined)[],
  uniform?: (a: number, b: number) => number,
): Binary {
  return {
    name,
    shape: (inputs) => elementwiseShape(name, inputs),
    lower: planStep,
    step: () => ({ kind: name, rule }),
    vjp: ({ cotangent, inputs: [a, b], y }) => vjp(cotangent, a, b, y),
    ...(uniform && { uniform }),
  }
}

const flat = (): undefined => undefined
const flatInBoth = (): readonly undefined[] => []

export const addOp = /* @__PURE__ */ binary(
  'add',
  rules.add,
  (ct) => [ct, ct],
  (a, b) => a + b,
)
export const subOp = /* @__PURE__ */ binary(
  'sub',
  rules.sub,
  (ct) => [ct, neg(ct)],
  (a, b) => a - b,
)
export const mulOp = /* @__PURE__ */ binary(
  'mul',
  rules.mul,
  (ct, a, b) => [mul(ct, b), mul(ct, a)],
  (a, b) => a * b,
)
export const divOp = /* @__PURE__ */ binary(
  'div',
  rules.div,
  (ct, _, b, y) => [div(ct, b), neg(div(mul(ct, y), b))],
  (a, b) => a / b,
)
export const powOp = /* @__PURE__ */ binary('pow', rules.pow, (ct, a, b, y) => {
  // x^0 is flat, also at 0 (and at NaN), where x^-1 is infinite: use another base there.
  const isFlat = greater(equal(b, 0), greater(abs(a), 0))
  const slope = mul(b, pow(where(isFlat, 1, a), sub(b, 1)))
  // Selected, not multiplied by 0: a^b may be infinite.
  const isCutOff = lessEqual(a, 0)
  const logarithm = log(where(isCutOff, 1, a))
  return [mul(ct, slope), where(isCutOff, 0, mul(ct, mul(y, logarithm)))]
})
export const maximumOp = /* @__PURE__ */ binary('maximum', rules.maximum, (ct, a, b) => {
  const first = greaterEqual(a, b)
  return [where(first, ct, 0), where(first, 0, ct)]
})
export const minimumOp = /* @__PURE__ */ binary('minimum', rules.minimum, (ct, a, b) => {
  const first = lessEqual(a, b)
  return [where(first, ct, 0), where(first, 0, ct)]
})
export const greaterOp = /* @__PURE__ */ binary('greater', rules.greater, flatInBoth)
export const greaterEqualOp = /* @__PURE__ */ binary('greaterEqual', rules.greaterEqual, flatInBoth)
export const lessOp = /* @__PURE__ */ binary('less', rules.less, flatInBoth)
export const lessEqualOp = /* @__PURE__ */ binary('lessEqual', rules.lessEqual, flatInBoth)
export const equalOp = /* @__PURE__ */ binary('equal', rules.equal, flatInBoth)

export const whereOp: Operator<NoAttributes, [condition: Tensor, a: Tensor, b: Tensor]> = {
  name: 'where',
  shape: (inputs) => elementwiseShape('where', inputs),
  lower: planStep,
  step: () => ({ kind: 'where', rule: rules.where }),
  vjp: ({ cotangent, inputs: [condition] }) => [
    undefined,
    where(condition, cotangent, 0),
    where(condition, 0, cotangent),
  ],
}

export const negOp = /* @__PURE__ */ unary(
  'neg',
  rules.neg,
  (ct) => neg(ct),
  (x) => -x,
)
export const absOp = /* @__PURE__ */ unary('abs', rules.abs, (ct, x) => mul(ct, sign(x)))
export const signOp = /* @__PURE__ */ unary('sign', rules.sign, flat)
export const expOp = /* @__PURE__ */ unary('exp', rules.exp, (ct, _, y) => mul(ct, y))
export const logOp = /* @__PURE__ */ unary('log', rules.log, (ct, x) => div(ct, x))
export const sqrtOp = /* @__PURE__ */ unary('sqrt', rules.sqrt, (ct, _, y) => div(mul(ct, 0.5), y))
export const erfOp = /* @__PURE__ */ unary('erf', rules.erf, (ct, x) =>
  mul(ct, mul(exp(neg(square(x))), 2 / Math.sqrt(Math.PI))),
)
export const squareOp = /* @__PURE__ */ unary('square', rules.square, (ct, x) => mul(ct, mul(x, 2)))
export const reciprocalOp = /* @__PURE__ */ unary('reciprocal', rules.reciprocal, (ct, _, y) => neg(mul(ct, square(y))))

export const clipOp: Operator<{ readonly min: number; readonly max: number }, [x: Tensor]> = {
  name: 'clip',
  shape(inputs, { min, max }) {
    if (!(min <= max))
      throw new WeftgradError('argument', `clip: min ${min} must not be above max ${max}.`, { min, max })
    return elementwiseShape('clip', inputs)
  },
  lower: planStep,
  step: (limits) => ({ kind: 'clip', rule: rules.clip, ...limits }),
  vjp: ({ cotangent, inputs: [x], attributes: { min, max } }) => [
    where(mul(greaterEqual(x, min), lessEqual(x, max)), cotangent, 0),
  ],
}

export const toF32Op: Unary = {
  name: 'toF32',
  shape(inputs) {
    take('toF32', inputs, [{ dtype: 'u32' }])
    return [f32(inputs[0].shape)]
  },
  lower: planStep,
  step: () => ({ kind: 'toF32', rule: rules.toF32 }),
  // The numbers do not change; their source decides whether there is a derivative (argmax has none).
  vjp: ({ cotangent }) => [cotangent],
}

/** f32 as u32, rounded towards zero, saturating. */
export const toU32Op: Unary = {
  name: 'toU32',
  shape(inputs) {
    take('toU32', inputs, [])
    return [u32(inputs[0].shape)]
  },
  lower: planStep,
  step: () => ({ kind: 'toU32', rule: rules.toU32 }),
  vjp: noDerivative,
}

/**
 * a + b, elementwise; shapes broadcast. Both derivatives are 1.
 * @throws WeftgradError 'shape' if the shapes do not broadcast, or an operand is not f32.
 */
export const add = (a: Operand, b: Operand): Tensor => apply(addOp, [a, b], {})
/**
 * a - b, elementwise; shapes broadcast. Derivatives: 1 and -1.
 * @throws WeftgradError 'shape' if the shapes do not broadcast, or an operand is not f32.
 */
export const sub = (a: Operand, b: Operand): Tensor => apply(subOp, [a, b], {})
/**
 * a * b, elementwise; shapes broadcast. Derivatives: b and a. For products of matrices see {@link matmul}.
 * @throws WeftgradError 'shape' if the shapes do not broadcast, or an operand is not f32.
 */
export const mul = (a: Operand, b: Operand): Tensor => apply(mulOp, [a, b], {})
/**
 * a / b, elementwise; shapes broadcast. Derivatives: 1 / b and -a / b². Dividing by 0 gives an infinity; 0 / 0 gives
 * NaN.
 * @throws WeftgradError 'shape' if the shapes do not broadcast, or an operand is not f32.
 */
export const div = (a: Operand, b: Operand): Tensor => apply(divOp, [a, b], {})
/**
 * a to the power of b, elementwise; shapes broadcast. Derivatives: b a^(b - 1), and a^b ln a, which counts as 0 where a
 * is 0 or negative, even for infinite powers such as 0^-1.
 * @throws WeftgradError 'shape' if the shapes do not broadcast, or an operand is not f32.
 */
export const pow = (a: Operand, b: Operand): Tensor => apply(powOp, [a, b], {})
/**
 * The larger of the two, elementwise; NaN if either is. Shapes broadcast. At a tie the gradient goes to `a`.
 * @throws WeftgradError 'shape' if the shapes do not broadcast, or an operand is not f32.
 */
export const maximum = (a: Operand, b: Operand): Tensor => apply(maximumOp, [a, b], {})
/**
 * The smaller of the two, elementwise; NaN if either is. Shapes broadcast. At a tie the gradient goes to `a`.
 * @throws WeftgradError 'shape' if the shapes do not broadcast, or an operand is not f32.
 */
export const minimum = (a: Operand, b: Operand): Tensor => apply(minimumOp, [a, b], {})
/**
 * 1 where a > b, else 0, as f32; use it with {@link where}. Shapes broadcast; the derivative is 0.
 * @throws WeftgradError 'shape' if the shapes do not broadcast, or an operand is not f32.
 */
export const greater = (a: Operand, b: Operand): Tensor => apply(greaterOp, [a, b], {})
/**
 * 1 where a >= b, else 0, as f32. Shapes broadcast; the derivative is 0.
 * @throws WeftgradError 'shape' if the shapes do not broadcast, or an operand is not f32.
 */
export const greaterEqual = (a: Operand, b: Operand): Tensor => apply(greaterEqualOp, [a, b], {})
/**
 * 1 where a < b, else 0, as f32. Shapes broadcast; the derivative is 0.
 * @throws WeftgradError 'shape' if the shapes do not broadcast, or an operand is not f32.
 */
export const less = (a: Operand, b: Operand): Tensor => apply(lessOp, [a, b], {})
/**
 * 1 where a <= b, else 0, as f32. Shapes broadcast; the derivative is 0.
 * @throws WeftgradError 'shape' if the shapes do not broadcast, or an operand is not f32.
 */
export const lessEqual = (a: Operand, b: Operand): Tensor => apply(lessEqualOp, [a, b], {})
/**
 * 1 where a = b, else 0, as f32. Shapes broadcast; the derivative is 0.
 * @throws WeftgradError 'shape' if the shapes do not broadcast, or an operand is not f32.
 */
export const equal = (a: Operand, b: Operand): Tensor => apply(equalOp, [a, b], {})
/**
 * `a` where the condition is not 0, else `b`, elementwise; all three shapes broadcast. The gradient goes to the
 * selected operand; the other gets 0 and the condition none. An infinite derivative in the branch not taken still gives
 * NaN: guard the operand of that branch too.
 * @throws WeftgradError 'shape' if the shapes do not broadcast, or an operand is not f32.
 */
export const where = (condition: Operand, a: Operand, b: Operand): Tensor => apply(whereOp, [condition, a, b], {})

/** -x, elementwise. @throws WeftgradError 'shape' if x is not f32. */
export const neg = (x: Operand): Tensor => apply(negOp, [x], {})
/** |x|, elementwise. Derivative: the sign of x, 0 at 0. @throws WeftgradError 'shape' if x is not f32. */
export const abs = (x: Operand): Tensor => apply(absOp, [x], {})
/** -1, 0 or 1, elementwise; NaN for NaN. The derivative is 0. @throws WeftgradError 'shape' if x is not f32. */
export const sign = (x: Operand): Tensor => apply(signOp, [x], {})
/** e to the power of x, elementwise. Derivative: the result. @throws WeftgradError 'shape' if x is not f32. */
export const exp = (x: Operand): Tensor => apply(expOp, [x], {})
/**
 * Natural logarithm, elementwise; NaN below 0, minus infinity at 0. Derivative: 1 / x.
 * @throws WeftgradError 'shape' if x is not f32.
 */
export const log = (x: Operand): Tensor => apply(logOp, [x], {})
/**
 * Square root, elementwise; NaN below 0. Derivative: 1 / (2 sqrt(x)), infinite at 0.
 * @throws WeftgradError 'shape' if x is not f32.
 */
export const sqrt = (x: Operand): Tensor => apply(sqrtOp, [x], {})
/**
 * The error function, elementwise, in (-1, 1). Derivative: 2 / sqrt(pi) e^(-x²).
 * @throws WeftgradError 'shape' if x is not f32.
 */
export const erf = (x: Operand): Tensor => apply(erfOp, [x], {})
/** x², elementwise. Derivative: 2x. @throws WeftgradError 'shape' if x is not f32. */
export const square = (x: Operand): Tensor => apply(squareOp, [x], {})
/** 1 / x, elementwise. Derivative: -1 / x². @throws WeftgradError 'shape' if x is not f32. */
export const reciprocal = (x: Operand): Tensor => apply(reciprocalOp, [x], {})
/**
 * x clipped to [min, max], elementwise, keeping NaN. Derivative: 1 inside and at the limits, 0 outside.
 * @throws WeftgradError 'argument' if min is above max, 'shape' if x is not f32.
 */
export const clip = (x: Operand, min: number, max: number): Tensor => apply(clipOp, [x], { min, max })
/** u32 numbers as f32, rounded above 2^24. Has no gradient. @throws WeftgradError 'shape' if x is not u32. */
export const toF32 = (x: Tensor): Tensor => apply(toF32Op, [x], {})
