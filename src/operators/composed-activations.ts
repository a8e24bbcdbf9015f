/**
 * Activations composed of elementwise operators. Rewriting makes one kernel of each, and of each derivative, so they need
 * no text of their own. Layers take them as functions: `dense(8, { activation: silu })`. Names, formulas and defaults are
 * Keras' (keras.activations).
 */

import { aNumber, checkOptions } from '../options.ts'
import { relu, sigmoid, tanh } from './activation.ts'
import { abs, add, clip, div, exp, greater, log, maximum, minimum, mul, neg, sub, where } from './elementwise.ts'
import type { Operand } from './operator.ts'
import type { Tensor } from './tensor.ts'

/**
 * x where x > 0, else `negativeSlope` x, elementwise (0.2 by default). Derivative: 1 or `negativeSlope`.
 * @throws WeftgradError 'shape' if x is not f32.
 */
export function leakyRelu(x: Operand, options: { readonly negativeSlope?: number } = {}): Tensor {
  const { negativeSlope = 0.2 } = checkOptions('leakyRelu', options, { negativeSlope: aNumber })
  return where(greater(x, 0), x, mul(x, negativeSlope))
}

/**
 * The exponential linear unit (Clevert et al., 2015), elementwise: x where x > 0, else `alpha` (e^x - 1); alpha is 1 by default.
 * @throws WeftgradError 'shape' if x is not f32.
 */
export function elu(x: Operand, options: { readonly alpha?: number } = {}): Tensor {
  const { alpha = 1 } = checkOptions('elu', options, { alpha: aNumber })
  return where(greater(x, 0), x, mul(sub(exp(minimum(x, 0)), 1), alpha))
}

/**
 * The scaled exponential linear unit (Klambauer et al., 2017), elementwise: s elu(x, a), with the constants that keep mean 0 and
 * variance 1.
 * @throws WeftgradError 'shape' if x is not f32.
 */
export function selu(x: Operand): Tensor {
  return mul(elu(x, { alpha: 1.6732632423543772 }), 1.0507009873554805)
}

/**
 * x sigmoid(x), elementwise, also called swish (Ramachandran et al., 2017).
 * @throws WeftgradError 'shape' if x is not f32.
 */
export const silu = (x: Operand): Tensor => mul(x, sigmoid(x))

/**
 * log(1 + e^x), elementwise, without overflow.
 * @throws WeftgradError 'shape' if x is not f32.
 */
export const softplus = (x: Operand): Tensor => add(maximum(x, 0), log(add(exp(neg(abs(x))), 1)))

/**
 * x tanh(softplus(x)), elementwise (Misra, 2019).
 * @throws WeftgradError 'shape' if x is not f32.
 */
export const mish = (x: Operand): Tensor => mul(x, tanh(softplus(x)))

/**
 * min(relu(x), 6), elementwise.
 * @throws WeftgradError 'shape' if x is not f32.
 */
export const relu6 = (x: Operand): Tensor => minimum(relu(x), 6)

/**
 * relu6(x + 3) / 6, elementwise: Keras 3's hard sigmoid.
 * @throws WeftgradError 'shape' if x is not f32.
 */
export const hardSigmoid = (x: Operand): Tensor => div(clip(add(x, 3), 0, 6), 6)

/**
 * x hardSigmoid(x), elementwise, also called hard swish (Howard et al., "Searching for MobileNetV3", 2019).
 * @throws WeftgradError 'shape' if x is not f32.
 */
export const hardSilu = (x: Operand): Tensor => mul(x, hardSigmoid(x))
