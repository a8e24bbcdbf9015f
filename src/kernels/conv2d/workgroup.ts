/**
 * Convolutions for GPUs: the variants of conv2d.ts that use schedule/workgroup-tile.ts. Their operands are gathered
 * from the image or the gradient as they are loaded (implicit GEMM). Rows, k and columns are as in conv2d.ts. Any
 * kernel, stride, padding and dilation; at stride 2 the input gradient also multiplies by the zeros between gradients.
 */

import type { UniformValue, Variant } from '../kernel.ts'
import { input, reads } from '../kernel.ts'
import { matrixOperand } from '../schedule/matrix-operand.ts'
import type { TiledBlock, TiledExtents, TiledName, TiledOperand, TiledProduct } from '../schedule/workgroup-tile.ts'
import { fillsSlabs, nowhere, splitsItsOwnWay, suits, tiledPlan, tiledVariants } from '../schedule/workgroup-tile.ts'
import { components } from '../wgsl/text.ts'
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
      { strides: true, dilation: true, padTop: true, padLeft: true, groups: false, bias: true, activation: true },
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
function byFilters({ filters }: Conv2dKey): TiledOperand {
  return matrixOperand({ side: 'Right', operand: input(1), along: 'positions', inner: filters, batchStride: '0u' })
}

/**
 * Declares `<name>At(sampleRow, y, x, channel)`: a vector or an element of an image, zero outside the image.
 * `sampleRow` is sample * height.
 */
function pixelFunction(name: string, type: string, height: string, width: string, channels: string): string {
  return `fn ${name}At(sampleRow: u32, y: i32, x: i32, channel: u32) -> ${type} {
  if (u32(y) >= ${height} || u32(x) >= ${width}) { return ${type}(0); }
  return left[(((sampleRow + u32(y)) * ${width} + u32(x)) * ${channels} + channel)${type === 'vec4f' ? ' / 4u' : ''}];
}`
}

/** Loads a vector along k as four elements `numberAt(place, k)`. */
const numbersAlongK = `fn loadLeft(place: LeftPlace, k: u32) -> vec4f {
  return vec4f(numberAt(place, k), numberAt(place, k + 1u), numberAt(place, k + 2u), numberAt(place, k + 3u));
}`

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

/** Splits k into tap and channel: `ky`, `kx`, `channel`. */
const declareTap = (type: string, channels: string): string => `  if (k >= u.terms) { return ${type}(0); }
  let tap = k / ${channels};
  let channel = k - tap * ${channels};
  let ky = tap / u.kernelWidth;
  let kx = tap - ky * u.kernelWidth;`

/** Loads a vector of a tap's channels from an address that `enterLeft` gave, with the number of the channel added. */
const loadsFromTap = `fn loadLeft(at: u32) -> vec4f {
  if (at >= ${nowhere}) { return vec4f(0); }
  return left[at];
}`

/** The left operand of the forward product: rows are windows, k runs over (ky, kx, channel). */
function windowsOfImage({ channels, strides, dilation }: Conv2dKey): TiledOperand {
  const place = pixelPlace(
    ...(['u.outHeight', 'u.outWidth'] as const),
    ...([`i32(y * ${strides[0]}u) - u.padTop`, `i32(x * ${strides[1]}u) - u.padLeft`] as const),
  )
  if (fillsSlabs(channels))
    return {
      ...{ binding: reads('left', input(0), 'vec4f'), along: 'k', byTap: true },
      declarations: `
${place}
fn enterLeft(place: LeftPlace, ky: u32, kx: u32) -> u32 {
  let y = u32(place.y + i32(ky * ${dilation[0]}u));
  let x = u32(place.x + i32(kx * ${dilation[1]}u));
  if (y >= u.inputHeight || x >= u.inputWidth) { return ${nowhere}; }
  return ((place.sample * u.inputHeight + y) * u.inputWidth + x) * (u.channels / 4u);
}
${loadsFromTap}`,
    }
  const isVector = channels % 4 === 0
  const type = isVector ? 'vec4f' : 'f32'
  return {
    binding: reads('left', input(0), type),
    along: 'k',
    declarations: `
${place}
${pixelFunction('image', type, 'u.inputHeight', 'u.inputWidth', 'u.channels')}
fn ${isVector ? 'loadLeft' : 'numberAt'}(place: LeftPlace, k: u32) -> ${type} {
${declareTap(type, 'u.channels')}
  let sampleRow = place.sample * u.inputHeight;
  return imageAt(sampleRow, place.y + i32(ky * ${dilation[0]}u), place.x + i32(kx * ${dilation[1]}u), channel);
}
${isVector ? '' : numbersAlongK}`,
  }
}

/** The left operand of the input gradient: rows are the image's pixels, k runs over (ky, kx, filter). */
function windowsOfGradient({ filters, strides, dilation }: Conv2dKey): TiledOperand {
  const isVector = filters % 4 === 0
  const type = isVector ? 'vec4f' : 'f32'
  const [strideY, strideX] = strides
  const isDense = strideY === 1 && strideX === 1
  const place = pixelPlace('u.inputHeight', 'u.inputWidth', 'i32(y) + u.padTop', 'i32(x) + u.padLeft')
  const scaled = `  let y = place.y - i32(ky * ${dilation[0]}u);
  let x = place.x - i32(kx * ${dilation[1]}u);`
  const between = `y < 0 || x < 0 || u32(y) % ${strideY}u != 0u || u32(x) % ${strideX}u != 0u`
  const [outY, outX] = isDense ? ['y', 'x'] : [`y / ${strideY}`, `x / ${strideX}`]
  if (fillsSlabs(filters))
    return {
      ...{ binding: reads('left', input(0), 'vec4f'), along: 'k', byTap: true },
      declarations: `
${place}
fn enterLeft(place: LeftPlace, ky: u32, kx: u32) -> u32 {
${scaled}
${isDense ? '' : `  if (${between}) { return ${nowhere}; }`}
  if (u32(${outY}) >= u.outHeight || u32(${outX}) >= u.outWidth) { return ${nowhere}; }
  return ((place.sample * u.outHeight + u32(${outY})) * u.outWidth + u32(${outX})) * (u.filters / 4u);
}
${loadsFromTap}`,
    }
  return {
    binding: reads('left', input(0), type),
    along: 'k',
    declarations: `
${place}
${pixelFunction('gradient', type, 'u.outHeight', 'u.outWidth', 'u.filters')}
fn ${isVector ? 'loadLeft' : 'numberAt'}(place: LeftPlace, k: u32) -> ${type} {
${declareTap(type, 'u.filters')}
${scaled}
${isDense ? '' : `  if (${between}) { return ${type}(0); }`}
  return gradientAt(place.sample * u.outHeight, ${outY}, ${outX}, channel);
}
${isVector ? '' : numbersAlongK}`,
  }
}

/**
 * The right operand of the input gradient: the kernel [taps, channels, filters] as a matrix [(tap, filter), channels].
 */
function flippedKernel({ filters }: Conv2dKey): TiledOperand {
  const isVector = filters % 4 === 0
  const type = isVector ? 'vec4f' : 'f32'
  const place = `alias RightPlace = u32;
fn placeRight(batch: u32, position: u32) -> RightPlace { return min(position, u.columns - 1u); }`
  if (fillsSlabs(filters))
    return {
      ...{ binding: reads('right', input(1), type), along: 'k', byTap: true },
      declarations: `${place}
fn enterRight(place: RightPlace, ky: u32, kx: u32) -> u32 {
  return ((ky * u.kernelWidth + kx) * u.columns + place) * (u.filters / 4u);
}
fn loadRight(at: u32) -> vec4f { return right[at]; }`,
    }
  return {
    binding: reads('right', input(1), type),
    along: 'k',
    declarations: `${place}
fn ${isVector ? 'loadRight' : 'kernelAt'}(place: RightPlace, k: u32) -> ${type} {
  if (k >= u.terms) { return ${type}(0); }
  let tap = k / u.filters;
  return right[((tap * u.columns + place) * u.filters + k - tap * u.filters)${isVector ? ' / 4u' : ''}];
}
${
  isVector
    ? ''
    : `fn loadRight(place: RightPlace, k: u32) -> vec4f {
  return vec4f(kernelAt(place, k), kernelAt(place, k + 1u), kernelAt(place, k + 2u), kernelAt(place, k + 3u));
}`
}`,
  }
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
${pixelFunction('image', type, 'u.inputHeight', 'u.inputWidth', 'u.channels')}
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
