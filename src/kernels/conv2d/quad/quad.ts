/**
 * Code shared by the kernels of this folder: how a convolution is split into quads (blocks of two by two outputs),
 * which convolutions that suits, and the WGSL that finds a quad and loads the patch of the image under it.
 */

import type { Target } from '../../kernel.ts'
import { subgroupSizeOf } from '../../kernel.ts'
import { prefersSubgroups, quadWorkgroups } from '../../schedule/occupancy.ts'
import type { VectorWidth } from '../../schedule/subgroup-tile.ts'
import { columnVectorFor, vectorType, widestVector } from '../../schedule/subgroup-tile.ts'
import { type FloatType, widths } from '../../wgsl/functions.ts'
import { component, repeat } from '../../wgsl/text.ts'
import type { Conv2dKey } from '../plain.ts'
import { conv2dSupports, oneGroupByOne } from '../plain.ts'

/** The key of a pooled convolution; `outHeight` and `outWidth` are those before pooling. */
export interface Conv2dPoolKey extends Conv2dKey {
  readonly activation: 'relu' | 'linear'
}

/** The code of an element that relu cut off. */
export const deadCode = 4

/** The most taps per lane: with more, they leave the first-level cache, and the kernel compiles for seconds. */
export const mostTapNumbers = 400

/**
 * The most taps per lane for two quads: LeNet's first layer has 25 and gains, its second has 300 and would only compile
 * longer.
 */
const mostTapsForTwo = 64

export interface QuadTiling {
  readonly subgroupSize: number
  /** Filters per lane. */
  readonly columnVector: VectorWidth
  readonly columnVectors: number
  /** WGSL types for a lane's filters: values, codes, and conditions. */
  readonly type: FloatType
  readonly codeType: string
  readonly boolType: string
  readonly columnTiles: number
  /** Number of quads in a column and in a row of an image. With pooling, an odd last row or column is dropped. */
  readonly pooledHeight: number
  readonly pooledWidth: number
  readonly quads: number
  readonly taps: number
  /** Number of quads side by side that share one patch. */
  readonly across: 1 | 2
  /** Number of elements that a lane loads from the image at once. */
  readonly patchVector: VectorWidth
  readonly patchRows: number
  /** Vectors in a row of the patch, and loads for the whole patch. */
  readonly runVectors: number
  readonly loads: number
  readonly quadsPerGroup: number
  readonly quadGroups: number
}

export type Form = 'plain' | 'pooled'

/** The extents of a pooled convolution: quads in an image's column and row and in all images, and taps of a filter. */
export function pooledExtents(key: Conv2dKey) {
  const [pooledHeight, pooledWidth] = [Math.floor(key.outHeight / 2), Math.floor(key.outWidth / 2)]
  const quads = key.batch * pooledHeight * pooledWidth
  const taps = key.kernelHeight * key.kernelWidth * key.channels
  /** Whether every window lies within the image. */
  const isInside =
    key.outHeight + key.kernelHeight - 1 <= key.inputHeight && key.outWidth + key.kernelWidth - 1 <= key.inputWidth
  return { pooledHeight, pooledWidth, quads, taps, isInside, flops: 2 * 4 * quads * taps * key.filters }
}

export function quadTilingOf(key: Conv2dKey, target: Target): QuadTiling {
  const subgroupSize = subgroupSizeOf(target)
  const columnVector = columnVectorFor(key.filters, subgroupSize)
  const columnVectors = key.filters / columnVector
  const type = vectorType(columnVector)
  const { pooledHeight, pooledWidth, quads, taps } = pooledExtents(key)
  // If a quad is little work, loads and address arithmetic dominate, so two quads share them.
  const across = pooledWidth % 2 === 0 && taps * columnVector <= mostTapsForTwo ? 2 : 1
  const patchVector = widestVector(2 * across * key.channels, key.inputWidth * key.channels)
  const patchRows = key.kernelHeight + 1
  const runVectors = Math.ceil(((key.kernelWidth + 2 * across - 1) * key.channels) / patchVector)
  const quadsPerGroup = Math.max(1, Math.ceil(quads / across / quadWorkgroups)) * across
  return {
    subgroupSize,
    columnVector,
    columnVectors,
    type,
    codeType: widths[type].u,
    boolType: widths[type].b,
    columnTiles: Math.ceil(columnVectors / subgroupSize),
    pooledHeight,
    pooledWidth,
    quads,
    taps,
    across,
    patchVector,
    patchRows,
    runVectors,
    loads: Math.ceil((patchRows * runVectors) / subgroupSize),
    quadsPerGroup,
    quadGroups: Math.ceil(quads / quadsPerGroup),
  }
}

const supports = /* @__PURE__ */ conv2dSupports({ ...oneGroupByOne, padTop: false, padLeft: false }, (_, target) =>
  prefersSubgroups(target),
)

/**
 * Whether quads can serve the key: a CPU with subgroups, stride and dilation 1, no padding, a small enough kernel; the plain form needs whole
 * quads.
 */
export function fits(form: Form, key: Conv2dKey, target: Target): boolean {
  if (!supports(key, target)) return false
  const { taps, columnVector, pooledHeight, pooledWidth } = quadTilingOf(key, target)
  const { isInside } = pooledExtents(key)
  const isWhole = form === 'pooled' || (key.outHeight % 2 === 0 && key.outWidth % 2 === 0)
  return isInside && isWhole && pooledHeight > 0 && pooledWidth > 0 && taps * columnVector <= mostTapNumbers
}

export const flopsOf = (key: Conv2dKey, tiling: QuadTiling): number => 2 * 4 * tiling.quads * tiling.taps * key.filters

/** Uniforms for finding a workgroup's quads and a lane's column and patch addresses. */
export function quadUniforms(key: Conv2dKey, tiling: QuadTiling): Record<string, number> {
  return {
    columnVectors: tiling.columnVectors,
    columnTiles: tiling.columnTiles,
    quads: tiling.quads,
    quadsPerGroup: tiling.quadsPerGroup,
    pooledHeight: tiling.pooledHeight,
    pooledWidth: tiling.pooledWidth,
    pooledPixels: tiling.pooledWidth * tiling.pooledHeight,
    rowVectors: (key.inputWidth * key.channels) / tiling.patchVector,
    imageVectors: (key.inputHeight * key.inputWidth * key.channels) / tiling.patchVector,
    passVectors: (2 * tiling.across * key.channels) / tiling.patchVector,
    taps: tiling.taps,
  }
}

export function declareQuads(tiling: QuadTiling): string {
  return `
  if (group >= groups) { return; }
  let part = group / u.columnTiles;
  let wanted = (group - part * u.columnTiles) * ${tiling.subgroupSize}u + lane;
  let column = min(wanted, u.columnVectors - 1u);
  let firstQuad = part * u.quadsPerGroup;
  let endQuad = min(firstQuad + u.quadsPerGroup, u.quads);
${repeat(
  tiling.loads,
  (r) => `  let slot${r} = min(${r * tiling.subgroupSize}u + lane, ${tiling.patchRows * tiling.runVectors - 1}u);
  let offset${r} = (slot${r} / ${tiling.runVectors}u) * u.rowVectors + slot${r} % ${tiling.runVectors}u;`,
)}`
}

/** Loads the patch under `quad`, and under the quads beside it that share it, into `patch0`, `patch1`, ... */
export function loadPatch(tiling: QuadTiling): string {
  return `
    let sample = quad / u.pooledPixels;
    let pixel = quad - sample * u.pooledPixels;
    let pooledY = pixel / u.pooledWidth;
    let start = sample * u.imageVectors + pooledY * 2u * u.rowVectors + (pixel - pooledY * u.pooledWidth) / ${tiling.across}u * u.passVectors;
${repeat(tiling.loads, (r) => `    let patch${r} = image[start + offset${r}];`)}`
}

/** The element at (row, position in the row) of the patch, in every lane. */
export function patchNumber(tiling: QuadTiling, row: number, position: number): string {
  const slot = row * tiling.runVectors + Math.floor(position / tiling.patchVector)
  const vector = `patch${Math.floor(slot / tiling.subgroupSize)}`
  const number = component(vector, tiling.patchVector, position % tiling.patchVector)
  return `subgroupBroadcast(${number}, ${slot % tiling.subgroupSize}u)`
}

/** The address of the first quad's first output, in output vectors; a row of outputs is two quads' width. */
export const declareCorner = `      let corner = ((sample * u.pooledHeight + pooledY) * 4u * u.pooledWidth + (pixel - pooledY * u.pooledWidth) * 2u) * u.columnVectors + column;`

/** The address of output `position` (0-3) of the quad that is `beside` places to the right. */
export function cornerAddress(position: number, beside: number): string {
  const steps = (position & 1) + 2 * beside
  const right = steps > 0 ? ` + ${steps}u * u.columnVectors` : ''
  const below = position & 2 ? ' + 2u * u.pooledWidth * u.columnVectors' : ''
  return `corner${right}${below}`
}
