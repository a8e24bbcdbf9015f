/**
 * Optimizers: what `fit` needs to know of one. The arithmetic is in kernels/optimizer.ts; here are the hyperparameters,
 * Keras' names and defaults, and the table of rates that is computed in float64 for an epoch at a time.
 */

import { WeftgradError } from '../errors.ts'
import type { KernelPlan, Target } from '../kernels/kernel.ts'
import { planKernel } from '../kernels/kernel.ts'
import { adam as adamKernel, optimizerTableColumns, sgd as sgdKernel } from '../kernels/optimizer.ts'
import type { Schedule } from './schedules.ts'
import { scheduleOf } from './schedules.ts'

export interface Optimizer {
  /** Says the optimizer and its hyperparameters; equal text means equal updates. */
  readonly name: string
  readonly schedule: Schedule
  /** Flat buffers it keeps beside the parameters. */
  readonly moments: number
  /** Updates `count` parameters. Outputs: parameters, moments; inputs: gradients, table, training state. */
  plan(count: number, target: Target): KernelPlan
  /** The table's row for a step (from 0) of a training of `totalSteps`. */
  row(step: number, totalSteps: number): readonly number[]
}

export interface AdamOptions {
  /** A rate, or a schedule. 1e-3 by default. */
  readonly learningRate?: number | Schedule
  readonly beta1?: number
  readonly beta2?: number
  /** 1e-7, as in Keras; outside the bias correction. */
  readonly epsilon?: number
}

function inUnit(name: string, value: number): void {
  if (!(value >= 0 && value < 1))
    throw new WeftgradError('argument', `${name} must lie in [0, 1), not ${value}.`, { value })
}

function adamLike(label: string, options: AdamOptions, weightDecay: number): Optimizer {
  const { learningRate = 1e-3, beta1 = 0.9, beta2 = 0.999, epsilon = 1e-7 } = options
  inUnit('beta1', beta1)
  inUnit('beta2', beta2)
  const schedule = scheduleOf(learningRate)
  const decay = weightDecay > 0 ? `, weightDecay ${weightDecay}` : ''
  return {
    name: `${label}(${schedule.name}, beta1 ${beta1}, beta2 ${beta2}, epsilon ${epsilon}${decay})`,
    schedule,
    moments: 2,
    plan: (count, target) =>
      planKernel(adamKernel, { count, beta1, beta2, epsilon, weightDecay: weightDecay > 0 }, target),
    row(step, totalSteps) {
      const rate = schedule.rate(step, totalSteps)
      const t = step + 1
      return [(rate * Math.sqrt(1 - beta2 ** t)) / (1 - beta1 ** t), rate * weightDecay, 0, 0]
    },
  }
}

/** Kingma & Ba 2015, with Keras' epsilon and bias correction. */
export function adam(options: AdamOptions = {}): Optimizer {
  return adamLike('adam', options, 0)
}

/** Adam with decoupled weight decay (Loshchilov & Hutter 2019); 4e-3 by default, as in Keras. */
export function adamw({
  weightDecay = 4e-3,
  ...options
}: AdamOptions & { readonly weightDecay?: number } = {}): Optimizer {
  if (!(weightDecay > 0)) throw new WeftgradError('argument', `weightDecay must be positive, not ${weightDecay}.`)
  return adamLike('adamw', options, weightDecay)
}

export interface SgdOptions {
  /** A rate, or a schedule. 1e-2 by default. */
  readonly learningRate?: number | Schedule
  readonly momentum?: number
  readonly nesterov?: boolean
}

/** Stochastic gradient descent: velocity = momentum * velocity - rate * gradient. */
export function sgd({ learningRate = 1e-2, momentum = 0, nesterov = false }: SgdOptions = {}): Optimizer {
  inUnit('momentum', momentum)
  const schedule = scheduleOf(learningRate)
  return {
    name: `sgd(${schedule.name}, momentum ${momentum}${nesterov ? ', nesterov' : ''})`,
    schedule,
    moments: momentum > 0 ? 1 : 0,
    plan: (count, target) => planKernel(sgdKernel, { count, momentum, nesterov }, target),
    row: (step, totalSteps) => [schedule.rate(step, totalSteps), 0, 0, 0],
  }
}

/** The table of an epoch's steps, float32 rows of `optimizerTableColumns`. */
export function optimizerTable(
  optimizer: Optimizer,
  firstStep: number,
  steps: number,
  totalSteps: number,
): Float32Array<ArrayBuffer> {
  const table = new Float32Array(steps * optimizerTableColumns)
  for (let i = 0; i < steps; i++) table.set(optimizer.row(firstStep + i, totalSteps), i * optimizerTableColumns)
  return table
}
