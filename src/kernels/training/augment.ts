/**
 * Random changes of a batch of images, in three kernels: one draws the numbers of each row, once; one samples the images
 * by the affine maps among them; one does the rest: contrast, brightness, erased squares, mixing.
 */

import { checkValue, positive } from '../../options.ts'
import { checkExtents, checkShape } from '../extents.ts'
import { dispatch, type Family, input, type KernelPlan, output, reads, type Target, writes } from '../kernel.ts'
import { plainWorkgroupSize } from '../schedule/occupancy.ts'
import { planRowStride } from '../schedule/row-stride.ts'
import { clipped as clippedFunction, declareFunctions, naturalLog, scalar } from '../wgsl/functions.ts'
import { randomKeyFunction, randomKeyUniforms, threefryFunction } from '../wgsl/random.ts'

/** The random stream of these changes; gathering images has 2^31, dropout those below. */
const augmentStream = 2 ** 31 + 1

/** The columns of a row's draws. The first six are its affine map, as {@link affineTransform} takes it. */
export const drawColumns = {
  transform: 0,
  contrast: 6,
  brightness: 7,
  cutoutTop: 8,
  cutoutLeft: 9,
  /** The share of the row's own image in a mixture. */
  mixShare: 10,
  /** The row that it is mixed with. */
  mixRow: 11,
} as const
export const drawCount = 12

/** What a lane does once for all its rows: divisions are slow on a CPU. */
const pixelSetup = `
  let outX = column / u.channels;
  let channel = column - outX * u.channels;`

/** What {@link augmentDraws} draws. Extents are in pixels; 0 for what is not wanted. */
export interface AugmentDrawsKey {
  readonly batch: number
  /** The results of {@link affineTransform}. */
  readonly outHeight: number
  readonly outWidth: number
  /** By how much its inputs are larger: a window of the output's size lies anywhere in them. */
  readonly spareHeight: number
  readonly spareWidth: number
  /** Probabilities of mirroring left to right, and top to bottom, in [0, 1]. */
  readonly flipHorizontal: number
  readonly flipVertical: number
  /** Whole pixels, in both directions. */
  readonly shift: number
  /** The largest angle, in degrees. */
  readonly rotation: number
  /** The largest share by which extents change. */
  readonly zoom: number
  readonly contrast: number
  readonly brightness: number
  /** Side of the erased square. */
  readonly cutout: number
  /** Parameter of the symmetric beta distribution of shares, in (0, 1]; 0 for shares of 1. */
  readonly mixup: number
  /** Random seed; see `randomKeyUniforms`. */
  readonly seed: number
}

/**
 * The random numbers of each row of a batch. Input: counter u32 (element 0 is the step). Output: f32 [batch, 12], see
 * {@link drawColumns}. A row's numbers depend on seed, step and row alone; each option has words of its own, so that
 * another option does not change them. Throws 'argument' for a seed that is none, 'shape' for extents that are none.
 */
export const augmentDraws: Family<AugmentDrawsKey, 'plain'> = {
  name: 'augmentDraws',
  variants: [{ name: 'plain', supports: () => true, plan: planDraws }],
  prefer: () => 'plain',
}

/** Blocks of words before those of the tries of the beta distribution. */
const blocksBeforeTries = 4
/** Pairs of uniform numbers. At alpha = 1 every second pair is refused, so all are with a probability of 2^-32. */
const betaTries = 32

const drawFunctions = `
// In (0, 1).
fn share(word: u32) -> f32 {
  return (f32(word >> 9u) + 0.5) / 8388608.0;
}

// In (-1, 1).
fn centred(word: u32) -> f32 {
  return 2.0 * share(word) - 1.0;
}

// A whole number below count, which is at most 2^16. Probabilities differ by at most 2^-16.
fn below(word: u32, count: u32) -> u32 {
  return ((word >> 16u) * count) >> 16u;
}

// M. D. Jöhnk: Erzeugung von betaverteilten und gammaverteilten Zufallszahlen. Metrika 8, 1964. In logarithms, because
// powers of 1 / alpha underflow.
fn betaShare(row: u32, step: u32) -> f32 {
  var ratio = 0.0;
  for (var tries = 0u; tries < ${betaTries / 2}u; tries++) {
    let words = threefry4x32(vec4u(row, step, ${blocksBeforeTries}u + tries, 0u), randomKey());
    for (var pair = 0u; pair < 2u; pair++) {
      let two = select(words.xy, words.zw, pair == 1u);
      let first = naturalLog(share(two.x)) / u.mixup;
      let second = naturalLog(share(two.y)) / u.mixup;
      ratio = 1.0 / (1.0 + exp(clamp(second - first, -80.0, 80.0)));
      if (exp(first) + exp(second) <= 1.0) {
        return ratio;
      }
    }
  }
  return ratio;
}`

function planDraws(key: AugmentDrawsKey, target: Target): KernelPlan {
  const { batch, outHeight, outWidth, spareHeight, spareWidth, shift, cutout, seed, ...floats } = key
  checkShape('augmentDraws', [batch, outHeight, outWidth])
  const workgroupSize = plainWorkgroupSize(target)
  return {
    variant: 'plain',
    dispatches: [
      dispatch({
        label: 'augmentDraws/plain',
        bindings: [reads('counter', input(0), 'u32'), writes('draws', output(0), 'vec4f')],
        uniforms: {
          ...{ batch, outHeight, outWidth, spareHeight, spareWidth, shift, cutout },
          ...Object.fromEntries(Object.entries(floats).map(([name, value]) => [name, { f32: value }])),
          ...randomKeyUniforms(seed, augmentStream),
        },
        workgroupSize,
        workgroups: Math.ceil(batch / workgroupSize),
        declarations: `${declareFunctions([naturalLog], scalar)}\n${threefryFunction}\n${randomKeyFunction}\n${drawFunctions}`,
        body: `
  if (group >= groups || index >= u.batch) {
    return;
  }
  let step = counter[0];
  let first = threefry4x32(vec4u(index, step, 0u, 0u), randomKey());
  let second = threefry4x32(vec4u(index, step, 1u, 0u), randomKey());
  let third = threefry4x32(vec4u(index, step, 2u, 0u), randomKey());
  let size = vec2f(vec2u(u.outWidth, u.outHeight));

  // From a place in the result, counted from its centre, to one in the image: x, then y.
  let mirrors = select(vec2f(1.0), vec2f(-1.0), vec2f(share(first.x), share(first.y)) < vec2f(u.flipHorizontal, u.flipVertical));
  var turn = vec2f(1.0, 0.0);
  if (u.rotation > 0.0) {
    let angle = radians(u.rotation * centred(second.x));
    turn = vec2f(cos(angle), sin(angle));
  }
  let zoom = 1.0 + u.zoom * centred(second.y);
  let across = mirrors.x * zoom * vec2f(turn.x, -turn.y);
  let down = mirrors.y * zoom * vec2f(turn.y, turn.x);

  let moved = vec2i(vec2u(below(first.z, 2u * u.shift + 1u), below(first.w, 2u * u.shift + 1u))) - vec2i(i32(u.shift));
  let window = vec2i(vec2u(below(third.x, u.spareWidth + 1u), below(third.y, u.spareHeight + 1u)));
  let centre = 0.5 * (size - 1.0);
  let origin = centre + vec2f(window - moved) - vec2f(dot(across, centre), dot(down, centre));

  let erased = vec2i(vec2u(below(third.z, u.outWidth), below(third.w, u.outHeight))) - vec2i(i32(u.cutout / 2u));
  var mixShare = 1.0;
  var mixRow = index;
  if (u.mixup > 0.0) {
    mixShare = betaShare(index, step);
    // One distance for the whole batch, so that every image is mixed in once.
    let words = threefry4x32(vec4u(0u, step, ${blocksBeforeTries - 1}u, 0u), randomKey());
    mixRow = (index + 1u + below(words.x, max(u.batch, 2u) - 1u)) % u.batch;
  }
  draws[index * 3u] = vec4f(across, origin.x, down.x);
  draws[index * 3u + 1u] = vec4f(down.y, origin.y, 1.0 + u.contrast * centred(second.z), u.brightness * centred(second.w));
  draws[index * 3u + 2u] = vec4f(vec2f(erased.yx), mixShare, f32(mixRow));`,
      }),
    ],
    scratchBytes: [],
    flops: 0,
  }
}

export interface AffineTransformKey {
  readonly batch: number
  readonly height: number
  readonly width: number
  readonly channels: number
  readonly outHeight: number
  readonly outWidth: number
  /** Numbers from one image's map to the next one's: at least 6. */
  readonly transformStride: number
  /** The value of pixels outside. */
  readonly fillValue: number
}

/**
 * Affine maps with bilinear sampling. Inputs: x f32 [batch, height, width, channels], and for each image numbers a0 to
 * a5, f32 [batch, transformStride]. Output: f32 [batch, outHeight, outWidth, channels], whose pixel in column c and row r
 * is x at column a0 c + a1 r + a2 and row a3 c + a4 r + a5. Pixel centres are whole numbers, and each of the four
 * neighbours that lies outside counts as `fillValue`, as in Keras' `ops.image.affine_transform` with
 * `fill_mode='constant'`. At a pixel's centre the value is that pixel's, exactly. Throws 'shape' or 'limit' for extents.
 */
export const affineTransform: Family<AffineTransformKey, 'plain'> = {
  name: 'affineTransform',
  variants: [{ name: 'plain', supports: () => true, plan: planTransform }],
  prefer: () => 'plain',
}

function planTransform(key: AffineTransformKey, target: Target): KernelPlan {
  const { batch, height, width, channels, outHeight, outWidth, transformStride, fillValue } = key
  const elements = batch * channels * Math.max(height * width, outHeight * outWidth)
  checkExtents('affineTransform', { batch, height, width, channels, outHeight, outWidth }, elements)
  checkValue('affineTransform: transformStride', transformStride - 5, positive)
  const schedule = planRowStride({ images: batch, rows: outHeight, columns: outWidth * channels }, target)
  return {
    variant: 'plain',
    dispatches: [
      dispatch({
        label: 'affineTransform/plain',
        bindings: [reads('x', input(0)), reads('transforms', input(1)), writes('y', output(0))],
        uniforms: { ...schedule.uniforms, height, width, channels, transformStride, fillValue: { f32: fillValue } },
        workgroupSize: schedule.workgroupSize,
        workgroups: schedule.workgroups,
        // Negative positions are large unsigned ones: outside as well. A map that is not finite reads somewhere inside.
        declarations: `
fn pixelAt(image: u32, at: vec2i, channel: u32) -> f32 {
  let inside = u32(at.x) < u.width && u32(at.y) < u.height;
  let pixel = (image * u.height + select(0u, u32(at.y), inside)) * u.width + select(0u, u32(at.x), inside);
  return select(u.fillValue, x[pixel * u.channels + channel], inside);
}`,
        body: schedule.body(
          pixelSetup,
          `
      let map = image * u.transformStride;
      let here = vec3f(f32(outX), f32(imageRow), 1.0);
      let place = vec2f(
        dot(vec3f(transforms[map], transforms[map + 1u], transforms[map + 2u]), here),
        dot(vec3f(transforms[map + 3u], transforms[map + 4u], transforms[map + 5u]), here),
      );
      let corner = floor(place);
      let part = place - corner;
      // Far outside, where whole numbers would wrap around, is outside, too.
      let at = vec2i(clamp(corner, vec2f(-2.0), vec2f(vec2u(u.width, u.height))));
      let topLeft = pixelAt(image, at, channel);
      let bottomLeft = pixelAt(image, at + vec2i(0, 1), channel);
      let above = topLeft + (pixelAt(image, at + vec2i(1, 0), channel) - topLeft) * part.x;
      let below = bottomLeft + (pixelAt(image, at + vec2i(1, 1), channel) - bottomLeft) * part.x;
      y[row * u.columns + column] = above + (below - above) * part.y;`,
        ),
      }),
    ],
    scratchBytes: [],
    flops: 0,
  }
}

export interface AugmentPixelsKey {
  readonly batch: number
  readonly height: number
  readonly width: number
  readonly channels: number
  /** Whether to change contrast, brightness, and the image by mixing. */
  readonly contrast: boolean
  readonly brightness: boolean
  readonly mixup: boolean
  /** Side of the erased square, in pixels; 0 for none. */
  readonly cutout: number
  /** The value of erased pixels. */
  readonly fillValue: number
}

/**
 * The changes that leave pixels in their places. Inputs: x f32 [batch, height, width, channels]; draws f32 [batch, 12],
 * see {@link drawColumns}; with contrast, the means of x over each image, f32 [batch, channels]. Output: f32, as x. Contrast
 * and brightness clip to [0, 1]; NaN stays NaN unless it is erased. Throws 'shape' or 'limit' for extents.
 */
export const augmentPixels: Family<AugmentPixelsKey, 'plain'> = {
  name: 'augmentPixels',
  variants: [{ name: 'plain', supports: () => true, plan: planPixels }],
  prefer: () => 'plain',
}

function planPixels(key: AugmentPixelsKey, target: Target): KernelPlan {
  const { batch, height, width, channels, contrast, brightness, mixup, cutout, fillValue } = key
  checkExtents('augmentPixels', { batch, height, width, channels }, batch * height * width * channels)
  const schedule = planRowStride({ images: batch, rows: height, columns: width * channels }, target)
  const drawn = (name: keyof typeof drawColumns): string => `draws[own + ${drawColumns[name]}u]`
  const clipped = (value: string): string => `
  value = clipped(${value}, 0.0, 1.0);`
  return {
    variant: 'plain',
    dispatches: [
      dispatch({
        label: 'augmentPixels/plain',
        bindings: [
          ...[reads('x', input(0)), reads('draws', input(1))],
          ...(contrast ? [reads('means', input(2))] : []),
          writes('y', output(0)),
        ],
        uniforms: { ...schedule.uniforms, batch, channels, cutout, fillValue: { f32: fillValue } },
        workgroupSize: schedule.workgroupSize,
        workgroups: schedule.workgroups,
        declarations: `${declareFunctions([clippedFunction], scalar)}
fn pixelOf(image: u32, row: u32, outX: u32, channel: u32) -> f32 {
  let own = image * ${drawCount}u;
  var value = x[(image * u.rows + row) * u.columns + outX * u.channels + channel];${
    contrast
      ? `
  let middle = means[image * u.channels + channel];${clipped(`(value - middle) * ${drawn('contrast')} + middle`)}`
      : ''
  }${brightness ? clipped(`value + ${drawn('brightness')}`) : ''}
  // Of whole numbers, differences below 0 are large unsigned ones.
  let place = vec2u(vec2i(vec2u(row, outX)) - vec2i(vec2f(${drawn('cutoutTop')}, ${drawn('cutoutLeft')})));
  return select(value, u.fillValue, all(place < vec2u(u.cutout)));
}`,
        body: schedule.body(
          pixelSetup,
          `
      var value = pixelOf(image, imageRow, outX, channel);${
        mixup
          ? `
      let own = image * ${drawCount}u;
      let share = ${drawn('mixShare')};
      let other = min(u32(${drawn('mixRow')}), u.batch - 1u);
      value = value * share + pixelOf(other, imageRow, outX, channel) * (1.0 - share);`
          : ''
      }
      y[row * u.columns + column] = value;`,
        ),
      }),
    ],
    scratchBytes: [],
    flops: 0,
  }
}
