/**
 * Softmax and its logarithm over rows of classes, and the cross-entropy of logits with its gradient. The maximum of a
 * row is subtracted before the exponential, so logits of +-1e4 are fine. Sums over many classes are built as in
 * long-sum.ts.
 *
 * Promises beyond those of kernel.ts: a NaN among a row's logits makes the whole row NaN; an invalid label makes the
 * row's loss and gradient NaN, so it cannot go unnoticed; a class with target 0 adds nothing to a dense loss, even
 * where its logit is -infinity.
 *
 * Variants: `plain` gives each lane a row; `subgroup` and `workgroup` let a whole group share one, for long rows.
 */

import type { Family, KernelPlan, Target } from '../kernel.ts'
import { input, output, reads, writes } from '../kernel.ts'
import type { CooperativeKind } from '../schedule/cooperative.ts'
import { exponential, isNan, naturalLog } from '../wgsl/functions.ts'
import type { EachColumn, RowExtents, RowPass } from './row-kernel.ts'
import { planRows, rowFamily } from './row-kernel.ts'

export interface SoftmaxKey {
  readonly rows: number
  readonly classes: number
  /** Whether to compute the logarithm of the softmax. */
  readonly log: boolean
}

export interface CrossEntropyKey {
  readonly rows: number
  readonly classes: number
  /** The kind of labels. `sparse`: u32 [rows], the class; `dense`: f32 [rows, classes], a weight for every class. */
  readonly labels: 'sparse' | 'dense'
}

/** The key for sparse labels and the same gradient for each row's loss, as in a mean. */
export interface LossWithGradientKey {
  readonly rows: number
  readonly classes: number
  /** The gradient of each row's loss: 1 / rows for the mean. */
  readonly scale: number
}

/** The first passes of softmax and cross-entropy. A NaN may be lost in the maximum, but not in the sum. */
const passes: readonly RowPass[] = [
  { name: 'largest', operation: 'max', term: 'logits[first + c]' },
  { name: 'sum', operation: 'sum', term: 'exponential(logits[first + c] - largest)' },
]

function planSoftmax({ rows, classes, log }: SoftmaxKey, kind: CooperativeKind, target: Target): KernelPlan {
  const value = log ? 'logits[first + c] - largest - offset' : 'exponential(logits[first + c] - largest) * scale'
  return planRows({ rows, columns: classes }, kind, target, {
    label: log ? 'logSoftmax' : 'softmax',
    bindings: [reads('logits', input(0)), writes('result', output(0))],
    needs: log ? [exponential, naturalLog] : [exponential],
    passes,
    write: (eachColumn) => `  ${log ? 'let offset = naturalLog(sum);' : 'let scale = 1.0 / sum;'}
${eachColumn(`    if (present) {
      result[first + c] = ${value};
    }`)}`,
  })
}

function planCrossEntropy(
  { rows, classes, labels }: CrossEntropyKey,
  kind: CooperativeKind,
  target: Target,
): KernelPlan {
  const sparse = `  let label = labels[row];
  let logit = logits[first + min(label, u.columns - 1u)];
  let loss = select(u.undefinedValue, naturalLog(sum) + (largest - logit), label < u.columns);`
  const dense = (eachColumn: EachColumn): string => `  let offset = naturalLog(sum);
${eachColumn(
  `    let wanted = labels[first + c];
    let term = wanted * (offset + (largest - logits[first + c]));
    part += select(term, 0.0, (bitcast<u32>(wanted) << 1u) == 0u);`,
  'part',
)}
  part = groupSum(part, lane);
  let loss = select(part, offset, isNan(offset));`
  return planRows({ rows, columns: classes }, kind, target, {
    label: `crossEntropy.${labels}`,
    bindings: [
      reads('logits', input(0)),
      reads('labels', input(1), labels === 'sparse' ? 'u32' : 'f32'),
      writes('result', output(0)),
    ],
    uniforms: { undefinedValue: { f32: Number.NaN } },
    needs: [exponential, naturalLog, isNan],
    passes,
    write: (eachColumn) => `${labels === 'sparse' ? sparse : dense(eachColumn)}
  if (present && member == 0u) {
    result[row] = loss;
  }`,
  })
}

const oneHot = 'select(0.0, 1.0, c == label)'

/** Writes the gradient of class c. */
function gradientText(result: string, wanted: string): string {
  return `    if (present) {
      let probability = exponential(logits[first + c] - largest) * scale;
      ${result}[first + c] = (probability - ${wanted}) * cotangent;
    }`
}

function planGradient({ rows, classes, labels }: CrossEntropyKey, kind: CooperativeKind, target: Target): KernelPlan {
  const sparse = `  let label = labels[row];
  let cotangent = select(u.undefinedValue, gradient[row], label < u.columns);
  let scale = 1.0 / sum;`
  const dense = (eachColumn: EachColumn): string => `${eachColumn('    weight += labels[first + c];', 'weight')}
  weight = groupSum(weight, lane);
  let cotangent = gradient[row];
  let scale = weight / sum;`
  const wanted = labels === 'sparse' ? oneHot : 'labels[first + c]'
  return planRows({ rows, columns: classes }, kind, target, {
    label: `crossEntropyGradient.${labels}`,
    bindings: [
      reads('logits', input(0)),
      reads('labels', input(1), labels === 'sparse' ? 'u32' : 'f32'),
      reads('gradient', input(2)),
      writes('result', output(0)),
    ],
    uniforms: { undefinedValue: { f32: Number.NaN } },
    needs: [exponential],
    passes,
    write: (eachColumn) => `${labels === 'sparse' ? sparse : dense(eachColumn)}
${eachColumn(gradientText('result', wanted))}`,
  })
}

function planLossWithGradient(
  { rows, classes, scale }: LossWithGradientKey,
  kind: CooperativeKind,
  target: Target,
): KernelPlan {
  return planRows({ rows, columns: classes }, kind, target, {
    label: 'crossEntropyWithGradient',
    bindings: [
      reads('logits', input(0)),
      reads('labels', input(1), 'u32'),
      writes('result', output(0)),
      writes('gradient', output(1)),
    ],
    uniforms: { undefinedValue: { f32: Number.NaN }, cotangent: { f32: scale } },
    needs: [exponential, naturalLog],
    passes,
    write: (eachColumn) => `  let label = labels[row];
  let logit = logits[first + min(label, u.columns - 1u)];
  let cotangent = select(u.undefinedValue, u.cotangent, label < u.columns);
  let scale = 1.0 / sum;
  if (present && member == 0u) {
    result[row] = select(u.undefinedValue, naturalLog(sum) + (largest - logit), label < u.columns);
  }
${eachColumn(gradientText('gradient', oneHot))}`,
  })
}

const extentsOf = ({ rows, classes }: { readonly rows: number; readonly classes: number }): RowExtents => ({
  rows,
  columns: classes,
})

/** Softmax. Input: logits [rows, classes]. Output: the same shape. Throws 'shape' for empty rows. */
export const softmax: Family<SoftmaxKey, CooperativeKind> = /* @__PURE__ */ rowFamily('softmax', extentsOf, planSoftmax)

/** Cross-entropy. Inputs: logits [rows, classes] and labels. Output: the loss of each row, f32 [rows]. */
export const crossEntropy: Family<CrossEntropyKey, CooperativeKind> = /* @__PURE__ */ rowFamily(
  'crossEntropy',
  extentsOf,
  planCrossEntropy,
)

/**
 * The gradient of cross-entropy. Inputs: logits [rows, classes], labels, and the gradient of each row's loss, f32
 * [rows]. Output: the gradient of the logits: (softmax - target) * gradient, or (softmax * sum(target) - target) *
 * gradient for dense labels.
 */
export const crossEntropyGradient: Family<CrossEntropyKey, CooperativeKind> = /* @__PURE__ */ rowFamily(
  'crossEntropyGradient',
  extentsOf,
  planGradient,
)

/**
 * Cross-entropy with its gradient. Inputs: logits [rows, classes] and labels u32 [rows]. Outputs: the loss of each row
 * and the gradient of the logits.
 */
export const crossEntropyWithGradient: Family<LossWithGradientKey, CooperativeKind> = /* @__PURE__ */ rowFamily(
  'crossEntropyWithGradient',
  extentsOf,
  planLossWithGradient,
)
