/**
 * The filter gradient of a depthwise convolution: for every tap and channel, a sum over all positions of all images.
 * The positions are split into parts of whole rows, which lanes sum side by side; a second dispatch adds the parts in
 * order.
 */

import {
  type Dispatch,
  dispatch,
  type Family,
  input,
  type KernelPlan,
  type Operand,
  output,
  reads,
  scratch,
  type Target,
  writes,
} from '../kernel.ts'
import { depthwiseParts, plainWorkgroupSize, prefersLongRuns } from '../schedule/occupancy.ts'
import { sumPartials } from '../schedule/split-k.ts'
import { longSum } from '../wgsl/long-sum.ts'
import { lines, range } from '../wgsl/text.ts'
import {
  checked,
  type DepthwiseKey,
  depthwiseFlops,
  depthwiseSupports,
  forwardSlide,
  fourChannels,
  slides,
} from './key.ts'
import { fillsLanes, formsStrips } from './strips.ts'
import { stripSums } from './strips-gradient.ts'

const name = 'depthwiseFilterGradient'

const byTap = /* @__PURE__ */ depthwiseSupports({
  multiplier: true,
  strides: true,
  dilation: true,
  padTop: true,
  padLeft: true,
})

/** At most 16 taps per row: this many `vec4f` sums and pixels still fit the registers. */
const byChannels = /* @__PURE__ */ depthwiseSupports(
  { multiplier: false, strides: true, dilation: true, padTop: true, padLeft: true },
  (key) => fourChannels(key) && key.kernelWidth <= 16,
)

const byStrips = /* @__PURE__ */ depthwiseSupports(
  { multiplier: false, strides: false, dilation: false, padTop: true, padLeft: true },
  (key) => formsStrips(key, forwardSlide(key)),
)

/**
 * The filter gradient. Inputs: x f32 [batch, height, width, channels], dy f32 [batch, outHeight, outWidth, channels *
 * multiplier]. Output: dw f32 [kernelHeight, kernelWidth, channels, multiplier]. Throws 'shape' or 'limit' for
 * impossible keys.
 */
export const depthwiseFilterGradient: Family<DepthwiseKey, 'plain' | 'channels' | 'strips'> = {
  name,
  variants: [
    { name: 'plain', supports: byTap, plan: (key, target) => planByTap(checked(name, key), target) },
    { name: 'channels', supports: byChannels, plan: (key, target) => planByChannel(checked(name, key), target) },
    { name: 'strips', supports: byStrips, plan: (key, target) => planByStrips(checked(name, key), target) },
  ],
  prefer: (key, target) => {
    if (prefersLongRuns(target) && byStrips(key, target) && fillsLanes(key, target)) return 'strips'
    return byChannels(key, target) ? 'channels' : 'plain'
  },
}

function uniformsOf(key: DepthwiseKey): Record<string, number> {
  return {
    rows: key.batch * key.outHeight,
    inputHeight: key.inputHeight,
    inputWidth: key.inputWidth,
    outHeight: key.outHeight,
    outWidth: key.outWidth,
    padTop: key.padTop,
    padLeft: key.padLeft,
    strideY: key.strides[0],
    strideX: key.strides[1],
    dilationY: key.dilation[0],
    dilationX: key.dilation[1],
  }
}

/** Splits the rows of all outputs into parts, given the number of workgroups per part. */
function partsOf(key: DepthwiseKey, groupsPerPart: number, target: Target): { parts: number; rowsPerPart: number } {
  const rows = key.batch * key.outHeight
  const wanted = depthwiseParts(rows, groupsPerPart, target)
  const rowsPerPart = Math.ceil(rows / Math.max(1, Math.ceil(wanted)))
  return { parts: Math.ceil(rows / rowsPerPart), rowsPerPart }
}

/** Completes a plan: `sums` writes the parts one after the other, or straight into dw if there is only one. */
function finish(
  variant: string,
  key: DepthwiseKey,
  target: Target,
  parts: number,
  sums: (partial: Operand) => Dispatch,
): KernelPlan {
  const count = key.kernelHeight * key.kernelWidth * key.channels * key.multiplier
  const flops = depthwiseFlops(key) + (parts - 1) * count
  if (parts === 1) return { variant, dispatches: [sums(output(0))], scratchBytes: [], flops }
  return {
    variant,
    dispatches: [sums(scratch(0)), sumPartials({ label: name, count, splits: parts, activation: 'linear' }, target)],
    scratchBytes: [parts * count * 4],
    flops,
  }
}

function planByStrips(key: DepthwiseKey, target: Target): KernelPlan {
  const { parts, sums } = stripSums(key, target, `${name}/strips`)
  return finish('strips', key, target, parts, sums)
}

/** Plans one lane per element of dw and part. */
function planByTap(key: DepthwiseKey, target: Target): KernelPlan {
  const lanes = plainWorkgroupSize(target)
  const outChannels = key.channels * key.multiplier
  const elements = key.kernelHeight * key.kernelWidth * outChannels
  const tiles = Math.ceil(elements / lanes)
  const { parts, rowsPerPart } = partsOf(key, tiles, target)
  const total = longSum('f32', ['sum'], { terms: rowsPerPart * key.outWidth, iterations: key.outWidth })
  return finish('plain', key, target, parts, (partial) =>
    dispatch({
      label: `${name}/plain`,
      bindings: [reads('x', input(0)), reads('dy', input(1)), writes('partial', partial)],
      uniforms: {
        ...uniformsOf(key),
        channels: key.channels,
        multiplier: key.multiplier,
        outChannels,
        kernelWidth: key.kernelWidth,
        elements,
        tiles,
        rowsPerPart,
      },
      workgroupSize: lanes,
      workgroups: tiles * parts,
      body: `
  let part = group / u.tiles;
  let element = (group - part * u.tiles) * ${lanes}u + lane;
  if (group >= groups || element >= u.elements) {
    return;
  }
  let tap = element / u.outChannels;
  let outChannel = element - tap * u.outChannels;
  let channel = outChannel / u.multiplier;
  let ky = tap / u.kernelWidth;
  let kx = tap - ky * u.kernelWidth;
  // Rows and columns before the image wrap around to huge numbers, so that one comparison finds both ends.
  let up = ky * u.dilationY - u.padTop;
  let left = kx * u.dilationX - u.padLeft;
${total.declare}
  let end = min((part + 1u) * u.rowsPerPart, u.rows);
  for (var row = part * u.rowsPerPart; row < end; row++) {
    let image = row / u.outHeight;
    let inY = (row - image * u.outHeight) * u.strideY + up;
    if (inY < u.inputHeight) {
      let rowAt = (image * u.inputHeight + inY) * u.inputWidth;
${total.loop(
  ['outX', '0u', 'u.outWidth'],
  `        let inX = outX * u.strideX + left;
        let within = inX < u.inputWidth;
        let value = x[(rowAt + select(0u, inX, within)) * u.channels + channel];
        sum += select(0.0, value, within) * dy[(row * u.outWidth + outX) * u.outChannels + outChannel];`,
)}
    }
  }
${total.finish}
  partial[part * u.elements + element] = sum;`,
    }),
  )
}

/**
 * Plans a kernel in which a lane handles four channels. It takes the rows of the kernel one after the other and holds
 * the sums of a row's taps. With stride and dilation 1, the pixels under the taps shift along, and only one of them is
 * loaded per output. If there are fewer channels than lanes, neighbouring lanes take neighbouring parts. Sums and pixels
 * have names: in arrays, with loops over the columns, 3x3 at 38x38x128 took 1.1 to 1.4 times as long on lavapipe.
 */
function planByChannel(key: DepthwiseKey, target: Target): KernelPlan {
  const { kernelHeight, kernelWidth } = key
  const lanes = plainWorkgroupSize(target)
  const channelVectors = key.channels / 4
  const tiles = Math.ceil(channelVectors / lanes)
  const partsAtOnce = Math.max(1, Math.floor(lanes / channelVectors))
  const { parts, rowsPerPart } = partsOf(key, tiles / partsAtOnce, target)
  const shifting = slides(key)
  const last = kernelWidth - 1
  const columns = range(kernelWidth)
  const sums = columns.map((kx) => `sum_${kx}`)
  const total = longSum('vec4f', sums, {
    terms: rowsPerPart * key.outWidth,
    iterations: key.outWidth,
  })
  return finish('channels', key, target, parts, (partial) =>
    dispatch({
      label: `${name}/channels`,
      bindings: [reads('x', input(0), 'vec4f'), reads('dy', input(1), 'vec4f'), writes('partial', partial, 'vec4f')],
      uniforms: { ...uniformsOf(key), channelVectors, kernelHeight, tiles, parts, rowsPerPart },
      workgroupSize: lanes,
      workgroups: tiles * Math.ceil(parts / partsAtOnce),
      declarations: `
/** Columns before the image wrap around to huge numbers, so that one comparison finds both ends. */
fn pixel(rowAt: u32, inX: u32, channel: u32) -> vec4f {
  let within = inX < u.inputWidth;
  return select(vec4f(0.0), x[(rowAt + select(0u, inX, within)) * u.channelVectors + channel], within);
}`,
      body: `
  let slot = (group % u.tiles) * ${lanes}u + lane;
  let partSlot = ${partsAtOnce === 1 ? '0u' : 'slot / u.channelVectors'};
  let channel = slot - partSlot * u.channelVectors;
  let part = (group / u.tiles) * ${partsAtOnce}u + partSlot;
  if (group >= groups || partSlot >= ${partsAtOnce}u || channel >= u.channelVectors || part >= u.parts) {
    return;
  }
  let end = min((part + 1u) * u.rowsPerPart, u.rows);
  for (var ky = 0u; ky < u.kernelHeight; ky++) {
${total.declare}
    for (var row = part * u.rowsPerPart; row < end; row++) {
      let image = row / u.outHeight;
      let inY = (row - image * u.outHeight) * u.strideY + ky * u.dilationY - u.padTop;
      if (inY < u.inputHeight) {
        let rowAt = (image * u.inputHeight + inY) * u.inputWidth;
        var at = row * u.outWidth * u.channelVectors + channel;
${shifting ? lines(columns.slice(1), (kx) => `        var pixel_${kx} = pixel(rowAt, ${kx - 1}u - u.padLeft, channel);`) : ''}
${total.loop(
  ['outX', '0u', 'u.outWidth'],
  `          let gradient = dy[at];
          at += u.channelVectors;
${
  shifting
    ? `${lines(columns.slice(0, last), (kx) => `          let shifted_${kx} = pixel_${kx + 1};`)}
          let shifted_${last} = pixel(rowAt, outX + ${last}u - u.padLeft, channel);
${lines(columns.slice(1), (kx) => `          pixel_${kx} = shifted_${kx};`)}`
    : lines(columns, (kx) => {
        const inX = `outX * u.strideX + ${kx}u * u.dilationX - u.padLeft`
        return `          let shifted_${kx} = pixel(rowAt, ${inX}, channel);`
      })
}
${lines(columns, (kx) => `          sum_${kx} += gradient * shifted_${kx};`)}`,
)}
      }
    }
${total.finish}
    let to = (part * u.kernelHeight + ky) * ${kernelWidth}u * u.channelVectors + channel;
${lines(columns, (kx) => `    partial[to + ${kx}u * u.channelVectors] = sum_${kx};`)}
  }`,
    }),
  )
}
