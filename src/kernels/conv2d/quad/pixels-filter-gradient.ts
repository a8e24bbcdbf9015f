/**
 * The filter and bias gradients of the pooled convolution with quads along the lanes: see pixels.ts. A workgroup takes a
 * part of the quads for one *chunk*: a row of taps, a vector of channels and a vector of filters. Its lanes add up every
 * 64th quad, then a tree adds their sums in workgroup memory. On a CPU, where a barrier is slow, each lane leaves its
 * own sums instead.
 */

import type { KernelPlan, Target, Variant } from '../../kernel.ts'
import { dispatch, input, reads, scratch, writes } from '../../kernel.ts'
import { addsLanesByTree, pixelParts, plainWorkgroupSize } from '../../schedule/occupancy.ts'
import type { VectorWidth } from '../../schedule/subgroup-tile.ts'
import { vectorType, widestVector } from '../../schedule/subgroup-tile.ts'
import { widths } from '../../wgsl/functions.ts'
import { longSum } from '../../wgsl/long-sum.ts'
import { range, repeat } from '../../wgsl/text.ts'
import { sumWithBias } from './filter-gradient.ts'
import { patchOf, spreadGradient, suitsPixels } from './pixels.ts'
import type { Conv2dPoolKey } from './quad.ts'
import { deadCode, pooledExtents } from './quad.ts'

/** The most numbers that a lane adds up: those of 64 lanes fill the workgroup memory that every adapter has. */
const mostSums = 64

/** The most filters whose sums, for a row of `taps` taps and for the bias, a lane can hold. */
function filtersPerLane(filters: number, taps: number): VectorWidth {
  const widest = widestVector(filters)
  return ([4, 2] as const).find((n) => n <= widest && n * (taps + 1) <= mostSums) ?? 1
}

/** The filters, channels and row of taps of a chunk. */
const places = `  let vector = chunk % u.filterVectors;
  let c = chunk / u.filterVectors % u.channelVectors;
  let ky = chunk / (u.filterVectors * u.channelVectors);`

export const pixelsFilterGradient: Variant<Conv2dPoolKey, 'pixels'> = {
  name: 'pixels',
  supports: suitsPixels,
  plan(key: Conv2dPoolKey, target: Target): KernelPlan {
    const { pooledHeight, pooledWidth, quads, taps, flops } = pooledExtents(key)
    const lanes = plainWorkgroupSize(target)
    const patch = patchOf(key)
    const rowTaps = key.kernelWidth * patch.channelVector
    const filterVector = filtersPerLane(key.filters, rowTaps)
    const filterVectors = key.filters / filterVector
    const type = vectorType(filterVector)
    const codeType = widths[type].u
    const chunks = (taps / rowTaps) * filterVectors
    const steps = Math.ceil(quads / (lanes * pixelParts(Math.ceil(quads / lanes), chunks, target)))
    const parts = Math.ceil(quads / (lanes * steps))
    const byTree = addsLanesByTree(target)
    const splits = byTree ? parts : parts * lanes
    // The sums of the row's taps, and last that of the gradient itself.
    const names = range(rowTaps + 1).map((n) => `sum${n}`)
    const total = longSum(type, names, { terms: 4 * steps, termsPerIteration: 4 })
    const products = range(rowTaps).map((n) => {
      const [x, k] = [Math.floor(n / patch.channelVector), n % patch.channelVector]
      const pixel = (p: number): string => patch.number(p & 2 ? 'bottom' : 'top', x + (p & 1), k)
      return `    sum${n} += ${range(4)
        .map((p) => `${pixel(p)} * g${p}`)
        .join(' + ')};`
    })
    const label = `conv2dPool.filterGradient/pixels/split${splits}`
    const product = dispatch({
      label,
      bindings: [
        reads('image', input(0), patch.type),
        reads('gradient', input(1), type),
        reads('codes', input(2), codeType),
        writes('partial', scratch(0), type),
      ],
      uniforms: {
        ...{ quads, steps, chunks, rows: taps + 1, pooledHeight, pooledWidth, filterVectors },
        ...{ channels: key.channels, kernelWidth: key.kernelWidth, taps, rowTaps, halfLanes: lanes / 2 },
        // From a lane's quad to its next one.
        ...{ stepX: lanes % pooledWidth, stepY: Math.floor(lanes / pooledWidth) % pooledHeight },
        ...{ stepSamples: Math.floor(lanes / (pooledWidth * pooledHeight)) },
        ...patch.uniforms,
      },
      workgroupSize: lanes,
      workgroups: parts * chunks,
      declarations: `${byTree ? `var<workgroup> sums: array<${type}, ${names.length * lanes}>;` : ''}
fn store(split: u32, chunk: u32, n: u32, sum: ${type}) {
${places}
  let pixel = n / ${patch.channelVector}u;
  let tap = (ky * u.kernelWidth + pixel) * u.channels + c * ${patch.channelVector}u + n - pixel * ${patch.channelVector}u;
  let isTap = n < u.rowTaps;
  if (isTap || chunk < u.filterVectors) {
    partial[(split * u.rows + select(u.taps, tap, isTap)) * u.filterVectors + vector] = sum;
  }
}`,
      body: `
  if (group >= groups) { return; }
  let part = group / u.chunks;
  let chunk = group - part * u.chunks;
${places}
  var quad = part * u.steps * ${lanes}u + lane;
  let row = quad / u.pooledWidth;
  var x = quad - row * u.pooledWidth;
  var sample = row / u.pooledHeight;
  var y = row - sample * u.pooledHeight;
${total.declare}
${total.loop(
  ['step', '0u', 'u.steps'],
  `    let inside = quad < u.quads;
    let place = select(0u, quad * u.filterVectors + vector, inside);
    let address = select(0u, (sample * u.inputHeight + y * 2u + ky) * u.rowVectors + x * u.quadVectors + c, inside);
    let g = gradient[place];
    let code = select(${codeType}(${deadCode}), codes[place], inside);
${spreadGradient(type)}
${patch.load('let', 'top', 'address')}
${patch.load('let', 'bottom', 'address + u.rowVectors')}
${products.join('\n')}
    sum${rowTaps} += g0 + g1 + g2 + g3;
    quad += ${lanes}u;
    x += u.stepX;
    let nextRow = x >= u.pooledWidth;
    x -= select(0u, u.pooledWidth, nextRow);
    y += u.stepY + select(0u, 1u, nextRow);
    let nextSample = y >= u.pooledHeight;
    y -= select(0u, u.pooledHeight, nextSample);
    sample += u.stepSamples + select(0u, 1u, nextSample);`,
)}
${total.finish}
${
  byTree
    ? `${repeat(names.length, (n) => `  sums[${n * lanes}u + lane] = sum${n};`)}
  // All lanes add: item i of a level is lane i % half of sum i / half.
  for (var half = u.halfLanes; half > 0u; half /= 2u) {
    workgroupBarrier();
    for (var i = lane; i < (u.rowTaps + 1u) * half; i += ${lanes}u) {
      let at = i / half * ${lanes}u + i % half;
      sums[at] += sums[at + half];
    }
  }
  workgroupBarrier();
  for (var n = lane; n <= u.rowTaps; n += ${lanes}u) { store(part, chunk, n, sums[n * ${lanes}u]); }`
    : repeat(names.length, (n) => `  store(part * ${lanes}u + lane, chunk, ${n}u, sum${n});`)
}`,
    })
    return {
      variant: 'pixels',
      scratchBytes: [splits * (taps + 1) * key.filters * 4],
      flops,
      dispatches: [product, sumWithBias(label, { splits, taps, filters: key.filters }, target)],
    }
  },
}
