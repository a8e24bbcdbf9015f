/** Learning-rate schedules: from a step (from 0) of a number of steps in all to a rate. Computed in float64. */

import { WeftgradError } from '../errors.ts'

/** A learning rate that changes from step to step. */
export interface Schedule {
  /** Says the schedule and its numbers; equal text means equal rates. */
  readonly name: string
  /** The rate of a step, from 0, of a training of so many steps in all. */
  rate(step: number, totalSteps: number): number
}

function positive(name: string, value: number): void {
  if (!(value > 0 && Number.isFinite(value)))
    throw new WeftgradError('argument', `${name} must be a positive number, not ${value}.`, { value })
}

function atLeastZero(name: string, value: number): void {
  if (!(value >= 0 && Number.isFinite(value)))
    throw new WeftgradError('argument', `${name} must be a number from 0, not ${value}.`, { value })
}

/**
 * The same rate at every step: what a number stands for.
 * @throws WeftgradError 'argument' for a rate that is not positive.
 */
export function constantRate(learningRate: number): Schedule {
  positive('The learning rate', learningRate)
  return { name: `constant(${learningRate})`, rate: () => learningRate }
}

/**
 * Rises linearly to `peak` over the first `warmupSteps`, then falls along half a cosine to `final` (Loshchilov & Hutter
 * 2017, without restarts).
 * @throws WeftgradError 'argument' for a peak that is not positive, or negative steps or final rate.
 */
export function cosineRate(peak: number, { warmupSteps = 0, final = 0 } = {}): Schedule {
  positive('The peak learning rate', peak)
  atLeastZero('warmupSteps', warmupSteps)
  atLeastZero('The final learning rate', final)
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
export function stepRate(learningRate: number, { every, factor = 0.1 }: { every: number; factor?: number }): Schedule {
  positive('The learning rate', learningRate)
  positive('The interval of a step schedule', every)
  positive('The factor of a step schedule', factor)
  return {
    name: `step(${learningRate}, every ${every}, factor ${factor})`,
    rate: (step) => learningRate * factor ** Math.floor(step / every),
  }
}

/** A number stands for a constant rate. */
export function scheduleOf(rate: number | Schedule): Schedule {
  return typeof rate === 'number' ? constantRate(rate) : rate
}
