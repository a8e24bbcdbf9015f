/** Initial weights, by Keras' names. They depend only on the model's seed and the weight's name. */

import { WeftgradError } from '../errors.ts'
import type { Shape } from '../graph/node.ts'
import { shapeText } from '../graph/node.ts'
import { elementCount } from '../kernels/kernel.ts'
import { aNumber, checkOptions, checkValue, oneOf, positive } from '../options.ts'
import type { Random } from '../random.ts'
import { aFunctionOf, type Description, described, functionOf, type Makers } from './described.ts'

/**
 * Creates a weight's initial numbers, row-major, from its shape and the random stream of its name. weftgrad's own have a class
 * name and settings, which files keep.
 */
export type Initializer = ((shape: Shape, random: Random) => Float32Array) & Partial<Description>

/** Keras' names of initializers. */
export type InitializerName =
  | ('zeros' | 'ones' | 'constant' | 'identity' | 'orthogonal' | 'variance_scaling')
  | ('random_uniform' | 'random_normal' | 'truncated_normal')
  | `${'glorot' | 'he' | 'lecun'}_${'normal' | 'uniform'}`

/** An initializer, its name, or its description. */
export type InitializerOption = Initializer | InitializerName | Description

/** Numbers one after the other. */
const filled = (shape: Shape, next: () => number): Float32Array =>
  Float32Array.from({ length: elementCount(shape) }, next)

/** A number of the standard normal distribution (Box & Muller 1958). */
function normal(random: Random): number {
  const radius = Math.sqrt(-2 * Math.log(1 - random.uniform()))
  return radius * Math.cos(2 * Math.PI * random.uniform())
}

/** The same, without those beyond two standard deviations. */
function cutNormal(random: Random): number {
  for (;;) {
    const x = normal(random)
    if (Math.abs(x) <= 2) return x
  }
}

/**
 * Number of inputs and outputs that one unit of a kernel connects: HWIO and [in, out]. The receptive field counts for
 * both.
 */
function fans(shape: Shape): readonly [fanIn: number, fanOut: number] {
  const field = elementCount(shape.slice(0, -2))
  // A vector has no inputs, and a single number has no outputs either: a missing extent counts as 1.
  return [field * elementCount(shape.slice(-2, -1)), field * elementCount(shape.slice(-1))]
}

type Mode = 'fan_in' | 'fan_out' | 'fan_avg'
type Distribution = 'truncated_normal' | 'untruncated_normal' | 'uniform'

/** Options of {@link varianceScaling}; the defaults are Keras'. */
export interface VarianceScalingOptions {
  /** The variance, times the fan. 1 by default. */
  readonly scale?: number
  /** The fan: a kernel's inputs (by default), its outputs, or their mean. */
  readonly mode?: 'fan_in' | 'fan_out' | 'fan_avg'
  /** 'truncated_normal' by default: none beyond two standard deviations. */
  readonly distribution?: 'truncated_normal' | 'untruncated_normal' | 'uniform'
}

function scaled(scale: number, mode: Mode, distribution: Distribution): Initializer {
  return (shape, random) => {
    const [fanIn, fanOut] = fans(shape)
    const variance = scale / { fan_in: fanIn, fan_out: fanOut, fan_avg: (fanIn + fanOut) / 2 }[mode]
    if (distribution === 'uniform') {
      const limit = Math.sqrt(3 * variance)
      return filled(shape, () => (random.uniform() * 2 - 1) * limit)
    }
    if (distribution === 'untruncated_normal') return filled(shape, () => normal(random) * Math.sqrt(variance))
    // 0.8796: the standard deviation of a standard normal cut off at +-2; dividing by it restores the variance.
    const deviation = Math.sqrt(variance) / 0.87962566103423978
    return filled(shape, () => cutNormal(random) * deviation)
  }
}

/**
 * Numbers whose variance is scale / fan, the family of Glorot's, He's and LeCun's initializers.
 * @throws WeftgradError 'argument' for options of another kind.
 */
export function varianceScaling(options: VarianceScalingOptions = {}): Initializer {
  const kinds = {
    scale: positive,
    mode: oneOf('fan_in', 'fan_out', 'fan_avg'),
    distribution: oneOf('truncated_normal', 'untruncated_normal', 'uniform'),
  }
  const {
    scale = 1,
    mode = 'fan_in',
    distribution = 'truncated_normal',
  } = checkOptions('varianceScaling', options, kinds)
  return described('VarianceScaling', { scale, mode, distribution }, scaled(scale, mode, distribution))
}

/** Uniform in +-sqrt(6 / (fanIn + fanOut)) (Glorot & Bengio 2010, equation 16): Keras' default for kernels. */
export const glorotUniform: Initializer = /* @__PURE__ */ described(
  'GlorotUniform',
  {},
  /* @__PURE__ */ scaled(1, 'fan_avg', 'uniform'),
)

/** Normal with variance 2 / (fanIn + fanOut), cut off at two standard deviations (Glorot & Bengio 2010). */
export const glorotNormal: Initializer = /* @__PURE__ */ described(
  'GlorotNormal',
  {},
  /* @__PURE__ */ scaled(1, 'fan_avg', 'truncated_normal'),
)

/** Uniform in +-sqrt(6 / fanIn) (He et al. 2015): for relu networks. */
export const heUniform: Initializer = /* @__PURE__ */ described(
  'HeUniform',
  {},
  /* @__PURE__ */ scaled(2, 'fan_in', 'uniform'),
)

/** Normal with variance 2 / fanIn, cut off at two standard deviations (He et al. 2015): for relu networks. */
export const heNormal: Initializer = /* @__PURE__ */ described(
  'HeNormal',
  {},
  /* @__PURE__ */ scaled(2, 'fan_in', 'truncated_normal'),
)

/** Uniform in +-sqrt(3 / fanIn) (LeCun et al., "Efficient BackProp", 1998). */
export const lecunUniform: Initializer = /* @__PURE__ */ described(
  'LecunUniform',
  {},
  /* @__PURE__ */ scaled(1, 'fan_in', 'uniform'),
)

/** Normal with variance 1 / fanIn, cut off at two standard deviations (LeCun et al. 1998): for selu networks. */
export const lecunNormal: Initializer = /* @__PURE__ */ described(
  'LecunNormal',
  {},
  /* @__PURE__ */ scaled(1, 'fan_in', 'truncated_normal'),
)

/** Zeros: Keras' default for biases. */
export const zerosInitializer: Initializer = /* @__PURE__ */ described('Zeros', {}, (shape) => filled(shape, () => 0))
/** Ones: Keras' default for the scales of normalisations. */
export const onesInitializer: Initializer = /* @__PURE__ */ described('Ones', {}, (shape) => filled(shape, () => 1))

/** The same number everywhere; 0 by default. @throws WeftgradError 'argument' for anything but a number. */
export function constantInitializer(value = 0): Initializer {
  checkValue('constantInitializer: value', value, aNumber)
  return described('Constant', { value }, (shape) => filled(shape, () => value))
}

/**
 * Uniform in [minval, maxval); [-0.05, 0.05) by default.
 * @throws WeftgradError 'argument' for options that are not numbers.
 */
export function randomUniform(options: { readonly minval?: number; readonly maxval?: number } = {}): Initializer {
  const kinds = { minval: aNumber, maxval: aNumber }
  const { minval = -0.05, maxval = 0.05 } = checkOptions('randomUniform', options, kinds)
  const next = (random: Random): number => minval + (maxval - minval) * random.uniform()
  return described('RandomUniform', { minval, maxval }, (shape, random) => filled(shape, () => next(random)))
}

/** Options of {@link randomNormal} and {@link truncatedNormal}; the defaults are Keras'. */
export interface NormalOptions {
  /** 0 by default. */
  readonly mean?: number
  /** Standard deviation, before numbers are cut off. 0.05 by default. */
  readonly stddev?: number
}

function normally(className: string, options: NormalOptions, next: (random: Random) => number): Initializer {
  const { mean = 0, stddev = 0.05 } = checkOptions(className, options, { mean: aNumber, stddev: aNumber })
  return described(className, { mean, stddev }, (shape, random) => filled(shape, () => mean + stddev * next(random)))
}

/** Normally distributed. @throws WeftgradError 'argument' for options that are not numbers. */
export const randomNormal = (options: NormalOptions = {}): Initializer => normally('RandomNormal', options, normal)

/**
 * Normally distributed, none beyond two standard deviations.
 * @throws WeftgradError 'argument' for options that are not numbers.
 */
export const truncatedNormal = (options: NormalOptions = {}): Initializer =>
  normally('TruncatedNormal', options, cutNormal)

const gainOf = (what: string, options: GainOptions): number => checkOptions(what, options, { gain: aNumber }).gain ?? 1

/** Options of {@link orthogonal} and {@link identityInitializer}. */
export interface GainOptions {
  /** A factor of all numbers. 1 by default. */
  readonly gain?: number
}

/** A matrix with ones on its diagonal, else zeros. It refuses other shapes ('shape'). */
export function identityInitializer(options: GainOptions = {}): Initializer {
  const gain = gainOf('identityInitializer', options)
  return described('Identity', { gain }, (shape) => {
    const [, columns = 0] = shape
    if (shape.length !== 2) throw noMatrix('identityInitializer', shape)
    return new Float32Array(elementCount(shape)).map((_, i) => (i % (columns + 1) === 0 && i < columns ** 2 ? gain : 0))
  })
}

/**
 * Rows or columns, whichever are fewer, are orthogonal and of length `gain` (Saxe et al. 2014); all axes but the last count as
 * rows. It refuses shapes of fewer than two axes ('shape').
 */
export function orthogonal(options: GainOptions = {}): Initializer {
  const gain = gainOf('orthogonal', options)
  return described('Orthogonal', { gain }, (shape, random) => {
    if (shape.length < 2) throw noMatrix('orthogonal', shape)
    const columns = shape.at(-1) ?? 1
    const rows = elementCount(shape) / columns
    const length = Math.max(rows, columns)
    const vectors: Float64Array[] = []
    while (vectors.length < Math.min(rows, columns)) {
      let vector = Float64Array.from({ length }, () => normal(random))
      // Gram & Schmidt; the second pass takes away what rounding left of the first.
      for (const other of [...vectors, ...vectors]) {
        const along = dot(vector, other)
        vector = vector.map((x, i) => x - along * (other[i] ?? 0))
      }
      const norm = Math.sqrt(dot(vector, vector))
      vectors.push(vector.map((x) => x / norm))
    }
    const isTall = rows >= columns
    return new Float32Array(rows * columns).map((_, i) => {
      const [row, column] = [Math.floor(i / columns), i % columns]
      return gain * ((isTall ? vectors[column]?.[row] : vectors[row]?.[column]) ?? 0)
    })
  })
}

const dot = (a: Float64Array, b: Float64Array): number => a.reduce((sum, x, i) => sum + x * (b[i] ?? 0), 0)

function noMatrix(what: string, shape: Shape): WeftgradError {
  return new WeftgradError('shape', `${what} makes kernels, not weights of shape ${shapeText(shape)}.`, { shape })
}

const makers: Makers<Initializer> & Readonly<Record<InitializerName, unknown>> = {
  zeros: () => zerosInitializer,
  ones: () => onesInitializer,
  constant: ({ value }: { readonly value?: number } = {}) => constantInitializer(value),
  identity: identityInitializer,
  orthogonal,
  variance_scaling: varianceScaling,
  random_uniform: randomUniform,
  random_normal: randomNormal,
  truncated_normal: truncatedNormal,
  glorot_normal: () => glorotNormal,
  glorot_uniform: () => glorotUniform,
  he_normal: () => heNormal,
  he_uniform: () => heUniform,
  lecun_normal: () => lecunNormal,
  lecun_uniform: () => lecunUniform,
}

/** The kind of options that take an initializer. @internal */
export const anInitializer = /* @__PURE__ */ aFunctionOf(makers)

/** The initializer of an option. @internal */
export const initializerOf = (given: InitializerOption): Initializer => functionOf(makers, given)
