/**
 * The models of transfer learning: heads on features, and, for fine-tuning, the last layers of a pretrained network
 * with a head on top. Both take rows of features from the frozen part.
 */

import { WeftgradError } from '../errors.ts'
import type { Shape } from '../graph/node.ts'
import type { Layer } from '../nn/layers.ts'
import { concatenate, dense, dropout, normalization } from '../nn/layers.ts'
import type { Model } from '../nn/model.ts'
import { sequential } from '../nn/model.ts'
import { type Place, Wiring } from '../nn/wiring.ts'
import { reshape, slice } from '../operators/index.ts'
import type { FeaturePooling, FeatureTap } from '../tasks/feature-taps.ts'
import type { TransferSettings } from '../tasks/recipe.ts'
import { featureColumns, featureWidth, pooled, pooledShape } from './features.ts'

type HeadSettings = Pick<TransferSettings, 'head' | 'dropout' | 'seed'>

/** The layer that standardises features; its weights are the statistics of the training rows. */
export const standardization = 'normalization'

const hiddenUnits = 256

/** Layers from standardised features to logits. */
function headLayers({ head, dropout: rate }: HeadSettings, classes: number): readonly Layer[] {
  const hidden = [dense('hidden', hiddenUnits, { activation: 'relu' }), dropout('dropout', rate)]
  return [normalization(standardization), ...(head === 'mlp' ? hidden : []), dense('logits', classes)]
}

/** Makes a head for rows of `width` features. */
export function headModel(name: string, width: number, classes: number, settings: HeadSettings): Model {
  return sequential(name, [width], headLayers(settings, classes), { seed: settings.seed })
}

/** A pretrained network, split into a frozen and a trained part. */
export interface FineTuning {
  /** The outputs of the frozen part: all numbers at the boundary, then the features from before it. */
  readonly frozenTaps: readonly FeatureTap[]
  /** The names of the trained layers. */
  readonly layers: readonly string[]
  /** Makes the model for rows from the frozen part. Its weights keep the names of the layers and the head. */
  model(name: string, classes: number, settings: HeadSettings): Model
}

/**
 * Splits the base before the layer `from`, for features from `taps`. Throws 'argument' if there is no such layer, no
 * layer before it or no tap after it, or if several earlier layers feed the layers from there on.
 */
export function fineTuning(base: Model, taps: readonly FeatureTap[], from: string): FineTuning {
  const start = base.positionOf(from)
  const positions = taps.map(({ layer }) => base.positionOf(layer))
  const last = Math.max(...positions)
  if (start > last)
    throw new WeftgradError(
      'argument',
      `${from} comes after ${nameAt(base, last)}, the last layer with features: nothing would be trained. Unfreeze an earlier layer.`,
      { from },
    )
  const boundary = boundaryBefore(base, start, last)
  if (boundary === undefined || boundary < 0) throw misplaced(base, from, last, boundary)

  const early = taps.filter((_, i) => (positions[i] ?? 0) < start)
  const frozenTaps: readonly FeatureTap[] = [{ layer: nameAt(base, boundary), pooling: 'none' }, ...early]
  const columns = featureColumns(base, frozenTaps)
  const tail = base.layers.slice(start, last + 1)
  const model = (name: string, classes: number, settings: HeadSettings): Model => {
    const net = new Wiring()
    const [first, ...rest] = columns
    const known = new Map(rest.map((one) => [one.layer, one]))
    const shape = base.layers[boundary]?.outputShape ?? []
    const places = new Map<number, Place>()
    if (first !== undefined) places.set(boundary, net.chain(net.input, columnsLayer('boundary', first, shape)))
    for (const [i, { layer, inputs }] of tail.entries())
      places.set(start + i, net.merge(asInInference(layer), ...inputs.map((input) => places.get(input) ?? net.input)))
    const features = taps.map(({ layer, pooling }, i) => {
      const own = known.get(layer)
      if (own !== undefined) return net.chain(net.input, columnsLayer(`${layer}_features`, own, [own.count]))
      return net.chain(places.get(positions[i] ?? 0) ?? net.input, poolingLayer(`${layer}_features`, pooling))
    })
    const [only = net.input] = features
    const joined = features.length === 1 ? only : net.merge(concatenate('features'), ...features)
    net.chain(joined, ...headLayers(settings, classes))
    return net.model(name, [featureWidth(columns)], { seed: settings.seed })
  }
  return { frozenTaps, layers: tail.map(({ layer }) => layer.name), model }
}

function nameAt(base: Model, position: number): string {
  return base.layers[position]?.layer.name ?? 'the input'
}

/**
 * The only layer before `start` that feeds the layers from `start` to `last`; -1 is the input. Undefined if there are
 * several.
 */
function boundaryBefore(base: Model, start: number, last: number): number | undefined {
  const outside = new Set(base.layers.slice(start, last + 1).flatMap(({ inputs }) => inputs.filter((i) => i < start)))
  const [boundary] = outside
  return outside.size === 1 ? boundary : undefined
}

function misplaced(base: Model, from: string, last: number, boundary: number | undefined): WeftgradError {
  const start = base.positionOf(from)
  const fits = (position: number): boolean => (boundaryBefore(base, position, last) ?? -1) >= 0
  const before = Array.from({ length: start }, (_, i) => start - 1 - i).find(fits)
  const after = Array.from({ length: last - start }, (_, i) => start + 1 + i).find(fits)
  const near = [before, after].flatMap((position) => (position === undefined ? [] : [nameAt(base, position)]))
  const why =
    boundary === undefined
      ? `${from} is inside a shortcut: several earlier layers feed the layers from it on`
      : `no layer comes before ${from}: this command does not train a whole network`
  return new WeftgradError(
    'argument',
    `${base.name}: ${why}. Unfreeze ${near.join(' or ') || 'another layer'} instead.`,
    {
      from,
      near,
    },
  )
}

/** The layer in inference mode, with trainable weights: normalisation uses and keeps its statistics. */
function asInInference(layer: Layer): Layer {
  return {
    ...layer,
    call: (inputs, weights, context) =>
      layer.call(inputs, weights, { ...context, training: false, update: () => undefined }),
  }
}

/** A layer that takes columns of a row in a given shape. */
function columnsLayer(name: string, { from, count }: { from: number; count: number }, shape: Shape): Layer {
  return {
    name,
    className: 'Columns',
    outputShape: () => shape,
    weights: () => [],
    call([x]) {
      if (x === undefined) throw new RangeError(`${name} has one input`)
      const rows = x.shape[0] ?? 1
      return reshape(slice(x, [0, from], [rows, count]), [rows, ...shape])
    },
  }
}

function poolingLayer(name: string, pooling: FeaturePooling): Layer {
  return {
    name,
    className: 'FeaturePooling',
    outputShape: ([shape = []]) => pooledShape(shape, pooling),
    weights: () => [],
    call([x]) {
      if (x === undefined) throw new RangeError(`${name} has one input`)
      return pooled(x, pooling)
    },
  }
}
