/**
 * Optimizers for `fit` and `trainStep`: hyperparameters with Keras' names and defaults, and the table of rates, computed in
 * float64 for some steps at a time. The arithmetic is in kernels/training/optimizer.ts.
 */

import { WeftgradError } from '../errors.ts'
import type { KernelPlan, Target } from '../kernels/kernel.ts'
import { planKernel } from '../kernels/kernel.ts'
import type { UpdateKey } from '../kernels/training/optimizer.ts'
import {
  adam as adamKernel,
  optimizerTableColumns,
  rmsprop as rmspropKernel,
  sgd as sgdKernel,
} from '../kernels/training/optimizer.ts'
import type { Tensor } from '../operators/tensor.ts'
import { aFlag, checkOptions, countFrom1, fraction, type Kind, objectWith, positive } from '../options.ts'
import { clippedByNorm } from './clip.ts'
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
  /** Which of these holds averaged parameters, which replace the others at the end of training; absent if none does. */
  readonly average?: number | undefined
  /** Updates `count` parameters. Outputs: parameters, moments; inputs: gradients, table, training state. */
  plan(count: number, target: Target): KernelPlan
  /** The table's row for a step (from 0) of a training of `totalSteps`, with all rates times `scale` (1 by default). */
  row(step: number, totalSteps: number, scale?: number): readonly number[]
  /** Traces changes of the gradients before the update, such as clipping. */
  transform?(gradients: readonly Tensor[]): readonly Tensor[]
}

/** Options of all optimizers. Names, but for their capitals, and defaults are Keras'. */
export interface UpdateOptions {
  /** A rate, or a schedule. */
  readonly learningRate?: number | Schedule
  /** Scales each weight's gradient down to this norm if it is larger. Off by default. */
  readonly clipNorm?: number
  /** Scales all gradients down together to this norm if theirs is larger. Off by default. */
  readonly globalClipNorm?: number
  /** Limits each number of the gradients to [-clipValue, clipValue]. Off by default. */
  readonly clipValue?: number
  /**
   * Momentum of an exponential moving average of the weights, in [0, 1), which replaces them at the end of training. Off
   * by default; Keras' `ema_momentum` is 0.99.
   */
  readonly emaMomentum?: number
  /** Number of steps whose mean gradient makes one update. 1 by default. */
  readonly gradientAccumulationSteps?: number
}

/** Options of {@link adam} and {@link adamw}; names and defaults are Keras'. The rate is 1e-3 by default. */
export interface AdamOptions extends UpdateOptions {
  /** Decay of the mean of gradients, in [0, 1). 0.9 by default. */
  readonly beta1?: number
  /** Decay of the mean of squared gradients, in [0, 1). 0.999 by default. */
  readonly beta2?: number
  /** 1e-7, as in Keras; outside the bias correction. */
  readonly epsilon?: number
}

/** An optimizer for some of the weights. */
export interface OptimizerGroup {
  /** Selects weights by their names, `<layer>/<weight>`: those that match it, or for which it returns true. */
  readonly weights: RegExp | ((name: string) => boolean)
  /** Updates them. */
  readonly optimizer: Optimizer
}

/** The kind of `fit`'s option `optimizer`. */
export const anOptimizer: Kind = [
  'an optimizer like adam(), or a list of { weights, optimizer }',
  (value) => objectWith(value, 'plan') || (Array.isArray(value) && value.length > 0 && value.every(isGroup)),
]

function isGroup(value: unknown): boolean {
  if (typeof value !== 'object' || value === null || !('weights' in value) || !('optimizer' in value)) return false
  const { weights, optimizer } = value
  return (weights instanceof RegExp || typeof weights === 'function') && objectWith(optimizer, 'plan')
}

const aRate: Kind = ['a positive number or a schedule', (value) => positive[1](value) || objectWith(value, 'rate')]

const updateKinds = {
  ...{ learningRate: aRate, clipNorm: positive, globalClipNorm: positive, clipValue: positive },
  ...{ emaMomentum: fraction, gradientAccumulationSteps: countFrom1 },
}

/** What one algorithm adds to the options of all. */
interface Algorithm {
  readonly name: string
  readonly hyperparameters: string
  readonly learningRate: number | Schedule
  readonly moments: number
  plan(key: UpdateKey, target: Target): KernelPlan
  /** The first two numbers of the table's row for an update (from 0) at this rate. */
  rates(rate: number, update: number): readonly [number, number]
}

function optimizer(algorithm: Algorithm, options: UpdateOptions): Optimizer {
  const { clipNorm, globalClipNorm, clipValue, emaMomentum, gradientAccumulationSteps: every = 1 } = options
  if (every > 1 && (clipNorm ?? globalClipNorm) !== undefined)
    throw new WeftgradError(
      'argument',
      `${algorithm.name}: gradientAccumulationSteps cannot be combined with clipNorm or globalClipNorm, which would clip the parts instead of their mean. Use clipValue.`,
    )
  const schedule = scheduleOf(algorithm.learningRate)
  const further = Object.entries({ clipNorm, globalClipNorm, clipValue, emaMomentum })
    .flatMap(([name, value]) => (value === undefined ? [] : `, ${name} ${value}`))
    .join('')
  const accumulation = every > 1 ? `, gradientAccumulationSteps ${every}` : ''
  const own = algorithm.moments + (every > 1 ? 1 : 0)
  const averages = emaMomentum !== undefined
  return {
    name: `${algorithm.name}(${schedule.name}${algorithm.hyperparameters}${further}${accumulation})`,
    schedule,
    moments: own + (averages ? 1 : 0),
    ...(averages ? { average: own } : {}),
    plan: (count, target) => algorithm.plan({ count, clipValue, accumulates: every > 1, averages }, target),
    row(step, totalSteps, scale = 1) {
      const update = Math.floor(step / every)
      const updates = step % every === every - 1
      const rates = algorithm.rates(schedule.rate(step, totalSteps) * scale, update)
      return [...rates, averages && update > 0 ? emaMomentum : 0, every > 1 && updates ? 1 / every : 0]
    },
    ...(clipNorm === undefined && globalClipNorm === undefined
      ? {}
      : { transform: (gradients) => clippedByNorm(gradients, { clipNorm, globalClipNorm }) }),
  }
}

const adamKinds = { ...updateKinds, beta1: fraction, beta2: fraction, epsilon: positive, weightDecay: positive }

function adamLike(name: string, options: AdamOptions, weightDecay: number): Optimizer {
  const { learningRate = 1e-3, beta1 = 0.9, beta2 = 0.999, epsilon = 1e-7 } = options
  const decay = weightDecay > 0 ? `, weightDecay ${weightDecay}` : ''
  const algorithm: Algorithm = {
    ...{ name, learningRate, moments: 2 },
    hyperparameters: `, beta1 ${beta1}, beta2 ${beta2}, epsilon ${epsilon}${decay}`,
    plan: (key, target) =>
      planKernel(adamKernel, { ...key, beta1, beta2, epsilon, weightDecay: weightDecay > 0 }, target),
    rates(rate, update) {
      const t = update + 1
      return [(rate * Math.sqrt(1 - beta2 ** t)) / (1 - beta1 ** t), rate * weightDecay]
    },
  }
  return optimizer(algorithm, options)
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
 * subtracts rate * weightDecay * w. The decay is 4e-3 by default, as in Keras. For weights without decay, such as biases,
 * give `fit` two groups.
 * @throws WeftgradError 'argument' as {@link adam}, and for a decay that is not positive.
 */
export function adamw(options: AdamOptions & { readonly weightDecay?: number } = {}): Optimizer {
  const { weightDecay = 4e-3 } = checkOptions('adamw', options, adamKinds)
  return adamLike('adamw', options, weightDecay)
}

/** Options of {@link sgd}; names and defaults are Keras'. The rate is 1e-2 by default. */
export interface SgdOptions extends UpdateOptions {
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
  const kinds = { ...updateKinds, momentum: fraction, nesterov: aFlag }
  const { learningRate = 1e-2, momentum = 0, nesterov = false } = checkOptions('sgd', options, kinds)
  const algorithm: Algorithm = {
    ...{ name: 'sgd', learningRate, moments: momentum > 0 ? 1 : 0 },
    hyperparameters: `, momentum ${momentum}${nesterov ? ', nesterov' : ''}`,
    plan: (key, target) => planKernel(sgdKernel, { ...key, momentum, nesterov }, target),
    rates: (rate) => [rate, 0],
  }
  return optimizer(algorithm, options)
}

/** Options of {@link rmsprop}; names and defaults are Keras'. The rate is 1e-3 by default. */
export interface RmspropOptions extends UpdateOptions {
  /** Decay of the mean of squared gradients, in [0, 1). 0.9 by default. */
  readonly rho?: number
  /** Share of the last update that is added to the next, in [0, 1). 0 by default. */
  readonly momentum?: number
  /** 1e-7, as in Keras; added under the root. */
  readonly epsilon?: number
  /** Whether to divide by the estimated variance of the gradients instead of their mean square. False by default. */
  readonly centered?: boolean
}

/**
 * RMSprop (Tieleman & Hinton, "Lecture 6.5: rmsprop", 2012), as in Keras: w -= rate * g / sqrt(v + epsilon), where v is the
 * decaying mean of squared gradients.
 * @throws WeftgradError 'argument' for rates that are not positive, or decays outside [0, 1).
 */
export function rmsprop(options: RmspropOptions = {}): Optimizer {
  const kinds = { ...updateKinds, rho: fraction, momentum: fraction, epsilon: positive, centered: aFlag }
  const checked = checkOptions('rmsprop', options, kinds)
  const { learningRate = 1e-3, rho = 0.9, momentum = 0, epsilon = 1e-7, centered = false } = checked
  const algorithm: Algorithm = {
    ...{ name: 'rmsprop', learningRate, moments: 1 + (momentum > 0 ? 1 : 0) + (centered ? 1 : 0) },
    hyperparameters: `, rho ${rho}, momentum ${momentum}, epsilon ${epsilon}${centered ? ', centered' : ''}`,
    plan: (key, target) => planKernel(rmspropKernel, { ...key, rho, momentum, epsilon, centered }, target),
    rates: (rate) => [rate, 0],
  }
  const own = optimizer(algorithm, options)
  // Every adapter has eight storage buffers, and four are others'.
  if (own.moments > 4)
    throw new WeftgradError(
      'argument',
      'rmsprop: momentum, centered, emaMomentum and gradientAccumulationSteps together keep more than an adapter can bind. Leave one out.',
    )
  return own
}

/** The table of some steps, float32 rows of `optimizerTableColumns`. */
export function optimizerTable(
  { row }: Pick<Optimizer, 'row'>,
  firstStep: number,
  steps: number,
  totalSteps: number,
  scale = 1,
): Float32Array<ArrayBuffer> {
  const table = new Float32Array(steps * optimizerTableColumns)
  for (let i = 0; i < steps; i++) table.set(row(firstStep + i, totalSteps, scale), i * optimizerTableColumns)
  return table
}
