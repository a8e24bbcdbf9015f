/**
 * The state of a training run that lives on the GPU, and the kernels that keep it: step counters, the sticky not-finite
 * flag that gates the optimizers, one record of loss and accuracy a step, and the confusion matrix of an evaluation.
 * A step of training dispatches `recordStep`, then `checkFinite` over the gradients, then the optimizer, in this order:
 * the flag is set before anything is updated, and the counters stay one beyond the step that went bad.
 */

import { WeftgradError } from '../errors.ts'
import {
  dispatch,
  type Family,
  input,
  type KernelPlan,
  output,
  plainWorkgroupSize,
  reads,
  type Target,
  writes,
} from './kernel.ts'
import { isFiniteFunction, isNanFunction } from './wgsl.ts'

/** The u32 words of the state buffer. */
export const trainingStateWords = 4
/** Steps done in this epoch: the row of the permutation and of the record that the next step takes. */
export const stepInEpochWord = 0
/** Nonzero once something was not finite; only the host clears it. */
export const notFiniteWord = 1
/** Steps done since the beginning, the low 32 bits. */
export const globalStepWord = 2

/** Floats in a record: mean loss, number of correct rows, number of rows, 0. */
export const stepRecordColumns = 4

export interface CheckFiniteKey {
  /** Floats to look at. */
  readonly count: number
}

export interface ClassificationKey {
  /** Rows of the logits. */
  readonly batch: number
  readonly classes: number
}

/** Sets the state's not-finite word to 1 if any element of f32 [count] is NaN or infinite; never clears it. Input: values. Output: state. */
export const checkFinite: Family<CheckFiniteKey> = {
  name: 'checkFinite',
  variants: [{ name: 'plain', supports: () => true, plan: planCheckFinite }],
  prefer: () => 0,
}

/**
 * Records a step and advances the counters. Inputs: lossPerRow f32 [batch], logits f32 [batch, classes], labels
 * u32 [batch]. Outputs: record f32 [steps, 4], state.
 *
 * Row `state[0]` of the record becomes (mean loss, rows whose largest logit is at the label, batch, 0). The first of equal
 * logits wins; a row with a NaN, or with a label that is no class, is wrong. A mean that is not finite sets the flag. The
 * counters advance unless the flag was set at entry: after a bad step they stay at that step + 1. A row beyond the
 * record's end is not written.
 */
export const recordStep: Family<ClassificationKey> = {
  name: 'recordStep',
  variants: [{ name: 'plain', supports: () => true, plan: planRecordStep }],
  prefer: () => 0,
}

/**
 * Adds a batch to a confusion matrix. Inputs: logits f32 [batch, classes], labels u32 [batch]. Output: counts
 * u32 [classes, classes], row = label, column = first largest logit. Rows with a label that is no class and rows with a
 * NaN, which predict nothing, are left out.
 */
export const confusion: Family<ClassificationKey> = {
  name: 'confusion',
  variants: [{ name: 'plain', supports: () => true, plan: planConfusion }],
  prefer: () => 0,
}

function planCheckFinite({ count }: CheckFiniteKey, target: Target): KernelPlan {
  if (!Number.isInteger(count) || count < 1 || count > 2 ** 30) {
    throw new WeftgradError('limit', `checkFinite looks at 1 to 2^30 values, not at ${count}.`, { count })
  }
  const lanes = plainWorkgroupSize(target)
  const vectors = Math.floor(count / 4)
  const steps = Math.ceil(vectors / lanes)
  // As in optimizer.ts, with twice the vectors a lane: here a vector is a single load.
  const groups = target.class === 'cpu' ? Math.min(64, Math.ceil(steps / 16)) : Math.min(16384, steps)
  const stepsPerGroup = Math.max(1, Math.ceil(steps / Math.max(1, groups)))
  const tail = count % 4
  return {
    variant: 'plain',
    dispatches: [
      dispatch({
        label: 'checkFinite',
        bindings: [reads('values', input(0), 'vec4u'), writes('state', output(0), 'atomic<u32>')],
        uniforms: { vectors, stepsPerGroup },
        workgroupSize: lanes,
        workgroups: Math.max(1, Math.ceil(steps / stepsPerGroup)),
        body: `
  if (group >= groups) {
    return;
  }
  let exponent = vec4u(0x7f800000u);
  var bad = vec4<bool>(false);
  let first = group * u.stepsPerGroup * ${lanes}u + lane;
  for (var step = 0u; step < u.stepsPerGroup; step++) {
    let i = first + step * ${lanes}u;
    if (i < u.vectors) {
      bad = bad | ((values[i] & exponent) == exponent);
    }
  }
  ${tail === 0 ? '' : `bad = bad | (((values[u.vectors] & exponent) == exponent) & (vec4u(0u, 1u, 2u, 3u) < vec4u(${tail}u)));`}
  if (any(bad)) {
    atomicStore(&state[${notFiniteWord}], 1u);
  }`,
      }),
    ],
    scratchBytes: [],
    flops: 0,
  }
}

/** `predicted(row)`: the first class with the largest logit; `classes` if there is a NaN. */
const predictedFunction = `${isNanFunction}
fn predicted(row: u32) -> u32 {
  let base = row * u.classes;
  var best = 0u;
  var largest = logits[base];
  var sawNan = isNan(largest);
  for (var k = 1u; k < u.classes; k++) {
    let value = logits[base + k];
    sawNan = sawNan || isNan(value);
    let larger = value > largest;
    best = select(best, k, larger);
    largest = select(largest, value, larger);
  }
  return select(best, u.classes, sawNan);
}`

function planRecordStep(key: ClassificationKey, target: Target): KernelPlan {
  checkClassification('recordStep', key)
  const lanes = plainWorkgroupSize(target)
  return {
    variant: 'plain',
    dispatches: [
      dispatch({
        label: 'recordStep',
        bindings: [
          reads('lossPerRow', input(0)),
          reads('logits', input(1)),
          reads('labels', input(2), 'u32'),
          writes('record', output(0), 'vec4f'),
          writes('state', output(1), 'u32'),
        ],
        uniforms: { batch: key.batch, classes: key.classes },
        workgroupSize: lanes,
        workgroups: 1,
        declarations: `${predictedFunction}${isFiniteFunction}
var<workgroup> lossOfLane: array<f32, ${lanes}>;
var<workgroup> correctOfLane: array<u32, ${lanes}>;`,
        // One barrier in one workgroup: coroutines cost a CPU a few microseconds here, a second dispatch would cost 20.
        body: `
  var loss = 0.0;
  var correct = 0u;
  for (var row = lane; row < u.batch; row += ${lanes}u) {
    loss += lossPerRow[row];
    let label = labels[row];
    correct += select(0u, 1u, label < u.classes && predicted(row) == label);
  }
  lossOfLane[lane] = loss;
  correctOfLane[lane] = correct;
  workgroupBarrier();
  if (group == 0u && lane == 0u) {
    for (var other = 1u; other < ${lanes}u; other++) {
      loss += lossOfLane[other];
      correct += correctOfLane[other];
    }
    let mean = loss / f32(u.batch);
    let step = state[${stepInEpochWord}];
    if (step < arrayLength(&record)) {
      record[step] = vec4f(mean, f32(correct), f32(u.batch), 0.0);
    }
    if (state[${notFiniteWord}] == 0u) {
      state[${stepInEpochWord}] = step + 1u;
      state[${globalStepWord}] += 1u;
      if (!isFinite(mean)) {
        state[${notFiniteWord}] = 1u;
      }
    }
  }`,
      }),
    ],
    scratchBytes: [],
    flops: key.batch * key.classes,
  }
}

function planConfusion(key: ClassificationKey, target: Target): KernelPlan {
  checkClassification('confusion', key)
  if (key.classes ** 2 > 2 ** 30) {
    throw new WeftgradError('limit', `A confusion matrix of ${key.classes} classes is too large.`, { ...key })
  }
  const lanes = plainWorkgroupSize(target)
  return {
    variant: 'plain',
    dispatches: [
      dispatch({
        label: 'confusion',
        bindings: [
          reads('logits', input(0)),
          reads('labels', input(1), 'u32'),
          writes('counts', output(0), 'atomic<u32>'),
        ],
        uniforms: { batch: key.batch, classes: key.classes },
        workgroupSize: lanes,
        workgroups: Math.ceil(key.batch / lanes),
        declarations: predictedFunction,
        body: `
  if (index < u.batch) {
    let label = labels[index];
    let column = predicted(index);
    if (label < u.classes && column < u.classes) {
      atomicAdd(&counts[label * u.classes + column], 1u);
    }
  }`,
      }),
    ],
    scratchBytes: [],
    flops: key.batch * key.classes,
  }
}

function checkClassification(family: string, { batch, classes }: ClassificationKey): void {
  const whole = Number.isInteger(batch) && Number.isInteger(classes) && batch >= 1 && classes >= 1
  if (!whole || batch * classes > 2 ** 30) {
    throw new WeftgradError(
      'shape',
      `${family} takes logits of shape [batch, classes] with 1 to 2^30 elements, not [${batch}, ${classes}].`,
      { batch, classes },
    )
  }
}
