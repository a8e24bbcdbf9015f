/** Layers that make images larger or cut their edges. */

import { WeftgradError } from '../../errors.ts'
import type { Shape } from '../../graph/node.ts'
import { broadcastTo, reshape, resize, slice } from '../../operators/index.ts'
import type { Tensor } from '../../operators/tensor.ts'
import type { ExplicitPadding, Pair } from '../../operators/window.ts'
import { pairOf } from '../../operators/window.ts'
import { anything, checkOptions, oneOf } from '../../options.ts'
import { explicitPadding } from './convolution.ts'
import type { Layer } from './layer.ts'
import { first, imageShape, noWeights } from './layer.ts'
import { type Named, namedLayer } from './named.ts'

/** Options of {@link upSampling2d}. */
export interface UpSamplingOptions {
  /** The factor in both directions, or [vertical, horizontal]. 2 by default. */
  readonly size?: number | Pair
  /** 'nearest' repeats pixels; 'bilinear' interpolates, with pixel centres at halves. 'nearest' by default. */
  readonly interpolation?: 'nearest' | 'bilinear'
}

/**
 * Keras' `UpSampling2D`: makes images larger by a whole factor, [h, w, c] -> [h size, w size, c].
 * @throws WeftgradError 'argument' for factors that are not positive whole numbers; 'shape', in a model, for inputs that are not
 * images.
 */
export function upSampling2d(...given: Named<[options?: UpSamplingOptions]>): Layer {
  return namedLayer('up_sampling2d', given, makeUpSampling2d)
}

function makeUpSampling2d(name: string, options: UpSamplingOptions = {}): Layer {
  const { interpolation = 'nearest', size = 2 } = checkOptions(name, options, {
    interpolation: oneOf('nearest', 'bilinear'),
    size: anything,
  })
  const [down, across] = pairOf(`${name}: size`, size)
  return {
    name,
    className: 'UpSampling2D',
    outputShape(inputs) {
      const [height, width, channels] = imageShape(inputs, name)
      return [height * down, width * across, channels]
    },
    weights: noWeights,
    call(inputs) {
      const x = first(inputs, name)
      const [, height = 0, width = 0] = x.shape
      if (interpolation === 'bilinear') return resize(x, { height: height * down, width: width * across })
      return repeated(x, down, across)
    },
  }
}

/** Repeats each pixel. */
function repeated(x: Tensor, down: number, across: number): Tensor {
  const [batch = 0, height = 0, width = 0, channels = 0] = x.shape
  const apart = reshape(x, [batch, height, 1, width, 1, channels])
  return reshape(broadcastTo(apart, [batch, height, down, width, across, channels]), [
    batch,
    height * down,
    width * across,
    channels,
  ])
}

/**
 * Keras' `Cropping2D`: cuts the edges off an image. One number of pixels for every side, [vertical, horizontal], or
 * [[top, bottom], [left, right]]; 0 by default.
 * @throws WeftgradError 'argument' for anything but non-negative whole numbers; 'shape', in a model, if nothing is left.
 */
export function cropping2d(...given: Named<[cropping?: number | Pair | ExplicitPadding]>): Layer {
  return namedLayer('cropping2d', given, makeCropping2d, ['cropping'])
}

function makeCropping2d(name: string, cropping: number | Pair | ExplicitPadding = 0): Layer {
  const [[top, bottom], [left, right]] = explicitPadding(name, cropping)
  const outputShape = (inputs: readonly Shape[]): Shape => {
    const [height, width, channels] = imageShape(inputs, name)
    const kept = [height - top - bottom, width - left - right] as const
    if (kept.some((extent) => extent < 1))
      throw new WeftgradError('shape', `${name} cuts everything off an image of ${height}x${width}.`)
    return [...kept, channels]
  }
  return {
    name,
    className: 'Cropping2D',
    outputShape,
    weights: noWeights,
    call(inputs) {
      const x = first(inputs, name)
      return slice(x, [0, top, left, 0], [-1, ...outputShape([x.shape.slice(1)])])
    },
  }
}
