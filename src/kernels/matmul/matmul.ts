/**
 * Matrix products: [m, k] x [k, n], either operand transposed, in batches, with bias and activation applied to the
 * result. Serves `matmul` and `dense`, and the gradients of both. Inputs: left, right, and bias if the key asks for it.
 */

import { checkExtents } from '../extents.ts'
import type { Binding, Family, KernelPlan, Target, Variant } from '../kernel.ts'
import { dispatch, input, output, planKernel, reads, scratch, subgroupSizeOf, writes } from '../kernel.ts'
import { plainWorkgroupSize, prefersSubgroups } from '../schedule/occupancy.ts'
import { splitCount, sumPartials } from '../schedule/split-k.ts'
import type { SubgroupTile } from '../schedule/subgroup-tile.ts'
import {
  accumulatorsOf,
  columnVectorFor,
  declareBias,
  declareColumns,
  leftLoads,
  leftType,
  rankUpdate,
  rightType,
  storeTile,
  tileColumns,
  vectorType,
  widestVector,
} from '../schedule/subgroup-tile.ts'
import type { TiledName } from '../schedule/workgroup-tile.ts'
import { preferredBlock } from '../schedule/workgroup-tile.ts'
import { activationFunction } from '../wgsl/activation.ts'
import type { WgslFunction } from '../wgsl/functions.ts'
import { exceeds } from '../wgsl/functions.ts'
import { longSum } from '../wgsl/long-sum.ts'
import { range, repeat, storedType } from '../wgsl/text.ts'
import type { MatmulKey } from './key.ts'
import { matmulSupports } from './key.ts'
import { separateKernels } from './separate.ts'
import { tiledMatmuls } from './workgroup.ts'

export type { MatmulKey } from './key.ts'

/**
 * Whether the kernel can also sum the columns of the right operand: the sum over k must not be split over workgroups,
 * and the operand must be one batch of [k, n].
 */
export function canSumColumns(key: MatmulKey): boolean {
  return key.batch === 1 && !key.transposeB && !key.bias && key.k <= longestUnsplit
}

/**
 * With a longer k, not splitting a product with few tiles leaves cores idle for longer than a second kernel would take.
 */
const longestUnsplit = 2048

const flopsOf = (key: MatmulKey): number => 2 * key.batch * key.m * key.n * key.k

/** Computes one element per lane. The column sums are one more row, whose left operand is 1. */
const plainMatmul: Variant<MatmulKey, 'plain'> = {
  name: 'plain',
  supports: /* @__PURE__ */ matmulSupports({
    transposeA: true,
    transposeB: true,
    batchedA: true,
    batchedB: true,
    bias: true,
    activation: true,
    mask: true,
    columnSums: true,
    halfB: true,
  }),
  plan(key, target): KernelPlan {
    const workgroupSize = plainWorkgroupSize(target)
    const count = key.batch * key.m * key.n
    const total = longSum('f32', ['sum'], { terms: key.k })
    const sums = key.columnSums === true
    const left = `left[batch * u.strideA + ${key.transposeA ? 'k * u.m + row' : 'row * u.k + k'}]`
    return {
      variant: 'plain',
      scratchBytes: [],
      flops: flopsOf(key),
      dispatches: [
        dispatch({
          label: 'matmul/plain',
          f16: key.halfB,
          bindings: [
            ...operands(key, 'f32', storedType('f32', key.halfB), 'f32'),
            ...(sums ? [writes('sums', output(1))] : []),
          ],
          uniforms: { count, m: key.m, n: key.n, k: key.k, ...strides(key, 1, 1) },
          workgroupSize,
          workgroups: Math.ceil((count + (sums ? key.n : 0)) / workgroupSize),
          declarations: activationFunction(key.activation, 'f32', maskFunctions(key)),
          body: `
  if (index >= u.count${sums ? ' + u.n' : ''}) { return; }
  let column = index % u.n;
  let row = (index / u.n) % u.m;
  let batch = index / (u.n * u.m);
${total.whole(
  ['k', '0u', 'u.k'],
  `    sum += ${sums ? `select(${left}, 1.0, index >= u.count)` : left}
         * f32(right[batch * u.strideB + ${key.transposeB ? 'column * u.k + k' : 'k * u.n + column'}]);`,
)}
${sums ? '  if (index >= u.count) { sums[column] = sum; return; }' : ''}
  result[index] = ${finish(key, 'f32', 'sum', 'bias[column]', 'mask[index]')};`,
        }),
      ],
    }
  },
}

function operands(key: MatmulKey, left: string, right: string, result: string): Binding[] {
  return [
    reads('left', input(0), left),
    reads('right', input(1), right),
    writes('result', output(0), result),
    ...(key.bias ? [reads('bias', input(2), result)] : []),
    ...(key.mask === true ? [reads('mask', input(2), result)] : []),
  ]
}

/** The value to store for a sum: with bias and activation, or masked. */
function finish(key: MatmulKey, type: string, sum: string, bias: string, mask: string): string {
  const activated = `activate(${sum}${key.bias ? ` + ${bias}` : ''})`
  return key.mask === true ? `select(${type}(0), ${activated}, exceeds(${mask}, ${type}(0)))` : activated
}

/** The functions that `finish` calls besides the activation. */
function maskFunctions(key: MatmulKey): WgslFunction[] {
  return key.mask === true ? [exceeds] : []
}

/** Distance from one batch to the next, in vectors. */
function strides(key: MatmulKey, leftWidth: number, rightWidth: number): { strideA: number; strideB: number } {
  return {
    strideA: key.batchedA ? (key.m * key.k) / leftWidth : 0,
    strideB: key.batchedB ? (key.k * key.n) / rightWidth : 0,
  }
}

type SubgroupName = 'subgroupRows16' | 'subgroupRows8'

/** The rows and column groups of a tile, for each layout of the right operand. */
interface SubgroupShape {
  readonly name: SubgroupName
  readonly vectors: { readonly rows: number; readonly columnGroups: number }
  readonly lanes: { readonly rows: number; readonly columnGroups: number }
}

function subgroupTile(key: MatmulKey, target: Target, shape: SubgroupShape): SubgroupTile {
  const subgroupSize = subgroupSizeOf(target)
  const rowVector = key.transposeA ? widestVector(key.m) : 1
  const lanesAlongK = !key.transposeA || key.transposeB
  const unroll = lanesAlongK ? widestVector(key.k) : key.k % 2 === 0 ? 2 : 1
  const columnVector = key.transposeB ? 1 : columnVectorFor(key.n, subgroupSize)
  const wanted = key.transposeB ? shape.lanes : shape.vectors
  const columnGroups = Math.min(wanted.columnGroups, Math.ceil(key.n / (subgroupSize * columnVector)))
  // A narrow result leaves room for more rows while keeping the accumulators at 64 numbers per lane.
  const rows = columnVector * columnGroups <= 2 ? wanted.rows * 2 : wanted.rows
  const fitting = Math.min(rows, Math.ceil(key.m / rowVector) * rowVector)
  return {
    subgroupSize,
    rows: Math.ceil(fitting / rowVector) * rowVector,
    columnGroups,
    columnVector,
    unroll,
    rowLayout: key.transposeA ? 'vectors' : 'lanes',
    rowVector,
    columnLayout: key.transposeB ? 'lanes' : 'vectors',
  }
}

function subgroupVariant(shape: SubgroupShape): Variant<MatmulKey, SubgroupName> {
  return {
    name: shape.name,
    supports: matmulSupports(
      {
        transposeA: true,
        transposeB: true,
        batchedA: true,
        batchedB: true,
        bias: true,
        activation: true,
        mask: true,
        columnSums: true,
        halfB: true,
      },
      (_, target) => target.subgroupSize !== undefined,
    ),
    plan(key, target): KernelPlan {
      const tile = subgroupTile(key, target, shape)
      const { subgroupSize, unroll, rowVector, columnVector } = tile
      const leftWidth = key.transposeA ? rowVector : unroll
      const rightWidth = key.transposeB ? unroll : columnVector
      const type = vectorType(columnVector)
      const right = storedType(rightType(tile), key.halfB)
      const rowTiles = Math.ceil(key.m / tile.rows)
      const columnTiles = Math.ceil(key.n / tileColumns(tile))
      const slabs = key.k / unroll
      // At least 128 slabs: with fewer, a second pass over the result costs more than the idle cores.
      const isWhole = key.columnSums === true || key.mask === true
      const splits = isWhole ? 1 : splitCount(rowTiles * columnTiles * key.batch, slabs, 128, target)
      const count = key.batch * key.m * key.n
      const last = splits === 1
      const slabsPerSplit = Math.ceil(slabs / splits)
      const columnTotals = range(tile.columnGroups).map((j) => `total${j}`)
      const total = longSum(type, [...accumulatorsOf(tile), ...(key.columnSums === true ? columnTotals : [])], {
        terms: slabsPerSplit,
      })
      const label = `matmul/${shape.name}${last ? '' : `/splitK${splits}`}`
      const product = dispatch({
        label,
        subgroups: target,
        f16: key.halfB,
        bindings: last
          ? [
              ...operands(key, leftType(tile), right, type),
              ...(key.columnSums === true ? [writes('sums', output(1), type)] : []),
            ]
          : [
              reads('left', input(0), leftType(tile)),
              reads('right', input(1), right),
              writes('result', scratch(0), type),
            ],
        uniforms: {
          rows: key.m,
          columnVectors: key.n / columnVector,
          rowTiles,
          columnTiles,
          batch: key.batch,
          slabs,
          slabsPerSplit,
          ...strides(key, leftWidth, rightWidth),
          rowGroups: Math.ceil(key.m / rowVector),
        },
        workgroupSize: subgroupSize,
        workgroups: rowTiles * columnTiles * key.batch * splits,
        declarations: last ? activationFunction(key.activation, type, maskFunctions(key)) : '',
        body: `
  if (group >= groups) { return; }
  let columnTile = group % u.columnTiles;
  let rowTile = (group / u.columnTiles) % u.rowTiles;
  let part = group / (u.columnTiles * u.rowTiles);
  let batch = part % u.batch;
  let split = part / u.batch;
  let firstRow = rowTile * ${tile.rows}u;
  let firstSlab = split * u.slabsPerSplit;
  let endSlab = min(firstSlab + u.slabsPerSplit, u.slabs);
${declareColumns(tile)}
${declareLeft(tile)}
${declareRight(tile)}
${total.whole(
  ['slab', 'firstSlab', 'endSlab'],
  `${loads(tile)}
${
  key.columnSums === true
    ? repeat(
        tile.columnGroups,
        (j) =>
          `    total${j} += ${range(unroll)
            .map((k) => `b${k}_${j}`)
            .join(' + ')};`,
      )
    : ''
}
${rankUpdate(tile)}`,
)}
${key.columnSums === true ? repeat(tile.columnGroups, (j) => `  if (rowTile == 0u && wanted${j} < u.columnVectors) { sums[wanted${j}] = total${j}; }`) : ''}
${last && key.bias ? declareBias(tile) : ''}
${storeTile(tile, (row, j, value) =>
  last
    ? `result[(batch * u.rows + ${row}) * u.columnVectors + wanted${j}] = ${finish(
        key,
        type,
        value,
        `bias${j}`,
        `mask[(batch * u.rows + ${row}) * u.columnVectors + wanted${j}]`,
      )};`
    : `result[((split * u.batch + batch) * u.rows + ${row}) * u.columnVectors + wanted${j}] = ${value};`,
)}`,
      })
      if (last) return { variant: shape.name, scratchBytes: [], flops: flopsOf(key), dispatches: [product] }
      const bias = key.bias ? { operand: input(2), columns: key.n } : undefined
      return {
        variant: shape.name,
        scratchBytes: [splits * count * 4],
        flops: flopsOf(key),
        dispatches: [product, sumPartials({ label, count, splits, bias, activation: key.activation }, target)],
      }
    },
  }
}

/** Declares this lane's addresses in the left operand at slab 0, one per vector it loads. */
function declareLeft(tile: SubgroupTile): string {
  const lines: string[] = []
  for (let r = 0; r < leftLoads(tile); r++) {
    if (tile.rowLayout === 'lanes') {
      lines.push(
        `  let left${r} = batch * u.strideA + min(firstRow + ${r * tile.subgroupSize}u + lane, u.rows - 1u) * u.slabs;`,
      )
    } else {
      const groups = tile.rows / tile.rowVector
      lines.push(`  let slot${r} = min(${r * tile.subgroupSize}u + lane, ${groups * tile.unroll - 1}u);`)
      lines.push(`  let rowGroup${r} = min(rowTile * ${groups}u + slot${r} % ${groups}u, u.rowGroups - 1u);`)
      lines.push(`  let left${r} = batch * u.strideA + (slot${r} / ${groups}u) * u.rowGroups + rowGroup${r};`)
    }
  }
  return lines.join('\n')
}

function declareRight(tile: SubgroupTile): string {
  const lines: string[] = []
  for (let j = 0; j < tile.columnGroups; j++) {
    const start = tile.columnLayout === 'lanes' ? `column${j} * u.slabs` : `column${j}`
    lines.push(`  let right${j} = batch * u.strideB + ${start};`)
  }
  return lines.join('\n')
}

function loads(tile: SubgroupTile): string {
  const type = rightType(tile)
  const lines: string[] = []
  for (let r = 0; r < leftLoads(tile); r++) {
    const step = tile.rowLayout === 'lanes' ? 'slab' : `slab * ${tile.unroll}u * u.rowGroups`
    lines.push(`    let a${r} = left[left${r} + ${step}];`)
  }
  for (let j = 0; j < tile.columnGroups; j++) {
    if (tile.columnLayout === 'lanes') lines.push(`    let b${j} = ${type}(right[right${j} + slab]);`)
    else
      for (let k = 0; k < tile.unroll; k++)
        lines.push(
          `    let b${k}_${j} = ${type}(right[right${j} + (slab * ${tile.unroll}u + ${k}u) * u.columnVectors]);`,
        )
  }
  return lines.join('\n')
}

/** Matrix products. Throws 'shape' for an empty key. */
export const matmul: Family<MatmulKey, 'plain' | SubgroupName | TiledName | 'separate'> = {
  name: 'matmul',
  variants: [
    plainMatmul,
    subgroupVariant({
      name: 'subgroupRows16',
      vectors: { rows: 16, columnGroups: 1 },
      lanes: { rows: 16, columnGroups: 4 },
    }),
    subgroupVariant({
      name: 'subgroupRows8',
      vectors: { rows: 8, columnGroups: 2 },
      lanes: { rows: 8, columnGroups: 4 },
    }),
    ...tiledMatmuls,
    separateKernels((key, target) => planKernel(matmul, key, target)),
  ],
  prefer(key, target) {
    checkExtents('matmul', key)
    const { batch, m, n, k } = key
    if (prefersSubgroups(target)) return 'subgroupRows16'
    return preferredBlock({ batch, rows: m, columns: n, terms: k }, target)?.name ?? 'plain'
  },
}
