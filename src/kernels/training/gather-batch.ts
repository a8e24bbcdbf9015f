/**
 * The input of training: a batch of images and labels, picked from a resident uint8 data set by a permutation that
 * lives on the GPU, normalised and padded on the way. An index out of range never reads a wrong image: it gives NaN and
 * the label 0xffffffff.
 */

import { WeftgradError } from '../../errors.ts'
import { checkValue, countFrom0, positive } from '../../options.ts'
import { checkExtents } from '../extents.ts'
import { dispatch, type Family, input, type KernelPlan, output, reads, type Target, writes } from '../kernel.ts'
import { gatheredRows, plainWorkgroupSize } from '../schedule/occupancy.ts'
import { randomKeyFunction, randomKeyUniforms, threefryFunction } from '../wgsl/random.ts'
import { globalStepWord } from './state.ts'

/**
 * Changes to the images of a batch, for augmentation in training (`random`) or for testing mirror images (`always`).
 */
export interface Augmentation {
  /** Mirrors images left to right: a random half of them, or all. */
  readonly flip?: 'random' | 'always'
  /**
   * Shifts each image by up to this many pixels in both directions, uniformly; pixels that leave the output are lost.
   */
  readonly shift?: number
  /**
   * Random seed of both, combined with the training state's global step and the row within the batch. See
   * `randomKeyUniforms`.
   */
  readonly seed: number
}

/** The random stream of the images; dropout uses those below 2^31. */
const augmentationStream = 2 ** 31
/** The largest shift: beyond any image, and small enough for the 16 random bits used. */
const largestShift = 1000

export interface GatherBatchKey {
  /** Number of images in the data set, each [height, width, channels] bytes. */
  readonly datasetCount: number
  readonly height: number
  readonly width: number
  readonly channels: number
  /** Number of images in a batch. */
  readonly batch: number
  /**
   * Rows of padding above the image and columns to its left; the rest of `outHeight` and `outWidth` is below and right.
   */
  readonly padTop: number
  readonly padLeft: number
  readonly outHeight: number
  readonly outWidth: number
  /**
   * A byte becomes `byte / divisor`, in float32. A division, not a multiplication by the reciprocal, so that 255
   * gives the same bits as NumPy's `image / np.float32(255)` (where the adapter divides exactly, as CPUs do).
   */
  readonly divisor: number
  /** Augmentation; none if absent. */
  readonly augmentation?: Augmentation
}

/**
 * A batch of images and their labels. Inputs: dataset u8 [datasetCount, height, width, channels] packed four to a u32,
 * permutation u32 [steps * batch], state u32 (word 0: step within the epoch; word 2, which only random augmentation
 * reads: global step), labels u32 [datasetCount]. Outputs: f32 [batch, outHeight, outWidth, channels] and u32 [batch]:
 * image i is the data set's image `permutation[state[0] * batch + i]`, `byte / divisor` inside and 0 in the padding. If
 * the permutation names no image: NaN and the label 0xffffffff. Throws 'shape' if the image does not fit the output.
 */
export const gatherBatch: Family<GatherBatchKey, 'plain' | 'words'> = {
  name: 'gatherBatch',
  variants: [
    { name: 'plain', supports: () => true, plan: planBatchByByte },
    { name: 'words', supports: wholeWords, plan: planBatchByWord },
  ],
  prefer: (key) => (wholeWords(key) ? 'words' : 'plain'),
}

/**
 * Whether rows of an image and of the output are whole words, so that no masks are needed and every store is a `vec4f`.
 * Augmented images may begin at any byte.
 */
function wholeWords({ width, outWidth, channels, augmentation }: GatherBatchKey): boolean {
  return augmentation === undefined && (width * channels) % 4 === 0 && (outWidth * channels) % 4 === 0
}

function planBatchByByte(key: GatherBatchKey, target: Target): KernelPlan {
  const augmented = key.augmentation === undefined ? undefined : augmentedText(key, key.augmentation)
  return planBatch(key, target, {
    variant: 'plain',
    width: 1,
    outputElement: 'f32',
    ...(augmented === undefined ? {} : { augmented }),
    lane:
      augmented?.lane ??
      `
  let inside = column - u.left < u.sourceColumns;`,
    row: `
        let byte = rowStart + select(0u, ${augmented?.sourceColumn ?? 'column - u.left'}, inside);
        let bits = (dataset[byte >> 2u] >> ((byte & 3u) * 8u)) & 255u;
        value = select(0.0, f32(bits) / u.divisor + poison, inside);`,
  })
}

function planBatchByWord(key: GatherBatchKey, target: Target): KernelPlan {
  // Output column c has four floats, from the bytes at 4c - left on. If left is not a multiple of 4, they span two
  // words.
  const shift = ((key.padLeft * key.channels) % 4) * 8
  const part = 'min(max(i32(column) - i32(u.left / 4u), 0), i32(u.sourceColumns / 4u) - 1)'
  return planBatch(key, target, {
    variant: 'words',
    width: 4,
    outputElement: 'vec4f',
    lane: `
  let inside = (vec4u(column * 4u) + vec4u(0u, 1u, 2u, 3u) - vec4u(u.left)) < vec4u(u.sourceColumns);
  let high = u32(${part});${
    shift === 0
      ? ''
      : `
  let low = u32(${part.replace('i32(column)', 'i32(column) - 1')});`
  }`,
    row: `
        let rowWord = rowStart >> 2u;
        let bits = ${
          shift === 0
            ? 'dataset[rowWord + high]'
            : `(dataset[rowWord + high] << ${shift}u) | (dataset[rowWord + low] >> ${32 - shift}u)`
        };
        let bytes = (vec4u(bits) >> vec4u(0u, 8u, 16u, 24u)) & vec4u(255u);
        value = select(vec4f(0.0), vec4f(bytes) / u.divisor + poison, inside);`,
  })
}

/**
 * Declares `shiftBy(word)`: a shift from -shift to shift, in two's complement. Probabilities differ by at most 2^-16.
 */
const shiftFunction = `
fn shiftBy(word: u32) -> u32 {
  return (((word >> 16u) * (2u * u.shift + 1u)) >> 16u) - u.shift;
}`

interface AugmentedText {
  readonly declarations: string
  readonly uniforms: Readonly<Record<string, number>>
  /** Statements about a lane's image and column: `inside`, `top` and what `sourceColumn` needs. */
  readonly lane: string
  /** The data set column that this lane's element comes from. */
  readonly sourceColumn: string
}

function augmentedText({ channels }: GatherBatchKey, { flip, shift = 0, seed }: Augmentation): AugmentedText {
  const isRandom = flip === 'random' || shift > 0
  const mirrored = 'u.sourceColumns - moved - u.channels + 2u * (moved % u.channels)'
  return {
    declarations: `${isRandom ? `${threefryFunction}\n${randomKeyFunction}` : ''}${shift > 0 ? shiftFunction : ''}`,
    uniforms: {
      channels,
      ...(isRandom ? randomKeyUniforms(seed, augmentationStream) : {}),
      ...(shift > 0 ? { shift } : {}),
    },
    // Unsigned arithmetic: positions before the image wrap around to beyond its end.
    lane: `${
      isRandom
        ? `
  let words = threefry4x32(vec4u(item, state[${globalStepWord}], 0u, 0u), randomKey());`
        : ''
    }
  let top = u.padTop${shift > 0 ? ' + shiftBy(words.y)' : ''};
  let moved = column - u.left${shift > 0 ? ' - shiftBy(words.z) * u.channels' : ''};
  let inside = moved < u.sourceColumns;
  let source = ${
    flip === undefined ? 'moved' : flip === 'always' ? mirrored : `select(moved, ${mirrored}, words.x >= 0x80000000u)`
  };`,
    sourceColumn: 'source',
  }
}

interface BatchText {
  readonly variant: string
  /** Output elements that a lane writes at once. */
  readonly width: 1 | 4
  readonly outputElement: string
  readonly augmented?: AugmentedText
  /** Statements about a lane's `column`, run once. */
  readonly lane: string
  /** Statements that set `value` from the image row that begins at byte `rowStart`. */
  readonly row: string
}

function planBatch(key: GatherBatchKey, target: Target, text: BatchText): KernelPlan {
  checkBatch(key)
  const lanes = plainWorkgroupSize(target)
  const columns = (key.outWidth * key.channels) / text.width
  const tiles = Math.ceil(columns / lanes)
  const rowsAtOnce = Math.max(1, Math.min(key.outHeight, Math.floor(lanes / columns)))
  const passes = Math.min(gatheredRows(target), Math.ceil(key.outHeight / rowsAtOnce))
  const bands = Math.ceil(key.outHeight / (rowsAtOnce * passes))
  const top = text.augmented === undefined ? 'u.padTop' : 'top'
  return {
    variant: text.variant,
    dispatches: [
      dispatch({
        label: `gatherBatch/${text.variant}`,
        bindings: [
          reads('dataset', input(0), 'u32'),
          reads('permutation', input(1), 'u32'),
          reads('state', input(2), 'u32'),
          reads('labels', input(3), 'u32'),
          writes('y', output(0), text.outputElement),
          writes('labelOf', output(1), 'u32'),
        ],
        uniforms: {
          datasetCount: key.datasetCount,
          height: key.height,
          sourceColumns: key.width * key.channels,
          batch: key.batch,
          padTop: key.padTop,
          left: key.padLeft * key.channels,
          outHeight: key.outHeight,
          columns,
          tiles,
          bands,
          passes,
          divisor: { f32: key.divisor },
          ...text.augmented?.uniforms,
        },
        ...(text.augmented === undefined ? {} : { declarations: text.augmented.declarations }),
        workgroupSize: lanes,
        workgroups: key.batch * bands * tiles,
        body: `
  let tile = group % u.tiles;
  let band = (group / u.tiles) % u.bands;
  let item = group / (u.tiles * u.bands);
  let slot = tile * ${lanes}u + lane;
  let rowSlot = ${rowsAtOnce === 1 ? '0u' : 'slot / u.columns'};
  let column = slot - rowSlot * u.columns;
  if (group >= groups || rowSlot >= ${rowsAtOnce}u || column >= u.columns) {
    return;
  }
  let named = permutation[state[0] * u.batch + item];
  let known = named < u.datasetCount;
  if (slot == 0u && band == 0u) {
    labelOf[item] = select(0xffffffffu, labels[select(0u, named, known)], known);
  }
  let firstRow = select(0u, named, known) * u.height;
  let poison = bitcast<f32>(select(0x7fc00000u, 0u, known));${text.lane}
  for (var iteration = 0u; iteration < u.passes; iteration++) {
    let outRow = (band * u.passes + iteration) * ${rowsAtOnce}u + rowSlot;
    if (outRow < u.outHeight) {
      var value = ${text.outputElement}(0.0);
      if (outRow - ${top} < u.height) {
        let rowStart = (firstRow + outRow - ${top}) * u.sourceColumns;${text.row}
      }
      y[(item * u.outHeight + outRow) * u.columns + column] = value;
    }
  }`,
      }),
    ],
    scratchBytes: [],
    flops: 0,
  }
}

function checkBatch(key: GatherBatchKey): void {
  const { datasetCount, height, width, channels, batch, padTop, padLeft, outHeight, outWidth, divisor } = key
  checkExtents(
    'gatherBatch',
    { datasetCount, height, width, channels, batch, outHeight, outWidth },
    batch * outHeight * outWidth * channels,
  )
  const inside = (pad: number, size: number, out: number) => Number.isInteger(pad) && pad >= 0 && pad + size <= out
  if (!inside(padTop, height, outHeight) || !inside(padLeft, width, outWidth)) {
    throw new WeftgradError(
      'shape',
      `gatherBatch: an image of ${height}x${width} at row ${padTop}, column ${padLeft} does not fit ${outHeight}x${outWidth}.`,
    )
  }
  checkValue('gatherBatch: divisor', Math.fround(divisor), positive)
  const { shift = 0 } = key.augmentation ?? {}
  checkValue('gatherBatch: shift', shift, [
    `a whole number of pixels from 0 to ${largestShift}`,
    (value) => countFrom0[1](value) && shift <= largestShift,
  ])
  if (datasetCount * height * width * channels >= 2 ** 32) {
    throw new WeftgradError('limit', 'gatherBatch takes data sets below 2^32 bytes.')
  }
}
