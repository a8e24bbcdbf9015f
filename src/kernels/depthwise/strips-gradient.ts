/**
 * The filter gradient of a depthwise convolution by strips: strips.ts walks along the input; this kernel walks along
 * the image and the gradient together. Each image column is loaded once and multiplied by the gradient columns around
 * it, which stay in registers, as do the sums of all taps. It takes 2.0 to 2.4 loads per gradient position, where
 * `channels` takes six.
 */

import { type Dispatch, dispatch, input, type Operand, reads, type Target, writes } from '../kernel.ts'
import { longSum } from '../wgsl/long-sum.ts'
import { lines, range } from '../wgsl/text.ts'
import type { DepthwiseKey } from './key.ts'
import { ownRow, prefetch, stripsFor, windowRows } from './strips.ts'

/**
 * The dispatch that computes `parts` partial sums and stores them one after the other in `partial`. Each is as long as
 * the filter gradient.
 */
export interface StripSums {
  readonly parts: number
  sums(partial: Operand): Dispatch
}

/**
 * The fewest gradient positions per vector of channels that a workgroup sums. With 200, a batch of 8 at 5x5 becomes a
 * single part, and there is no second dispatch.
 */
const fewestPlaces = 200

/** Plans the sums; `label` names the dispatch. `formsStrips` must hold for the forward convolution. */
export function stripSums(key: DepthwiseKey, target: Target, label: string): StripSums {
  const { kernelHeight, kernelWidth } = key
  const strips = stripsFor(key, [key.outHeight, key.outWidth], target, fewestPlaces)
  const { lanes, rows, bands, images, channelVectors, tiles, tilesPerGroup, channelGroups, prefetches } = strips
  const { loaded, declare } = windowRows(strips, key.inputHeight, key.padTop, kernelHeight)
  const parts = (key.batch / images) * bands
  const taps = kernelHeight * kernelWidth
  const outs = range(rows)
  const columns = range(kernelWidth)
  const earlier = columns.slice(1)
  const eachTap = (line: (ky: number, kx: number) => string) =>
    lines(range(kernelHeight), (ky) => lines(columns, (kx) => line(ky, kx)))
  const products = (ky: number, kx: number) =>
    outs
      .filter((j) => loaded.includes(j + ky))
      .map((j) => ` + x_${j + ky} * dy_${j}_${kx}`)
      .join('')
  const own = (j: number, statement: string) => ownRow(strips, key.outHeight, j, statement)
  /** Before the first image column, `dy_j_kx` is column padLeft - kx of the gradient, if that exists. */
  const before = (j: number, kx: number) => {
    const outX = key.padLeft - kx
    const there = outX >= 0 && outX < key.outWidth
    return there ? own(j, `dy_${j}_${kx} = dy[outAt + ${j}u * u.outRow + ${outX}u * u.channelVectors];`) : ''
  }
  const names = range(taps).map((tap) => `sum_${Math.floor(tap / kernelWidth)}_${tap % kernelWidth}`)
  const total = longSum('vec4f', names, {
    terms: images * key.inputWidth * rows,
    termsPerIteration: rows,
    iterations: key.inputWidth,
  })
  return {
    parts,
    sums: (partial) =>
      dispatch({
        label,
        bindings: [reads('x', input(0), 'vec4f'), reads('dy', input(1), 'vec4f'), writes('partial', partial, 'vec4f')],
        uniforms: {
          inHeight: key.inputHeight,
          inWidth: key.inputWidth,
          outHeight: key.outHeight,
          outWidth: key.outWidth,
          inRow: key.inputWidth * channelVectors,
          outRow: key.outWidth * channelVectors,
          channelVectors,
          tiles,
          tilesPerGroup,
          channelGroups,
          bands,
          images,
          padTop: key.padTop,
          padLeft: key.padLeft,
          zero: 0,
        },
        workgroupSize: lanes,
        workgroups: parts * channelGroups,
        body: `
  if (group >= groups) {
    return;
  }
  let part = group / u.channelGroups;
  let firstTile = (group - part * u.channelGroups) * u.tilesPerGroup;
  let endTile = min(firstTile + u.tilesPerGroup, u.tiles);
  let bandOfImages = part / u.bands;
  let firstImage = bandOfImages * u.images;
  let firstRow = (part - bandOfImages * u.bands) * ${rows}u;
  // Rows before the image wrap around to huge numbers, so that one comparison finds both ends.
  let top = firstRow - u.padTop;
${prefetches ? prefetch(strips, ['x', 'dy'], kernelHeight) : '  let nothing = 0u;'}
  for (var tile = firstTile; tile < endTile; tile++) {
    let channel = tile * ${lanes}u + lane + nothing;
    if (channel < u.channelVectors) {
${total.declare}
      for (var iteration = 0u; iteration < u.images; iteration++) {
        let image = firstImage + iteration;
        var inAt = (image * u.inHeight + top) * u.inRow + channel;
        var outAt = (image * u.outHeight + firstRow) * u.outRow + channel;
        // The column of the gradient that meets this column of the image under column kx of the kernel.
${lines(outs, (j) => lines(earlier, (kx) => `        var dy_${j}_${kx} = vec4f(0.0);`))}
${lines(outs, (j) => lines(earlier, (kx) => `        ${before(j, kx)}`))}
        outAt += u.padLeft * u.channelVectors;
${total.loop(
  ['inX', '0u', 'u.inWidth'],
  `${lines(outs, (j) => `          var dy_${j}_0 = vec4f(0.0);`)}
          if (inX + u.padLeft < u.outWidth) {
${lines(outs, (j) => `            ${own(j, `dy_${j}_0 = dy[outAt + ${j}u * u.outRow];`)}`)}
          }
          outAt += u.channelVectors;
${lines(loaded, (r) => `          ${declare(r, `x[inAt + ${r}u * u.inRow]`)}`)}
          inAt += u.channelVectors;
${eachTap((ky, kx) => `          sum_${ky}_${kx} = sum_${ky}_${kx}${products(ky, kx)};`)}
${lines(earlier.toReversed(), (kx) => lines(outs, (j) => `          dy_${j}_${kx} = dy_${j}_${kx - 1};`))}`,
)}
      }
${total.finish}
      let to = part * ${taps}u * u.channelVectors + channel;
${eachTap((ky, kx) => `      partial[to + ${ky * kernelWidth + kx}u * u.channelVectors] = sum_${ky}_${kx};`)}
    }
  }`,
      }),
  }
}
