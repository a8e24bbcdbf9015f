/** Resize, and its predecessor Upsample: axis by axis, each with its own scale. */

import { type Coordinates, sourcePosition } from '../../../nn/layers/interpolation.ts'
import * as layers from '../../../nn/layers.ts'
import type { Call, Handler } from '../node.ts'
import { part, shapeOf, type Value } from '../value.ts'
import { taken } from './movements.ts'
import { imageOf, imageValue } from './windows.ts'

interface Target {
  readonly axis: number
  readonly extent: number
  readonly size: number
  readonly scale: number
  readonly start: number
  readonly end: number
}

/** What each axis becomes, from scales or sizes. */
function targets(node: Call, value: Value): readonly Target[] {
  const shape = shapeOf(value)
  const isOld = node.node.operator === 'Upsample' || node.opset < 11
  const along = node.list('axes')?.map((axis) => node.axis(axis, shape.length)) ?? shape.map((_, i) => i)
  const nonEmpty = (list: readonly number[] | undefined): readonly number[] | undefined =>
    list?.length ? list : undefined
  const scales = nonEmpty(isOld ? node.integers(1, 'scales') : node.integers(2))
  const sizes = isOld ? undefined : nonEmpty(node.integers(3))
  const roi = isOld ? undefined : nonEmpty(node.integers(1))
  const given = sizes ?? scales
  if (given?.length !== along.length) throw node.refused('has no scale or size for each axis')
  const policy = node.text('keep_aspect_ratio_policy', 'stretch')
  const ratios = along.map((axis, i) =>
    sizes === undefined ? (scales?.[i] ?? 1) : (sizes[i] ?? 1) / (shape[axis] ?? 1),
  )
  const common =
    policy === 'not_larger' ? Math.min(...ratios) : policy === 'not_smaller' ? Math.max(...ratios) : undefined
  return along.map((axis, i) => {
    const extent = shape[axis] ?? 1
    const isFitted = sizes !== undefined && common !== undefined
    const scale = isFitted ? common : (ratios[i] ?? 1)
    const size =
      sizes === undefined ? Math.floor(extent * scale + 1e-9) : isFitted ? Math.round(extent * scale) : (sizes[i] ?? 1)
    if (!(size >= 1 && scale > 0)) throw node.refused(`resizes an axis of ${extent} to ${size}`)
    return { axis, extent, size, scale, start: roi?.[i] ?? 0, end: roi?.[along.length + i] ?? 1 }
  })
}

const rounding: Readonly<Record<string, (position: number) => number>> = {
  round_prefer_floor: (position) => Math.ceil(position - 0.5),
  round_prefer_ceil: (position) => Math.floor(position + 0.5),
  floor: Math.floor,
  ceil: Math.ceil,
}

const resize: Handler = (node) => {
  const value = node.value()
  const isOld = node.node.operator === 'Upsample' || node.opset < 11
  const mode = node.text('mode', 'nearest')
  const coordinates = node.text('coordinate_transformation_mode', isOld ? 'asymmetric' : 'half_pixel') as Coordinates
  const nearestMode = node.text('nearest_mode', isOld ? 'floor' : 'round_prefer_floor')
  const round = rounding[nearestMode]
  const isCrop = coordinates === 'tf_crop_and_resize'
  const changed = targets(node, value).filter(({ extent, size, scale }) => isCrop || extent !== size || scale !== 1)
  if (isCrop && changed.some(({ start, end }) => start < 0 || end > 1)) throw node.refused('crops beyond its input')
  const whole = wholeFactors(node, value, changed, mode === 'nearest' ? nearestMode : mode, coordinates)
  if (whole !== undefined) return whole
  if (mode === 'nearest') {
    if (round === undefined) throw node.refused(`has nearest_mode ${nearestMode}`)
    return changed.reduce((one: Value, target) => {
      const positions = Array.from({ length: target.size }, (_, i) => {
        const position = round(sourcePosition(i, target.extent, { ...target, coordinates }))
        return Math.min(Math.max(position, 0), target.extent - 1)
      })
      return taken(node, one, target.axis, positions)
    }, value)
  }
  if (mode !== 'linear' && mode !== 'cubic') throw node.refused(`has mode ${mode}`)
  return changed.reduce((one: Value, { axis, size, scale, start, end }) => {
    const { value: alone, at } = node.builder.isolated(one, axis, node.name)
    const settings = {
      ...{ axis: at + 1, size, scale, kind: mode, coordinates },
      ...(mode === 'cubic' ? { cubic: node.number('cubic_coeff_a', -0.75) } : {}),
      ...(node.number('exclude_outside', 0) === 0 ? {} : { excludeOutside: true }),
      ...(node.number('antialias', 0) === 0 ? {} : { antialias: true }),
      ...(isCrop ? { start, end } : {}),
    }
    const place = node.operation('interpolate', [alone.place], { attributes: settings })
    const own = node.builder.partsAt(place)[at] ?? part(1)
    return {
      ...{ kind: 'value', place },
      stored: alone.stored.map((group, i) => (i === at ? [own] : group)),
      axes: alone.axes.map((parts, i) => (i === axis ? [own] : parts)),
    }
  }, value)
}

/**
 * Keras' `UpSampling2D`, if the positions of images grow by whole factors and pixels lie as there. `mode` is 'linear', 'cubic', or
 * how the nearest pixel is found.
 */
function wholeFactors(
  node: Call,
  value: Value,
  changed: readonly Target[],
  mode: string,
  coordinates: Coordinates,
): Value | undefined {
  const isHalf =
    coordinates === 'half_pixel' || coordinates === 'half_pixel_symmetric' || coordinates === 'pytorch_half_pixel'
  const repeats = (coordinates === 'asymmetric' && mode === 'floor') || (isHalf && mode.startsWith('round'))
  const isImage = value.axes.length === 4 && changed.every(({ axis }) => axis >= 2)
  const isWhole = changed.every(({ extent, size, scale }) => scale >= 2 && scale % 1 === 0 && size === scale * extent)
  if (changed.length === 0 || !isImage || !isWhole || node.number('antialias', 0) !== 0) return undefined
  if (!repeats && !(mode === 'linear' && isHalf)) return undefined
  const factor = (axis: number): number => changed.find((one) => one.axis === axis)?.scale ?? 1
  const image = imageOf(node, value)
  const layer = layers.upSampling2d(node.builder.freeName(node.name), {
    size: [factor(2), factor(3)],
    interpolation: repeats ? 'nearest' : 'bilinear',
  })
  return imageValue(node, node.builder.add(layer, [image.place]), image)
}

export const resizingOperators: Readonly<Record<string, Handler>> = { Resize: resize, Upsample: resize }
