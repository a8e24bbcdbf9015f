/**
 * Two-dimensional convolution (cross-correlation, as usual in this field) on NHWC images with HWIO kernels: forward
 * with bias and activation, input gradient, filter gradient. Any kernel, stride, padding and dilation.
 *
 * All three are matrix products whose left operand is never stored (implicit GEMM):
 * - forward:          rows = output pixels, k = (ky, kx, channel),  columns = filters
 * - input gradient:   rows = input pixels,  k = (ky, kx, filter),   columns = channels
 * - filter gradient:  rows = (ky, kx, channel), k = output pixels,  columns = filters
 *
 * This file has the variants for subgroups. The plain variants are in plain.ts, those for small kernels in quad/, those
 * for GPUs in workgroup.ts. Convolutions that are plain matrix products run as matmul: see as-matmul.ts.
 */

import type { KernelPlan, Variant } from '../kernel.ts'
import { dispatch, input, output, reads, scratch, subgroupSizeOf, writes } from '../kernel.ts'
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
import { activationFunction } from '../wgsl/activation.ts'
import { longSum } from '../wgsl/long-sum.ts'
import { allOf, repeat, storedType } from '../wgsl/text.ts'
import type { SubgroupName } from './family.ts'
import { convFamily } from './family.ts'
import type { Conv2dKey } from './plain.ts'
import { conv2dSupports, plainFilterGradient, plainForward, plainInputGradient } from './plain.ts'
import { filterGradient as filterGradientByQuads } from './quad/filter-gradient.ts'
import { forward as forwardByQuads } from './quad/forward.ts'
import { inputGradient as inputGradientByQuads } from './quad/input-gradient.ts'
import { winogradFilterGradient, winogradForward, winogradInputGradient } from './winograd/variants.ts'

export type { Conv2dKey } from './plain.ts'

const flopsOf = (key: Conv2dKey): number =>
  2 * key.batch * key.outHeight * key.outWidth * key.filters * key.kernelHeight * key.kernelWidth * key.channels

/** Whether any window reaches beyond the image. */
function reachesOutside(key: Conv2dKey): boolean {
  const bottom = (key.outHeight - 1) * key.strides[0] + (key.kernelHeight - 1) * key.dilation[0] - key.padTop
  const right = (key.outWidth - 1) * key.strides[1] + (key.kernelWidth - 1) * key.dilation[1] - key.padLeft
  return key.padTop > 0 || key.padLeft > 0 || bottom >= key.inputHeight || right >= key.inputWidth
}

/** The number of rows in a tile: 16 vectors of four, or 32 narrower ones, suit the compiler and the registers. */
function tileRows(wanted: number, columnVector: number, rows: number): number {
  return Math.min(columnVector <= 2 ? wanted * 2 : wanted, rows)
}

const supportsOf = (halfKernel: boolean) =>
  conv2dSupports(
    {
      ...{ strides: true, dilation: true, padTop: true, padLeft: true },
      ...{ groups: false, bias: true, activation: true, halfKernel },
    },
    (_, target) => target.subgroupSize !== undefined,
  )
const supports = /* @__PURE__ */ supportsOf(false)

function forwardVariant(wantedRows: 8 | 16): Variant<Conv2dKey, SubgroupName> {
  const name: SubgroupName = `subgroupRows${wantedRows}`
  return {
    name,
    supports: supportsOf(true),
    plan(key, target): KernelPlan {
      const subgroupSize = subgroupSizeOf(target)
      const columnVector = columnVectorFor(key.filters, subgroupSize)
      const rows = key.batch * key.outHeight * key.outWidth
      const unroll = widestVector(key.channels)
      const tile: SubgroupTile = {
        subgroupSize,
        rows: tileRows(wantedRows, columnVector, rows),
        columnGroups: 1,
        columnVector,
        unroll,
        rowLayout: 'lanes',
        rowVector: 1,
        columnLayout: 'vectors',
      }
      const padded = reachesOutside(key)
      // Without padding and dilation, a row of the window is contiguous: one long loop instead of several short ones.
      const runs = !padded && key.dilation[1] === 1 ? 1 : key.kernelWidth
      const rowTiles = Math.ceil(rows / tile.rows)
      const columnTiles = Math.ceil(key.filters / tileColumns(tile))
      const type = vectorType(columnVector)
      const loads = leftLoads(tile)
      const runVectors = ((key.kernelWidth / runs) * key.channels) / unroll
      const total = longSum(type, accumulatorsOf(tile), {
        terms: (key.kernelHeight * key.kernelWidth * key.channels) / unroll,
        iterations: runVectors,
      })
      return {
        variant: name,
        scratchBytes: [],
        flops: flopsOf(key),
        dispatches: [
          dispatch({
            label: `conv2d/${name}`,
            subgroups: target,
            f16: key.halfKernel,
            bindings: [
              reads('image', input(0), leftType(tile)),
              reads('kernel', input(1), storedType(type, key.halfKernel)),
              writes('result', output(0), type),
              ...(key.bias ? [reads('bias', input(2), type)] : []),
            ],
            uniforms: {
              rows,
              columnVectors: key.filters / columnVector,
              columnTiles,
              outWidth: key.outWidth,
              outPixels: key.outHeight * key.outWidth,
              inputHeight: key.inputHeight,
              inputWidth: key.inputWidth,
              pixelVectors: key.channels / unroll,
              kernelHeight: key.kernelHeight,
              runs,
              runVectors,
              padTop: { i32: key.padTop },
              padLeft: { i32: key.padLeft },
            },
            workgroupSize: subgroupSize,
            workgroups: rowTiles * columnTiles,
            declarations: activationFunction(key.activation, type),
            body: `
  if (group >= groups) { return; }
  let columnTile = group % u.columnTiles;
  let firstRow = (group / u.columnTiles) * ${tile.rows}u;
${declareColumns(tile)}
${repeat(
  loads,
  (r) => `  let row${r} = min(firstRow + ${r * subgroupSize}u + lane, u.rows - 1u);
  let sample${r} = row${r} / u.outPixels;
  let pixel${r} = row${r} - sample${r} * u.outPixels;
  let outY${r} = pixel${r} / u.outWidth;
  let top${r} = i32(outY${r} * ${key.strides[0]}u) - u.padTop;
  let left${r} = i32((pixel${r} - outY${r} * u.outWidth) * ${key.strides[1]}u) - u.padLeft;`,
)}
${total.declare}
  var kernelRow = 0u;
  for (var ky = 0u; ky < u.kernelHeight; ky++) {
    for (var run = 0u; run < u.runs; run++) {
${repeat(
  loads,
  (r) => `      let y${r} = top${r} + i32(ky * ${key.dilation[0]}u);
      let x${r}_ = left${r} + i32(run * ${key.dilation[1]}u);
${padded ? `      let inside${r} = ${allOf(`u32(y${r}) < u.inputHeight`, `u32(x${r}_) < u.inputWidth`)};` : ''}
      let start${r} = ((sample${r} * u.inputHeight + u32(y${r})) * u.inputWidth + u32(x${r}_)) * u.pixelVectors;
      let address${r} = ${padded ? `select(0u, start${r}, inside${r})` : `start${r}`};`,
)}
${total.loop(
  ['v', '0u', 'u.runVectors'],
  `${repeat(loads, (r) => `    let a${r} = ${padded ? `select(${leftType(tile)}(0), image[address${r} + v], inside${r})` : `image[address${r} + v]`};`)}
${repeat(unroll, (k) => `    let b${k}_0 = ${type}(kernel[(kernelRow + ${k}u) * u.columnVectors + column0]);`)}
${rankUpdate(tile)}
        kernelRow += ${unroll}u;`,
)}
    }
  }
${total.finish}
${key.bias ? declareBias(tile) : ''}
${storeTile(tile, (row, j, value) => `result[${row} * u.columnVectors + wanted${j}] = activate(${value}${key.bias ? ` + bias${j}` : ''});`)}`,
          }),
        ],
      }
    },
  }
}

function inputGradientVariant(wantedRows: 8 | 16): Variant<Conv2dKey, SubgroupName> {
  const name: SubgroupName = `subgroupRows${wantedRows}`
  return {
    name,
    supports,
    plan(key, target): KernelPlan {
      const subgroupSize = subgroupSizeOf(target)
      const rows = key.batch * key.inputHeight * key.inputWidth
      const unroll = widestVector(key.filters)
      // Each lane holds one column. With four groups of columns, each load of the gradient is used four times: 31
      // instead of 19 GFLOP/s for 64 channels of a 3x3 kernel at 32x32.
      const columnGroups = Math.min(4, Math.ceil(key.channels / subgroupSize))
      const tile: SubgroupTile = {
        subgroupSize,
        rows: tileRows(wantedRows, columnGroups, rows),
        columnGroups,
        columnVector: 1,
        unroll,
        rowLayout: 'lanes',
        rowVector: 1,
        columnLayout: 'lanes',
      }
      const rowTiles = Math.ceil(rows / tile.rows)
      const columnTiles = Math.ceil(key.channels / tileColumns(tile))
      const loads = leftLoads(tile)
      const [strideY, strideX] = key.strides
      const total = longSum('f32', accumulatorsOf(tile), {
        terms: (key.kernelHeight * key.kernelWidth * key.filters) / unroll,
        iterations: key.filters / unroll,
      })
      return {
        variant: name,
        scratchBytes: [],
        flops: flopsOf(key),
        dispatches: [
          dispatch({
            label: `conv2d.inputGradient/${name}`,
            subgroups: target,
            bindings: [
              reads('gradient', input(0), leftType(tile)),
              reads('kernel', input(1), rightType(tile)),
              writes('result', output(0), 'f32'),
            ],
            uniforms: {
              rows,
              columnVectors: key.channels,
              columnTiles,
              inputWidth: key.inputWidth,
              inputPixels: key.inputHeight * key.inputWidth,
              outHeight: key.outHeight,
              outWidth: key.outWidth,
              filterVectors: key.filters / unroll,
              kernelHeight: key.kernelHeight,
              kernelWidth: key.kernelWidth,
              padTop: { i32: key.padTop },
              padLeft: { i32: key.padLeft },
            },
            workgroupSize: subgroupSize,
            workgroups: rowTiles * columnTiles,
            body: `
  if (group >= groups) { return; }
  let columnTile = group % u.columnTiles;
  let firstRow = (group / u.columnTiles) * ${tile.rows}u;
${declareColumns(tile)}
${repeat(
  loads,
  (r) => `  let row${r} = min(firstRow + ${r * subgroupSize}u + lane, u.rows - 1u);
  let sample${r} = row${r} / u.inputPixels;
  let pixel${r} = row${r} - sample${r} * u.inputPixels;
  let inputY${r} = pixel${r} / u.inputWidth;
  let bottom${r} = i32(inputY${r}) + u.padTop;
  let right${r} = i32(pixel${r} - inputY${r} * u.inputWidth) + u.padLeft;`,
)}
${total.declare}
  for (var ky = 0u; ky < u.kernelHeight; ky++) {
    for (var kx = 0u; kx < u.kernelWidth; kx++) {
${repeat(
  loads,
  (r) => `      let scaledY${r} = bottom${r} - i32(ky * ${key.dilation[0]}u);
      let scaledX${r} = right${r} - i32(kx * ${key.dilation[1]}u);
      let y${r} = u32(scaledY${r}) / ${strideY}u;
      let x${r}_ = u32(scaledX${r}) / ${strideX}u;
      let inside${r} = ${allOf(
        `scaledY${r} >= 0`,
        `scaledX${r} >= 0`,
        `y${r} < u.outHeight`,
        `x${r}_ < u.outWidth`,
        ...(strideY * strideX === 1
          ? []
          : [`y${r} * ${strideY}u == u32(scaledY${r})`, `x${r}_ * ${strideX}u == u32(scaledX${r})`]),
      )};
      let address${r} = select(0u, ((sample${r} * u.outHeight + y${r}) * u.outWidth + x${r}_) * u.filterVectors, inside${r});`,
)}
${repeat(columnGroups, (j) => `      let kernelStart${j} = ((ky * u.kernelWidth + kx) * u.columnVectors + column${j}) * u.filterVectors;`)}
${total.loop(
  ['v', '0u', 'u.filterVectors'],
  `${repeat(loads, (r) => `    let a${r} = select(${leftType(tile)}(0), gradient[address${r} + v], inside${r});`)}
${repeat(columnGroups, (j) => `    let b${j} = kernel[kernelStart${j} + v];`)}
${rankUpdate(tile)}`,
)}
    }
  }
${total.finish}
${storeTile(tile, (row, j, value) => `result[${row} * u.columnVectors + wanted${j}] = ${value};`)}`,
          }),
        ],
      }
    },
  }
}

function filterGradientVariant(wantedRows: 8 | 16): Variant<Conv2dKey, SubgroupName> {
  const name: SubgroupName = `subgroupRows${wantedRows}`
  return {
    name,
    supports,
    plan(key, target): KernelPlan {
      const subgroupSize = subgroupSizeOf(target)
      const columnVector = columnVectorFor(key.filters, subgroupSize)
      const rowVector = widestVector(key.channels)
      const rows = key.kernelHeight * key.kernelWidth * key.channels
      const most = tileRows(wantedRows, columnVector, rows)
      // Tiles of equal height, in whole vectors.
      const even = Math.ceil(rows / Math.ceil(rows / most) / rowVector) * rowVector
      const unroll = key.outWidth % 2 === 0 ? 2 : 1
      const tile: SubgroupTile = {
        subgroupSize,
        rows: even,
        columnGroups: 1,
        columnVector,
        unroll,
        rowLayout: 'vectors',
        rowVector,
        columnLayout: 'vectors',
      }
      const groups = tile.rows / rowVector
      const rowTiles = Math.ceil(rows / tile.rows)
      const columnTiles = Math.ceil(key.filters / tileColumns(tile))
      const imageRows = key.batch * key.outHeight
      const splits = splitCount(rowTiles * columnTiles, imageRows, 1, target)
      const type = vectorType(columnVector)
      const padded = reachesOutside(key)
      const loads = leftLoads(tile)
      const imageRowsPerSplit = Math.ceil(imageRows / splits)
      const total = longSum(type, accumulatorsOf(tile), {
        terms: (imageRowsPerSplit * key.outWidth) / unroll,
        iterations: key.outWidth / unroll,
      })
      const label = `conv2d.filterGradient/${name}${splits > 1 ? `/splitK${splits}` : ''}`
      const product = dispatch({
        label,
        subgroups: target,
        bindings: [
          reads('image', input(0), leftType(tile)),
          reads('gradient', input(1), rightType(tile)),
          writes('result', splits > 1 ? scratch(0) : output(0), type),
        ],
        uniforms: {
          rows,
          rowGroups: rows / rowVector,
          columnVectors: key.filters / columnVector,
          columnTiles,
          rowTiles,
          imageRows,
          imageRowsPerSplit,
          outHeight: key.outHeight,
          outWidth: key.outWidth,
          inputHeight: key.inputHeight,
          inputWidth: key.inputWidth,
          pixelVectors: key.channels / rowVector,
          kernelWidth: key.kernelWidth,
          padTop: { i32: key.padTop },
          padLeft: { i32: key.padLeft },
        },
        workgroupSize: subgroupSize,
        workgroups: rowTiles * columnTiles * splits,
        body: `
  if (group >= groups) { return; }
  let columnTile = group % u.columnTiles;
  let rowTile = (group / u.columnTiles) % u.rowTiles;
  let split = group / (u.columnTiles * u.rowTiles);
  let firstRow = rowTile * ${tile.rows}u;
${declareColumns(tile)}
${repeat(
  loads,
  (r) => `  let slot${r} = min(${r * subgroupSize}u + lane, ${groups * unroll - 1}u);
  let rowGroup${r} = min(rowTile * ${groups}u + slot${r} % ${groups}u, u.rowGroups - 1u);
  let tap${r} = rowGroup${r} / u.pixelVectors;
  let tapY${r} = tap${r} / u.kernelWidth;
  let tapX${r} = tap${r} - tapY${r} * u.kernelWidth;
  let offsetY${r} = i32(tapY${r} * ${key.dilation[0]}u) - u.padTop;
  let offsetX${r} = i32(tapX${r} * ${key.dilation[1]}u + (slot${r} / ${groups}u) * ${key.strides[1]}u) - u.padLeft;
  let channel${r} = rowGroup${r} - tap${r} * u.pixelVectors;
  let offset${r} = (offsetY${r} * i32(u.inputWidth) + offsetX${r}) * i32(u.pixelVectors) + i32(channel${r});`,
)}
${total.declare}
  let endRow = min((split + 1u) * u.imageRowsPerSplit, u.imageRows);
  for (var imageRow = split * u.imageRowsPerSplit; imageRow < endRow; imageRow++) {
    let sample = imageRow / u.outHeight;
    let outY = imageRow - sample * u.outHeight;
    let startY = (sample * u.inputHeight + outY * ${key.strides[0]}u) * u.inputWidth;
${padded ? repeat(loads, (r) => `    let insideY${r} = u32(i32(outY * ${key.strides[0]}u) + offsetY${r}) < u.inputHeight;`) : ''}
${total.loop(
  ['outX', '0u', 'u.outWidth', unroll],
  `      let start = i32((startY + outX * ${key.strides[1]}u) * u.pixelVectors);
${repeat(loads, (r) =>
  padded
    ? `      let inside${r} = ${allOf(`insideY${r}`, `u32(i32(outX * ${key.strides[1]}u) + offsetX${r}) < u.inputWidth`)};
      let a${r} = select(${leftType(tile)}(0), image[select(0, start + offset${r}, inside${r})], inside${r});`
    : `      let a${r} = image[start + offset${r}];`,
)}
${repeat(unroll, (k) => `      let b${k}_0 = gradient[(imageRow * u.outWidth + outX + ${k}u) * u.columnVectors + column0];`)}
${rankUpdate(tile)}`,
)}
  }
${total.finish}
${storeTile(tile, (row, j, value) => `result[(split * u.rows + ${row}) * u.columnVectors + wanted${j}] = ${value};`)}`,
      })
      const count = rows * key.filters
      if (splits === 1) return { variant: name, scratchBytes: [], flops: flopsOf(key), dispatches: [product] }
      return {
        variant: name,
        scratchBytes: [splits * count * 4],
        flops: flopsOf(key),
        dispatches: [product, sumPartials({ label, count, splits, activation: 'linear' }, target)],
      }
    },
  }
}

/**
 * The convolution. Inputs: image, kernel, optional bias. Output: [batch, outHeight, outWidth, filters]. Throws 'shape'
 * for an empty key.
 */
export const conv2dForward = convFamily('conv2d', [
  plainForward,
  forwardVariant(16),
  forwardVariant(8),
  forwardByQuads('plain'),
  winogradForward,
])

/** The input gradient. Inputs: dy and kernel. Output: dx. Ignores the key's `bias` and `activation`. */
export const conv2dInputGradient = convFamily('conv2d.inputGradient', [
  plainInputGradient,
  inputGradientVariant(16),
  inputGradientVariant(8),
  inputGradientByQuads('plain'),
  winogradInputGradient,
])

/**
 * The filter gradient. Inputs: image and dy. Output: the kernel's gradient. Ignores the key's `bias` and `activation`.
 */
export const conv2dFilterGradient = convFamily('conv2d.filterGradient', [
  plainFilterGradient,
  filterGradientVariant(16),
  filterGradientVariant(8),
  filterGradientByQuads('plain'),
  winogradFilterGradient,
])

/** The three families by the name of the product. */
export const conv2dFamilies = {
  conv2d: conv2dForward,
  'conv2d.inputGradient': conv2dInputGradient,
  'conv2d.filterGradient': conv2dFilterGradient,
} as const
