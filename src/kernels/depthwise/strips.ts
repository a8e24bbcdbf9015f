/**
 * Depthwise convolution by strips, for stride 1 and kernels of up to 3x3. A strip is a few rows of the result over the
 * whole width. A lane handles four channels and walks along the strip. Each input column is loaded once for all the
 * outputs it contributes to, with one load per row that the strip reaches, so an output takes 1.0 to 1.4 loads and one
 * store. The forward kernel and the input gradient are here, the filter gradient is in strips-gradient.ts.
 *
 * The reason: on a CPU running Vulkan, eight lanes take 50 ns per output. The nine taps account for 20 ns, loads and
 * stores for the rest. `sliding` takes 2.8 loads per output and recomputes its addresses for every ten.
 */

import { dispatch, input, type KernelPlan, output, reads, type Target, writes } from '../kernel.ts'
import { depthwiseWorkgroups, fillsTapsInLoop, gainsFromPrefetch, plainWorkgroupSize } from '../schedule/occupancy.ts'
import { lines, range } from '../wgsl/text.ts'
import { type DepthwiseKey, depthwiseFlops, fourChannels, type Slide } from './key.ts'

/** How the strips of a convolution are divided: a workgroup takes one band of a few images and some of the channels. */
export interface Strips {
  readonly lanes: number
  /** Rows per strip; the last band of an image may have fewer. */
  readonly rows: number
  readonly bands: number
  /** Number of images whose strips a workgroup takes one after the other, tile by tile. Divides the batch. */
  readonly images: number
  readonly channelVectors: number
  /** Number of tiles of channels; in a tile, each lane has one vector. */
  readonly tiles: number
  readonly tilesPerGroup: number
  readonly channelGroups: number
  /** Whether a workgroup first reads its memory in order: see `prefetch`. */
  readonly prefetches: boolean
}

/**
 * The most rows per strip. 5: at 19x19 more rows save loads but ran no faster and compile for longer (on a busy machine
 * 1.3 s, 4 s with 7 rows, 9 s with 10); 3 rows took a fifth more time.
 */
const mostRows = 5

/**
 * The fewest outputs per vector of channels that a workgroup computes, if there are enough images: it loads nine taps
 * for them. At 5x5, four images per workgroup took 46 ns per output, two 52, and one 61; at 14x14 (70 outputs) two took
 * as long as one.
 */
const fewestOutputs = 60

/**
 * Size of both tensors in bytes above which it pays to read a strip in order before walking along it. 2 MiB, about the
 * size of a core's second-level cache: at 5x5x728 (1.2 MB) it makes no difference; at 10x10 (4.7 MB) it brings 71 ns
 * per output down to 53, at 19x19 (17 MB) 190 down to 88. If one tile has all channels, the walk itself is in order: at
 * 112x112x32 reading ahead turned 76 ns into 139.
 */
const cachedBytes = 2 * 1024 * 1024

/** Whether the strips kernel supports the convolution: its kernel size, and the padding at its start and end. */
export function formsStrips(key: DepthwiseKey, slide: Slide): boolean {
  const { kernelHeight, kernelWidth } = key
  const below = slide.outHeight + kernelHeight - 1 - slide.padTop - slide.inHeight
  const beyond = slide.outWidth + kernelWidth - 1 - slide.padLeft - slide.inWidth
  const within = (padding: number, extent: number) => padding >= 0 && padding < extent
  return (
    fourChannels(key) &&
    kernelHeight <= 3 &&
    kernelWidth <= 3 &&
    within(slide.padTop, kernelHeight) &&
    within(below, kernelHeight) &&
    within(slide.padLeft, kernelWidth) &&
    within(beyond, kernelWidth)
  )
}

/** Whether at least three quarters of the lanes have channels. */
export function fillsLanes({ channels }: DepthwiseKey, target: Target): boolean {
  const lanes = plainWorkgroupSize(target)
  return channels / 4 / lanes >= 0.75 * Math.ceil(channels / 4 / lanes)
}

/**
 * Divides `height` x `width` outputs of every image into strips. For the filter gradient these are positions of the
 * output's gradient. A workgroup takes at least `fewest` outputs; if it prefetches, the default applies.
 */
export function stripsFor(
  key: DepthwiseKey,
  [height, width]: readonly [number, number],
  target: Target,
  fewest = fewestOutputs,
): Strips {
  const lanes = plainWorkgroupSize(target)
  const bands = Math.ceil(height / mostRows)
  const rows = Math.ceil(height / bands)
  const bytes = 4 * key.batch * key.channels * (key.inputHeight * key.inputWidth + key.outHeight * key.outWidth)
  const channelVectors = key.channels / 4
  const tiles = Math.ceil(channelVectors / lanes)
  const prefetches = gainsFromPrefetch(target) && bytes > cachedBytes && tiles > 1
  const least = prefetches ? fewestOutputs : fewest
  let images = 1
  while (images < key.batch && (key.batch % images !== 0 || images * rows * width < least)) images++
  const groupsWanted = Math.min(tiles, Math.ceil(depthwiseWorkgroups(target) / ((bands * key.batch) / images)))
  const tilesPerGroup = Math.max(1, Math.floor(tiles / groupsWanted))
  const channelGroups = Math.ceil(tiles / tilesPerGroup)
  return { lanes, rows, bands, images, channelVectors, tiles, tilesPerGroup, channelGroups, prefetches }
}

/** The rows that a strip reads from the tensor under the kernel's window: `top` + r, with wrapping. */
export interface WindowRows {
  /** The rows that at least one band loads; the others are padding for every band. */
  readonly loaded: readonly number[]
  /** Declares `x_<r>`: the load, or zeros for bands that have padding there. */
  declare(r: number, load: string): string
}

export function windowRows({ rows, bands }: Strips, height: number, padTop: number, kernelHeight: number): WindowRows {
  const inBand = (band: number, r: number) => {
    const y = band * rows + r - padTop
    return y >= 0 && y < height
  }
  const all = range(rows + kernelHeight - 1)
  return {
    loaded: all.filter((r) => range(bands).some((band) => inBand(band, r))),
    declare: (r, load) =>
      range(bands).every((band) => inBand(band, r))
        ? `let x_${r} = ${load};`
        : `var x_${r} = vec4f(0.0); if (top + ${r}u < u.inHeight) { x_${r} = ${load}; }`,
  }
}

/** Runs the statement only in the bands that have row j; only the last band may be shorter. */
export function ownRow({ rows, bands }: Strips, height: number, j: number, statement: string): string {
  return (bands - 1) * rows + j < height ? statement : `if (firstRow + ${j}u < u.outHeight) { ${statement} }`
}

/**
 * Reads one word of every cache line of a strip in both tensors, in memory order, so that the processor fetches ahead.
 * The walk itself jumps from column to column, and each load that misses the caches would stall it for 100 ns. Declares
 * `nothing`, a zero that depends on what was read: adding it to an index keeps the reads from being optimised away.
 */
export function prefetch({ lanes, rows }: Strips, tensors: readonly [string, string], kernelHeight: number): string {
  const [window, result] = tensors
  // A cache line of 64 bytes holds four vectors. Reading only every other line took 200 ns per output instead of 90.
  const fetch = (tensor: string, side: 'in' | 'out', first: string, end: string) => `
    let ${side}Start = (firstImage + iteration) * u.${side}Height;
    let ${side}End = (${side}Start + ${end}) * u.${side}Width;
    for (var place = (${side}Start + ${first}) * u.${side}Width; place < ${side}End; place++) {
      for (var k = firstTile * ${lanes}u; k < endTile * ${lanes}u; k += ${4 * lanes}u) {
        prefetched |= bitcast<u32>(${tensor}[place * u.channelVectors + k + 4u * lane].x);
      }
    }`
  const firstIn = 'select(top, 0u, firstRow < u.padTop)'
  const endIn = `min(top + ${rows + kernelHeight - 1}u, u.inHeight)`
  return `
  var prefetched = 0u;
  for (var iteration = 0u; iteration < u.images; iteration++) {${fetch(window, 'in', firstIn, endIn)}${fetch(result, 'out', 'firstRow', `min(firstRow + ${rows}u, u.outHeight)`)}
  }
  let nothing = prefetched & u.zero;`
}

export function planStrips(key: DepthwiseKey, target: Target, slide: Slide, label: string): KernelPlan {
  const { kernelHeight, kernelWidth } = key
  const strips = stripsFor(key, [slide.outHeight, slide.outWidth], target)
  const { lanes, rows, bands, images, channelVectors, tiles, tilesPerGroup, channelGroups, prefetches } = strips
  const { loaded, declare } = windowRows(strips, slide.inHeight, slide.padTop, kernelHeight)
  const outs = range(rows)
  const last = kernelWidth - 1
  const later = range(last).map((kx) => kx + 1)
  const taps = range(kernelHeight * kernelWidth)
  const load = (n: string) =>
    `taps[${n}] = w[${slide.flipped ? `(${taps.length - 1}u - ${n})` : n} * u.channelVectors + channel];`
  const loadTaps = fillsTapsInLoop(target)
    ? `      for (var n = 0u; n < u.taps; n++) { ${load('n')} }`
    : lines(taps, (n) => `      ${load(`${n}u`)}`)
  /** The column's contribution to the output of row j that it meets under column kx of the kernel. */
  const products = (j: number, kx: number) => {
    const held = range(kernelHeight).filter((ky) => loaded.includes(j + ky))
    return ['', ...held.map((ky) => `x_${j + ky} * taps[${ky * kernelWidth + kx}]`)].join(' + ')
  }
  const begun = (j: number, kx: number) => (kx === 0 ? 'vec4f(0.0)' : `sum_${j}_${kx}`)
  const store = (j: number, value: string, ahead: number) =>
    ownRow(strips, slide.outHeight, j, `y[outAt + ${j}u * u.outRow + ${ahead}u * u.channelVectors] = ${value};`)
  // Column t of the padded input completes output t - last; the padding after the image adds nothing to open outputs.
  const end = slide.inWidth + slide.padLeft
  const firstBegun = Math.max(0, end - last)
  const stillBegun = range(slide.outWidth - firstBegun).map((n) => ({ ahead: n, kx: end - firstBegun - n }))
  return {
    variant: 'strips',
    dispatches: [
      dispatch({
        label,
        bindings: [reads('x', input(0), 'vec4f'), reads('w', input(1), 'vec4f'), writes('y', output(0), 'vec4f')],
        uniforms: {
          inHeight: slide.inHeight,
          inWidth: slide.inWidth,
          outHeight: slide.outHeight,
          outWidth: slide.outWidth,
          inRow: slide.inWidth * channelVectors,
          outRow: slide.outWidth * channelVectors,
          channelVectors,
          tiles,
          tilesPerGroup,
          channelGroups,
          bands,
          images,
          padTop: slide.padTop,
          padLeft: slide.padLeft,
          end,
          taps: taps.length,
          zero: 0,
        },
        workgroupSize: lanes,
        workgroups: (key.batch / images) * bands * channelGroups,
        body: `
  if (group >= groups) {
    return;
  }
  let strip = group / u.channelGroups;
  let firstTile = (group - strip * u.channelGroups) * u.tilesPerGroup;
  let endTile = min(firstTile + u.tilesPerGroup, u.tiles);
  let bandOfImages = strip / u.bands;
  let firstImage = bandOfImages * u.images;
  let firstRow = (strip - bandOfImages * u.bands) * ${rows}u;
  // Rows before the image wrap around to huge numbers, so that one comparison finds both ends.
  let top = firstRow - u.padTop;
${prefetches ? prefetch(strips, ['x', 'y'], kernelHeight) : '  let nothing = 0u;'}
  for (var tile = firstTile; tile < endTile; tile++) {
    let channel = tile * ${lanes}u + lane + nothing;
    if (channel < u.channelVectors) {
      var taps: array<vec4f, ${taps.length}>;
${loadTaps}
      for (var iteration = 0u; iteration < u.images; iteration++) {
        let image = firstImage + iteration;
        var inAt = (image * u.inHeight + top) * u.inRow + channel;
        var outAt = (image * u.outHeight + firstRow) * u.outRow + channel;
        // What the columns so far give to the output that the next one meets under column kx of the kernel.
${lines(outs, (j) => lines(later, (kx) => `        var sum_${j}_${kx} = vec4f(0.0);`))}
        for (var t = u.padLeft; t < u.end; t++) {
${lines(loaded, (r) => `          ${declare(r, `x[inAt + ${r}u * u.inRow]`)}`)}
          inAt += u.channelVectors;
${lines(
  outs,
  (j) => `          let done_${j} = ${begun(j, last)}${products(j, last)};
${lines(later.toReversed(), (kx) => `          sum_${j}_${kx} = ${begun(j, kx - 1)}${products(j, kx - 1)};`)}`,
)}
          if (t >= ${last}u) {
${lines(outs, (j) => `            ${store(j, `done_${j}`, 0)}`)}
            outAt += u.channelVectors;
          }
        }
${stillBegun.map(({ ahead, kx }) => lines(outs, (j) => `        ${store(j, `sum_${j}_${kx}`, ahead)}`)).join('\n')}
      }
    }
  }`,
      }),
    ],
    scratchBytes: [],
    flops: depthwiseFlops(key),
  }
}
