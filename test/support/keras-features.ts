/**
 * Keras' features for four images, in float64: test/fixtures/keras-features/<network>-<weights>-<size>. Each file has
 * the images (28x28 bytes), the first preprocessed values, the first 128 values of some layers' outputs, and the
 * features after mean pooling.
 */

import { readFileSync } from 'node:fs'
import { evaluate } from '../../src/autograd/tensors.ts'
import { readSafetensors, toFloat32 } from '../../src/format/safetensors.ts'
import type { Model } from '../../src/nn/model.ts'
import { type PreprocessingMode, preprocessInput } from '../../src/nn/preprocessing.ts'
import { resize } from '../../src/operators/index.ts'
import { type Tensor, tensor } from '../../src/operators/tensor.ts'
import { relativeError } from './compare.ts'

export interface KerasFeatures {
  /** Grey images, [4, 28, 28, 1]. */
  readonly images: Tensor
  readonly size: number
  /** The first preprocessed values, [4, 96]. */
  readonly preprocessed: Float32Array
  /** The first values of each layer's output, [4, 128]. */
  readonly taps: ReadonlyMap<string, Float32Array>
  /** The pooled features, [4, channels]. */
  readonly features: Float32Array
}

const images = 4

export function kerasFeatures(network: string, weights: 'hashed' | 'imagenet', size: number): KerasFeatures {
  const file = new URL(`../fixtures/keras-features/${network}-${weights}-${size}.safetensors`, import.meta.url)
  const { tensors } = readSafetensors(readFileSync(file))
  const numbersOf = (name: string): Float32Array => {
    const found = tensors.get(name)
    if (found === undefined) throw new Error(`${file.pathname} has no ${name}`)
    return found.dtype === 'U8' ? Float32Array.from(found.data) : toFloat32(found)
  }
  const taps = [...tensors.keys()].filter((name) => name.startsWith('tap/'))
  return {
    images: tensor(numbersOf('images'), [images, 28, 28, 1]),
    size,
    preprocessed: numbersOf('preprocessed_sample'),
    taps: new Map(taps.map((name) => [name.slice('tap/'.length), numbersOf(name)])),
    features: numbersOf('features'),
  }
}

/**
 * How far a network that ends in pooling is from the reference: for the preprocessed images, every tap and the
 * features, the largest difference divided by the largest magnitude.
 */
export async function featureErrors(
  model: Model,
  mode: PreprocessingMode,
  { images: small, size, preprocessed, taps, features }: KerasFeatures,
): Promise<Map<string, number>> {
  const x = preprocessInput(resize(small, { height: size, width: size }), mode)
  const last = model.layers.at(-1)?.layer.name ?? ''
  const outputs = [x, ...model.features(x, [...taps.keys(), last])]
  const own = await evaluate(outputs)
  const wanted = new Map([['preprocessed', preprocessed], ...taps, [last, features]])
  return new Map(
    [...wanted].map(([name, numbers], i) => [name, relativeError(firstOfEach(own[i] ?? [], numbers.length), numbers)]),
  )
}

/** Takes `count` numbers in all, from the start of each image's share. */
function firstOfEach(numbers: ArrayLike<number>, count: number): number[] {
  const [share, each] = [numbers.length / images, count / images]
  return Array.from({ length: count }, (_, i) => numbers[Math.floor(i / each) * share + (i % each)] ?? Number.NaN)
}
