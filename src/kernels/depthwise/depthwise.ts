/**
 * Depthwise convolution: every channel is convolved with its own kernels. Forward and input gradient; the filter
 * gradient is in filter-gradient.ts. Padding counts as zeros. Sums run over the taps of the kernel row by row.
 *
 * Loads dominate: there is little arithmetic per element. Lanes run along channels. `sliding` keeps the kernel in
 * registers and walks down the image, so a row of the input is loaded once for all rows of the kernel; `strips`, in
 * strips.ts, walks along several rows at once.
 */

import { dispatch, type Family, input, type KernelPlan, output, reads, type Target, writes } from '../kernel.ts'
import { depthwiseWorkgroups, fillsTapsInLoop, plainWorkgroupSize, prefersLongRuns } from '../schedule/occupancy.ts'
import { planRowStride } from '../schedule/row-stride.ts'
import { longSum } from '../wgsl/long-sum.ts'
import { allOf, lines, range } from '../wgsl/text.ts'
import {
  checked,
  type DepthwiseKey,
  depthwiseFlops,
  depthwiseSupports,
  forwardSlide,
  fourChannels,
  gradientSlide,
  type Slide,
} from './key.ts'
import { fillsLanes, formsStrips, planStrips } from './strips.ts'

export { depthwiseFilterGradient } from './filter-gradient.ts'
export type { DepthwiseKey } from './key.ts'

/**
 * Depthwise convolution. Inputs: x f32 [batch, height, width, channels], w f32 [kernelHeight, kernelWidth, channels,
 * multiplier]. Output: y f32 [batch, outHeight, outWidth, channels * multiplier]. Throws 'shape' or 'limit' for
 * impossible keys.
 */
export const depthwise: DepthwiseFamily = depthwiseFamily('depthwise', planForward, forwardSlide)

/**
 * The input gradient. Inputs: dy f32 [batch, outHeight, outWidth, channels * multiplier], w. Output: dx f32 [batch,
 * height, width, channels].
 */
export const depthwiseInputGradient: DepthwiseFamily = depthwiseFamily(
  'depthwiseInputGradient',
  planInputGradient,
  gradientSlide,
)

type Width = 1 | 4
type DepthwiseFamily = Family<DepthwiseKey, 'plain' | 'vec4' | 'sliding' | 'strips'>

function depthwiseFamily(
  name: string,
  direct: (key: DepthwiseKey, target: Target, width: Width, label: string) => KernelPlan,
  slide: (key: DepthwiseKey) => Slide,
): DepthwiseFamily {
  // At most 25 taps: a 5x5 kernel compiles in half a second; larger ones would not stay in registers anyway.
  const sliding = depthwiseSupports(
    { multiplier: false, strides: false, dilation: false, padTop: true, padLeft: true },
    (key) => fourChannels(key) && key.kernelHeight * key.kernelWidth <= 25,
  )
  const strips = depthwiseSupports(
    { multiplier: false, strides: false, dilation: false, padTop: true, padLeft: true },
    (key) => formsStrips(key, slide(key)),
  )
  const vectors = depthwiseSupports(
    { multiplier: false, strides: true, dilation: true, padTop: true, padLeft: true },
    fourChannels,
  )
  return {
    name,
    variants: [
      {
        name: 'plain',
        supports: depthwiseSupports({ multiplier: true, strides: true, dilation: true, padTop: true, padLeft: true }),
        plan: (key, target) => direct(checked(name, key), target, 1, `${name}/plain`),
      },
      {
        name: 'vec4',
        supports: vectors,
        plan: (key, target) => direct(checked(name, key), target, 4, `${name}/vec4`),
      },
      {
        name: 'sliding',
        supports: sliding,
        plan: (key, target) => planSliding(checked(name, key), target, slide(key), `${name}/sliding`),
      },
      {
        name: 'strips',
        supports: strips,
        plan: (key, target) => planStrips(checked(name, key), target, slide(key), `${name}/strips`),
      },
    ],
    prefer: (key, target) => {
      if (prefersLongRuns(target) && strips(key, target) && fillsLanes(key, target)) return 'strips'
      return sliding(key, target) ? 'sliding' : vectors(key, target) ? 'vec4' : 'plain'
    },
  }
}

function planForward(key: DepthwiseKey, target: Target, width: Width, label: string): KernelPlan {
  const outVectors = (key.channels * key.multiplier) / width
  const schedule = planRowStride({ images: key.batch, rows: key.outHeight, columns: key.outWidth * outVectors }, target)
  const element = width === 4 ? 'vec4f' : 'f32'
  const total = longSum(element, ['sum'], {
    terms: key.kernelHeight * key.kernelWidth,
    iterations: key.kernelWidth,
  })
  return {
    variant: width === 4 ? 'vec4' : 'plain',
    dispatches: [
      dispatch({
        label,
        bindings: [reads('x', input(0), element), reads('w', input(1), element), writes('y', output(0), element)],
        uniforms: {
          ...schedule.uniforms,
          inputHeight: key.inputHeight,
          inputWidth: key.inputWidth,
          channelVectors: key.channels / width,
          outVectors,
          multiplier: key.multiplier,
          kernelHeight: key.kernelHeight,
          kernelWidth: key.kernelWidth,
          strideY: key.strides[0],
          strideX: key.strides[1],
          dilationY: key.dilation[0],
          dilationX: key.dilation[1],
          padTop: key.padTop,
          padLeft: key.padLeft,
        },
        workgroupSize: schedule.workgroupSize,
        workgroups: schedule.workgroups,
        body: schedule.body(
          `
  let outX = column / u.outVectors;
  let outChannel = column - outX * u.outVectors;
  let channel = outChannel / u.multiplier;
  let left = outX * u.strideX - u.padLeft;`,
          `
      let top = imageRow * u.strideY - u.padTop;
${total.declare}
      for (var ky = 0u; ky < u.kernelHeight; ky++) {
        // Rows and columns before the image wrap around to huge numbers, so that one comparison finds both ends.
        let inY = top + ky * u.dilationY;
        if (inY < u.inputHeight) {
          let rowAt = (image * u.inputHeight + inY) * u.inputWidth;
${total.loop(
  ['kx', '0u', 'u.kernelWidth'],
  `            let inX = left + kx * u.dilationX;
            let within = inX < u.inputWidth;
            let value = x[(rowAt + select(0u, inX, within)) * u.channelVectors + channel];
            sum += select(${element}(0.0), value, within) * w[(ky * u.kernelWidth + kx) * u.outVectors + outChannel];`,
)}
        }
      }
${total.finish}
      y[row * u.columns + column] = sum;`,
        ),
      }),
    ],
    scratchBytes: [],
    flops: depthwiseFlops(key),
  }
}

function planInputGradient(key: DepthwiseKey, target: Target, width: Width, label: string): KernelPlan {
  const channelVectors = key.channels / width
  const schedule = planRowStride(
    { images: key.batch, rows: key.inputHeight, columns: key.inputWidth * channelVectors },
    target,
  )
  const element = width === 4 ? 'vec4f' : 'f32'
  const total = longSum(element, ['sum'], {
    terms: key.kernelHeight * key.kernelWidth * key.multiplier,
    iterations: key.multiplier,
  })
  return {
    variant: width === 4 ? 'vec4' : 'plain',
    dispatches: [
      dispatch({
        label,
        bindings: [reads('dy', input(0), element), reads('w', input(1), element), writes('dx', output(0), element)],
        uniforms: {
          ...schedule.uniforms,
          outHeight: key.outHeight,
          outWidth: key.outWidth,
          channelVectors,
          multiplier: key.multiplier,
          kernelHeight: key.kernelHeight,
          kernelWidth: key.kernelWidth,
          dilationY: key.dilation[0],
          dilationX: key.dilation[1],
          padTop: key.padTop,
          padLeft: key.padLeft,
        },
        workgroupSize: schedule.workgroupSize,
        workgroups: schedule.workgroups,
        // Strides are constants because they divide.
        declarations: `
const strideY = ${key.strides[0]}u;
const strideX = ${key.strides[1]}u;`,
        body: schedule.body(
          `
  let inX = column / u.channelVectors;
  let channel = column - inX * u.channelVectors;
  let outVectors = u.channelVectors * u.multiplier;
  let paddedX = inX + u.padLeft;`,
          `
      let paddedY = imageRow + u.padTop;
${total.declare}
      for (var ky = 0u; ky < u.kernelHeight; ky++) {
        // The output row that reached this one through row ky of the kernel, if there is one; wraps where it lies
        // before.
        let down = paddedY - ky * u.dilationY;
        let outY = down / strideY;
        if (down <= paddedY && outY * strideY == down && outY < u.outHeight) {
          let rowAt = (image * u.outHeight + outY) * u.outWidth;
          for (var kx = 0u; kx < u.kernelWidth; kx++) {
            let along = paddedX - kx * u.dilationX;
            let outX = along / strideX;
            let reached = along <= paddedX && outX * strideX == along && outX < u.outWidth;
            let start = (rowAt + select(0u, outX, reached)) * outVectors + channel * u.multiplier;
            let tap = (ky * u.kernelWidth + kx) * outVectors + channel * u.multiplier;
${total.loop(
  ['m', '0u', 'u.multiplier'],
  `              sum += select(${element}(0.0), dy[start + m] * w[tap + m], reached);`,
)}
          }
        }
      }
${total.finish}
      dx[row * u.columns + column] = sum;`,
        ),
      }),
    ],
    scratchBytes: [],
    flops: depthwiseFlops(key),
  }
}

/**
 * Output columns that a lane computes side by side. 2: at batch 8 on a CPU, 33x33x128 takes 1.7 ms, against 1.9 with 1
 * and 2.5 with 4; a 5x5 kernel at 28x28x32 takes 0.4 ms, against 0.6 and 0.7.
 */
const slideColumns = 2

/**
 * Plans a kernel in which a lane handles four channels of a few neighbouring columns and walks down the rows of a band.
 * After row t of the input, counted from the start of the band, `sum_j` holds what the rows up to t contribute to
 * output row t - j.
 */
function planSliding(key: DepthwiseKey, target: Target, slide: Slide, label: string): KernelPlan {
  const { kernelHeight, kernelWidth } = key
  const channelVectors = key.channels / 4
  const lanes = plainWorkgroupSize(target)
  const lanesPerRow = Math.ceil(slide.outWidth / slideColumns) * channelVectors
  const tiles = Math.ceil(lanesPerRow / lanes)
  // Bands of 32 rows waste little on the rows above them; they are shorter only if there would be too few workgroups.
  const wanted = depthwiseWorkgroups(target)
  const bandRows = Math.min(
    32,
    slide.outHeight,
    Math.max(4, Math.floor((slide.outHeight * tiles * key.batch) / wanted)),
  )
  const bands = Math.ceil(slide.outHeight / bandRows)
  const taps = range(kernelHeight * kernelWidth)
  const spans = range(slideColumns + kernelWidth - 1)
  const columns = range(slideColumns)
  const sums = range(kernelHeight)
  const tap = (n: string) => (slide.flipped ? `(${taps.length - 1}u - ${n})` : n)
  const loadTaps = fillsTapsInLoop(target)
    ? `
  for (var n = 0u; n < u.taps; n++) {
    taps[n] = w[${tap('n')} * u.channelVectors + channel];
  }`
    : lines(taps, (n) => `  taps[${n}] = w[${tap(`${n}u`)} * u.channelVectors + channel];`)
  return {
    variant: 'sliding',
    dispatches: [
      dispatch({
        label,
        bindings: [reads('x', input(0), 'vec4f'), reads('w', input(1), 'vec4f'), writes('y', output(0), 'vec4f')],
        uniforms: {
          inHeight: slide.inHeight,
          inWidth: slide.inWidth,
          outHeight: slide.outHeight,
          outWidth: slide.outWidth,
          channelVectors,
          lanesPerRow,
          tiles,
          bands,
          bandRows,
          padTop: { i32: slide.padTop },
          padLeft: { i32: slide.padLeft },
          kernelHeight,
          taps: taps.length,
        },
        workgroupSize: lanes,
        workgroups: key.batch * bands * tiles,
        body: `
  let tile = group % u.tiles;
  let band = (group / u.tiles) % u.bands;
  let image = group / (u.tiles * u.bands);
  let laneInRow = tile * ${lanes}u + lane;
  if (group >= groups || laneInRow >= u.lanesPerRow) {
    return;
  }
  let place = laneInRow / u.channelVectors;
  let channel = laneInRow - place * u.channelVectors;
  let outX = place * ${slideColumns}u;
  let left = i32(outX) - u.padLeft;
  var taps: array<vec4f, ${taps.length}>;
${loadTaps}
${lines(spans, (n) => `  let within_${n} = ${allOf(`left + ${n} >= 0`, `left + ${n} < i32(u.inWidth)`)};`)}
${lines(spans, (n) => `  let at_${n} = select(0u, u32(left + ${n}), within_${n}) * u.channelVectors + channel;`)}
${lines(sums, (j) => lines(columns, (c) => `  var sum_${j}_${c} = vec4f(0.0);`))}
  let firstRow = band * u.bandRows;
  let rows = min(u.bandRows, u.outHeight - firstRow);
  for (var t = 0u; t < rows + u.kernelHeight - 1u; t++) {
    let inY = i32(firstRow + t) - u.padTop;
    if (inY >= 0 && inY < i32(u.inHeight)) {
      let rowAt = (image * u.inHeight + u32(inY)) * u.inWidth * u.channelVectors;
${lines(spans, (n) => `      let x_${n} = select(vec4f(0.0), x[rowAt + at_${n}], within_${n});`)}
${lines(sums, (j) => lines(columns, (c) => lines(range(kernelWidth), (kx) => `      sum_${j}_${c} += x_${c + kx} * taps[${j * kernelWidth + kx}];`)))}
    }
    if (t + 1u >= u.kernelHeight) {
      let outY = firstRow + t + 1u - u.kernelHeight;
      let outAt = ((image * u.outHeight + outY) * u.outWidth + outX) * u.channelVectors + channel;
${lines(columns, (c) => `      if (outX + ${c}u < u.outWidth) { y[outAt + ${c}u * u.channelVectors] = sum_${kernelHeight - 1}_${c}; }`)}
    }
${lines(sums.toReversed(), (j) => lines(columns, (c) => `    sum_${j}_${c} = ${j === 0 ? 'vec4f(0.0)' : `sum_${j - 1}_${c}`};`))}
  }`,
      }),
    ],
    scratchBytes: [],
    flops: depthwiseFlops(key),
  }
}
