/**
 * The pooled convolution with pixels along the lanes and no subgroup operations: for GPUs, and for processors without
 * known subgroups. A lane takes one quad and one vector of filters, which all lanes of its workgroup share, so no lane
 * is idle however few filters there are, and the taps are read at addresses that the whole workgroup shares.
 * Everything a lane holds is a named variable: some compilers do not keep indexed arrays in registers. Loops run over
 * kernel rows and channels, so the shaders are small.
 */

import type { KernelPlan, Target, Variant } from '../../kernel.ts'
import { dispatch, input, output, reads, writes } from '../../kernel.ts'
import { busyLanes, plainWorkgroupSize, prefersSubgroups } from '../../schedule/occupancy.ts'
import type { VectorWidth } from '../../schedule/subgroup-tile.ts'
import { vectorType, widestVector } from '../../schedule/subgroup-tile.ts'
import type { FloatType } from '../../wgsl/functions.ts'
import { widths } from '../../wgsl/functions.ts'
import { longSum } from '../../wgsl/long-sum.ts'
import { allOf, component, range, repeat } from '../../wgsl/text.ts'
import type { Conv2dKey } from '../plain.ts'
import { conv2dSupports, oneGroupByOne } from '../plain.ts'
import { pooledFunctions, storePooled } from './forward.ts'
import type { Conv2dPoolKey } from './quad.ts'
import { deadCode, mostTapNumbers, pooledExtents } from './quad.ts'

/** What a subgroup of 32 lanes holds in the quad kernels: such a convolution fuses with or without subgroups. */
const mostKernelNumbers = 32 * mostTapNumbers

/**
 * The most taps in a row of the kernel: they are unrolled, for up to four channels, and the filter gradient has a sum
 * for each and one for the bias, 64 in all.
 */
const mostTapsInRow = 15

const supports = /* @__PURE__ */ conv2dSupports(
  { ...oneGroupByOne, padTop: false, padLeft: false },
  (_, target) => !prefersSubgroups(target),
)

/**
 * Whether these kernels can serve the key: stride and dilation 1, no padding, and a kernel so small that a product of
 * blocks would gain nothing. Not if subgroups are better: measuring would waste time.
 */
export function suitsPixels(key: Conv2dKey, target: Target): boolean {
  if (!supports(key, target)) return false
  const { pooledHeight, pooledWidth, taps, isInside } = pooledExtents(key)
  const isSmall = taps <= mostTapNumbers && taps * key.filters <= mostKernelNumbers && key.kernelWidth <= mostTapsInRow
  return isInside && isSmall && pooledHeight > 0 && pooledWidth > 0
}

/** How a lane reads the patch of the image under a quad, row by row, for one vector of channels. */
export interface Patch {
  readonly channelVector: VectorWidth
  readonly type: FloatType
  readonly uniforms: Readonly<Record<string, number>>
  /** Loads a row of the patch into `<row>0`, `<row>1`, ... */
  load(keyword: 'let' | 'var', row: string, address: string): string
  /** Moves row `from` into the variables of row `to`. */
  move(to: string, from: string): string
  /** The number of channel `k` in column `x` of a loaded row. */
  number(row: string, x: number, k: number): string
}

export function patchOf(key: Conv2dKey): Patch {
  const { channels, inputWidth, kernelWidth } = key
  // A quad starts at an even column: with one channel, two columns are one load.
  const columns = channels === 1 && inputWidth % 2 === 0 ? 2 : 1
  const channelVector = widestVector(channels)
  const width = columns === 2 ? 2 : channelVector
  const count = Math.ceil((kernelWidth + 1) / columns)
  const columnVectors = columns === 2 ? 1 : channels / channelVector
  return {
    channelVector,
    type: vectorType(width),
    uniforms: {
      channelVectors: channels / channelVector,
      columnVectors,
      quadVectors: (2 / columns) * columnVectors,
      rowVectors: (inputWidth / columns) * columnVectors,
      inputHeight: key.inputHeight,
    },
    load: (keyword, row, address) =>
      repeat(count, (i) => `    ${keyword} ${row}${i} = image[${address} + ${i}u * u.columnVectors];`),
    move: (to, from) => repeat(count, (i) => `    ${to}${i} = ${from}${i};`),
    number: (row, x, k) =>
      columns === 2 ? component(`${row}${x >> 1}`, 2, x & 1) : component(`${row}${x}`, channelVector, k),
  }
}

/** The most filters per lane that leave lanes enough to keep the device busy. */
function filtersPerLane({ filters }: Conv2dKey, quads: number, target: Target): VectorWidth {
  const widest = widestVector(filters)
  const fitting = ([4, 2] as const).find((n) => n <= widest && (quads * filters) / n >= busyLanes(target))
  return fitting ?? 1
}

/** Declares the gradients `g0` to `g3` of each of a quad's four outputs from `g`, that of the pooled one, and its `code`. */
export const spreadGradient = (type: FloatType): string =>
  repeat(4, (p) => `    let g${p} = select(${type}(0), g, code == ${widths[type].u}(${p}));`)

export const pixelsForward: Variant<Conv2dPoolKey, 'pixels'> = {
  name: 'pixels',
  supports: suitsPixels,
  plan(key, target): KernelPlan {
    const { pooledHeight, pooledWidth, quads, taps, flops } = pooledExtents(key)
    const lanes = plainWorkgroupSize(target)
    const patch = patchOf(key)
    const filterVector = filtersPerLane(key, quads, target)
    const filterVectors = key.filters / filterVector
    const type = vectorType(filterVector)
    const codeType = widths[type].u
    const total = longSum(
      type,
      range(4).map((p) => `sum0_${p}`),
      {
        ...{ terms: taps, termsPerIteration: key.kernelWidth * patch.channelVector, iterations: key.kernelHeight },
        start: 'first',
      },
    )
    const products = range(key.kernelWidth * patch.channelVector).map((n) => {
      const [x, k] = [Math.floor(n / patch.channelVector), n % patch.channelVector]
      const pixel = (p: number): string => patch.number(p & 2 ? 'bottom' : 'top', x + (p & 1), k)
      return `    let tap${n} = kernel[tap + (${x}u * u.channels + ${k}u) * u.filterVectors];
${repeat(4, (p) => `    sum0_${p} += ${pixel(p)} * tap${n};`)}`
    })
    return {
      variant: 'pixels',
      scratchBytes: [],
      flops,
      dispatches: [
        dispatch({
          label: 'conv2dPool/pixels',
          bindings: [
            reads('image', input(0), patch.type),
            reads('kernel', input(1), type),
            writes('result', output(0), type),
            writes('codes', output(1), codeType),
            ...(key.bias ? [reads('bias', input(2), type)] : []),
          ],
          uniforms: {
            ...{ quads, pooledHeight, pooledWidth, filterVectors, channels: key.channels },
            ...{ kernelHeight: key.kernelHeight, kernelWidth: key.kernelWidth },
            ...patch.uniforms,
          },
          workgroupSize: lanes,
          workgroups: Math.ceil(quads / lanes) * filterVectors,
          declarations: pooledFunctions(key.activation, type),
          body: `
  if (group >= groups) { return; }
  let vector = group % u.filterVectors;
  let wanted = group / u.filterVectors * ${lanes}u + lane;
  let quad = min(wanted, u.quads - 1u);
  let row = quad / u.pooledWidth;
  let sample = row / u.pooledHeight;
  let start = (sample * u.inputHeight + (row - sample * u.pooledHeight) * 2u) * u.rowVectors
    + (quad - row * u.pooledWidth) * u.quadVectors;
  let first = ${key.bias ? 'bias[vector]' : `${type}(0)`};
${total.declare}
  for (var c = 0u; c < u.channelVectors; c++) {
    var address = start + c;
    var tap = c * ${patch.channelVector}u * u.filterVectors + vector;
${patch.load('var', 'top', 'address')}
${total.loop(
  ['ky', '0u', 'u.kernelHeight'],
  `    address += u.rowVectors;
${patch.load('let', 'bottom', 'address')}
${products.join('\n')}
${patch.move('top', 'bottom')}
    tap += u.kernelWidth * u.channels * u.filterVectors;`,
)}
  }
${total.finish}
${storePooled(key.activation, { type, codeType }, 0, { condition: 'wanted < u.quads', address: 'quad * u.filterVectors + vector' })}`,
        }),
      ],
    }
  },
}

/**
 * A lane computes two by two pixels of one channel, which its workgroup shares. Each quad that reaches them is spread
 * into its four gradients, three of which are zero, and each gradient is multiplied by the taps between it and the four
 * pixels. The sums are vectors of filters until the end.
 */
export const pixelsInputGradient: Variant<Conv2dPoolKey, 'pixels'> = {
  name: 'pixels',
  supports: suitsPixels,
  plan(key, target): KernelPlan {
    const { pooledHeight, pooledWidth, flops } = pooledExtents(key)
    const lanes = plainWorkgroupSize(target)
    const filterVector = widestVector(key.filters)
    const type = vectorType(filterVector)
    const codeType = widths[type].u
    const [tilesY, tilesX] = [Math.ceil(key.inputHeight / 2), Math.ceil(key.inputWidth / 2)]
    const tiles = key.batch * tilesY * tilesX
    const [reachY, reachX] = [Math.ceil((key.kernelHeight + 1) / 2), Math.ceil((key.kernelWidth + 1) / 2)]
    const filterVectors = key.filters / filterVector
    const total = longSum(
      type,
      range(4).map((n) => `sum${n}`),
      { terms: reachY * reachX * filterVectors * 4, termsPerIteration: 4, iterations: filterVectors },
    )
    // Result n of the tile and output p of the quad: the tap between them, from -1 to 1 in each direction.
    const product = (n: number, p: number): string => `g${p} * tap${1 + (n >> 1) - (p >> 1)}_${1 + (n & 1) - (p & 1)}`
    return {
      variant: 'pixels',
      scratchBytes: [],
      flops,
      dispatches: [
        dispatch({
          label: 'conv2dPool.inputGradient/pixels',
          bindings: [
            reads('gradient', input(0), type),
            reads('codes', input(1), codeType),
            reads('kernel', input(2), type),
            writes('result', output(0)),
          ],
          uniforms: {
            ...{ tiles, tilesY, tilesX, reachY, reachX, pooledHeight, pooledWidth, filterVectors },
            ...{ channels: key.channels, kernelHeight: key.kernelHeight, kernelWidth: key.kernelWidth },
            ...{ inputHeight: key.inputHeight, inputWidth: key.inputWidth },
          },
          workgroupSize: lanes,
          workgroups: Math.ceil(tiles / lanes) * key.channels,
          declarations: `fn tapAt(ky: u32, kx: u32, channel: u32, vector: u32) -> ${type} {
  if (ky >= u.kernelHeight || kx >= u.kernelWidth) { return ${type}(0); }
  return kernel[((ky * u.kernelWidth + kx) * u.channels + channel) * u.filterVectors + vector];
}`,
          body: `
  if (group >= groups) { return; }
  let channel = group % u.channels;
  let tile = group / u.channels * ${lanes}u + lane;
  let tileRow = tile / u.tilesX;
  let tileX = tile - tileRow * u.tilesX;
  let sample = tileRow / u.tilesY;
  let tileY = tileRow - sample * u.tilesY;
${total.declare}
  for (var j = 0u; j < u.reachY; j++) {
    for (var i = 0u; i < u.reachX; i++) {
      let inside = ${allOf('tile < u.tiles', 'tileY - j < u.pooledHeight', 'tileX - i < u.pooledWidth')};
      let quad = select(0u, (sample * u.pooledHeight + tileY - j) * u.pooledWidth + tileX - i, inside);
${total.loop(
  ['v', '0u', 'u.filterVectors'],
  `    let place = quad * u.filterVectors + v;
    let g = gradient[place];
    let code = select(${codeType}(${deadCode}), codes[place], inside);
${spreadGradient(type)}
${repeat(3, (r) => repeat(3, (s) => `    let tap${r}_${s} = tapAt(2u * j + ${r}u - 1u, 2u * i + ${s}u - 1u, channel, v);`))}
${repeat(
  4,
  (n) =>
    `    sum${n} += ${range(4)
      .map((p) => product(n, p))
      .join(' + ')};`,
)}`,
)}
    }
  }
${total.finish}
${repeat(4, (n) => {
  const lanesOf = range(filterVector).map((i) => component(`sum${n}`, filterVector, i))
  return `  let y${n} = tileY * 2u + ${n >> 1}u;
  let x${n} = tileX * 2u + ${n & 1}u;
  if (tile < u.tiles && y${n} < u.inputHeight && x${n} < u.inputWidth) {
    result[((sample * u.inputHeight + y${n}) * u.inputWidth + x${n}) * u.channels + channel] = ${lanesOf.join(' + ')};
  }`
})}`,
        }),
      ],
    }
  },
}
