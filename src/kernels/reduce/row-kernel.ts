/**
 * Kernels over the rows of a matrix, the last axis of a tensor: passes that reduce a row to a number, then a pass that
 * writes results from these numbers. A lane, a subgroup or a workgroup takes a row; long sums are built as in
 * long-sum.ts. Softmax, cross-entropy and layer normalisation are such kernels.
 */

import { checkExtents } from '../extents.ts'
import type { Binding, Family, KernelPlan, Target, UniformValue } from '../kernel.ts'
import { dispatch } from '../kernel.ts'
import type { CooperativeKind } from '../schedule/cooperative.ts'
import { cooperativeGroup, groupFunctions, supportsGroup } from '../schedule/cooperative.ts'
import { fillsByRows, prefersWorkgroupRows } from '../schedule/occupancy.ts'
import type { WgslFunction } from '../wgsl/functions.ts'
import { declareFunctions, scalar } from '../wgsl/functions.ts'
import type { Loop } from '../wgsl/long-sum.ts'
import { longSum, plainLoop } from '../wgsl/long-sum.ts'

export interface RowExtents {
  readonly rows: number
  readonly columns: number
}

/**
 * A pass over a row: `name` becomes the maximum or the sum of `term`. In its scope: `c`, `first` and the earlier
 * passes.
 */
export interface RowPass {
  readonly name: string
  readonly operation: 'max' | 'sum'
  readonly term: string
}

export interface RowKernel {
  readonly label: string
  readonly bindings: readonly Binding[]
  readonly uniforms?: Readonly<Record<string, UniformValue>>
  readonly needs: readonly WgslFunction[]
  readonly passes: readonly RowPass[]
  /**
   * Statements that write. In scope: `row`, `first` (the row's offset), `member` (this lane's first column), `present`
   * (false for lanes beyond the last row, which take part but must not write), the passes' results, and `groupMax` and
   * `groupSum`.
   */
  readonly write: (eachColumn: EachColumn) => string
}

/** Writes a lane's loop over its columns `c`; with `sum`, it declares that variable and adds to it. */
export type EachColumn = (body: string, sum?: string) => string

export function planRows(extents: RowExtents, kind: CooperativeKind, target: Target, kernel: RowKernel): KernelPlan {
  const { rows, columns } = extents
  const group = cooperativeGroup(kind, target)
  const eachColumn: EachColumn = (body, name) => {
    const loop: Loop = ['c', 'member', 'u.columns', group.size]
    if (name === undefined) return plainLoop(loop, body)
    return longSum('f32', [name], { terms: Math.ceil(columns / group.size) }).whole(loop, body)
  }
  const passText = ({ name, operation, term }: RowPass): string =>
    operation === 'max'
      ? `  var ${name} = u.lowest;
${eachColumn(`    ${name} = max(${name}, ${term});`)}
  ${name} = groupMax(${name}, lane);`
      : `${eachColumn(`    ${name} += ${term};`, name)}
  ${name} = groupSum(${name}, lane);`
  const [own, member] = kind === 'plain' ? ['index', '0u'] : ['group', 'lane']
  return {
    variant: kind,
    dispatches: [
      dispatch({
        label: `${kernel.label}/${kind}`,
        bindings: kernel.bindings,
        uniforms: { rows, columns, lowest: { f32: Number.NEGATIVE_INFINITY }, ...kernel.uniforms },
        workgroupSize: group.workgroupSize,
        workgroups: Math.ceil(rows / group.perWorkgroup),
        subgroups: kind === 'subgroup' ? target : undefined,
        declarations: [
          declareFunctions(kernel.needs, scalar),
          groupFunctions(group, [
            { name: 'groupMax', type: 'f32', combine: (a, b) => `max(${a}, ${b})`, builtin: 'subgroupMax' },
            { name: 'groupSum', type: 'f32', combine: (a, b) => `${a} + ${b}`, builtin: 'subgroupAdd' },
          ]),
        ].join('\n'),
        body: `  let present = ${own} < u.rows;
  let row = min(${own}, u.rows - 1u);
  let member = ${member};
  let first = row * u.columns;
${kernel.passes.map(passText).join('\n')}
${kernel.write(eachColumn)}`,
      }),
    ],
    scratchBytes: [],
    flops: 0,
  }
}

const kinds: readonly CooperativeKind[] = ['plain', 'subgroup', 'workgroup']

/**
 * Makes a family of row kernels: `plain` gives each lane a row; `subgroup` and `workgroup` let a whole group of lanes
 * share one, for long rows. Planning throws 'shape' for empty rows.
 */
export function rowFamily<Key>(
  name: string,
  extentsOf: (key: Key) => RowExtents,
  plan: (key: Key, kind: CooperativeKind, target: Target) => KernelPlan,
): Family<Key, CooperativeKind> {
  return {
    name,
    variants: kinds.map((kind) => ({
      name: kind,
      supports: (_, target) => supportsGroup(kind, target),
      plan(key, target) {
        checkExtents(name, extentsOf(key))
        return plan(key, kind, target)
      },
    })),
    prefer(key, target) {
      const { rows, columns } = extentsOf(key)
      // Short rows: one lane each.
      if (columns <= 32 || fillsByRows(rows, target)) return 'plain'
      const wanted = prefersWorkgroupRows(target) ? 'workgroup' : 'subgroup'
      return supportsGroup(wanted, target) ? wanted : 'plain'
    },
  }
}
