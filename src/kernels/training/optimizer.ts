/**
 * Optimizers over one flat buffer of parameters: a single dispatch updates every parameter of a network. Values that
 * change from step to step (learning rate, bias correction) come from a table computed on the host in float64. The
 * sticky not-finite flag of the training state gates the update, so a bad step changes nothing.
 *
 * Order of operands, both families:
 * - outputs, all updated in place: parameters, then the moments (Adam: first, second; SGD with momentum: velocity;
 *   RMSprop: velocity, with momentum the momentum, if centered the mean gradient), then accumulated gradients and
 *   averaged parameters if asked for, then the training state, in which the not-finite flag is recorded as settled;
 * - inputs: gradients, table.
 *
 * The flat buffers are read as `vec4f`: round their size up to a multiple of 16 bytes. `table` has four floats per step
 * of the epoch. This step's row is `state[0] - 1`, because the state has already been advanced (see state.ts).
 *
 * Sources: Kingma & Ba, "Adam: A Method for Stochastic Optimization", 2015, algorithm 1 with the bias corrections
 * folded into the step size (end of section 2), epsilon as in Keras; Loshchilov & Hutter, "Decoupled Weight Decay
 * Regularization", 2019, algorithm 2; Sutskever et al., "On the importance of initialization and momentum in deep
 * learning", 2013, for Nesterov's momentum as Keras writes it.
 */

import { checkValue, fraction, positive } from '../../options.ts'
import { checkExtents } from '../extents.ts'
import {
  type Binding,
  dispatch,
  type Family,
  input,
  type KernelPlan,
  output,
  reads,
  type Target,
  type UniformValue,
  writes,
} from '../kernel.ts'
import { plainWorkgroupSize, updateWorkgroups } from '../schedule/occupancy.ts'
import { notFiniteWord, settledFlagWord, stepInEpochWord } from './state.ts'

/**
 * Floats per table row: `[x, y, z, w]`. Each family documents the first two. z is the momentum of averaged parameters in
 * this step, 0 in the first. w is the factor of accumulated gradients, 0 in steps that only accumulate.
 */
export const optimizerTableColumns = 4

/** What all optimizers can do. */
export interface UpdateKey {
  /** Parameters in the flat buffer, in floats. */
  readonly count: number
  /** Limits each number of the gradients to [-clipValue, clipValue]. */
  readonly clipValue?: number | undefined
  /** Adds the gradients up, and updates in steps whose table row has a factor. */
  readonly accumulates?: boolean | undefined
  /** Keeps an exponential moving average of the parameters. */
  readonly averages?: boolean | undefined
}

export interface AdamKey extends UpdateKey {
  /** Decay of the first moment, in [0, 1). Keras: 0.9. */
  readonly beta1: number
  /** Decay of the second moment, in [0, 1). Keras: 0.999. */
  readonly beta2: number
  /** Added to the root of the second moment, outside the bias correction. Keras: 1e-7. */
  readonly epsilon: number
  /** True for AdamW: decays the parameters by the table's second column before the update. */
  readonly weightDecay: boolean
}

export interface SgdKey extends UpdateKey {
  /** Momentum in [0, 1]; zero keeps no velocity and has no such operand. */
  readonly momentum: number
  /** Nesterov's look-ahead; has no effect without momentum. */
  readonly nesterov: boolean
}

export interface RmspropKey extends UpdateKey {
  /** Decay of the mean of squared gradients, in [0, 1). Keras: 0.9. */
  readonly rho: number
  /** Momentum in [0, 1); zero keeps none and has no such operand. */
  readonly momentum: number
  /** Added to the mean of squares, inside the root. Keras: 1e-7. */
  readonly epsilon: number
  /** Whether to subtract the squared mean of gradients, which estimates their variance. */
  readonly centered: boolean
}

/**
 * Adam and AdamW. Outputs: parameters, firstMoment, secondMoment (f32 [count] each), state u32 [4]. Inputs: gradients
 * f32 [count], table f32 [steps, 4] with rows `[learningRate * sqrt(1 - beta2^t) / (1 - beta1^t), learningRate *
 * weightDecay, 0, 0]`. Throws 'argument' for hyperparameters out of range.
 */
export const adam: Family<AdamKey, 'plain'> = {
  name: 'adam',
  variants: [{ name: 'plain', supports: () => true, plan: planAdam }],
  prefer: () => 'plain',
}

/**
 * Stochastic gradient descent as in Keras: `velocity = momentum * velocity - rate * g`, then `p += velocity`, or with
 * Nesterov `p += momentum * velocity - rate * g`. Outputs: parameters, with momentum velocity (f32 [count] each), state
 * u32 [4]. Inputs: gradients f32 [count], table f32 [steps, 4] with rows `[learningRate, 0, 0, 0]`. Throws
 * 'argument' for hyperparameters out of range.
 */
export const sgd: Family<SgdKey, 'plain'> = {
  name: 'sgd',
  variants: [{ name: 'plain', supports: () => true, plan: planSgd }],
  prefer: () => 'plain',
}

/**
 * RMSprop as in Keras: `velocity += (g^2 - velocity) * (1 - rho)`, `increment = rate * g / sqrt(velocity + epsilon)`,
 * with the squared mean of gradients subtracted under the root if centered; then `p -= increment`, or with momentum `m =
 * momentum * m + increment`, `p -= m`. Table rows are `[learningRate, 0, z, w]`. Throws 'argument' for hyperparameters out
 * of range.
 */
export const rmsprop: Family<RmspropKey, 'plain'> = {
  name: 'rmsprop',
  variants: [{ name: 'plain', supports: () => true, plan: planRmsprop }],
  prefer: () => 'plain',
}

function planAdam(key: AdamKey, target: Target): KernelPlan {
  checkExtents('adam', { count: key.count }, key.count)
  checkValue('adam: beta1', key.beta1, fraction)
  checkValue('adam: beta2', key.beta2, fraction)
  checkValue('adam: epsilon', key.epsilon, positive)
  return planUpdate({
    label: key.weightDecay ? 'adam/decoupledDecay' : 'adam',
    key,
    target,
    moments: [writes('firstMoment', output(1), 'vec4f'), writes('secondMoment', output(2), 'vec4f')],
    uniforms: {
      beta1Complement: { f32: 1 - key.beta1 },
      beta2Complement: { f32: 1 - key.beta2 },
      epsilon: { f32: key.epsilon },
    },
    update: `
      var m = firstMoment[i];
      var v = secondMoment[i];
      var p = parameters[i];
      m += (g - m) * u.beta1Complement;
      v += (g * g - v) * u.beta2Complement;
      ${key.weightDecay ? 'p -= rates.y * p;' : ''}
      p -= rates.x * m / (sqrt(v) + u.epsilon);
      firstMoment[i] = m;
      secondMoment[i] = v;
      parameters[i] = p;`,
    flops: key.count * (key.weightDecay ? 14 : 12),
  })
}

function planSgd(key: SgdKey, target: Target): KernelPlan {
  checkExtents('sgd', { count: key.count }, key.count)
  checkValue('sgd: momentum', key.momentum, fraction)
  const common = { key, target }
  if (key.momentum === 0) {
    return planUpdate({
      ...common,
      label: 'sgd',
      moments: [],
      uniforms: {},
      update: `
      parameters[i] -= rates.x * g;`,
      flops: key.count * 2,
    })
  }
  return planUpdate({
    ...common,
    label: key.nesterov ? 'sgd/nesterov' : 'sgd/momentum',
    moments: [writes('velocity', output(1), 'vec4f')],
    uniforms: { momentum: { f32: key.momentum } },
    update: `
      let descent = rates.x * g;
      let v = u.momentum * velocity[i] - descent;
      velocity[i] = v;
      parameters[i] += ${key.nesterov ? 'u.momentum * v - descent' : 'v'};`,
    flops: key.count * (key.nesterov ? 6 : 4),
  })
}

function planRmsprop(key: RmspropKey, target: Target): KernelPlan {
  checkExtents('rmsprop', { count: key.count }, key.count)
  checkValue('rmsprop: rho', key.rho, fraction)
  checkValue('rmsprop: momentum', key.momentum, fraction)
  checkValue('rmsprop: epsilon', key.epsilon, positive)
  const { momentum, centered } = key
  const kept = [...(momentum > 0 ? ['momentum'] : []), ...(centered ? ['meanGradient'] : [])]
  return planUpdate({
    label: 'rmsprop',
    key,
    target,
    moments: ['velocity', ...kept].map((name, i) => writes(name, output(1 + i), 'vec4f')),
    uniforms: {
      ...{ rhoComplement: { f32: 1 - key.rho }, epsilon: { f32: key.epsilon } },
      ...(momentum > 0 ? { momentumDecay: { f32: momentum } } : {}),
    },
    update: `
      var v = velocity[i];
      v += (g * g - v) * u.rhoComplement;
      velocity[i] = v;${
        centered
          ? `
      var a = meanGradient[i];
      a += (g - a) * u.rhoComplement;
      meanGradient[i] = a;
      v -= a * a;`
          : ''
      }
      ${momentum > 0 ? 'let increment = u.momentumDecay * momentum[i] +' : 'let increment ='} rates.x * g / sqrt(v + u.epsilon);
      ${momentum > 0 ? 'momentum[i] = increment;' : ''}
      parameters[i] -= increment;`,
    flops: key.count * 10,
  })
}

interface Update {
  readonly label: string
  readonly key: UpdateKey
  readonly target: Target
  readonly moments: readonly Binding[]
  readonly uniforms: Readonly<Record<string, UniformValue>>
  /** Statements that update vector `i` from its gradient `g` and `rates`, this step's row of the table. */
  readonly update: string
  readonly flops: number
}

function planUpdate({ label, key, target, moments, uniforms, update, flops }: Update): KernelPlan {
  const { count, clipValue, accumulates = false, averages = false } = key
  if (clipValue !== undefined) checkValue(`${label}: clipValue`, clipValue, positive)
  const lanes = plainWorkgroupSize(target)
  const vectors = Math.ceil(count / 4)
  const steps = Math.ceil(vectors / lanes)
  const groups = updateWorkgroups(steps, target)
  const stepsPerGroup = Math.ceil(steps / groups)
  const kept = [...(accumulates ? ['accumulated'] : []), ...(averages ? ['average'] : [])]
  const updated = [...moments, ...kept.map((name, i) => writes(name, output(1 + moments.length + i), 'vec4f'))]
  const clipped =
    clipValue === undefined
      ? ''
      : `
      g = clamp(g, vec4f(-u.clipValue), vec4f(u.clipValue));`
  const gradient = `
      ${clipValue === undefined ? 'let' : 'var'} g = ${accumulates ? 'total * rates.w' : 'gradients[i]'};${clipped}`
  const updateOnce = accumulates
    ? `
      let total = accumulated[i] + gradients[i];
      let updates = rates.w != 0.0;
      accumulated[i] = select(total, vec4f(0.0), updates);
      if (updates) {${gradient}${update}
      }`
    : `${gradient}${update}`
  const averaging = averages
    ? `
      average[i] += (parameters[i] - average[i]) * (1.0 - rates.z);`
    : ''
  return {
    variant: 'plain',
    dispatches: [
      dispatch({
        label,
        bindings: [
          writes('parameters', output(0), 'vec4f'),
          ...updated,
          reads('gradients', input(0), 'vec4f'),
          reads('table', input(1), 'vec4f'),
          writes('state', output(1 + updated.length), 'u32'),
        ],
        uniforms: {
          ...{ vectors, stepsPerGroup, ...uniforms },
          ...(clipValue === undefined ? {} : { clipValue: { f32: clipValue } }),
        },
        workgroupSize: lanes,
        workgroups: Math.ceil(steps / stepsPerGroup),
        body: `
  let flag = state[${notFiniteWord}];
  if (index == 0u) { state[${settledFlagWord}] = flag; }
  if (group >= groups || flag != 0u) {
    return;
  }
  let rates = table[state[${stepInEpochWord}] - 1u];
  let first = group * u.stepsPerGroup * ${lanes}u + lane;
  for (var step = 0u; step < u.stepsPerGroup; step++) {
    let i = first + step * ${lanes}u;
    if (i < u.vectors) {${updateOnce}${averaging}
    }
  }`,
      }),
    ],
    scratchBytes: [],
    flops,
  }
}
