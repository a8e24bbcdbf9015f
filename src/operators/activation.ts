/**
 * Activations, which layers, `dense` and `conv2d` apply to their results. Each is an elementwise operator whose WGSL is
 * in `activations` in kernels/wgsl/functions.ts, so that other kernels can apply it before they store.
 */

import type { Node } from '../graph/node.ts'
import { functionRule } from '../kernels/elementwise/steps.ts'
import type { Activation as KernelActivation } from '../kernels/wgsl/functions.ts'
import { activations, isActivation } from '../kernels/wgsl/functions.ts'
import type { Kind } from '../options.ts'
import { aFlag, checkOptions, checkValue, oneOf } from '../options.ts'
import type { Unary } from './elementwise.ts'
import { add, clip, erf, exp, greater, mul, square, sub, unary, where } from './elementwise.ts'
import type { Operand } from './operator.ts'
import { apply } from './operator.ts'
import type { Tensor } from './tensor.ts'
import { aTensor } from './tensor.ts'

/** Makes the elementwise operator of an activation that kernels know. */
function activation(name: KernelActivation, vjp: Parameters<typeof unary>[2]): Unary {
  return unary(name, functionRule(activations[name]), vjp)
}

export const sigmoidOp = /* @__PURE__ */ activation('sigmoid', (ct, _, y) => mul(ct, mul(y, sub(1, y))))
const tanhOp = /* @__PURE__ */ activation('tanh', (ct, _, y) => mul(ct, sub(1, square(y))))
export const reluOp = /* @__PURE__ */ activation('relu', (ct, _, y) => where(greater(y, 0), ct, 0))

/**
 * GELU's derivatives are constant outside this range, where squares would overflow and infinity times 0 would give NaN.
 */
const within = (x: Tensor): Tensor => clip(x, -20, 20)

/** The derivative is P(x) + x p(x), with P the standard normal cumulative distribution and p its density. */
const geluOp = /* @__PURE__ */ activation('gelu', (ct, wide) => {
  const x = within(wide)
  const cumulative = mul(add(erf(mul(x, Math.SQRT1_2)), 1), 0.5)
  const density = mul(exp(mul(square(x), -0.5)), 1 / Math.sqrt(2 * Math.PI))
  return mul(ct, add(cumulative, mul(x, density)))
})

/** y = x / 2 (1 + t), t = tanh(u), u = c (x + 0.044715 x^3). */
const geluTanhOp = /* @__PURE__ */ activation('geluTanh', (ct, wide) => {
  const x = within(wide)
  const [c, cubic] = [Math.sqrt(2 / Math.PI), 0.044715]
  const x2 = square(x)
  const t = tanh(mul(mul(x, add(mul(x2, cubic), 1)), c))
  const slope = mul(mul(x, sub(1, square(t))), mul(add(mul(x2, 3 * cubic), 1), c))
  return mul(ct, mul(add(add(t, 1), slope), 0.5))
})

/** An activation that a layer applies to its result: a name, or any function of a tensor, such as {@link gelu}. */
export type Activation = 'linear' | 'relu' | 'sigmoid' | 'tanh' | ((x: Tensor) => Tensor)

const byName = { relu: reluOp, sigmoid: sigmoidOp, tanh: tanhOp } as const satisfies Record<string, Unary>

/** Extends a kind of option to also accept a function. */
export function orFunction([what, accepts]: Kind): Kind {
  return [`${what}, or a function of a tensor`, (value) => typeof value === 'function' || accepts(value)]
}

export const anActivation = /* @__PURE__ */ orFunction(/* @__PURE__ */ oneOf('linear', 'relu', 'sigmoid', 'tanh'))

/**
 * Applies an activation to a tensor. Rewriting moves it into the kernel that computes x if nothing else reads x. Throws
 * 'argument' if a function does not return a tensor.
 */
export function activate(activation: Activation, x: Tensor): Tensor {
  if (typeof activation === 'function') {
    const y = activation(x)
    checkValue("activation: the function's result", y, aTensor)
    return y
  }
  return activation === 'linear' ? x : apply(byName[activation], [x], {})
}

/** The activation that a node computes, if other kernels can apply it too. */
export function activationOf({ op, attributes }: Node): KernelActivation | undefined {
  const kind = op.step?.(attributes).kind
  return kind !== undefined && isActivation(kind) ? kind : undefined
}

/**
 * 1 / (1 + e^-x), elementwise, in (0, 1). Derivative: y (1 - y), where y is the result.
 * @throws WeftgradError 'shape' if x is not f32.
 */
export const sigmoid = (x: Operand): Tensor => apply(sigmoidOp, [x], {})
/**
 * Hyperbolic tangent, elementwise, in (-1, 1). Derivative: 1 - y², where y is the result.
 * @throws WeftgradError 'shape' if x is not f32.
 */
export const tanh = (x: Operand): Tensor => apply(tanhOp, [x], {})
/**
 * max(x, 0), elementwise, keeping NaN. Derivative: 1 above 0, else 0 (also at 0).
 * @throws WeftgradError 'shape' if x is not f32.
 */
export const relu = (x: Operand): Tensor => apply(reluOp, [x], {})
/**
 * The Gaussian error linear unit (Hendrycks & Gimpel, 2016), elementwise: x P(X < x) for a standard normal X, which is
 * x/2 (1 + erf(x / sqrt(2))). `approximate` takes x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x³))) instead; false by
 * default, as in Keras.
 * @throws WeftgradError 'shape' if x is not f32.
 */
export function gelu(x: Operand, options: { readonly approximate?: boolean } = {}): Tensor {
  const { approximate = false } = checkOptions('gelu', options, { approximate: aFlag })
  return apply(approximate ? geluTanhOp : geluOp, [x], {})
}
