/** Normalisations, all with Keras' layers: the channels, or the normalised axes, come last. */

import * as layers from '../../../nn/layers.ts'
import { broadcasted, type Constant, known, reshaped, transposed } from '../constant.ts'
import type { Call, Handler } from '../node.ts'
import { extentOf, type Value } from '../value.ts'
import { reduced, withLast } from './along.ts'

const batchNormalization: Handler = (node) => {
  if (node.number('training_mode', 0) !== 0) throw node.refused('is in training mode')
  const value = node.value()
  const { value: last } = withLast(node, value, [value.axes[1] ?? []])
  const weights = [1, 2, 3, 4].map((i) => node.needed(i))
  const options = { epsilon: node.number('epsilon', 1e-5), momentum: node.number('momentum', 0.9) }
  return node.each(last, (name) => layers.batchNormalization(name, options), weights)
}

/** Each channel by itself: as many groups as channels. */
const instanceNormalization: Handler = (node) => grouped(node, undefined)

/** Version 18 scales groups, later ones channels. */
const groupNormalization: Handler = (node) => grouped(node, node.number('num_groups', 1))

function grouped(node: Call, given: number | undefined): Value {
  const value = node.value()
  if (!value.axes[0]?.includes(node.builder.batch)) throw node.refused('works along the examples')
  const { value: last, parts } = withLast(node, value, [value.axes[1] ?? []])
  const channels = extentOf(parts)
  const groups = given ?? channels
  const perChannel = (i: number): Constant => {
    const constant = node.needed(i)
    const [count = 1] = constant.shape
    if (count === channels || count !== groups) return constant
    return reshaped(broadcasted(reshaped(constant, [groups, 1]), [groups, channels / groups]), [channels])
  }
  const options = { epsilon: node.number('epsilon', 1e-5), groups }
  return node.each(last, (name) => layers.groupNormalization(name, options), [perChannel(1), perChannel(2)])
}

const layerNormalization: Handler = (node) => {
  const value = node.value()
  const rank = value.axes.length
  const axes = value.axes.slice(node.axis(node.number('axis', -1), rank))
  const { value: last, parts } = withLast(node, value, axes)
  const logical = axes.flat().filter(({ extent }) => extent !== 1)
  const shape = axes.map(extentOf)
  const inOrder = (constant: Constant): Constant => {
    const apart = reshaped(
      broadcasted(constant, shape),
      logical.map(({ extent }) => extent),
    )
    return reshaped(
      transposed(
        apart,
        parts.map((one) => logical.indexOf(one)),
      ),
      [extentOf(parts)],
    )
  }
  const bias = node.constant(2)
  const options = { epsilon: node.number('epsilon', 1e-5), center: bias !== undefined }
  const weights = [node.needed(1), ...(bias === undefined ? [] : [bias])].map(inOrder)
  return node.each(last, (name) => layers.layerNormalization(name, options), weights)
}

/** x / the root of the mean square, times a scale (Zhang & Sennrich 2019). */
const rmsNormalization: Handler = (node) => {
  const value = node.value()
  const first = node.axis(node.number('axis', -1), value.axes.length)
  const axes = value.axes.map((_, i) => i).slice(first)
  const square = reduced(node, 'mean', node.unary('square'), axes, true)
  const shifted = node.each(square, (name) => layers.rescaling(name, 1, { offset: node.number('epsilon', 1e-5) }))
  const normal = node.broadcast('div', [value, node.unary('sqrt', undefined, shifted)])
  return node.broadcast('mul', [normal, node.operand(1)])
}

/** x / the norm along an axis, which is 0 for a row of zeros. */
const lpNormalization: Handler = (node) => {
  const value = node.value()
  const axis = node.axis(node.number('axis', -1), value.axes.length)
  const { value: x, at } = node.builder.isolated(value, axis, node.name)
  const isManhattan = node.number('p', 2) === 1
  const size = node.unary(isManhattan ? 'abs' : 'square', undefined, x)
  const attributes = { axes: [at + 1], keepDims: true }
  const sum = node.operation('sum', [size.place], { attributes })
  const norm = node.operation('maximum', [isManhattan ? sum : node.operation('sqrt', [sum])], {
    operands: [null, 1e-30],
  })
  return { ...x, place: node.operation('div', [x.place, norm]) }
}

/** (x - mean) / sqrt(variance) over axes, by default all but the channels. */
const meanVariance: Handler = (node) => {
  const value = node.value()
  const axes = (node.list('axes') ?? [0, 2, 3]).map((axis) => value.axes[node.axis(axis, value.axes.length)] ?? [])
  const { value: last, parts } = withLast(node, value, axes)
  const ones = known(new Float32Array(extentOf(parts)).fill(1), [extentOf(parts)], 'float')
  const layer = (name: string): layers.Layer => layers.layerNormalization(name, { epsilon: 1e-9, center: false })
  return node.each(last, layer, [ones])
}

export const normalizationOperators: Readonly<Record<string, Handler>> = {
  BatchNormalization: batchNormalization,
  GroupNormalization: groupNormalization,
  InstanceNormalization: instanceNormalization,
  LayerNormalization: layerNormalization,
  LpNormalization: lpNormalization,
  MeanVarianceNormalization: meanVariance,
  RMSNormalization: rmsNormalization,
}
