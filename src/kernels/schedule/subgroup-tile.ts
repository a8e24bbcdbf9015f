/**
 * The inner loop of matrix products without barriers: one subgroup computes a tile of the result as a sum of outer
 * products. Operands are loaded once, one vector per lane, and passed to the other lanes by `subgroupBroadcast`; the
 * accumulators are named variables, never indexed at run time.
 *
 * The reason: on a CPU running Vulkan a control barrier turns a shader into coroutines, a storage load costs 10-44 ns
 * per subgroup, a broadcast 1-3 ns. Each load is therefore used as often as the accumulators allow.
 *
 * Rows of the left operand come in one of two layouts: a lane holds `unroll` successive k of one row (`lanes`), or a
 * lane holds `rowVector` neighbouring rows at one k (`vectors`). Columns of the right operand likewise: a lane holds
 * `columnVector` neighbouring columns at one k (`vectors`), or `unroll` successive k of one column (`lanes`).
 */

import type { FloatType } from '../wgsl/functions.ts'
import { component, range } from '../wgsl/text.ts'

export type VectorWidth = 1 | 2 | 4

export interface SubgroupTile {
  readonly subgroupSize: number
  readonly rows: number
  /** Groups of columns: the tile has `columnGroups * subgroupSize * columnVector` columns. */
  readonly columnGroups: number
  readonly columnVector: VectorWidth
  /** Successive k per iteration of the loop. */
  readonly unroll: VectorWidth
  readonly rowLayout: 'lanes' | 'vectors'
  /** Rows per vector in the layout `vectors`; 1 otherwise. */
  readonly rowVector: VectorWidth
  readonly columnLayout: 'lanes' | 'vectors'
}

export function vectorType(width: VectorWidth): FloatType {
  return width === 1 ? 'f32' : `vec${width}f`
}

export function widestVector(...extents: readonly number[]): VectorWidth {
  if (extents.every((extent) => extent % 4 === 0)) return 4
  return extents.every((extent) => extent % 2 === 0) ? 2 : 1
}

/** The column vector that wastes the fewest lanes; in a tie the wider one. */
export function columnVectorFor(columns: number, subgroupSize: number): VectorWidth {
  let best: VectorWidth = 1
  for (const width of [2, 4] as const) {
    const covered = (vector: number): number => Math.ceil(columns / (subgroupSize * vector)) * subgroupSize * vector
    if (columns % width === 0 && covered(width) <= covered(best)) best = width
  }
  return best
}

/** The number of left-operand vectors that each lane loads per pass: variables `a0`, `a1`, ... of `leftType`. */
export function leftLoads(tile: SubgroupTile): number {
  const vectors = tile.rowLayout === 'lanes' ? tile.rows : (tile.rows / tile.rowVector) * tile.unroll
  return Math.ceil(vectors / tile.subgroupSize)
}

export function leftType(tile: SubgroupTile): FloatType {
  return vectorType(tile.rowLayout === 'lanes' ? tile.unroll : tile.rowVector)
}

/** The right operand's variables: `b<u>_<j>` in the layout `vectors`, `b<j>` in the layout `lanes`. */
export function rightType(tile: SubgroupTile): FloatType {
  return vectorType(tile.columnLayout === 'lanes' ? tile.unroll : tile.columnVector)
}

/** The number of columns in a tile. */
export function tileColumns(tile: SubgroupTile): number {
  return tile.columnGroups * tile.subgroupSize * tile.columnVector
}

/** The names of a lane's accumulators, by row and group of columns. */
export function accumulatorsOf(tile: SubgroupTile): string[] {
  return range(tile.rows).flatMap((row) => range(tile.columnGroups).map((column) => `c${row}_${column}`))
}

/**
 * Adds the outer products of `a*` and `b*` to the accumulators. It first sums those of all `unroll` k, so that an
 * accumulator takes one term per iteration. Without fused multiply-adds this costs nothing.
 */
export function rankUpdate(tile: SubgroupTile): string {
  const { subgroupSize, rows, columnGroups, unroll, rowLayout, rowVector, columnLayout } = tile
  const ks = range(unroll)
  const lines: string[] = []
  for (let i = 0; i < rows; i++) {
    for (const k of ks) {
      const slot = rowLayout === 'lanes' ? i : k * (rows / rowVector) + Math.floor(i / rowVector)
      const held = `a${Math.floor(slot / subgroupSize)}`
      const part = rowLayout === 'lanes' ? component(held, unroll, k) : component(held, rowVector, i % rowVector)
      lines.push(`    let x${i}_${k} = subgroupBroadcast(${part}, ${slot % subgroupSize}u);`)
    }
    for (let j = 0; j < columnGroups; j++) {
      const right = (k: number): string => (columnLayout === 'lanes' ? component(`b${j}`, unroll, k) : `b${k}_${j}`)
      lines.push(`    c${i}_${j} += ${ks.map((k) => `x${i}_${k} * ${right(k)}`).join(' + ')};`)
    }
  }
  return lines.join('\n')
}

/**
 * Stores the tile. `store(row, group, value)` gives the statement for one vector of a group of columns; `firstRow`,
 * `u.rows`, `wanted<j>` (in vectors) and `u.columnVectors` must be in scope.
 *
 * A CPU compiles each store, and each load beside it, lane by lane. So a loop stores the rows of narrow columns, and moves
 * the accumulators up: such products compile in a third to an eighth of the time, and run 1.1 times as fast. Columns of
 * vec4 keep one store a row: in a loop they compile in half the time, but the products take 1.1 times as long.
 */
export function storeTile(tile: SubgroupTile, store: (row: string, group: number, value: string) => string): string {
  const isLoop = tile.columnVector < 4
  const groups = range(tile.columnGroups).map((j) => {
    const moves = range(tile.rows - 1).map((i) => `      c${i}_${j} = c${i + 1}_${j};`)
    const stores = range(tile.rows).map(
      (i) => `    if (firstRow + ${i}u < u.rows) { ${store(`(firstRow + ${i}u)`, j, `c${i}_${j}`)} }`,
    )
    const loop = [
      `    for (var row = firstRow; row < endKept; row++) {\n      ${store('row', j, `c0_${j}`)}`,
      ...moves,
      '    }',
    ]
    return [`  if (wanted${j} < u.columnVectors) {`, ...(isLoop ? loop : stores), '  }'].join('\n')
  })
  return [...(isLoop ? [`  let endKept = min(firstRow + ${tile.rows}u, u.rows);`] : []), ...groups].join('\n')
}

/** Declares `bias<j>`, the bias of a lane's columns. Loading it at every store would multiply the time to compile. */
export function declareBias(tile: SubgroupTile): string {
  return range(tile.columnGroups)
    .map((j) => `  let bias${j} = bias[column${j}];`)
    .join('\n')
}

/** Declares `wanted<j>` (this lane's column vectors) and `column<j>` (the same, clamped for loading). */
export function declareColumns(tile: SubgroupTile): string {
  const lines: string[] = []
  for (let j = 0; j < tile.columnGroups; j++) {
    lines.push(`  let wanted${j} = (columnTile * ${tile.columnGroups}u + ${j}u) * ${tile.subgroupSize}u + lane;`)
    lines.push(`  let column${j} = min(wanted${j}, u.columnVectors - 1u);`)
  }
  return lines.join('\n')
}
