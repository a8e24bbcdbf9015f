/** Penalties of large weights, by Keras' names. A model's penalty is added to its loss. */

import { abs, add, mul, square, sum } from '../operators/index.ts'
import type { Tensor } from '../operators/tensor.ts'
import { aNumber, checkOptions } from '../options.ts'
import { aFunctionOf, type Description, described, functionOf, type Makers } from './described.ts'

/**
 * Traces a weight's penalty, one number: shape []. weftgrad's own have a class name and settings, which files keep.
 */
export type Regularizer = ((weight: Tensor) => Tensor) & Partial<Description>

/** Keras' names of regularizers. */
export type RegularizerName = 'l1' | 'l2' | 'l1_l2'

/** A regularizer, its name, or its description. */
export type RegularizerOption = Regularizer | RegularizerName | Description

const absolute = (weight: Tensor, factor: number): Tensor => mul(sum(abs(weight)), factor)
const squared = (weight: Tensor, factor: number): Tensor => mul(sum(square(weight)), factor)

/** Options of {@link l1l2}; the defaults are Keras'. */
export interface L1L2Options {
  /** Factor of the sum of absolute values. 0 by default. */
  readonly l1?: number
  /** Factor of the sum of squares. 0 by default. */
  readonly l2?: number
}

const checked = (options: L1L2Options): L1L2Options =>
  checkOptions('regularizer', options, { l1: aNumber, l2: aNumber })

/** The sum of a weight's absolute values, times `factor`. @throws WeftgradError 'argument' for anything but a number. */
export function l1(factor = 0.01): Regularizer {
  checked({ l1: factor })
  return described('L1', { l1: factor }, (weight) => absolute(weight, factor))
}

/** The sum of a weight's squares, times `factor`. @throws WeftgradError 'argument' for anything but a number. */
export function l2(factor = 0.01): Regularizer {
  checked({ l2: factor })
  return described('L2', { l2: factor }, (weight) => squared(weight, factor))
}

/** The sum of both penalties. @throws WeftgradError 'argument' for options that are not numbers. */
export function l1l2(options: L1L2Options = {}): Regularizer {
  const { l1 = 0, l2 = 0 } = checked(options)
  return described('L1L2', { l1, l2 }, (weight) => add(absolute(weight, l1), squared(weight, l2)))
}

const makers: Makers<Regularizer> & Readonly<Record<RegularizerName, unknown>> = {
  l1: (options: L1L2Options = {}) => l1(checked(options).l1),
  l2: (options: L1L2Options = {}) => l2(checked(options).l2),
  l1_l2: l1l2,
}

/** The kind of options that take a regularizer. @internal */
export const aRegularizer = /* @__PURE__ */ aFunctionOf(makers)

/** The regularizer of an option. @internal */
export const regularizerOf = (given: RegularizerOption): Regularizer => functionOf(makers, given)
