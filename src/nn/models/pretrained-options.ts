/** What the three pretrained networks have in common: their options, their checks, and how they end. */

import { WeftgradError } from '../../errors.ts'
import type { Shape } from '../../graph/node.ts'
import { shapeText } from '../../graph/node.ts'
import { aFlag, aNumber, anArray, checkOptions, countFrom1, oneOf } from '../../options.ts'
import type { Layer } from '../layers.ts'
import { dense, globalAveragePooling2d, globalMaxPooling2d } from '../layers.ts'

/** What may be chosen of the networks that have published weights. */
export interface PretrainedOptions {
  /** Height and width of square RGB images, in pixels. The network's usual size by default. */
  readonly size?: number
  /** [height, width, channels], instead of `size`. */
  readonly inputShape?: Shape
  /** What becomes of the last images: their means or maxima a channel, or nothing. 'none' by default. */
  readonly pooling?: 'avg' | 'max' | 'none'
  /** True ends the network in its classifier, which gives probabilities. False by default. */
  readonly includeTop?: boolean
  /** Of the classifier: 1000 by default, those of ImageNet. */
  readonly classes?: number
}

export type CheckedOptions = Required<Omit<PretrainedOptions, 'size'>>

/** Fills in the defaults. Throws 'argument' for what the network cannot be. */
export function checkedOptions(
  network: string,
  { smallest, usual }: { readonly smallest: number; readonly usual: number },
  options: PretrainedOptions,
): CheckedOptions {
  checkOptions(network, options, {
    ...{ size: aNumber, inputShape: anArray, pooling: oneOf('avg', 'max', 'none'), includeTop: aFlag },
    classes: countFrom1,
  })
  const { size = usual, pooling = 'none', includeTop = false, classes = 1000 } = options
  const { inputShape = [size, size, 3] } = options
  const refuse = (why: string): never => {
    throw new WeftgradError('argument', `${network}: ${why}`, { ...options })
  }
  const [height = 0, width = 0, channels = 0] = inputShape
  if (options.size !== undefined && options.inputShape !== undefined) refuse('give `size` or `inputShape`, not both.')
  if (inputShape.length !== 3 || [height, width, channels].some((extent) => !Number.isInteger(extent) || extent < 1))
    refuse(`the input ${shapeText(inputShape)} must be [height, width, channels].`)
  if (height < smallest || width < smallest)
    refuse(`images of ${height}x${width} are too small; it takes ${smallest}x${smallest} and larger.`)
  if (includeTop && pooling !== 'none') refuse('its classifier does the pooling; leave out `pooling`, or `includeTop`.')
  if (!includeTop && options.classes !== undefined) refuse('`classes` are those of the classifier; add `includeTop`.')
  return { inputShape, pooling, includeTop, classes }
}

/** The end of a network whose classifier looks at the channels' means: pooling, or classifier, or nothing. */
export function averagedEnd(
  { pooling, includeTop, classes }: CheckedOptions,
  names: { readonly avg: string; readonly max: string },
): readonly Layer[] {
  if (includeTop) return [globalAveragePooling2d('avg_pool'), dense('predictions', classes, { activation: 'softmax' })]
  return pooledEnd(pooling, names)
}

export function pooledEnd(
  pooling: CheckedOptions['pooling'],
  { avg, max }: { readonly avg: string; readonly max: string } = unnamedPools,
): readonly Layer[] {
  if (pooling === 'none') return []
  return [pooling === 'avg' ? globalAveragePooling2d(avg) : globalMaxPooling2d(max)]
}

/** What Keras calls such layers where nobody names them. */
export const unnamedPools = { avg: 'global_average_pooling2d', max: 'global_max_pooling2d' } as const

/** Keras' count of unnamed layers of a kind: `add`, `add_1`, `add_2` ... */
export function numbered(name: string, count: number): string {
  return count === 0 ? name : `${name}_${count}`
}
