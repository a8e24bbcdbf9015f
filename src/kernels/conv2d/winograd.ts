/**
 * 3x3 convolutions with less arithmetic, by Winograd's minimal filtering: tiles of n x n output pixels are computed from
 * (n + 2) x (n + 2) input pixels as a product per point of a transformed space, so the channels are summed by matrix
 * products with 2.25 (n = 2) or 4 (n = 4) times fewer multiplications. Lavin and Gray, "Fast Algorithms for
 * Convolutional Neural Networks", 2015, section 4, gives the algorithm and the matrices.
 *
 * The filters are transformed before, once for a frozen network. For some images at a time there are three kernels: the
 * input's transform, a matrix product for each point, and the output's transform with bias and activation.
 */

import { at } from '../extents.ts'
import type { Binding, Dispatch, Family, KernelPlan, Operand, Target } from '../kernel.ts'
import { dispatch, elementCount, flopsOf, input, output, planKernel, reads, scratch, writes } from '../kernel.ts'
import type { MatmulKey } from '../matmul/key.ts'
import { matmul } from '../matmul/matmul.ts'
import { gridFor, gridStrideLoop, laneCoordinates } from '../schedule/grid-stride.ts'
import { transformedBytes } from '../schedule/occupancy.ts'
import { activationFunction } from '../wgsl/activation.ts'
import { allOf, lines, range } from '../wgsl/text.ts'
import type { Conv2dKey } from './plain.ts'

/** A convolution of 3x3 taps at stride 1 without dilation, and the side of a tile of outputs. */
export interface WinogradKey extends Conv2dKey {
  readonly tile: 2 | 4
}

type Matrix = readonly (readonly number[])[]

/** F(n x n, 3 x 3): the sides of a tile of outputs and of inputs, and the matrices B^T, G and A^T of the paper. */
interface Transform {
  readonly outputs: number
  readonly inputs: number
  readonly input: Matrix
  readonly filter: Matrix
  readonly output: Matrix
}

const transforms: Readonly<Record<WinogradKey['tile'], Transform>> = {
  2: {
    outputs: 2,
    inputs: 4,
    input: [
      [1, 0, -1, 0],
      [0, 1, 1, 0],
      [0, -1, 1, 0],
      [0, 1, 0, -1],
    ],
    filter: [
      [1, 0, 0],
      [0.5, 0.5, 0.5],
      [0.5, -0.5, 0.5],
      [0, 0, 1],
    ],
    output: [
      [1, 1, 1, 0],
      [0, 1, -1, -1],
    ],
  },
  4: {
    outputs: 4,
    inputs: 6,
    input: [
      [4, 0, -5, 0, 1, 0],
      [0, -4, -4, 1, 1, 0],
      [0, 4, -4, -1, 1, 0],
      [0, -2, -1, 2, 1, 0],
      [0, 2, -1, -2, 1, 0],
      [0, 4, 0, -5, 0, 1],
    ],
    filter: [
      [1 / 4, 0, 0],
      [-1 / 6, -1 / 6, -1 / 6],
      [-1 / 6, 1 / 6, -1 / 6],
      [1 / 24, 1 / 12, 1 / 6],
      [1 / 24, -1 / 12, 1 / 6],
      [0, 0, 1],
    ],
    output: [
      [1, 1, 1, 1, 1, 0],
      [0, 1, -1, 2, -2, 0],
      [0, 1, 1, 4, 4, 0],
      [0, 1, -1, 8, -8, 1],
    ],
  },
}

/** Floats of the transformed filters for one channel and filter. */
export function pointsOf(tile: WinogradKey['tile']): number {
  return transforms[tile].inputs ** 2
}

/** Rows and columns of tiles that cover the outputs. */
function tilesOf(outHeight: number, outWidth: number, tile: number): [rows: number, columns: number] {
  return [Math.ceil(outHeight / tile), Math.ceil(outWidth / tile)]
}

/**
 * The tile with the least arithmetic for outputs of this size; undefined where the direct convolution has little more:
 * the transforms take their share.
 */
export function bestTile(outHeight: number, outWidth: number): WinogradKey['tile'] | undefined {
  const products = (tile: WinogradKey['tile']): number => {
    const [rows, columns] = tilesOf(outHeight, outWidth, tile)
    return rows * columns * pointsOf(tile)
  }
  const tile = products(4) < products(2) ? 4 : 2
  return products(tile) * leastGain <= outHeight * outWidth * 9 ? tile : undefined
}

const leastGain = 1.5

/** The filters [3, 3, channels, filters] as [points, channels, filters]: G g G^T, in float64. */
export function transformFilters(kernel: Float32Array, tile: WinogradKey['tile']): Float32Array {
  const { inputs, filter } = transforms[tile]
  const each = kernel.length / 9
  const half = new Float64Array(inputs * 3 * each)
  const result = new Float32Array(inputs * inputs * each)
  const sum = new Float64Array(each)
  /** The sum of three runs of `from`, each times a factor, in `sum`. */
  const combine = (from: Float32Array | Float64Array, runs: readonly number[], factors: readonly number[]): void => {
    sum.fill(0)
    runs.forEach((run, k) => {
      const factor = at(factors, k)
      if (factor === 0) return
      for (let i = 0; i < each; i++) sum[i] = (sum[i] ?? 0) + factor * (from[run * each + i] ?? 0)
    })
  }
  for (let y = 0; y < inputs; y++) {
    for (let b = 0; b < 3; b++) {
      combine(kernel, [b, 3 + b, 6 + b], at(filter, y))
      half.set(sum, (y * 3 + b) * each)
    }
    for (let x = 0; x < inputs; x++) {
      combine(half, [y * 3, y * 3 + 1, y * 3 + 2], at(filter, x))
      result.set(sum, (y * inputs + x) * each)
    }
  }
  return result
}

/** How a batch is cut into passes. */
interface Passes {
  readonly tilesPerImage: number
  readonly points: number
  readonly imagesPerPass: number
}

function passesOf(key: WinogradKey, target: Target): Passes {
  const [rows, columns] = tilesOf(key.outHeight, key.outWidth, key.tile)
  const tilesPerImage = rows * columns
  const points = pointsOf(key.tile)
  const imageBytes = points * tilesPerImage * Math.max(key.channels, key.filters) * 4
  const most = Math.max(1, Math.floor(transformedBytes(target) / imageBytes))
  const passes = Math.ceil(key.batch / most)
  return { tilesPerImage, points, imagesPerPass: Math.ceil(key.batch / passes) }
}

/** The convolution, with its filters already transformed. Inputs: image, filters [points, channels, filters], bias. */
export const winograd: Family<WinogradKey, 'passes'> = {
  name: 'conv2d.winograd',
  variants: [{ name: 'passes', supports: () => true, plan: planPasses }],
  prefer: () => 'passes',
}

function planPasses(key: WinogradKey, target: Target): KernelPlan {
  const transform = transforms[key.tile]
  const { points, tilesPerImage, imagesPerPass } = passesOf(key, target)
  const { batch, channels, filters } = key
  const dispatches: Dispatch[] = []
  let bytes: number[] = []
  for (let first = 0; first < batch; first += imagesPerPass) {
    const pass: Pass = { key, transform, first, images: Math.min(imagesPerPass, batch - first) }
    const tiles = pass.images * tilesPerImage
    const plan = planKernel(matmul, productKey(points, tiles, key), target)
    dispatches.push(inputTransform(pass, target), ...inScratch(plan), outputTransform(pass, target))
    // The first pass is the largest.
    if (first === 0) bytes = [points * tiles * channels * 4, points * tiles * filters * 4, ...plan.scratchBytes]
  }
  const flops = 2 * batch * key.outHeight * key.outWidth * filters * 9 * channels
  return { variant: 'passes', scratchBytes: bytes, flops, dispatches }
}

/** The transformed input [points, tiles, channels], and its product with the filters [points, tiles, filters]. */
const [transformedInput, product] = [scratch(0), scratch(1)]
/** The product's own scratch memory follows. */
const ownScratch = 2

function productKey(points: number, tiles: number, { channels, filters }: WinogradKey): MatmulKey {
  const layout = { transposeA: false, transposeB: false, batchedA: true, batchedB: true }
  return { ...layout, batch: points, m: tiles, n: filters, k: channels, bias: false, activation: 'linear' }
}

/** The dispatches of a product whose operands are in the convolution's scratch memory. */
function inScratch(plan: KernelPlan): Dispatch[] {
  const place = ({ role, index }: Operand): Operand => {
    if (role === 'scratch') return scratch(ownScratch + index)
    return role === 'output' ? product : index === 0 ? transformedInput : input(1)
  }
  return plan.dispatches.map(({ splitSum: _, ...own }) => ({
    ...own,
    flops: flopsOf(plan, own),
    bindings: own.bindings.map((binding) => ({ ...binding, operand: place(binding.operand) })),
  }))
}

/** Some images of the batch. */
interface Pass {
  readonly key: WinogradKey
  readonly transform: Transform
  readonly first: number
  readonly images: number
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

/** Statements for M x M^T of variables `<from><row>_<column>`; `store` gets the text of each element. */
function bothSides(
  matrix: Matrix,
  from: string,
  columns: number,
  store: (row: number, column: number, value: string) => string,
): string {
  const rows = range(matrix.length)
  const half = rows.flatMap((i) =>
    range(columns).map((j) => `      let half${i}_${j} = ${combination(at(matrix, i), (k) => `${from}${k}_${j}`)};`),
  )
  const whole = rows.flatMap((i) =>
    rows.map(
      (j) =>
        `      ${store(
          i,
          j,
          combination(at(matrix, j), (k) => `half${i}_${k}`),
        )}`,
    ),
  )
  return [...half, ...whole].join('\n')
}

/**
 * Coordinates d0 to d3 of a transform: image of the pass, row and column of the tile, channel. The operations are those
 * of two products of small matrices, of whose numbers half are zero.
 */
function tileCoordinates({ key, transform: { inputs }, images }: Pass, depth: number, target: Target) {
  const extents = [images, ...tilesOf(key.outHeight, key.outWidth, key.tile), depth]
  const items = elementCount(extents)
  const { itemsPerLane, ...workgroups } = gridFor(items, target, inputs * inputs)
  const coordinates = laneCoordinates(extents, { itemsPerLane, ...workgroups })
  return { workgroups, coordinates, flops: 2 * items * inputs ** 3 }
}

function inputTransform(pass: Pass, target: Target): Dispatch {
  const { key, first, transform } = pass
  const { inputs, outputs, input: matrix } = transform
  const { workgroups, coordinates, flops } = tileCoordinates(pass, key.channels, target)
  const side = range(inputs)
  const pixel = (i: number, j: number): string => {
    const isInside = allOf(`isRow${i}`, `isColumn${j}`)
    return `      let p${i}_${j} = select(0f, image[select(0u, (row${i} + column${j}) * u.channels + d3, ${isInside})], ${isInside});`
  }
  const text = dispatch({
    label: 'conv2d/winograd/input',
    bindings: [reads('image', input(0)), writes('transformed', transformedInput)],
    uniforms: {
      ...coordinates.uniforms,
      ...{ first, inputHeight: key.inputHeight, inputWidth: key.inputWidth, channels: key.channels },
      ...{ padTop: key.padTop, padLeft: key.padLeft },
    },
    ...workgroups,
    body: gridStrideLoop(
      coordinates,
      // Rows and columns before the image wrap around to large numbers.
      `${lines(
        side,
        (i) => `      let y${i} = d1 * ${outputs}u + ${i}u - u.padTop;
      let isRow${i} = y${i} < u.inputHeight;
      let row${i} = ((u.first + d0) * u.inputHeight + y${i}) * u.inputWidth;
      let column${i} = d2 * ${outputs}u + ${i}u - u.padLeft;
      let isColumn${i} = column${i} < u.inputWidth;`,
      )}
${side.flatMap((i) => side.map((j) => pixel(i, j))).join('\n')}
${bothSides(matrix, 'p', inputs, (i, j, value) => `transformed[${i * inputs + j}u * u.items + item] = ${value};`)}`,
    ),
  })
  return { ...text, flops }
}

function outputTransform(pass: Pass, target: Target): Dispatch {
  const { key, first, transform } = pass
  const { inputs, outputs, output: matrix } = transform
  const { workgroups, coordinates, flops } = tileCoordinates(pass, key.filters, target)
  const side = range(inputs)
  const load = (i: number, j: number): string => `      let m${i}_${j} = product[${i * inputs + j}u * u.items + item];`
  const bindings: Binding[] = [reads('product', product), writes('result', output(0))]
  const text = dispatch({
    label: 'conv2d/winograd/output',
    bindings: key.bias ? [...bindings, reads('bias', input(2))] : bindings,
    uniforms: {
      ...coordinates.uniforms,
      ...{ first, outHeight: key.outHeight, outWidth: key.outWidth, filters: key.filters },
    },
    ...workgroups,
    declarations: activationFunction(key.activation, 'f32'),
    body: gridStrideLoop(
      coordinates,
      `${side.flatMap((i) => side.map((j) => load(i, j))).join('\n')}
${bothSides(matrix, 'm', inputs, (i, j, value) => `let sum${i}_${j} = ${value};`)}
${lines(range(outputs * outputs), (n) => {
  const [i, j] = [Math.floor(n / outputs), n % outputs]
  const place = `(((u.first + d0) * u.outHeight + d1 * ${outputs}u + ${i}u) * u.outWidth + d2 * ${outputs}u + ${j}u) * u.filters + d3`
  const isInside = allOf(`d1 * ${outputs}u + ${i}u < u.outHeight`, `d2 * ${outputs}u + ${j}u < u.outWidth`)
  return `      if (${isInside}) { result[${place}] = activate(sum${i}_${j}${key.bias ? ' + bias[d3]' : ''}); }`
})}`,
    ),
  })
  return { ...text, flops }
}
