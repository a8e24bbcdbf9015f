/**
 * Data sets whose examples are made while training: more than the device's memory holds, or different in every epoch. The
 * device holds the batches of a few steps, in a ring: step s is in slot s mod `stepsAtOnce`.
 */

import { WeftgradError } from '../errors.ts'
import { currentDevice } from '../gpu/current-device.ts'
import type { Device } from '../gpu/device.ts'
import { type Shape, sameShape, shapeText } from '../graph/node.ts'
import { elementCount } from '../kernels/kernel.ts'
import { reshape, slice } from '../operators/index.ts'
import type { Tensor } from '../operators/tensor.ts'
import {
  aFunction,
  aList,
  anArray,
  anything,
  checkOptions,
  checkValue,
  countFrom1,
  isRecord,
  required,
} from '../options.ts'
import { aDevice, aShape, floats } from './arrays.ts'
import { type RowNumbers, Rows } from './blocks.ts'
import type { Augmentation, Batch, BatchRows, Dataset, ExampleSource } from './contract.ts'
import { checkNames, classNumbers, everyIndex } from './contract.ts'

/** Any number of examples, made at once. */
export interface GeneratedExamples {
  /** The examples' numbers, one after the other. */
  readonly x: ArrayLike<number>
  /** Their targets, one after the other: a class number each, or numbers. */
  readonly y: ArrayLike<number>
}

/** How examples are made. */
export interface GeneratorOptions {
  /** The shape of an example. */
  readonly shape: Shape
  /** The shape of an example's target, if it is numbers: [] for one number, by default. */
  readonly targetShape?: Shape | undefined
  /** Number of classes, if targets are class numbers: by default that of `classNames`. */
  readonly classes?: number | undefined
  /** The classes' names, in the order of their numbers. */
  readonly classNames?: readonly string[] | undefined
  /** Examples in an epoch. */
  readonly count: number
  /**
   * Makes the examples of an epoch, counted from 0: an (async) generator, for one. They may come in pieces of any size, which
   * need not be the batches of training. An epoch takes `count` of them; those beyond are not asked for.
   */
  readonly batches: (epoch: number) => Iterable<GeneratedExamples> | AsyncIterable<GeneratedExamples>
  /** The most steps whose examples are on the device at once. 8 by default. */
  readonly stepsAtOnce?: number | undefined
  /** Where the examples go: by default the device opened last. */
  readonly device?: Device | undefined
}

/** The batches of one size on the device. */
interface Ring {
  readonly x: Rows
  readonly y: Rows
  /** u32 [steps of an epoch]: the slot of each. */
  readonly slots: Rows
}

/** Makes a data set of examples that are made while training. See {@link GeneratorDataset}. */
export function generator(options: GeneratorOptions): GeneratorDataset {
  return new GeneratorDataset(options)
}

/**
 * Examples that are made while training, in the order in which they come. The caller owns the memory of the batches on the
 * device: `dispose()` or `using`, once nothing trains on them.
 */
export class GeneratorDataset implements Dataset {
  readonly device: Device
  readonly count: number
  readonly classes: number | undefined
  readonly classNames: readonly string[] | undefined
  /** Makes the examples of the next steps, and puts them on the device. */
  readonly source: ExampleSource
  readonly indices: Uint32Array
  /** The shape of an example. */
  readonly shape: Shape
  readonly #targetShape: Shape
  readonly #batches: GeneratorOptions['batches']
  readonly #rings = new Map<number, Ring>()
  #stream: ExampleStream | undefined

  /**
   * Use `data.generator`.
   * @throws WeftgradError 'argument' for options that are not what they must be, 'data' for names that do not fit.
   */
  constructor(options: GeneratorOptions) {
    checkOptions<object>('generator', options, {
      ...{ shape: required(aShape), targetShape: aShape, classes: anything, classNames: anArray },
      ...{ count: required(countFrom1), batches: required(aFunction), stepsAtOnce: countFrom1, device: aDevice },
    })
    const { shape, targetShape = [], classNames, classes = classNames?.length, count, stepsAtOnce = 8 } = options
    if (classes !== undefined) {
      classNumbers([], classes, 'Example')
      checkNames('classNames', classNames, classes)
      if (options.targetShape !== undefined)
        throw new WeftgradError('argument', 'generator: targets are class numbers, or numbers of a shape, not both.')
    }
    this.device = options.device ?? currentDevice()
    this.count = count
    this.classes = classes
    this.classNames = classNames
    this.indices = everyIndex(count)
    this.shape = shape
    this.#targetShape = targetShape
    this.#batches = options.batches
    this.source = { stepsAtOnce, load: (steps) => this.#load(steps) }
  }

  /** Throws 'argument': class numbers are not known before they are made. */
  labelsOf(): never {
    throw new WeftgradError('argument', 'The targets of a generator are not known before they are made.')
  }

  /** Throws 'argument': examples come in their own order. */
  subset(): never {
    throw new WeftgradError(
      'argument',
      'A generator cannot be split: its examples come in their own order. Give another data set for validation.',
    )
  }

  refuseMisfits(inputShape: Shape, model: string): void {
    if (sameShape(inputShape, this.shape)) return
    throw new WeftgradError(
      'shape',
      `${model} takes ${shapeText(inputShape)}, and the generator makes examples of ${shapeText(this.shape)}.`,
    )
  }

  batch({ batch }: BatchRows, state: Tensor, _?: Shape, augmentation?: Augmentation): Batch {
    if (augmentation !== undefined)
      throw new WeftgradError('argument', 'A generator makes its examples as they are to be: flip or shift them there.')
    const ring = this.#ringOf(batch)
    const slot = ring.slots.at(slice(state, [0], [1]), [])
    const rowsOf = (rows: Rows, shape: Shape): Tensor => reshape(rows.at(slot, [rows.width]), [batch, ...shape])
    return { x: rowsOf(ring.x, this.shape), target: rowsOf(ring.y, this.#targetShape) }
  }

  /** The ring of this batch size, made when it is first asked for. */
  #ringOf(batch: number): Ring {
    const made = this.#rings.get(batch)
    if (made !== undefined) return made
    const steps = Math.ceil(this.count / batch)
    const slots = Math.min(this.source.stepsAtOnce, steps)
    const own: Rows[] = []
    const rows = (count: number, width: number, dtype: 'f32' | 'u32', label: string): Rows => {
      const one = new Rows(this.device, { count, shape: [width], dtype, label })
      own.push(one)
      return one
    }
    try {
      const ring = {
        x: rows(slots, batch * elementCount(this.shape), 'f32', 'generated examples'),
        y: rows(
          slots,
          batch * elementCount(this.#targetShape),
          this.classes === undefined ? 'f32' : 'u32',
          'generated targets',
        ),
        slots: rows(steps, 1, 'u32', 'slots of steps'),
      }
      ring.slots.write(
        0,
        Uint32Array.from({ length: steps }, (_, step) => step % slots),
      )
      this.#rings.set(batch, ring)
      return ring
    } catch (error) {
      for (const one of own) one.dispose()
      throw error
    }
  }

  async #load({ epoch, first, count, batch }: Parameters<ExampleSource['load']>[0]): Promise<void> {
    const ring = this.#ringOf(batch)
    if (count > ring.x.count) throw new RangeError(`${count} steps do not fit into ${ring.x.count} slots`)
    for (let step = first; step < first + count; step++) {
      const stream = await this.#streamAt(epoch, this.#positionOf(step, batch))
      const { x, y } = await stream.take(batch)
      const slot = step % ring.x.count
      ring.x.write(slot, x)
      ring.y.write(slot, y)
      if (stream.position === this.count) await stream.close()
    }
  }

  /** Examples of an epoch before a step. Its last batch may be smaller than those before. */
  #positionOf(step: number, batch: number): number {
    const isRest = [...this.#rings.keys()].some((whole) => whole > batch && step * whole + batch === this.count)
    return isRest ? this.count - batch : step * batch
  }

  /** The epoch's examples from a position on: begun again if they are past it, as in evaluations one after the other. */
  async #streamAt(epoch: number, position: number): Promise<ExampleStream> {
    let stream = this.#stream
    if (stream === undefined || stream.epoch !== epoch || stream.position > position) {
      await stream?.close()
      stream = new ExampleStream(this.#batches(epoch), {
        ...{ epoch, promised: this.count, classes: this.classes },
        ...{ width: elementCount(this.shape), targetWidth: elementCount(this.#targetShape) },
      })
      this.#stream = stream
    }
    if (position > stream.position) await stream.take(position - stream.position)
    return stream
  }

  /** Frees the batches on the device. */
  dispose(): void {
    for (const { x, y, slots } of this.#rings.values()) for (const rows of [x, y, slots]) rows.dispose()
    this.#rings.clear()
    this.#stream?.close().catch(() => undefined)
    this.#stream = undefined
  }

  /** `dispose`, for `using`. */
  [Symbol.dispose](): void {
    this.dispose()
  }
}

/** What a stream makes. */
interface StreamSpec {
  readonly epoch: number
  /** Examples that an epoch has. */
  readonly promised: number
  readonly width: number
  readonly targetWidth: number
  readonly classes: number | undefined
}

interface Piece {
  readonly x: Float32Array<ArrayBuffer>
  readonly y: RowNumbers
}

/** The examples of one epoch, taken in any portions. */
class ExampleStream {
  /** Examples taken. */
  position = 0
  readonly #spec: StreamSpec
  readonly #iterator: Iterator<GeneratedExamples> | AsyncIterator<GeneratedExamples>
  /** The last piece, and how many of its examples are taken. */
  #piece: Piece = { x: new Float32Array(), y: new Float32Array() }
  #taken = 0

  constructor(made: Iterable<GeneratedExamples> | AsyncIterable<GeneratedExamples>, spec: StreamSpec) {
    this.#spec = spec
    this.#iterator = iteratorOf(made)
  }

  get epoch(): number {
    return this.#spec.epoch
  }

  /** Throws what making them throws; 'data' if there are too few or their numbers are invalid, 'shape' for a part of one. */
  async take(count: number): Promise<Piece> {
    const { width, targetWidth, classes } = this.#spec
    const x = new Float32Array(count * width)
    const y = classes === undefined ? new Float32Array(count * targetWidth) : new Uint32Array(count * targetWidth)
    for (let filled = 0; filled < count; ) {
      if (this.#taken * width === this.#piece.x.length) await this.#nextPiece()
      const [from, left] = [this.#taken, this.#piece.x.length / width - this.#taken]
      const to = from + Math.min(count - filled, left)
      x.set(this.#piece.x.subarray(from * width, to * width), filled * width)
      y.set(this.#piece.y.subarray(from * targetWidth, to * targetWidth), filled * targetWidth)
      filled += to - from
      this.position += to - from
      this.#taken = to
    }
    return { x, y }
  }

  async close(): Promise<void> {
    await this.#iterator.return?.()
  }

  async #nextPiece(): Promise<void> {
    const { epoch, promised, width, targetWidth, classes } = this.#spec
    const { done, value } = await this.#iterator.next()
    if (done === true)
      throw new WeftgradError(
        'data',
        `The generator ended after ${this.position} examples of epoch ${epoch}; its count promises ${promised}.`,
        { epoch, examples: this.position, count: promised },
      )
    checkValue('A piece of a generator', value, ['{ x, y }, two arrays', isPiece])
    const count = value.x.length / width
    if (!countFrom1[1](count) || value.y.length !== count * targetWidth)
      throw new WeftgradError(
        'shape',
        `A generator made ${value.x.length} numbers with ${value.y.length} of targets; an example has ${width} with ${targetWidth}.`,
      )
    const y = classes === undefined ? floats(value.y, 'y', targetWidth) : classNumbers(value.y, classes, 'Example')
    this.#piece = { x: floats(value.x, 'x', width), y }
    this.#taken = 0
  }
}

const isPiece = (value: unknown): boolean => isRecord(value) && aList[1](value.x) && aList[1](value.y)

function iteratorOf(
  made: Iterable<GeneratedExamples> | AsyncIterable<GeneratedExamples>,
): Iterator<GeneratedExamples> | AsyncIterator<GeneratedExamples> {
  const parts: Partial<Iterable<GeneratedExamples> & AsyncIterable<GeneratedExamples>> = Object(made)
  const iterator = parts[Symbol.asyncIterator]?.() ?? parts[Symbol.iterator]?.()
  if (iterator !== undefined) return iterator
  throw new WeftgradError('argument', 'generator: batches must return something to iterate over, such as a generator.')
}
