/**
 * Softmax and its logarithm over rows of classes, and the cross-entropy of logits with its gradient. The maximum of a
 * row is subtracted before anything is exponentiated, so that logits of +-1e4 are fine. Sums over many classes are built
 * as long-sum.ts says.
 *
 * Promises beyond those of kernel.ts: a NaN among a row's logits makes the whole row NaN; a label that is no class makes
 * the row's loss and gradient NaN, so that it cannot go unnoticed; a class with target 0 adds nothing to a dense loss,
 * even where its logit is -infinity.
 *
 * Variants: `plain` gives each lane a row; `subgroup` and `workgroup` let that many lanes share one, for long rows.
 */

import { checkExtents } from '../extents.ts'
import type { Binding, Family, KernelPlan, Target, UniformValue, Variant } from '../kernel.ts'
import { dispatch, input, output, reads, writes } from '../kernel.ts'
import type { CooperativeKind } from '../schedule/cooperative.ts'
import { cooperativeGroup, groupFunctions, supportsGroup } from '../schedule/cooperative.ts'
import { fillsByRows, prefersWorkgroupRows } from '../schedule/occupancy.ts'
import type { FunctionName } from '../wgsl/functions.ts'
import { declareFunctions, scalar } from '../wgsl/functions.ts'
import type { Loop } from '../wgsl/long-sum.ts'
import { longSum, plainLoop } from '../wgsl/long-sum.ts'

export interface SoftmaxKey {
  readonly rows: number
  readonly classes: number
  /** The logarithm of the softmax instead. */
  readonly log: boolean
}

export interface CrossEntropyKey {
  readonly rows: number
  readonly classes: number
  /** `sparse`: u32 [rows], the class; `dense`: f32 [rows, classes], a weight for every class. */
  readonly labels: 'sparse' | 'dense'
}

/** Sparse labels, and the same gradient for each row's loss, as the mean has it. */
export interface LossWithGradientKey {
  readonly rows: number
  readonly classes: number
  /** The gradient of each row's loss: 1 / rows for the mean. */
  readonly scale: number
}

interface RowKernel {
  readonly label: string
  readonly bindings: readonly Binding[]
  readonly uniforms?: Readonly<Record<string, UniformValue>>
  readonly needs?: readonly FunctionName[]
  /**
   * Statements for a row. In scope: `row`, `first` (the row's offset in logits), `member` (where this lane begins),
   * `present` (false for lanes beyond the last row, which go along but must not write), `largest` and `sum` (of
   * exp(logit - largest)), and the functions `groupMax` and `groupSum`.
   */
  readonly body: (eachClass: EachClass) => string
}

/** The loop of a lane over its classes `c`; with a name it adds to that variable, which it declares. */
type EachClass = (body: string, sum?: string) => string

function planRows(rows: number, classes: number, kind: CooperativeKind, target: Target, kernel: RowKernel): KernelPlan {
  const group = cooperativeGroup(kind, target)
  const eachClass: EachClass = (body, name) => {
    const loop: Loop = ['c', 'member', 'u.classes', group.size]
    if (name === undefined) return plainLoop(loop, body)
    const sum = longSum('f32', [name], { terms: Math.ceil(classes / group.size) })
    return sum.whole(loop, body)
  }
  const place =
    kind === 'plain'
      ? `  let present = index < u.rows;
  let row = min(index, u.rows - 1u);
  let member = 0u;`
      : `  let present = group < u.rows;
  let row = min(group, u.rows - 1u);
  let member = lane;`
  return {
    variant: kind,
    dispatches: [
      dispatch({
        label: `${kernel.label}/${kind}`,
        bindings: kernel.bindings,
        uniforms: { rows, classes, lowest: { f32: Number.NEGATIVE_INFINITY }, ...kernel.uniforms },
        workgroupSize: group.workgroupSize,
        workgroups: Math.ceil(rows / group.perWorkgroup),
        subgroups: kind === 'subgroup',
        declarations: [
          declareFunctions(['exponential', ...(kernel.needs ?? [])], scalar),
          groupFunctions(group, [
            { name: 'groupMax', type: 'f32', combine: (a, b) => `max(${a}, ${b})`, builtin: 'subgroupMax' },
            { name: 'groupSum', type: 'f32', combine: (a, b) => `${a} + ${b}`, builtin: 'subgroupAdd' },
          ]),
        ].join('\n'),
        // A NaN may be lost in the maximum, but not in the sum.
        body: `${place}
  let first = row * u.classes;
  var largest = u.lowest;
${eachClass('    largest = max(largest, logits[first + c]);')}
  largest = groupMax(largest, lane);
${eachClass('    sum += exponential(logits[first + c] - largest);', 'sum')}
  sum = groupSum(sum, lane);
${kernel.body(eachClass)}`,
      }),
    ],
    scratchBytes: [],
    flops: 0,
  }
}

function planSoftmax({ rows, classes, log }: SoftmaxKey, kind: CooperativeKind, target: Target): KernelPlan {
  const value = log ? 'logits[first + c] - largest - offset' : 'exponential(logits[first + c] - largest) * scale'
  return planRows(rows, classes, kind, target, {
    label: log ? 'logSoftmax' : 'softmax',
    bindings: [reads('logits', input(0)), writes('result', output(0))],
    needs: log ? ['naturalLog'] : [],
    body: (eachClass) => `  ${log ? 'let offset = naturalLog(sum);' : 'let scale = 1.0 / sum;'}
${eachClass(`    if (present) {
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
  let logit = logits[first + min(label, u.classes - 1u)];
  let loss = select(u.undefinedValue, naturalLog(sum) + (largest - logit), label < u.classes);`
  const dense = (eachClass: EachClass): string => `  let offset = naturalLog(sum);
${eachClass(
  `    let wanted = labels[first + c];
    let term = wanted * (offset + (largest - logits[first + c]));
    part += select(term, 0.0, (bitcast<u32>(wanted) << 1u) == 0u);`,
  'part',
)}
  part = groupSum(part, lane);
  let loss = select(part, offset, isNan(offset));`
  return planRows(rows, classes, kind, target, {
    label: `crossEntropy.${labels}`,
    bindings: [
      reads('logits', input(0)),
      reads('labels', input(1), labels === 'sparse' ? 'u32' : 'f32'),
      writes('result', output(0)),
    ],
    uniforms: { undefinedValue: { f32: Number.NaN } },
    needs: ['naturalLog', 'isNan'],
    body: (eachClass) => `${labels === 'sparse' ? sparse : dense(eachClass)}
  if (present && member == 0u) {
    result[row] = loss;
  }`,
  })
}

const oneHot = 'select(0.0, 1.0, c == label)'

/** Writes class c's number of the gradient. */
function gradientText(result: string, wanted: string): string {
  return `    if (present) {
      let probability = exponential(logits[first + c] - largest) * scale;
      ${result}[first + c] = (probability - ${wanted}) * cotangent;
    }`
}

function planGradient({ rows, classes, labels }: CrossEntropyKey, kind: CooperativeKind, target: Target): KernelPlan {
  const sparse = `  let label = labels[row];
  let cotangent = select(u.undefinedValue, gradient[row], label < u.classes);
  let scale = 1.0 / sum;`
  const dense = (eachClass: EachClass): string => `${eachClass('    weight += labels[first + c];', 'weight')}
  weight = groupSum(weight, lane);
  let cotangent = gradient[row];
  let scale = weight / sum;`
  const wanted = labels === 'sparse' ? oneHot : 'labels[first + c]'
  return planRows(rows, classes, kind, target, {
    label: `crossEntropyGradient.${labels}`,
    bindings: [
      reads('logits', input(0)),
      reads('labels', input(1), labels === 'sparse' ? 'u32' : 'f32'),
      reads('gradient', input(2)),
      writes('result', output(0)),
    ],
    uniforms: { undefinedValue: { f32: Number.NaN } },
    body: (eachClass) => `${labels === 'sparse' ? sparse : dense(eachClass)}
${eachClass(gradientText('result', wanted))}`,
  })
}

function planLossWithGradient(
  { rows, classes, scale }: LossWithGradientKey,
  kind: CooperativeKind,
  target: Target,
): KernelPlan {
  return planRows(rows, classes, kind, target, {
    label: 'crossEntropyWithGradient',
    bindings: [
      reads('logits', input(0)),
      reads('labels', input(1), 'u32'),
      writes('result', output(0)),
      writes('gradient', output(1)),
    ],
    uniforms: { undefinedValue: { f32: Number.NaN }, cotangent: { f32: scale } },
    needs: ['naturalLog'],
    body: (eachClass) => `  let label = labels[row];
  let logit = logits[first + min(label, u.classes - 1u)];
  let cotangent = select(u.undefinedValue, u.cotangent, label < u.classes);
  let scale = 1.0 / sum;
  if (present && member == 0u) {
    result[row] = select(u.undefinedValue, naturalLog(sum) + (largest - logit), label < u.classes);
  }
${eachClass(gradientText('gradient', oneHot))}`,
  })
}

const kinds: readonly CooperativeKind[] = ['plain', 'subgroup', 'workgroup']

function family<Key extends { readonly rows: number; readonly classes: number }>(
  name: string,
  plan: (key: Key, kind: CooperativeKind, target: Target) => KernelPlan,
): Family<Key, CooperativeKind> {
  const variants = kinds.map(
    (kind): Variant<Key, CooperativeKind> => ({
      name: kind,
      supports: (_, target) => supportsGroup(kind, target),
      plan: (key, target) => {
        checkExtents(name, { rows: key.rows, classes: key.classes })
        return plan(key, kind, target)
      },
    }),
  )
  return { name, variants, prefer: ({ rows, classes }, target) => preferredKind(rows, classes, target) }
}

function preferredKind(rows: number, classes: number, target: Target): CooperativeKind {
  // Short rows: a lane each.
  if (classes <= 32 || fillsByRows(rows, target)) return 'plain'
  const wanted = prefersWorkgroupRows(target) ? 'workgroup' : 'subgroup'
  return supportsGroup(wanted, target) ? wanted : 'plain'
}

/** Input logits [rows, classes]; output the same shape. Throws 'shape' for empty rows. */
export const softmax: Family<SoftmaxKey, CooperativeKind> = family('softmax', planSoftmax)

/** Inputs logits [rows, classes] and labels; output the loss of each row, f32 [rows]. */
export const crossEntropy: Family<CrossEntropyKey, CooperativeKind> = family('crossEntropy', planCrossEntropy)

/**
 * Inputs logits [rows, classes], labels, and the gradient of each row's loss, f32 [rows]; output the gradient of the
 * logits: (softmax - target) * gradient, or (softmax * sum(target) - target) * gradient for dense labels.
 */
export const crossEntropyGradient: Family<CrossEntropyKey, CooperativeKind> = family(
  'crossEntropyGradient',
  planGradient,
)

/** Inputs logits [rows, classes] and labels u32 [rows]; outputs the loss of each row and the gradient of the logits. */
export const crossEntropyWithGradient: Family<LossWithGradientKey, CooperativeKind> = family(
  'crossEntropyWithGradient',
  planLossWithGradient,
)
