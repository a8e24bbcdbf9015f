/**
 * Bilinear resizing of images and its gradient. Pixel centres are at halves, as in TensorFlow's `resize` and PyTorch's
 * `align_corners=False`; beyond the outermost centres the edge repeats; shrinking reads two pixels per axis, without
 * smoothing. Positions are quotients of whole numbers, so the weights are the exact ones, rounded once.
 */

import { WeftgradError } from '../../errors.ts'
import { checkExtents } from '../extents.ts'
import {
  type Binding,
  dispatch,
  type Family,
  input,
  type KernelPlan,
  output,
  reads,
  type Target,
  writes,
} from '../kernel.ts'
import { planRowStride } from '../schedule/row-stride.ts'
import { longSum } from '../wgsl/long-sum.ts'

export interface ResizeKey {
  readonly batch: number
  readonly height: number
  readonly width: number
  readonly channels: number
  readonly outHeight: number
  readonly outWidth: number
}

/** Resizing. Input: x f32 [batch, height, width, channels]. Output: y f32 [batch, outHeight, outWidth, channels]. */
export const resize: Family<ResizeKey, 'plain'> = {
  name: 'resize',
  variants: [{ name: 'plain', supports: () => true, plan: planResize }],
  prefer: () => 'plain',
}

/**
 * The gradient of resizing. Input: dy f32 [batch, outHeight, outWidth, channels]. Output: dx f32 [batch, height, width,
 * channels].
 */
export const resizeGradient: Family<ResizeKey, 'plain'> = {
  name: 'resizeGradient',
  variants: [{ name: 'plain', supports: () => true, plan: planResizeGradient }],
  prefer: () => 'plain',
}

/** The WGSL that places a new pixel among `extent` old ones: between `low` and `high`, at `share` of the distance. */
const placeOf = `

struct Place {
  low: u32,
  high: u32,
  share: f32,
}

fn placeOf(position: u32, extent: u32, outExtent: u32) -> Place {
  let unit = 2u * outExtent;
  let numerator = max((2u * position + 1u) * extent, outExtent) - outExtent;
  let low = numerator / unit;
  return Place(low, min(low + 1u, extent - 1u), f32(numerator - low * unit) / f32(unit));
}`

function planResize(key: ResizeKey, target: Target): KernelPlan {
  const { height, width, channels, outHeight, outWidth } = checked('resize', key)
  return planned('resize', key, target, {
    rows: outHeight,
    columns: outWidth * channels,
    bindings: [reads('x', input(0)), writes('y', output(0))],
    uniforms: { height, width, channels, outHeight, outWidth },
    declarations: placeOf,
    setup: `
  let outX = column / u.channels;
  let across = placeOf(outX, u.width, u.outWidth);
  let left = across.low * u.channels + column - outX * u.channels;
  let right = across.high * u.channels + column - outX * u.channels;`,
    each: `
      let down = placeOf(imageRow, u.height, u.outHeight);
      let top = (image * u.height + down.low) * u.width * u.channels;
      let bottom = (image * u.height + down.high) * u.width * u.channels;
      let above = x[top + left] + (x[top + right] - x[top + left]) * across.share;
      let below = x[bottom + left] + (x[bottom + right] - x[bottom + left]) * across.share;
      y[row * u.columns + column] = above + (below - above) * down.share;`,
  })
}

/** The most new pixels that may read an old one along an axis, by `firstReader` and `endOfReaders`. */
function mostReaders(extent: number, outExtent: number): number {
  return Math.min(outExtent, Math.floor((2 * outExtent) / extent) + 2)
}

/**
 * Plans the gradient: an old pixel gathers from the new ones that read it, in order: those less than a pixel away, and
 * at the edge all beyond.
 */
function planResizeGradient(key: ResizeKey, target: Target): KernelPlan {
  const { height, width, channels, outHeight, outWidth } = checked('resizeGradient', key)
  const iterations = mostReaders(width, outWidth)
  const sum = longSum('f32', ['sum'], { terms: mostReaders(height, outHeight) * iterations, iterations })
  return planned('resizeGradient', key, target, {
    rows: height,
    columns: width * channels,
    bindings: [reads('dy', input(0)), writes('dx', output(0))],
    uniforms: { height, width, channels, outHeight, outWidth },
    declarations: `${placeOf}

fn firstReader(position: u32, extent: u32, outExtent: u32) -> u32 {
  return select((2u * max(position, 1u) - 1u) * outExtent / (2u * extent), 0u, position == 0u);
}

fn endOfReaders(position: u32, extent: u32, outExtent: u32) -> u32 {
  return select(min(outExtent, (2u * position + 3u) * outExtent / (2u * extent) + 1u), outExtent, position + 1u == extent);
}

fn weightIn(place: Place, position: u32) -> f32 {
  return select(0.0, 1.0 - place.share, place.low == position) + select(0.0, place.share, place.high == position);
}`,
    setup: `
  let inX = column / u.channels;
  let channel = column - inX * u.channels;
  let xBegin = firstReader(inX, u.width, u.outWidth);
  let xEnd = endOfReaders(inX, u.width, u.outWidth);`,
    each: `
      let yEnd = endOfReaders(imageRow, u.height, u.outHeight);
${sum.declare}
      for (var outY = firstReader(imageRow, u.height, u.outHeight); outY < yEnd; outY++) {
        let down = weightIn(placeOf(outY, u.height, u.outHeight), imageRow);
        let rowAt = (image * u.outHeight + outY) * u.outWidth;
${sum.loop(
  ['outX', 'xBegin', 'xEnd'],
  `          let across = weightIn(placeOf(outX, u.width, u.outWidth), inX);
          sum += dy[(rowAt + outX) * u.channels + channel] * (down * across);`,
)}
      }
${sum.finish}
      dx[row * u.columns + column] = sum;`,
  })
}

interface ResizeText {
  readonly rows: number
  readonly columns: number
  readonly bindings: readonly Binding[]
  readonly uniforms: Readonly<Record<string, number>>
  readonly declarations: string
  readonly setup: string
  readonly each: string
}

function planned(family: string, key: ResizeKey, target: Target, text: ResizeText): KernelPlan {
  const schedule = planRowStride({ images: key.batch, rows: text.rows, columns: text.columns }, target)
  return {
    variant: 'plain',
    dispatches: [
      dispatch({
        label: `${family}/plain`,
        bindings: text.bindings,
        uniforms: { ...schedule.uniforms, ...text.uniforms },
        workgroupSize: schedule.workgroupSize,
        workgroups: schedule.workgroups,
        declarations: text.declarations,
        body: schedule.body(text.setup, text.each),
      }),
    ],
    scratchBytes: [],
    flops: 0,
  }
}

/** Checks the key. Throws 'shape' or 'limit' if it is invalid. */
function checked(family: string, key: ResizeKey): ResizeKey {
  const { batch, height, width, channels, outHeight, outWidth } = key
  const elements = batch * channels * Math.max(height * width, outHeight * outWidth)
  checkExtents(family, key, elements)
  // Positions are counted in 1 / (2 outExtent) of a pixel, in 32 bits.
  const finest = 2 * Math.max((height + 2) * outHeight, (width + 2) * outWidth)
  if (finest >= 2 ** 32)
    throw new WeftgradError('limit', `${family} takes extents whose product is below 2^31.`, { ...key })
  return key
}
