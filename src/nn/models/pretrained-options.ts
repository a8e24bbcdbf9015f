/** Shared parts of the three pretrained networks: their options, checks, and last layers. */

import { WeftgradError } from '../../errors.ts'
import type { Shape } from '../../graph/node.ts'
import { shapeText } from '../../graph/node.ts'
import { aFlag, aNumber, anArray, checkOptions, countFrom1, oneOf } from '../../options.ts'
import type { Layer } from '../layers.ts'
import { dense, globalAveragePooling2d, globalMaxPooling2d } from '../layers.ts'

/** Options of the networks with published weights. */
export interface PretrainedOptions {
  /** Height and width of square RGB images, in pixels. The network's original size by default. */
  readonly size?: number
  /** Input shape [height, width, channels], instead of `size`. */
  readonly inputShape?: Shape
  /** Pooling of the last feature maps: the mean or maximum of each channel, or none. 'none' by default. */
  readonly pooling?: 'avg' | 'max' | 'none'
  /** Whether the network ends in its classifier, which outputs probabilities. False by default. */
  readonly includeTop?: boolean
  /** Classes of the classifier: 1000 by default, those of ImageNet. */
  readonly classes?: number
}

export type CheckedOptions = Required<Omit<PretrainedOptions, 'size'>>

/** Fills in the defaults. Throws 'argument' for unsupported options. */
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
  if (includeTop && pooling !== 'none') refuse('its classifier includes the pooling; omit `pooling` or `includeTop`.')
  if (!includeTop && options.classes !== undefined) refuse('`classes` belongs to the classifier; add `includeTop`.')
  return { inputShape, pooling, includeTop, classes }
}

/** The last layers of a network whose classifier uses the channels' means: pooling, classifier, or none. */
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

/** Keras' names of such layers when unnamed. */
export const unnamedPools = { avg: 'global_average_pooling2d', max: 'global_max_pooling2d' } as const

/** Keras' numbering of unnamed layers of a kind: `add`, `add_1`, `add_2` ... */
export function numbered(name: string, count: number): string {
  return count === 0 ? name : `${name}_${count}`
}
