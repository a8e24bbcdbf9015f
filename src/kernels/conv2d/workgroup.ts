/**
 * Convolutions for GPUs: the variants of conv2d.ts that use schedule/workgroup-tile.ts. Their operands are gathered
 * from the image or the gradient as they are loaded (implicit GEMM). Rows, k and columns are as in conv2d.ts. Any
 * kernel, stride, padding and dilation; at stride 2 the input gradient also multiplies by the zeros between gradients.
 */

import type { UniformValue, Variant } from '../kernel.ts'
import { input, reads } from '../kernel.ts'
import { matrixOperand } from '../schedule/matrix-operand.ts'
import type { TiledOperand } from '../schedule/slab-piece.ts'
import { nowhere } from '../schedule/slab-piece.ts'
import type { TiledBlock, TiledExtents, TiledName, TiledProduct } from '../schedule/workgroup-tile.ts'
import { fillsSlabs, splitsItsOwnWay, suits, tiledPlan, tiledVariants } from '../schedule/workgroup-tile.ts'
import { components, range } from '../wgsl/text.ts'
import type { Conv2dKey } from './plain.ts'
import { conv2dSupports } from './plain.ts'

export type ConvProduct = 'conv2d' | 'conv2d.inputGradient' | 'conv2d.filterGradient'

/** The extents of a convolution as a matrix product. */
export function productOf(product: ConvProduct, key: Conv2dKey): TiledExtents {
  const taps = key.kernelHeight * key.kernelWidth
  const outPixels = key.batch * key.outHeight * key.outWidth
  switch (product) {
    case 'conv2d':
      return { batch: 1, rows: outPixels, columns: key.filters, terms: taps * key.channels }
    case 'conv2d.inputGradient':
      return {
        batch: 1,
        rows: key.batch * key.inputHeight * key.inputWidth,
        columns: key.channels,
        terms: taps * key.filters,
      }
    case 'conv2d.filterGradient':
      return { batch: 1, rows: taps * key.channels, columns: key.filters, terms: outPixels }
  }
}

/** One variant per block size and number of splits. */
export const tiledConvs = (product: ConvProduct): Variant<Conv2dKey, TiledName>[] =>
  tiledVariants.map((block) => tiledConv(product, block))

function tiledConv(product: ConvProduct, block: TiledBlock): Variant<Conv2dKey, TiledName> {
  return {
    name: block.name,
    supports: conv2dSupports(
      {
        ...{ strides: true, dilation: true, padTop: true, padLeft: true },
        ...{ groups: false, bias: true, activation: true, halfKernel: product === 'conv2d' },
      },
      (key, target) => suits(block, target) && splitsItsOwnWay(block, productOf(product, key), target),
    ),
    plan(key, target) {
      const { batch, outHeight, outWidth, filters, kernelHeight, kernelWidth, channels } = key
      const isForward = product === 'conv2d'
      const tiled: TiledProduct = {
        ...{ label: product, ...productOf(product, key), ...operands[product](key) },
        tapChannels: isForward ? channels : filters,
        ...{ uniforms: geometry(key), bias: isForward && key.bias, activation: isForward ? key.activation : 'linear' },
      }
      const flops = 2 * batch * outHeight * outWidth * filters * kernelHeight * kernelWidth * channels
      return { variant: block.name, flops, ...tiledPlan(tiled, block, target) }
    },
  }
}

function geometry(key: Conv2dKey): Record<string, UniformValue> {
  return {
    inputHeight: key.inputHeight,
    inputWidth: key.inputWidth,
    outHeight: key.outHeight,
    outWidth: key.outWidth,
    channels: key.channels,
    filters: key.filters,
    kernelWidth: key.kernelWidth,
    padTop: { i32: key.padTop },
    padLeft: { i32: key.padLeft },
  }
}

const operands: Readonly<Record<ConvProduct, (key: Conv2dKey) => Pick<TiledProduct, 'left' | 'right'>>> = {
  conv2d: (key) => ({ left: windowsOfImage(key), right: byFilters(key) }),
  'conv2d.inputGradient': (key) => ({ left: windowsOfGradient(key), right: flippedKernel(key) }),
  'conv2d.filterGradient': (key) => ({ left: tapsOfImage(key), right: byFilters(key) }),
}

/** The kernel or the gradient as a matrix [k, filters]. */
function byFilters({ filters, halfKernel }: Conv2dKey): TiledOperand {
  return matrixOperand({
    ...{ side: 'Right', operand: input(1), along: 'positions', inner: filters, batchStride: '0u', half: halfKernel },
  })
}

/** Places position p of the windows over an image: the window's corner at tap (0, 0). */
function pixelPlace(height: string, width: string, y: string, x: string): string {
  return `struct LeftPlace { sample: u32, y: i32, x: i32 }
fn placeLeft(batch: u32, position: u32) -> LeftPlace {
  let row = min(position, u.rows - 1u);
  let sample = row / (${height} * ${width});
  let pixel = row - sample * ${height} * ${width};
  let y = pixel / ${width};
  let x = pixel - y * ${width};
  return LeftPlace(sample, ${y}, ${x});
}`
}

/**
 * An operand whose k runs over (tap, channel). `enter` declares `enter<side>(place, ky, kx)`, see `TiledOperand`; its
 * address is in numbers. If a tap's channels are not whole slabs, each load finds its own tap.
 */
function byTaps(side: 'Left' | 'Right', operand: number, count: number, channels: string, enter: string): TiledOperand {
  const name = side.toLowerCase()
  const width = count % 4 === 0 ? 4 : 1
  const type = width === 4 ? 'vec4f' : 'f32'
  const byTap = fillsSlabs(count)
  const load = width === 4 ? `load${side}` : `${name}At`
  const numbers = range(4).map((i) => `${load}(place, k + ${i}u)`)
  return {
    ...{ binding: reads(name, input(operand), type), along: 'k', byTap },
    declarations: `${enter}
${
  byTap
    ? `fn load${side}(at: u32) -> vec4f {
  if (at >= ${nowhere}) { return vec4f(0); }
  return ${name}[at / 4u];
}`
    : `fn ${load}(place: ${side}Place, k: u32) -> ${type} {
  let tap = k / ${channels};
  let ky = tap / u.kernelWidth;
  let at = enter${side}(place, ky, tap - ky * u.kernelWidth);
  if (k >= u.terms || at >= ${nowhere}) { return ${type}(0); }
  return ${name}[(at + k - tap * ${channels}) / ${width}u];
}
${width === 4 ? '' : `fn load${side}(place: ${side}Place, k: u32) -> vec4f { return vec4f(${numbers.join(', ')}); }`}`
}`,
  }
}

/** The left operand of the forward product: rows are windows, k runs over (ky, kx, channel). */
function windowsOfImage({ channels, strides, dilation }: Conv2dKey): TiledOperand {
  const enter = `
${pixelPlace('u.outHeight', 'u.outWidth', `i32(y * ${strides[0]}u) - u.padTop`, `i32(x * ${strides[1]}u) - u.padLeft`)}
fn enterLeft(place: LeftPlace, ky: u32, kx: u32) -> u32 {
  let y = u32(place.y + i32(ky * ${dilation[0]}u));
  let x = u32(place.x + i32(kx * ${dilation[1]}u));
  if (y >= u.inputHeight || x >= u.inputWidth) { return ${nowhere}; }
  return ((place.sample * u.inputHeight + y) * u.inputWidth + x) * u.channels;
}`
  return byTaps('Left', 0, channels, 'u.channels', enter)
}

/** The left operand of the input gradient: rows are the image's pixels, k runs over (ky, kx, filter). */
function windowsOfGradient({ filters, strides, dilation }: Conv2dKey): TiledOperand {
  const [strideY, strideX] = strides
  const isDense = strideY === 1 && strideX === 1
  const enter = `
${pixelPlace('u.inputHeight', 'u.inputWidth', 'i32(y) + u.padTop', 'i32(x) + u.padLeft')}
fn enterLeft(place: LeftPlace, ky: u32, kx: u32) -> u32 {
  let scaledY = place.y - i32(ky * ${dilation[0]}u);
  let scaledX = place.x - i32(kx * ${dilation[1]}u);
  let y = u32(scaledY) / ${strideY}u;
  let x = u32(scaledX) / ${strideX}u;
  if (scaledY < 0 || scaledX < 0 || y >= u.outHeight || x >= u.outWidth) { return ${nowhere}; }
${isDense ? '' : `  if (y * ${strideY}u != u32(scaledY) || x * ${strideX}u != u32(scaledX)) { return ${nowhere}; }`}
  return ((place.sample * u.outHeight + y) * u.outWidth + x) * u.filters;
}`
  return byTaps('Left', 0, filters, 'u.filters', enter)
}

/**
 * The right operand of the input gradient: the kernel [taps, channels, filters] as a matrix [(tap, filter), channels].
 */
function flippedKernel({ filters }: Conv2dKey): TiledOperand {
  const enter = `alias RightPlace = u32;
fn placeRight(batch: u32, position: u32) -> RightPlace { return min(position, u.columns - 1u); }
fn enterRight(place: RightPlace, ky: u32, kx: u32) -> u32 {
  return ((ky * u.kernelWidth + kx) * u.columns + place) * u.filters;
}`
  return byTaps('Right', 1, filters, 'u.filters', enter)
}

/** The left operand of the filter gradient: rows are (ky, kx, channel), k runs over the output's pixels. */
function tapsOfImage({ channels, strides, dilation }: Conv2dKey): TiledOperand {
  const isVector = channels % 4 === 0
  const type = isVector ? 'vec4f' : 'f32'
  // A vector holds four channels of one tap, or four elements each with its own tap and channel.
  const [i32s, u32s] = isVector ? ['i32', 'u32'] : ['vec4i', 'vec4u']
  const rows = isVector ? 'min(position, u.rows - 4u)' : 'min(position + vec4u(0, 1, 2, 3), vec4u(u.rows - 1u))'
  const number = (c: string): string => `imageAt(sampleRow, y.${c}, x.${c}, place.channel.${c})`
  const loaded = isVector
    ? 'imageAt(sampleRow, y, x, place.channel)'
    : `vec4f(${[...components].map(number).join(', ')})`
  return {
    binding: reads('left', input(0), type),
    along: 'positions',
    declarations: `
struct LeftPlace { y: ${i32s}, x: ${i32s}, channel: ${u32s} }
fn placeLeft(batch: u32, position: u32) -> LeftPlace {
  let row = ${rows};
  let tap = row / u.channels;
  let ky = tap / u.kernelWidth;
  let kx = tap - ky * u.kernelWidth;
  let y = ${i32s}(ky * ${dilation[0]}u) - u.padTop;
  let x = ${i32s}(kx * ${dilation[1]}u) - u.padLeft;
  return LeftPlace(y, x, row - tap * u.channels);
}
fn imageAt(sampleRow: u32, y: i32, x: i32, channel: u32) -> ${type} {
  if (u32(y) >= u.inputHeight || u32(x) >= u.inputWidth) { return ${type}(0); }
  return left[(((sampleRow + u32(y)) * u.inputWidth + u32(x)) * u.channels + channel)${isVector ? ' / 4u' : ''}];
}
fn loadLeft(place: LeftPlace, k: u32) -> vec4f {
  if (k >= u.terms) { return vec4f(0); }
  let outRow = k / u.outWidth;
  let sample = outRow / u.outHeight;
  let sampleRow = sample * u.inputHeight;
  let y = place.y + i32((outRow - sample * u.outHeight) * ${strides[0]}u);
  let x = place.x + i32((k - outRow * u.outWidth) * ${strides[1]}u);
  return ${loaded};
}`,
  }
}
