/**
 * Gathers rows of a tensor by index, and computes the gradient. The input of training, gathered from a resident data
 * set, is in gather-batch.ts. An index out of range never reads a wrong row: it gives NaN.
 */

import { checkExtents } from '../extents.ts'
import {
  type Binding,
  dispatch,
  type Family,
  input,
  type KernelPlan,
  output,
  reads,
  scratch,
  type Target,
  writes,
} from '../kernel.ts'
import { mostRowsByRow, plainWorkgroupSize } from '../schedule/occupancy.ts'
import { planRowStride } from '../schedule/row-stride.ts'
import { levelsFor, longSum, sumsPerLevel, tileBlock } from '../wgsl/long-sum.ts'
import { range, repeat } from '../wgsl/text.ts'

export { type GatherBatchKey, gatherBatch } from '../training/gather-batch.ts'

export interface GatherRowsKey {
  /** Number of source rows. */
  readonly rows: number
  /** Number of 4-byte elements per row. */
  readonly rowElements: number
  /** Number of indices, and of rows of the result. */
  readonly count: number
}

/**
 * Gathers rows by index. Inputs: x [rows, rowElements] of any 4-byte dtype, indices u32 [count]. Output: [count,
 * rowElements] of the same dtype; a row of NaN bits (0x7fc00000) if the index is not below `rows`.
 */
export const gatherRows: Family<GatherRowsKey, 'plain' | 'vec4'> = {
  name: 'gatherRows',
  variants: [
    { name: 'plain', supports: () => true, plan: (key, target) => planGatherRows(key, target, 1) },
    {
      name: 'vec4',
      supports: ({ rowElements }) => rowElements % 4 === 0,
      plan: (key, target) => planGatherRows(key, target, 4),
    },
  ],
  prefer: ({ rowElements }) => (rowElements % 4 === 0 ? 'vec4' : 'plain'),
}

/**
 * The gradient of `gatherRows` in x. Inputs: dy f32 [count, rowElements], indices u32 [count]. Output: dx f32 [rows,
 * rowElements]: row r is the sum of the rows of dy whose index is r, in order, in both variants; more than 64 of them
 * are summed in blocks, as in long-sum.ts.
 */
export const gatherRowsGradient: Family<GatherRowsKey, 'plain' | 'columns'> = {
  name: 'gatherRowsGradient',
  variants: [
    { name: 'plain', supports: () => true, plan: planGradientByRow },
    { name: 'columns', supports: () => true, plan: planGradientByColumn },
  ],
  // `plain` reads rows x count indices; `columns` reads only count, but uses only one lane per element of a row.
  prefer: ({ rows, rowElements }, target) => (rows > mostRowsByRow(rowElements, target) ? 'columns' : 'plain'),
}

interface RowsText {
  readonly variant: string
  readonly bindings: readonly Binding[]
  readonly rows: number
  readonly columns: number
  readonly uniforms: Readonly<Record<string, number>>
  /** Statements to run for every `row` of a lane's `column`. */
  readonly each: string
  readonly flops: number
}

function planRows(family: string, text: RowsText, target: Target): KernelPlan {
  const schedule = planRowStride({ rows: text.rows, columns: text.columns }, target)
  return {
    variant: text.variant,
    dispatches: [
      dispatch({
        label: `${family}/${text.variant}`,
        bindings: text.bindings,
        uniforms: { ...schedule.uniforms, ...text.uniforms },
        workgroupSize: schedule.workgroupSize,
        workgroups: schedule.workgroups,
        body: schedule.body('', text.each),
      }),
    ],
    scratchBytes: [],
    flops: text.flops,
  }
}

function planGatherRows(key: GatherRowsKey, target: Target, width: 1 | 4): KernelPlan {
  checkRows('gatherRows', key)
  const element = width === 4 ? 'vec4u' : 'u32'
  const text: RowsText = {
    variant: width === 4 ? 'vec4' : 'plain',
    bindings: [reads('x', input(0), element), reads('indices', input(1), 'u32'), writes('y', output(0), element)],
    rows: key.count,
    columns: key.rowElements / width,
    uniforms: { sourceRows: key.rows },
    each: `
      let source = indices[row];
      var value = ${element}(0x7fc00000u);
      if (source < u.sourceRows) {
        value = x[source * u.columns + column];
      }
      y[row * u.columns + column] = value;`,
    flops: 0,
  }
  return planRows('gatherRows', text, target)
}

function planGradientByRow(key: GatherRowsKey, target: Target): KernelPlan {
  checkRows('gatherRowsGradient', key)
  const sum = longSum('f32', ['sum'], { terms: key.count, iterations: 1, block: tileBlock })
  const text: RowsText = {
    variant: 'plain',
    bindings: [reads('dy', input(0)), reads('indices', input(1), 'u32'), writes('dx', output(0))],
    rows: key.rows,
    columns: key.rowElements,
    uniforms: { count: key.count },
    each: `
${sum.declare}
      for (var i = 0u; i < u.count; i++) {
        if (indices[i] == row) {
          sum += dy[i * u.columns + column];
${sum.closeIterations}
        }
      }
${sum.finish}
      dx[row * u.columns + column] = sum;`,
    flops: key.count * key.rowElements,
  }
  return planRows('gatherRowsGradient', text, target)
}

function planGradientByColumn(key: GatherRowsKey, target: Target): KernelPlan {
  checkRows('gatherRowsGradient', key)
  const lanes = plainWorkgroupSize(target)
  // Four levels are enough for 2^22 indices of one row. With them the kernel uses eight buffers, which every adapter
  // allows.
  const levels = key.count <= tileBlock ? 0 : Math.min(4, levelsFor(Math.ceil(key.count / tileBlock)))
  const level = (n: number): string => (n === 0 ? 'dx' : `level${n}`)
  const each = (line: (n: number) => string): string =>
    range(levels)
      .map((n) => line(n + 1))
      .join(' ')
  const moveUp = (from: number): string =>
    `      if (terms % ${tileBlock * sumsPerLevel ** from}u == 0u) { ${level(from + 1)}[at] += ${level(from)}[at]; ${level(from)}[at] = 0.0; }`
  // A lane owns its column in all rows: no other lane writes there, so it may add in place, in the order of the
  // indices.
  return {
    variant: 'columns',
    dispatches: [
      dispatch({
        label: 'gatherRowsGradient/columns',
        bindings: [
          reads('dy', input(0)),
          reads('indices', input(1), 'u32'),
          writes('dx', output(0)),
          ...(levels > 0 ? [writes('termsOf', scratch(0), 'u32')] : []),
          ...range(levels).map((n) => writes(level(n + 1), scratch(n + 1))),
        ],
        uniforms: { rows: key.rows, columns: key.rowElements, count: key.count },
        workgroupSize: lanes,
        workgroups: Math.ceil(key.rowElements / lanes),
        body: `
  if (index >= u.columns) {
    return;
  }
  for (var row = 0u; row < u.rows; row++) {
    let at = row * u.columns + index;
    dx[at] = 0.0;
    ${levels > 0 ? 'termsOf[at] = 0u;' : ''} ${each((n) => `${level(n)}[at] = 0.0;`)}
  }
  for (var i = 0u; i < u.count; i++) {
    let row = indices[i];
    if (row < u.rows) {
      let at = row * u.columns + index;
      dx[at] += dy[i * u.columns + index];
${
  levels === 0
    ? ''
    : `      let terms = termsOf[at] + 1u;
      termsOf[at] = terms;
${repeat(levels, moveUp)}`
}
    }
  }
${
  levels === 0
    ? ''
    : `  for (var row = 0u; row < u.rows; row++) {
    let at = row * u.columns + index;
    ${each((n) => `dx[at] += ${level(n)}[at];`)}
  }`
}`,
      }),
    ],
    scratchBytes: Array.from({ length: levels === 0 ? 0 : levels + 1 }, () => 4 * key.rows * key.rowElements),
    flops: key.count * key.rowElements,
  }
}

function checkRows(family: string, key: GatherRowsKey): void {
  checkExtents(family, key, Math.max(key.rows, key.count) * key.rowElements)
}
