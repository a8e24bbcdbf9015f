/** A small convolutional network for images of any size: 3x3 convolutions and pooling until the map is small, then dense layers. */
import type { Layer } from '../nn/layers.ts'
import { conv2d, dense, dropout as dropoutLayer, flatten, maxPooling2d } from '../nn/layers.ts'
import type { Model } from '../nn/model.ts'
import { sequential } from '../nn/model.ts'

export interface SmallCnnOptions {
  readonly height: number
  readonly width: number
  readonly channels: number
  readonly classes: number
  /** Units of the hidden dense layers. */
  readonly units: readonly number[]
  /** Dropout rate after the first hidden dense layer. */
  readonly dropout: number
}

/** Filters of the blocks; each block halves height and width. */
const blockFilters = [16, 32, 64, 64, 128, 128]
/** A map whose shorter side is below this is not halved again. */
const smallMap = 8

/** Input [height, width, channels], output logits [classes]. Throws WeftgradError 'argument' as the layers do. */
export function smallCnn(
  { height, width, channels, classes, units, dropout }: SmallCnnOptions,
  options: { readonly seed: number },
): Model {
  const layers: Layer[] = []
  let side = Math.min(height, width)
  for (const [i, filters] of blockFilters.entries()) {
    if (side < smallMap) break
    layers.push(
      conv2d(`conv${i + 1}`, filters, 3, { padding: 'same', activation: 'relu' }),
      maxPooling2d(`pool${i + 1}`),
    )
    side = Math.floor(side / 2)
  }
  const hidden = units.flatMap((count, i) => [
    dense(`dense${i + 1}`, count, { activation: 'relu' }),
    ...(i === 0 && dropout > 0 ? [dropoutLayer('dropout1', dropout)] : []),
  ])
  layers.push(flatten('flatten'), ...hidden, dense('logits', classes))
  return sequential('small-cnn', [height, width, channels], layers, options)
}
