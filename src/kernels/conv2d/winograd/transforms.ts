/**
 * The kernels that transform images, filters and products for Winograd's algorithm. Each lane takes a tile of one
 * channel and computes M x M^T for a small matrix M, written out. (Vectors of four channels are no faster on lavapipe,
 * and take 2 to 6 times as long to compile: 15.7 instead of 2.6 s for the input of 4x4 tiles.)
 *
 * In the transformed space, numbers are [points, tiles, channels] or [points, channels, filters]: a matrix per point.
 */

import { at } from '../../extents.ts'
import type { Binding, Dispatch, Operand, Target, UniformValue } from '../../kernel.ts'
import { dispatch, elementCount, reads, writes } from '../../kernel.ts'
import { gridFor, gridStrideLoop, laneCoordinates } from '../../schedule/grid-stride.ts'
import type { FusedActivation } from '../../wgsl/activation.ts'
import { activationFunction } from '../../wgsl/activation.ts'
import { takesMaximum } from '../../wgsl/functions.ts'
import { allOf, lines, range } from '../../wgsl/text.ts'
import type { Matrix, Transform } from './tiles.ts'
import { transposed } from './tiles.ts'

/** A batch of images, NHWC. */
export interface Images {
  readonly height: number
  readonly width: number
  readonly channels: number
}

/** Some rows of tiles, counted through the batch. */
export interface TileRows {
  readonly transform: Transform
  /** Rows and columns of tiles in an image. */
  readonly grid: readonly [rows: number, columns: number]
  readonly first: number
  readonly count: number
}

/** What a kernel does with its tiles. Texts see `d0`, `d1`, ..., the coordinates of the lane's item, and `item`. */
interface Work {
  readonly label: string
  readonly bindings: readonly Binding[]
  readonly uniforms?: Readonly<Record<string, UniformValue>>
  readonly declarations?: string
  /** Extents of the items. */
  readonly extents: readonly number[]
  readonly matrix: Matrix
  /** Statements before the loads. */
  readonly begin?: string
  /** An element of x, as an expression. */
  load(row: number, column: number): string
  /** The statement that takes an element of M x M^T. */
  store(row: number, column: number, value: string): string
  /** Statements after the stores. */
  readonly end?: string
}

function transformKernel(work: Work, target: Target): Dispatch {
  const { label, bindings, matrix, extents, begin = '', end = '' } = work
  const [rows, side] = [matrix.length, at(matrix, 0).length]
  const items = elementCount(extents)
  const { itemsPerLane, ...workgroups } = gridFor(items, target, side * side)
  const coordinates = laneCoordinates(extents, { itemsPerLane, ...workgroups })
  const loads = pairs(side, side, (i, j) => `      let x${i}_${j} = ${work.load(i, j)};`)
  const half = pairs(
    rows,
    side,
    (i, j) => `      let half${i}_${j} = ${combination(at(matrix, i), (k) => `x${k}_${j}`)};`,
  )
  const stores = pairs(
    rows,
    rows,
    (i, j) =>
      `      ${work.store(
        i,
        j,
        combination(at(matrix, j), (k) => `half${i}_${k}`),
      )}`,
  )
  const made = dispatch({
    ...{ label, bindings, ...workgroups },
    uniforms: { ...coordinates.uniforms, ...work.uniforms },
    declarations: work.declarations ?? '',
    body: gridStrideLoop(coordinates, [begin, loads, half, stores, end].filter((text) => text !== '').join('\n')),
  })
  // Two products of small matrices, of whose numbers half are zero.
  return { ...made, flops: items * rows * side * (rows + side) }
}

function pairs(rows: number, columns: number, line: (row: number, column: number) => string): string {
  return lines(range(rows * columns), (n) => line(Math.floor(n / columns), n % columns))
}

/** A row of a matrix times a column of variables: `a0 - a2`. */
function combination(row: readonly number[], name: (k: number) => string): string {
  const terms = row.flatMap((factor, k) => {
    if (factor === 0) return []
    const size = Math.abs(factor)
    return [`${factor < 0 ? '-' : '+'} ${size === 1 ? '' : `${size} * `}${name(k)}`]
  })
  return terms.join(' ').replace(/^\+ /, '')
}

/** Declares `sample`, and the first row and column of outputs in the item's tile. */
const declareTile = ({ transform: { outputs } }: TileRows): string => `      let tileRow = u.first + d0;
      let sample = tileRow / u.tileRows;
      let top = (tileRow - sample * u.tileRows) * ${outputs}u;
      let left = d1 * ${outputs}u;`

const tileUniforms = ({ first, grid: [tileRows] }: TileRows) => ({ first, tileRows })

/** What to transform images with: B, for the input of a convolution, or A, for the gradient of its output. */
export interface ImageTransform {
  readonly label: string
  readonly images: Images
  readonly matrix: Matrix
  /** Zeros above and to the left of the images; fewer than none leave out pixels. */
  readonly pad: readonly [top: number, left: number]
  readonly from: Operand
  /** [points, tiles, channels] */
  readonly to: Operand
}

/** M x M^T of the tiles of images; pixels outside count as zeros. */
export function transformImages(rows: TileRows, work: ImageTransform, target: Target): Dispatch {
  const { label, images, matrix, pad, from, to } = work
  const side = range(at(matrix, 0).length)
  return transformKernel(
    {
      ...{ label, matrix },
      bindings: [reads('image', from), writes('transformed', to)],
      uniforms: {
        ...tileUniforms(rows),
        ...{ height: images.height, width: images.width, channels: images.channels },
        ...{ padTop: { i32: pad[0] }, padLeft: { i32: pad[1] } },
      },
      extents: [rows.count, rows.grid[1], images.channels],
      begin: `${declareTile(rows)}
${lines(
  side,
  (i) => `      let y${i} = u32(i32(top) + ${i} - u.padTop);
      let isRow${i} = y${i} < u.height;
      let row${i} = (sample * u.height + y${i}) * u.width;
      let column${i} = u32(i32(left) + ${i} - u.padLeft);
      let isColumn${i} = column${i} < u.width;`,
)}`,
      load(i, j) {
        const isInside = allOf(`isRow${i}`, `isColumn${j}`)
        return `select(0f, image[select(0u, (row${i} + column${j}) * u.channels + d2, ${isInside})], ${isInside})`
      },
      store: (i, j, value) => `transformed[${i * matrix.length + j}u * u.items + item] = ${value};`,
    },
    target,
  )
}

/** What to do with the outputs of a convolution. */
export interface Finish {
  readonly bias: Operand | undefined
  readonly activation: FusedActivation
  /** Whether to store the largest output of each whole block of 2x2, instead of all. */
  readonly pooled: boolean
}

export interface OutputTransform {
  readonly label: string
  /** The outputs before pooling. */
  readonly images: Images
  readonly finish: Finish
  /** [points, tiles, channels] */
  readonly from: Operand
  readonly to: Operand
}

/** A^T x A of a product [points, tiles, channels], with bias, activation and pooling. */
export function transformOutputs(
  rows: TileRows,
  { label, images, finish, from, to }: OutputTransform,
  target: Target,
): Dispatch {
  const { outputs, inputs, output: matrix } = rows.transform
  const { bias, activation, pooled } = finish
  const value = (i: number, j: number): string => `activate(sum${i}_${j}${bias === undefined ? '' : ' + offset'})`
  const step = pooled ? 2 : 1
  const store = (i: number, j: number): string => {
    const [y, x] = [`top / ${step}u + ${i}u`, `left / ${step}u + ${j}u`]
    const address = `((sample * u.height + ${y}) * u.width + ${x}) * u.channels + d2`
    const result = pooled ? largest(range(4).map((p) => value(2 * i + (p >> 1), 2 * j + (p & 1)))) : value(i, j)
    return `      if (${allOf(`${y} < u.height`, `${x} < u.width`)}) { result[${address}] = ${result}; }`
  }
  return transformKernel(
    {
      ...{ label: `${label}/${pooled ? 'pooledOutput' : 'output'}`, matrix },
      bindings: [reads('product', from), writes('result', to), ...(bias === undefined ? [] : [reads('bias', bias)])],
      uniforms: {
        ...tileUniforms(rows),
        ...{ height: Math.floor(images.height / step), width: Math.floor(images.width / step) },
        channels: images.channels,
      },
      declarations: activationFunction(activation, 'f32', pooled ? [takesMaximum] : []) + (pooled ? larger : ''),
      extents: [rows.count, rows.grid[1], images.channels],
      begin: `${declareTile(rows)}${bias === undefined ? '' : '\n      let offset = bias[d2];'}`,
      load: (i, j) => `product[${i * inputs + j}u * u.items + item]`,
      store: (i, j, sum) => `let sum${i}_${j} = ${sum};`,
      end: pairs(outputs / step, outputs / step, store),
    },
    target,
  )
}

const larger = `
fn larger(a: f32, b: f32) -> f32 {
  return select(a, b, takesMaximum(b, a));
}`

const largest = (values: readonly string[]): string => values.reduce((best, value) => `larger(${best}, ${value})`)

/** The channels and filters of a kernel, and where to read and write. */
interface Filters {
  readonly label: string
  readonly channels: number
  readonly filters: number
  readonly from: Operand
  readonly to: Operand
}

/** G x G^T of filters [3, 3, channels, filters], turned by half a circle if `turned`: [points, channels, filters]. */
export function transformTaps(
  { filter: matrix, inputs }: Transform,
  { label, channels, filters, turned, from, to }: Filters & { turned: boolean },
  target: Target,
): Dispatch {
  return transformKernel(
    {
      ...{ label: `${label}/filters`, matrix },
      bindings: [reads('kernel', from), writes('transformed', to)],
      extents: [channels * filters],
      load: (i, j) => `kernel[${turned ? 8 - (i * 3 + j) : i * 3 + j}u * u.items + item]`,
      store: (i, j, value) => `transformed[${i * inputs + j}u * u.items + item] = ${value};`,
    },
    target,
  )
}

/**
 * G^T x G of a product [points, channels, filters]: the gradient of the filters, or, unless it is the first, what to
 * add to it.
 */
export function transformTapGradient(
  { filter, inputs }: Transform,
  { label, channels, filters, isFirst, from, to }: Filters & { isFirst: boolean },
  target: Target,
): Dispatch {
  return transformKernel(
    {
      ...{ label: `${label}/filters`, matrix: transposed(filter) },
      bindings: [reads('product', from), writes('result', to)],
      extents: [channels * filters],
      load: (i, j) => `product[${i * inputs + j}u * u.items + item]`,
      store(i, j, value) {
        const place = `result[${i * 3 + j}u * u.items + item]`
        return isFirst ? `${place} = ${value};` : `${place} += ${value};`
      },
    },
    target,
  )
}
