/**
 * The state of a training run on the GPU, and the kernels that update it: step counters, the sticky not-finite flag
 * that gates the optimizers, one record of the loss and metrics per step, and the confusion matrix of an evaluation. A
 * training step dispatches `finishStep`, then the optimizer: the flag is set before anything is updated, and the
 * counters stay one past the bad step.
 */

import { WeftgradError } from '../../errors.ts'
import { at, checkExtents } from '../extents.ts'
import {
  type Binding,
  dispatch,
  type Family,
  input,
  type KernelPlan,
  output,
  reads,
  type SplitSum,
  type Target,
  writes,
} from '../kernel.ts'
import { checkedVectorsPerLane, plainWorkgroupSize } from '../schedule/occupancy.ts'
import { partialsShare } from '../schedule/split-k.ts'
import { vectorType, widestVector } from '../schedule/subgroup-tile.ts'
import { declareFunctions, finite, isNan, scalar, widths } from '../wgsl/functions.ts'
import { longSum } from '../wgsl/long-sum.ts'

/** The number of u32 words in the state buffer. */
export const trainingStateWords = 4
/** Steps done in this epoch: the next step's row of the permutation and of the record. */
export const stepInEpochWord = 0
/** Nonzero once something was not finite; only the host clears it. */
export const notFiniteWord = 1
/** Steps done since the start, the low 32 bits. */
export const globalStepWord = 2
/**
 * A copy of the not-finite word after the last step's optimizer; safe to read while the word itself may be changing.
 */
export const settledFlagWord = 3

/** Floats in a record before the metrics' sums: mean loss, number of correct rows, number of rows, 0. */
export const stepRecordColumns = 4

/**
 * The numbers of a batch's rows: the losses [batch], then a block [batch, columns] for each metric. Blocks start at
 * multiples of 256 bytes, so that kernels can write them.
 */
export interface RowBlocks {
  /** Number of rows. */
  readonly batch: number
  /** Columns of each metric's block. */
  readonly metrics: readonly number[]
}

/** Floats in a record: the loss and counts, then the sum of each metric's column. */
export const recordWidth = (metrics: readonly number[]): number =>
  metrics.reduce((sum, columns) => sum + columns, stepRecordColumns)

/** The floats from the start of each block to the next one's. */
export function blockStarts({ batch, metrics }: RowBlocks): number[] {
  let start = 0
  return [1, ...metrics].map((columns) => {
    const own = start
    start += Math.ceil((batch * columns) / 64) * 64
    return own
  })
}

export interface ClassificationKey {
  /** Number of rows of the logits. */
  readonly batch: number
  readonly classes: number
}

export interface RecordKey extends RowBlocks {
  /** Number of classes, to count the rows whose largest logit is at their label; 0 counts none and takes no logits. */
  readonly classes: number
}

/** A split sum whose parts go into the flat gradients, `to` floats from their start. */
export type GradientSplitSum = SplitSum<{ readonly to: number }>

export interface FinishStepKey extends RecordKey {
  /** Floats in the flat gradients; those that belong to no parameter are zero. */
  readonly count: number
  readonly sums: readonly GradientSplitSum[]
}

/** The most split sums: every adapter has eight storage buffers, and up to six are used. */
export const mostSplitSums = 2

/**
 * Finishes a step before the optimizer, in one dispatch: `recordStep`; the split sums, in order; and a check of every
 * gradient, which sets the not-finite word if one is NaN or infinite. Inputs: those of `recordStep`, then the partial
 * results of each split sum. Outputs: record f32 [steps, recordWidth(metrics)], state, gradients f32 [count].
 */
export const finishStep: Family<FinishStepKey, 'plain'> = {
  name: 'finishStep',
  variants: [{ name: 'plain', supports: () => true, plan: planFinishStep }],
  prefer: () => 'plain',
}

/**
 * Records a step and advances the counters. Inputs: the rows' numbers (see {@link RowBlocks}); with classes
 * also logits f32 [batch, classes] and labels u32 [batch]. Outputs: record f32 [steps, recordWidth(metrics)], state.
 *
 * Row `state[0]` of the record becomes (mean loss, rows whose largest logit is at the label, batch, 0, sum of each
 * metric's column). The first of equal logits wins; a row with a NaN or an invalid label is wrong. A mean loss that is
 * not finite sets the flag. The counters advance unless the flag was set at entry: after a bad step they stay at that
 * step + 1. A row beyond the record's end is not written.
 */
export const recordStep: Family<RecordKey, 'plain'> = {
  name: 'recordStep',
  variants: [{ name: 'plain', supports: () => true, plan: planRecordStep }],
  prefer: () => 'plain',
}

/**
 * Adds a batch to a confusion matrix. Inputs: logits f32 [batch, classes], labels u32 [batch]. Output: counts u32
 * [classes, classes], row = label, column = first largest logit. Rows with an invalid label and rows with a NaN, which
 * predict nothing, are left out.
 */
export const confusion: Family<ClassificationKey, 'plain'> = {
  name: 'confusion',
  variants: [{ name: 'plain', supports: () => true, plan: planConfusion }],
  prefer: () => 'plain',
}

function planFinishStep(key: FinishStepKey, target: Target): KernelPlan {
  checkRecord('finishStep', key)
  const { count, sums } = key
  checkExtents('finishStep', { count }, count)
  if (sums.length > mostSplitSums)
    throw new WeftgradError('limit', `finishStep takes up to ${mostSplitSums} split sums.`)
  const lanes = plainWorkgroupSize(target)
  const width = widestVector(
    count,
    ...sums.flatMap((sum) => [sum.count, ...sum.targets.flatMap((t) => [t.from, t.to, t.count])]),
  )
  const type = vectorType(width)
  const bits = widths[type].u
  const shares = sums.map(({ splits }, i) =>
    partialsShare({ type, splits, partial: `partial${i}`, vectors: `u.vectors${i}`, count: `u.splits${i}` }, target),
  )
  const summing = sums.map((sum, i) => Math.ceil(sum.count / width / at(shares, i).vectorsPerGroup))
  const ranges = gapsBetween(count, sums)
  const checked = ranges.reduce((total, range) => total + range.end - range.begin, 0) / width
  const checking = Math.max(1, Math.ceil(checked / lanes / checkedVectorsPerLane(target)))
  const checkGroups = Math.min(checking, 8192)
  const uniforms: Record<string, number> = {
    ...recordUniforms(key),
    firstCheck: 1 + summing.reduce((a, b) => a + b, 0),
    checkLanes: checkGroups * lanes,
  }
  sums.forEach((sum, i) => {
    uniforms[`splits${i}`] = sum.splits
    uniforms[`vectors${i}`] = sum.count / width
    sum.targets.forEach((t, j) => {
      uniforms[`from${i}_${j}`] = t.from / width
      uniforms[`to${i}_${j}`] = t.to / width
      uniforms[`end${i}_${j}`] = (t.from + t.count) / width
    })
  })
  ranges.forEach((range, i) => {
    uniforms[`begin${i}`] = range.begin / width
    uniforms[`end${i}`] = range.end / width
  })
  let firstGroup = 1
  const sumBodies = sums.map((sum, i) => {
    const begin = firstGroup
    firstGroup += at(summing, i)
    const store = (index: string): string => `check(total);
${sum.targets.map((_, j) => `      if (${index} >= u.from${i}_${j} && ${index} < u.end${i}_${j}) { gradients[u.to${i}_${j} + ${index} - u.from${i}_${j}] = total; }`).join('\n')}`
    return `
  if (group >= ${begin}u && group < ${firstGroup}u) {${at(shares, i).body(`(group - ${begin}u)`, store)}
  }`
  })
  return {
    variant: 'plain',
    dispatches: [
      dispatch({
        label: 'finishStep',
        // On a CPU, barriers would turn all workgroups into coroutines, so the lanes of one subgroup do the adding.
        subgroups: addsBySubgroup(target) ? target : undefined,
        bindings: [
          ...recordInputs(key),
          ...sums.map((_, i) => reads(`partial${i}`, input(recordInputs(key).length + i), type)),
          writes('record', output(0)),
          writes('state', output(1), 'atomic<u32>'),
          writes('gradients', output(2), type),
        ],
        uniforms,
        workgroupSize: lanes,
        workgroups: firstGroup + checkGroups,
        declarations: `${recordDeclarations(key, target)}
${shares.map(({ declarations }) => declarations).join('')}
// The largest exponents that this lane saw: one test at the end is cheaper than one for each number.
var<private> exponents: ${bits};
fn check(x: ${type}) {
  exponents = max(exponents, bitcast<${bits}>(x) & ${bits}(0x7f800000u));
}`,
        body: `
  if (group >= groups) { return; }
  if (group == 0u) {
${recordBody(key, target, settledFlagWord, true)}
  }
${sumBodies.join('')}
  if (group >= u.firstCheck) {
    let first = (group - u.firstCheck) * ${lanes}u + lane;
${ranges.map((_, i) => `    for (var i = u.begin${i} + first; i < u.end${i}; i += u.checkLanes) { check(gradients[i]); }`).join('\n')}
  }
  if (any(exponents == ${bits}(0x7f800000u))) { atomicStore(&state[${notFiniteWord}], 1u); }`,
      }),
    ],
    scratchBytes: [],
    flops: count,
  }
}

/** The ranges of [0, count) that no split sum writes. */
function gapsBetween(count: number, sums: readonly GradientSplitSum[]): { begin: number; end: number }[] {
  const written = sums.flatMap((sum) => sum.targets).sort((a, b) => a.to - b.to)
  const gaps: { begin: number; end: number }[] = []
  let begin = 0
  for (const { to, count: length } of written) {
    if (to > begin) gaps.push({ begin, end: to })
    begin = to + length
  }
  if (begin < count) gaps.push({ begin, end: count })
  return gaps
}

/** Declares `predicted(row)`: the first class with the largest logit; `classes` if there is a NaN. */
const predictedFunction = `
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

/** Whether a workgroup is one subgroup, so that its lanes can add up without a barrier. */
function addsBySubgroup(target: Target): boolean {
  return target.subgroupSize !== undefined && plainWorkgroupSize(target) === target.subgroupSize
}

const recordUniforms = ({ batch, classes }: RecordKey): Record<string, number> => ({
  ...{ batch, ...(classes === 0 ? {} : { classes }) },
})

const recordInputs = ({ classes }: RecordKey): Binding[] => [
  reads('numbers', input(0)),
  ...(classes === 0 ? [] : [reads('logits', input(1)), reads('labels', input(2), 'u32')]),
]

function recordDeclarations({ classes }: RecordKey, target: Target): string {
  const lanes = plainWorkgroupSize(target)
  const shared = `
var<workgroup> lossOfLane: array<f32, ${lanes}>;
var<workgroup> correctOfLane: array<u32, ${lanes}>;`
  const predicted = classes === 0 ? '' : predictedFunction
  return `${declareFunctions([isNan, finite], scalar)}${predicted}${addsBySubgroup(target) ? '' : shared}`
}

/**
 * Statements for one workgroup: write the record and advance the counters, unless the word `flagWord` is set because an
 * earlier step was bad. `atomic`: the state is bound as atomics.
 */
function recordBody(key: RecordKey, target: Target, flagWord: number, atomic: boolean): string {
  const { batch, classes, metrics } = key
  const lanes = plainWorkgroupSize(target)
  const load = (word: number): string => (atomic ? `atomicLoad(&state[${word}])` : `state[${word}]`)
  const store = (word: number, value: string): string =>
    atomic ? `atomicStore(&state[${word}], ${value});` : `state[${word}] = ${value};`
  const extents = { terms: Math.ceil(batch / lanes) }
  const sum = longSum('f32', ['loss'], extents)
  const width = recordWidth(metrics)
  const total = addsBySubgroup(target)
    ? `
  loss = subgroupAdd(loss);
  correct = subgroupAdd(correct);`
    : `
  lossOfLane[lane] = loss;
  correctOfLane[lane] = correct;
  workgroupBarrier();
  if (lane == 0u) {
    for (var other = 1u; other < ${lanes}u; other++) {
      loss += lossOfLane[other];
      correct += correctOfLane[other];
    }
  }`
  return `
  var correct = 0u;
${sum.whole(
  ['row', 'lane', 'u.batch', lanes],
  `    loss += numbers[row];${
    classes === 0
      ? ''
      : `
    let label = labels[row];
    correct += select(0u, 1u, label < u.classes && predicted(row) == label);`
  }`,
)}${total}
${metricSums(key, target, load(stepInEpochWord))}
  if (lane == 0u) {
    let mean = loss / f32(u.batch);
    let step = ${load(stepInEpochWord)};
    if (step < arrayLength(&record) / ${width}u) {
      record[step * ${width}u] = mean;
      record[step * ${width}u + 1u] = f32(correct);
      record[step * ${width}u + 2u] = f32(u.batch);
      record[step * ${width}u + 3u] = 0.0;
    }
    if (${load(flagWord)} == 0u) {
      ${store(stepInEpochWord, 'step + 1u')}
      ${store(globalStepWord, `${load(globalStepWord)} + 1u`)}
      if (!isFinite(mean)) {
        ${store(notFiniteWord, '1u')}
      }
    }
  }`
}

/** Statements for one workgroup: write the sums of the metrics' columns into the record. */
function metricSums(key: RecordKey, target: Target, step: string): string {
  const { batch, metrics } = key
  const width = recordWidth(metrics)
  const lanes = plainWorkgroupSize(target)
  const sum = longSum('f32', ['metric'], { terms: Math.ceil(batch / lanes) })
  const total = addsBySubgroup(target)
    ? '    metric = subgroupAdd(metric);'
    : `    workgroupBarrier();
    lossOfLane[lane] = metric;
    workgroupBarrier();
    if (lane == 0u) {
      for (var other = 1u; other < ${lanes}u; other++) { metric += lossOfLane[other]; }
    }`
  const [, ...starts] = blockStarts(key)
  return metrics
    .map((columns, i) => {
      const before = recordWidth(metrics.slice(0, i))
      return `
  for (var column = 0u; column < ${columns}u; column++) {
${sum.whole(['row', 'lane', 'u.batch', lanes], `    metric += numbers[${at(starts, i)}u + row * ${columns}u + column];`)}
${total}
    if (lane == 0u) {
      let step = ${step};
      if (step < arrayLength(&record) / ${width}u) { record[step * ${width}u + ${before}u + column] = metric; }
    }
  }`
    })
    .join('')
}

function planRecordStep(key: RecordKey, target: Target): KernelPlan {
  checkRecord('recordStep', key)
  const lanes = plainWorkgroupSize(target)
  return {
    variant: 'plain',
    dispatches: [
      dispatch({
        label: 'recordStep',
        subgroups: addsBySubgroup(target) ? target : undefined,
        bindings: [...recordInputs(key), writes('record', output(0)), writes('state', output(1), 'u32')],
        uniforms: recordUniforms(key),
        workgroupSize: lanes,
        workgroups: 1,
        declarations: recordDeclarations(key, target),
        body: recordBody(key, target, notFiniteWord, false),
      }),
    ],
    scratchBytes: [],
    flops: key.batch * (key.classes + recordWidth(key.metrics)),
  }
}

function planConfusion(key: ClassificationKey, target: Target): KernelPlan {
  checkClassification('confusion', key)
  if (key.classes ** 2 > 2 ** 30) {
    throw new WeftgradError('limit', `A confusion matrix of ${key.classes} classes is too large.`)
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
        declarations: `${declareFunctions([isNan], scalar)}${predictedFunction}`,
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

function checkRecord(family: string, key: RecordKey): void {
  const { batch, classes, metrics } = key
  const most = Math.max(1, classes, ...metrics)
  checkExtents(family, { batch, classes: classes === 0 ? 1 : classes, columns: recordWidth(metrics) }, batch * most)
}

function checkClassification(family: string, { batch, classes }: ClassificationKey): void {
  checkExtents(family, { batch, classes }, batch * classes)
}
