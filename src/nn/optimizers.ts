/**
 * Optimizers for `fit`: hyperparameters with Keras' names and defaults, and the table of rates, computed in float64 for
 * one epoch at a time. The arithmetic is in kernels/training/optimizer.ts.
 */

import type { KernelPlan, Target } from '../kernels/kernel.ts'
import { planKernel } from '../kernels/kernel.ts'
import { adam as adamKernel, optimizerTableColumns, sgd as sgdKernel } from '../kernels/training/optimizer.ts'
import { aFlag, checkOptions, fraction, type Kind, objectWith, positive } from '../options.ts'
import type { Schedule } from './schedules.ts'
import { scheduleOf } from './schedules.ts'

/** An optimizer: a kernel that updates all parameters at once, and a table of its rates. */
export interface Optimizer {
  /** The optimizer's name and hyperparameters: equal text means equal updates. */
  readonly name: string
  /** The schedule of the learning rate. */
  readonly schedule: Schedule
  /** Number of flat buffers it keeps in addition to the parameters. */
  readonly moments: number
  /** Updates `count` parameters. Outputs: parameters, moments; inputs: gradients, table, training state. */
  plan(count: number, target: Target): KernelPlan
  /** The table's row for a step (from 0) of a training of `totalSteps`. */
  row(step: number, totalSteps: number): readonly number[]
}

/** Options of {@link adam} and {@link adamw}; names and defaults are Keras'. */
export interface AdamOptions {
  /** A rate, or a schedule. 1e-3 by default. */
  readonly learningRate?: number | Schedule
  /** Decay of the mean of gradients, in [0, 1). 0.9 by default. */
  readonly beta1?: number
  /** Decay of the mean of squared gradients, in [0, 1). 0.999 by default. */
  readonly beta2?: number
  /** 1e-7, as in Keras; outside the bias correction. */
  readonly epsilon?: number
}

/** The kind of `fit`'s option `optimizer`. */
export const anOptimizer: Kind = ['an optimizer like adam()', (value) => objectWith(value, 'plan')]

const aRate: Kind = ['a positive number or a schedule', (value) => positive[1](value) || objectWith(value, 'rate')]

const adamKinds = { learningRate: aRate, beta1: fraction, beta2: fraction, epsilon: positive, weightDecay: positive }

function adamLike(label: string, options: AdamOptions, weightDecay: number): Optimizer {
  const { learningRate = 1e-3, beta1 = 0.9, beta2 = 0.999, epsilon = 1e-7 } = options
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

/**
 * Adam (Kingma & Ba, "Adam: A Method for Stochastic Optimization", 2015, end of section 2), with Keras' epsilon and
 * bias correction: w -= rate * sqrt(1 - beta2^t) / (1 - beta1^t) * m / (sqrt(v) + epsilon).
 * @throws WeftgradError 'argument' for rates that are not positive, or betas outside [0, 1).
 */
export function adam(options: AdamOptions = {}): Optimizer {
  const { weightDecay: _, ...kinds } = adamKinds
  return adamLike('adam', checkOptions('adam', options, kinds), 0)
}

/**
 * Adam with decoupled weight decay (Loshchilov & Hutter, "Decoupled Weight Decay Regularization", 2019), which also
 * subtracts rate * weightDecay * w. The decay is 4e-3 by default, as in Keras.
 * @throws WeftgradError 'argument' as {@link adam}, and for a decay that is not positive.
 */
export function adamw(options: AdamOptions & { readonly weightDecay?: number } = {}): Optimizer {
  const { weightDecay = 4e-3 } = checkOptions('adamw', options, adamKinds)
  return adamLike('adamw', options, weightDecay)
}

/** Options of {@link sgd}; names and defaults are Keras'. */
export interface SgdOptions {
  /** A rate, or a schedule. 1e-2 by default. */
  readonly learningRate?: number | Schedule
  /** Share of the last update that is added to the next, in [0, 1). 0 by default. */
  readonly momentum?: number
  /** Whether to use Nesterov momentum. False by default. */
  readonly nesterov?: boolean
}

/**
 * Stochastic gradient descent: velocity = momentum * velocity - rate * gradient, w += velocity; with `nesterov`, w +=
 * momentum * velocity - rate * gradient (Sutskever et al., "On the importance of initialization and momentum in deep
 * learning", 2013).
 * @throws WeftgradError 'argument' for a rate that is not positive, or a momentum outside [0, 1).
 */
export function sgd(options: SgdOptions = {}): Optimizer {
  const kinds = { learningRate: aRate, momentum: fraction, nesterov: aFlag }
  const { learningRate = 1e-2, momentum = 0, nesterov = false } = checkOptions('sgd', options, kinds)
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
