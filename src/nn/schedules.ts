/** Learning-rate schedules, computed in float64. Steps count from 0. */

import { checkOptions, checkValue, type Kind, positive, required } from '../options.ts'

/** A learning rate that changes from step to step. */
export interface Schedule {
  /** The schedule's name and numbers: equal text means equal rates. */
  readonly name: string
  /** The rate of a step, counted from 0, in a training of `totalSteps` steps. */
  rate(step: number, totalSteps: number): number
}

const fromZero: Kind = ['a non-negative number', (value) => value === 0 || positive[1](value)]

/**
 * The same rate at every step; a plain number means this.
 * @throws WeftgradError 'argument' for a rate that is not positive.
 */
export function constantRate(learningRate: number): Schedule {
  checkValue('The learning rate', learningRate, positive)
  return { name: `constant(${learningRate})`, rate: () => learningRate }
}

/**
 * Rises linearly to `peak` over the first `warmupSteps`, then falls along half a cosine to `final` (Loshchilov & Hutter
 * 2017, without restarts).
 * @throws WeftgradError 'argument' for a peak that is not positive, or a negative number of steps or final rate.
 */
export function cosineRate(
  peak: number,
  options: { readonly warmupSteps?: number; readonly final?: number } = {},
): Schedule {
  checkValue('The peak learning rate', peak, positive)
  const kinds = { warmupSteps: fromZero, final: fromZero }
  const { warmupSteps = 0, final = 0 } = checkOptions('cosineRate', options, kinds)
  return {
    name: `cosine(${peak}, warmup ${warmupSteps}, final ${final})`,
    rate(step, totalSteps) {
      if (step < warmupSteps) return (peak * (step + 1)) / warmupSteps
      const progress = Math.min(1, (step - warmupSteps) / Math.max(1, totalSteps - warmupSteps))
      return final + ((peak - final) * (1 + Math.cos(Math.PI * progress))) / 2
    },
  }
}

/**
 * Multiplies the rate by `factor` (0.1 by default) after every `every` steps.
 * @throws WeftgradError 'argument' for numbers that are not positive.
 */
export function stepRate(
  learningRate: number,
  options: { readonly every: number; readonly factor?: number },
): Schedule {
  checkValue('The learning rate', learningRate, positive)
  const { every, factor = 0.1 } = checkOptions('stepRate', options, { every: required(positive), factor: positive })
  return {
    name: `step(${learningRate}, every ${every}, factor ${factor})`,
    rate: (step) => learningRate * factor ** Math.floor(step / every),
  }
}

/** Turns a number into a constant rate. */
export function scheduleOf(rate: number | Schedule): Schedule {
  return typeof rate === 'number' ? constantRate(rate) : rate
}
