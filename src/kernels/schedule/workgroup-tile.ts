/**
 * Matrix products for GPUs: register tiles over workgroup memory. A workgroup computes a *block* of the result in
 * *slabs* of 16 successive k. Its lanes load a slab of both operands into workgroup memory; then each lane adds 16
 * outer products of four or eight rows by four or eight columns to its own accumulators. No subgroup operations: any
 * adapter runs it.
 *
 * The caller supplies the operands as WGSL, so a convolution is a product too (implicit GEMM). All extents are
 * uniforms: shapes that vectorise alike share a shader. Sums have a fixed order.
 *
 * - Accumulators are named variables; some compilers do not keep an indexed array in registers.
 * - A lane loads four vectors of four numbers, a 4x4 piece of a slab. If vectors run along k, it transposes the piece
 *   on the way into workgroup memory, so that both operands are stored as [k][row or column] and read in vectors.
 * - The next slab is loaded into registers before the outer products of the current one, whose arithmetic hides the
 *   latency; this needs no second copy in workgroup memory.
 */

import type { KernelPlan, Target, UniformValue } from '../kernel.ts'
import { dispatch, input, output, reads, scratch, writes } from '../kernel.ts'
import type { FusedActivation } from '../wgsl/activation.ts'
import { activationFunction } from '../wgsl/activation.ts'
import { exceeds } from '../wgsl/functions.ts'
import type { LongSum } from '../wgsl/long-sum.ts'
import { longSum } from '../wgsl/long-sum.ts'
import { component, range, repeat } from '../wgsl/text.ts'
import { blockLimits, otherSplitWorkgroups, prefersSubgroups, triesOtherSplits } from './occupancy.ts'
import type { SlabType, TiledOperand } from './slab-piece.ts'
import { pieceOf, slabTerms } from './slab-piece.ts'
import { splitCount, sumPartials } from './split-k.ts'

export interface TiledBlock {
  readonly name: TiledName
  /** Workgroups to split a sum for, if not the usual number. */
  readonly splitFor?: OtherSplit
  readonly rows: number
  readonly columns: number
  /** Rows and columns of results per lane. */
  readonly laneRows: 4 | 8
  readonly laneColumns: 4 | 8
  /**
   * Outer products unrolled in the innermost loop: 64 or more multiply-adds per lane and iteration, while lavapipe
   * still compiles the kernel in about 1.5 s of processor time (4 in `tiled128`: 2.8 s; all 16 unrolled by the
   * compiler: 3 s).
   */
  readonly unroll: 2 | 4
}

type BlockName = 'tiled32' | 'tiled64' | 'tiled64x8' | 'tiled128'
type OtherSplit = (typeof otherSplitWorkgroups)[number]
/** A block, or one whose sums are split for another number of workgroups: `tiled64/128groups`. */
export type TiledName = BlockName | `${BlockName}/${OtherSplit}groups`

/**
 * The block sizes. Small blocks fill the device with small results, large ones read less for each multiplication: a
 * lane of `tiled32` reads a vector of workgroup memory for 8 multiply-adds, of `tiled64` for 10.7, of `tiled64x8` and
 * `tiled128` for 16. A load of workgroup memory takes several times as long as a multiply-add on the GPUs that publish
 * such figures. `tiled64x8` has half of `tiled64`'s lanes: a candidate of tuning, never preferred.
 */
export const tiledBlocks = {
  tiled32: { name: 'tiled32', rows: 32, columns: 32, laneRows: 4, laneColumns: 4, unroll: 4 },
  tiled64: { name: 'tiled64', rows: 64, columns: 64, laneRows: 8, laneColumns: 4, unroll: 4 },
  tiled64x8: { name: 'tiled64x8', rows: 64, columns: 64, laneRows: 8, laneColumns: 8, unroll: 2 },
  tiled128: { name: 'tiled128', rows: 128, columns: 64, laneRows: 8, laneColumns: 8, unroll: 2 },
} as const satisfies Record<BlockName, TiledBlock>

/** The blocks of all variants: first those with the usual splits, then those that only tuning chooses. */
export const tiledVariants: readonly TiledBlock[] = [
  ...Object.values(tiledBlocks),
  ...Object.values(tiledBlocks).flatMap((block) =>
    otherSplitWorkgroups.map(
      (splitFor): TiledBlock => ({ ...block, name: `${block.name}/${splitFor}groups`, splitFor }),
    ),
  ),
]

/** Whether the `count` channels of a tap are whole slabs: an operand that runs over taps then loads `byTap`. */
export const fillsSlabs = (count: number): boolean => count % slabTerms === 0

/** The extents of `batch` results [rows, columns]. */
export interface TiledExtents {
  readonly batch: number
  readonly rows: number
  readonly columns: number
  /** The extent of k. */
  readonly terms: number
}

export interface TiledProduct extends TiledExtents {
  readonly label: string
  readonly left: TiledOperand
  readonly right: TiledOperand
  /** Channels of a tap, if an operand is loaded by tap. There is a uniform `kernelWidth` then. */
  readonly tapChannels?: number
  /**
   * Further uniforms that the operands' declarations read as `u.<name>`, besides `rows`, `columns`, `terms` and
   * `batch`.
   */
  readonly uniforms?: Readonly<Record<string, UniformValue>>
  /** Whether to add input 2, a bias [columns]. */
  readonly bias: boolean
  readonly activation: FusedActivation
  /** Whether input 2 is a mask of the result's shape: the result is 0 where it is not positive. */
  readonly mask?: boolean
  /** Whether output 1 holds the sums of the right operand's columns. For one batch only. */
  readonly columnSums?: boolean
}

const isByTap = ({ left, right }: TiledProduct): boolean => left.byTap === true || right.byTap === true

const lanesOf = (block: TiledBlock): number => (block.rows / block.laneRows) * (block.columns / block.laneColumns)

/** Whether a variant of this block may be chosen. Not if subgroups are better: measuring it would waste time. */
export function suits(block: TiledBlock, target: Target): boolean {
  if (prefersSubgroups(target)) return false
  const bytes = (block.rows + block.columns) * slabTerms * 4
  return lanesOf(block) <= target.maxWorkgroupSize && bytes <= target.maxWorkgroupStorageBytes
}

type SplitProduct = TiledExtents & Pick<TiledProduct, 'mask' | 'columnSums'>

/** Whether the variant is worth a name: its sums are not split as those of the block usually are. */
export function splitsItsOwnWay(block: TiledBlock, product: SplitProduct, target: Target): boolean {
  if (block.splitFor === undefined) return true
  return triesOtherSplits(target) && splitsOf(block, product, target) !== splitsOf(usual(block), product, target)
}

const usual = ({ splitFor: _, ...block }: TiledBlock): TiledBlock => block

/** The number of parts that a sum over k is split into. */
function splitsOf(block: TiledBlock, product: SplitProduct, target: Target): number {
  // A mask or column sums need the whole sum in one workgroup.
  if (product.mask === true || product.columnSums === true) return 1
  const tiles = product.batch * Math.ceil(product.rows / block.rows) * Math.ceil(product.columns / block.columns)
  const slabs = Math.ceil(product.terms / slabTerms)
  return Math.ceil(slabs / Math.ceil(slabs / splitCount(tiles, slabs, leastSlabs, target, block.splitFor)))
}

/** Plans the dispatches and scratch memory. */
export function tiledPlan(
  product: TiledProduct,
  block: TiledBlock,
  target: Target,
): Pick<KernelPlan, 'dispatches' | 'scratchBytes'> {
  const { batch, rows, columns, terms, left, right, bias, activation } = product
  const rowTiles = Math.ceil(rows / block.rows)
  const columnTiles = Math.ceil(columns / block.columns)
  const slabs = Math.ceil(terms / slabTerms)
  const splits = splitsOf(block, product, target)
  const slabsPerSplit = Math.ceil(slabs / splits)
  const last = splits === 1
  const label = `${product.label}/${block.name}${last ? '' : `/splitK${splits}`}`
  const type = columns % 4 === 0 ? 'vec4f' : 'f32'
  const total = longSum('vec4f', accumulatorsOf(block, product.columnSums === true), {
    ...{ terms: slabsPerSplit * slabTerms, termsPerIteration: slabTerms, iterations: 1 },
  })
  const slabType: SlabType = target.halfPrecision ? 'vec4h' : 'vec4f'
  const main = dispatch({
    label,
    bindings: [
      left.binding,
      right.binding,
      writes('result', last ? output(0) : scratch(0), type),
      ...(last && bias ? [reads('bias', input(2), type)] : []),
      ...(product.mask === true ? [reads('mask', input(2), type)] : []),
      ...(product.columnSums === true ? [writes('sums', output(1), type)] : []),
    ],
    uniforms: {
      rows,
      columns,
      terms,
      batch,
      rowTiles,
      columnTiles,
      slabs,
      slabsPerSplit,
      steps: slabTerms / block.unroll,
      laneRows: block.laneRows,
      ...(isByTap(product) ? { tapSlabs: (product.tapChannels ?? slabTerms) / slabTerms } : {}),
      ...product.uniforms,
    },
    f16: target.halfPrecision,
    workgroupSize: lanesOf(block),
    workgroups: rowTiles * columnTiles * batch * splits,
    declarations: `
var<workgroup> leftSlab: array<${slabType}, ${(slabTerms * block.rows) / 4}>;
var<workgroup> rightSlab: array<${slabType}, ${(slabTerms * block.columns) / 4}>;
${left.declarations}
${right.declarations}
${last ? activationFunction(activation, type, product.mask === true ? [exceeds] : []) : ''}
${storeFunction(product, type, last)}`,
    body: blockBody(product, block, type, total, slabType),
  })
  if (last) return { dispatches: [main], scratchBytes: [] }
  const count = batch * rows * columns
  const sumBias = bias ? { operand: input(2), columns } : undefined
  const sum = sumPartials({ label, count, splits, bias: sumBias, activation }, target)
  return { dispatches: [main, sum], scratchBytes: [splits * count * 4] }
}

/**
 * The block for a result of this size; undefined if even the smallest block has so much padding that the plain kernel
 * is faster. Blocks of workgroup memory serve GPUs, and processors without subgroups.
 */
export function preferredBlock({ batch, rows, columns, terms }: TiledExtents, target: Target): TiledBlock | undefined {
  const { busyWorkgroups, mostPadding, longSum } = blockLimits(target)
  const tiles = (block: TiledBlock): number => batch * Math.ceil(rows / block.rows) * Math.ceil(columns / block.columns)
  const covered = (block: TiledBlock): number => tiles(block) * block.rows * block.columns
  const usable = largestFirst.filter((block) => suits(block, target))
  const smallest = usable.at(-1)
  if (smallest === undefined) return undefined
  if (covered(smallest) > mostPadding * batch * rows * columns && terms < longSum) return undefined
  const isGood = (block: TiledBlock): boolean => {
    const splits = splitCount(tiles(block), Math.ceil(terms / slabTerms), leastSlabs, target)
    return tiles(block) * splits >= busyWorkgroups && covered(block) <= mostExtra * covered(smallest)
  }
  return usable.find(isGood) ?? smallest
}

const largestFirst: readonly TiledBlock[] = [tiledBlocks.tiled128, tiledBlocks.tiled64, tiledBlocks.tiled32]

/**
 * The most extra padding of a larger block: it must not waste what it saves in reads of workgroup memory (a third, a
 * half).
 */
const mostExtra = 1.34

/**
 * The fewest slabs per part (256 terms). A GPU takes about 0.3 us for a slab, the latency of its loads, and 5 us for the
 * dispatch that adds up the parts: guesses.
 */
const leastSlabs = 16

/** Declares `store(part, row, column, value)`, which stores one vector of the result if it is inside. */
function storeFunction(product: TiledProduct, type: string, last: boolean): string {
  const stored = (value: string, column: string, at: string): string => {
    if (!last) return value
    const activated = `activate(${value}${product.bias ? ` + bias[${column}]` : ''})`
    return product.mask === true ? `select(${type}(0), ${activated}, exceeds(mask[${at}], ${type}(0)))` : activated
  }
  return `fn store(part: u32, row: u32, column: u32, value: vec4f) {
  if (row >= u.rows || column >= u.columns) { return; }
  let at = (part * u.rows + row) * u.columns + column;
  ${
    type === 'vec4f'
      ? `result[at / 4u] = ${stored('value', 'column / 4u', 'at / 4u')};`
      : `for (var i = 0u; i < min(4u, u.columns - column); i++) {
    result[at + i] = ${stored('value[i]', 'column + i', 'at + i')};
  }`
  }
}`
}

/** Lines for each of a lane's accumulators: `c<row>_<vector of columns>`. */
function eachAccumulator(block: TiledBlock, line: (row: number, vector: number) => string): string {
  return repeat(block.laneRows, (row) => repeat(block.laneColumns / 4, (vector) => line(row, vector)))
}

/** All of a lane's accumulators, with those of the column sums. */
function accumulatorsOf(block: TiledBlock, columnSums: boolean): string[] {
  const vectors = block.laneColumns / 4
  const names = range(block.laneRows).flatMap((row) => range(vectors).map((vector) => `c${row}_${vector}`))
  if (columnSums) names.push(...range(vectors).map((vector) => `total${vector}`))
  return names
}

function blockBody(product: TiledProduct, block: TiledBlock, type: string, total: LongSum, slabType: SlabType): string {
  const [rowVectors, columnVectors] = [block.rows / 4, block.columns / 4]
  const [laneRowVectors, laneColumnVectors] = [block.laneRows / 4, block.laneColumns / 4]
  // A lane's eight rows are two runs of four, half a block apart: neighbouring lanes then read neighbouring vectors,
  // without bank conflicts.
  const [rowStep, columnStep] = [block.rows / laneRowVectors, block.columns / laneColumnVectors]
  const lanesAcross = block.columns / block.laneColumns
  const left = pieceOf(product.left, 'Left', block.rows, slabType)
  // If there are enough lanes, those without a piece of the left operand load the right operand's.
  const rightLane = lanesOf(block) >= block.rows + block.columns ? block.rows : 0
  const right = pieceOf(product.right, 'Right', block.columns, slabType, rightLane)
  const sums = product.columnSums === true
  const take = (row: number): string =>
    repeat(laneColumnVectors, (v) => `value${v} = c${row}_${v};`).replaceAll('\n', ' ')
  return `
  if (group >= groups) { return; }
  let columnTile = group % u.columnTiles;
  let rowTile = (group / u.columnTiles) % u.rowTiles;
  let part = group / (u.columnTiles * u.rowTiles);
  let batch = part % u.batch;
  let firstRow = rowTile * ${block.rows}u;
  let firstColumn = columnTile * ${block.columns}u;
  let firstSlab = (part / u.batch) * u.slabsPerSplit;
  let endSlab = min(firstSlab + u.slabsPerSplit, u.slabs);
  let laneX = lane % ${lanesAcross}u;
  let laneY = lane / ${lanesAcross}u;
${left.declare}
${right.declare}
${total.declare}
${isByTap(product) ? firstTap : ''}
  for (var slab = firstSlab; slab <= endSlab; slab++) {
    if (slab < endSlab) {
${left.load}
${right.load}
${isByTap(product) ? nextSlabOfTap : ''}
    }
    if (slab > firstSlab) {
      var leftAt = laneY;
      var rightAt = laneX;
      for (var step = 0u; step < u.steps; step++) {
${repeat(block.unroll, (k) => outerProduct(product, block, k))}
        leftAt += ${block.unroll * rowVectors}u;
        rightAt += ${block.unroll * columnVectors}u;
      }
${total.closeIterations}
    }
    workgroupBarrier();
${left.keep}
${right.keep}
    workgroupBarrier();
  }
${total.finish}
  for (var i = 0u; i < u.laneRows; i++) {
    let row = firstRow + (i / 4u) * ${rowStep}u + laneY * 4u + i % 4u;
${repeat(laneColumnVectors, (vector) => `    var value${vector} = c0_${vector};`)}
    switch i {
${repeat(block.laneRows - 1, (i) => `      case ${i + 1}u: { ${take(i + 1)} }`)}
      default: {}
    }
${repeat(laneColumnVectors, (vector) => `    store(part, row, firstColumn + ${vector * columnStep}u + laneX * 4u, value${vector});`)}
  }
${sums ? storeSums(laneColumnVectors, columnStep, type) : ''}`
}

/** The tap of a workgroup's first slab, and the slab's number within the tap: all lanes have the same. */
const firstTap = `  var tapSlab = firstSlab % u.tapSlabs;
  var ky = firstSlab / u.tapSlabs / u.kernelWidth;
  var kx = firstSlab / u.tapSlabs % u.kernelWidth;`

const nextSlabOfTap = `      tapSlab++;
      if (tapSlab == u.tapSlabs) {
        tapSlab = 0u;
        kx++;
        if (kx == u.kernelWidth) {
          kx = 0u;
          ky++;
        }
      }`

/** Adds outer product k to the lane's accumulators. */
function outerProduct(product: TiledProduct, block: TiledBlock, k: number): string {
  const { rows, columns, laneRows, laneColumns } = block
  const [rowVectors, columnVectors] = [laneRows / 4, laneColumns / 4]
  const vectors = repeat(
    columnVectors,
    (i) => `        let b${k}_${i} = vec4f(rightSlab[rightAt + ${(columns / 4) * (k + i / columnVectors)}u]);`,
  )
  return `${repeat(rowVectors, (i) => `        let a${k}_${i} = vec4f(leftSlab[leftAt + ${(rows / 4) * (k + i / rowVectors)}u]);`)}
${vectors}
${eachAccumulator(block, (row, vector) => `        c${row}_${vector} += ${component(`a${k}_${row >> 2}`, 4, row & 3)} * b${k}_${vector};`)}
${product.columnSums === true ? repeat(columnVectors, (vector) => `        total${vector} += b${k}_${vector};`) : ''}`
}

/** Stores the column sums: each lane in a block's first row has added up all of its columns. */
function storeSums(laneColumnVectors: number, columnStep: number, type: string): string {
  return `
  if (rowTile == 0u && laneY == 0u) {
${repeat(
  laneColumnVectors,
  (vector) => `    let column${vector} = firstColumn + ${vector * columnStep}u + laneX * 4u;
${
  type === 'vec4f'
    ? `    if (column${vector} < u.columns) { sums[column${vector} / 4u] = total${vector}; }`
    : `    for (var i = column${vector}; i < min(column${vector} + 4u, u.columns); i++) { sums[i] = total${vector}[i - column${vector}]; }`
}`,
)}
  }`
}
