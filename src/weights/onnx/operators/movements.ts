/** Operators that move numbers. Reshapes and transposes only change where the axes are said to be. */

import * as layers from '../../../nn/layers.ts'
import type { Pair } from '../../../operators/window.ts'
import { combined } from '../broadcast.ts'
import { known } from '../constant.ts'
import type { Call, Handler } from '../node.ts'
import { extentOf, type Operand, type Part, part, shapeOf, type Value } from '../value.ts'

const isWhole = (extent: number): boolean => Number.isSafeInteger(extent)

/** 0 keeps an extent, -1 is computed. */
const reshape: Handler = (node) => {
  const value = node.value()
  const given = node.integers(1, 'shape')
  if (given === undefined) throw node.refused('has no shape')
  const own = shapeOf(value)
  const keepsZero = node.number('allowzero', 0) !== 0
  const shape = given.map((extent, i) => (extent === 0 && !keepsZero ? (own[i] ?? 0) : extent))
  const all = own.reduce((product, extent) => product * extent, 1)
  const rest = shape.reduce((product, extent) => (extent === -1 ? product : product * extent), 1)
  const whole = shape.map((extent) => (extent === -1 ? all / rest : extent))
  const isShape = whole.every((extent) => isWhole(extent) && extent >= 1)
  if (!isShape || whole.reduce((product, extent) => product * extent, 1) !== all)
    throw node.refused(`reshapes [${own}] to [${given}]`)
  return node.builder.reshaped(value, whole, node.name)
}

const flatten: Handler = (node) => {
  const value = node.value()
  const shape = shapeOf(value)
  const given = node.number('axis', 1)
  const axis = given < 0 ? given + shape.length : given
  const count = (extents: readonly number[]): number => extents.reduce((product, extent) => product * extent, 1)
  return node.builder.reshaped(value, [count(shape.slice(0, axis)), count(shape.slice(axis))], node.name)
}

const transpose: Handler = (node) => {
  const value = node.value()
  const permutation = node.list('perm') ?? value.axes.map((_, i) => i).reverse()
  const isPermutation = value.axes.every((_, i) => permutation.includes(i)) && permutation.length === value.axes.length
  if (!isPermutation) throw node.refused(`has perm [${permutation}]`)
  return { ...value, axes: permutation.map((axis) => value.axes[axis] ?? []) }
}

const squeeze: Handler = (node) => {
  const value = node.value()
  const rank = value.axes.length
  const given = node.integers(1, 'axes')?.map((axis) => node.axis(axis, rank))
  const goes = (axis: readonly Part[], i: number): boolean => given?.includes(i) ?? extentOf(axis) === 1
  if (given?.some((i) => extentOf(value.axes[i] ?? []) !== 1))
    throw node.refused(`removes axes [${given}] of [${shapeOf(value)}]`)
  return { ...value, axes: value.axes.filter((axis, i) => !goes(axis, i)) }
}

const unsqueeze: Handler = (node) => {
  const value = node.value()
  const given = node.integers(1, 'axes') ?? []
  const rank = value.axes.length + given.length
  const added = given.map((axis) => node.axis(axis, rank))
  if (new Set(added).size !== added.length) throw node.refused(`has axes [${given}]`)
  const old = value.axes.values()
  return { ...value, axes: Array.from({ length: rank }, (_, i) => (added.includes(i) ? [] : (old.next().value ?? []))) }
}

const concat: Handler = (node) => {
  const { operands, builder } = node
  const rank = Math.max(...operands.map((one) => shapeOf(one).length))
  const axis = node.axis(node.number('axis', 0), rank)
  const parts = operands
    .filter((one) => !shapeOf(one).includes(0))
    .map((one) => (one.kind === 'value' ? asPart(node, one, axis) : one))
  const [only] = parts
  if (parts.length === 1 && only !== undefined) return only
  const together = combined(builder, parts, node.name, axis)
  const value = together.result(-1)
  const slot = value.axes[axis]?.[0]
  const at = value.stored.findIndex((group) => slot !== undefined && group.includes(slot))
  if (at < 0) throw node.refused('joins the examples')
  const inputs = together.operands.filter((one) => typeof one === 'number')
  if (inputs.length === parts.length) {
    const layer = layers.concatenate(builder.freeName(node.name), { axis: at + 1 })
    return joined(value, builder.add(layer, inputs), axis, at, builder.partsAt.bind(builder))
  }
  // Constants repeat for each example and along axes of extent 1.
  const shape = inputs[0] === undefined ? [] : builder.shapeAt(inputs[0])
  const constants = together.operands
    .filter((one) => typeof one !== 'number')
    .map((one) => {
      const own = [...shape.slice(one.shape.length).map(() => 1), ...one.shape]
      if (own.some((extent, i) => i !== at && extent !== shape[i])) throw node.refused('joins a constant that repeats')
      return { ...one, shape: own }
    })
  const nextConstant = constants.values()
  const described = together.operands.map((one) => {
    if (typeof one === 'number') return null
    const constant = nextConstant.next().value
    return { shape: constant?.shape ?? [], ...(constant?.name === undefined ? { trainable: false } : {}) }
  })
  const place = node.operation('concatenate', inputs, { attributes: { axis: at + 1 }, operands: described }, constants)
  return joined(value, place, axis, at, builder.partsAt.bind(builder))
}

/** The value with one part along an axis. */
function asPart(node: Call, value: Value, axis: number): Value {
  return node.builder.isolated(value, axis, node.name).value
}

function joined(
  value: Value,
  place: number,
  axis: number,
  at: number,
  partsAt: (place: number) => readonly Part[],
): Value {
  const own = partsAt(place)[at] ?? part(1)
  return {
    ...{ kind: 'value', place },
    stored: value.stored.map((group, i) => (i === at ? [own] : group)),
    axes: value.axes.map((parts, i) => (i === axis ? [own] : parts)),
  }
}

/** The positions of an axis: a slice if they follow each other. */
export function taken(node: Call, given: Value, axis: number, indices: readonly number[]): Value {
  const extent = extentOf(given.axes[axis] ?? [])
  if (indices.length === extent && indices.every((position, i) => position === i)) return given
  if (indices.length === 0) throw node.refused('gives an empty tensor')
  if (indices.some((position) => !(position >= 0 && position < extent)))
    throw node.refused(`takes a position outside an axis of ${extent}`)
  const { value, at } = node.builder.isolated(given, axis, node.name)
  const shape = node.builder.shapeAt(value.place)
  const [start = 0] = indices
  const isRun = indices.every((position, i) => position === start + i)
  const begin = [0, ...shape.map((_, i) => (i === at ? start : 0))]
  const size = [-1, ...shape.map((all, i) => (i === at ? indices.length : all))]
  const place = isRun
    ? node.operation('slice', [value.place], { attributes: { begin, size } })
    : node.operation('take', [value.place], { attributes: { axis: at + 1, indices: [...indices] } })
  return joined(value, place, axis, at, node.builder.partsAt.bind(node.builder))
}

const split: Handler = (node) => {
  const value = node.value()
  const axis = node.axis(node.number('axis', 0), value.axes.length)
  const extent = shapeOf(value)[axis] ?? 0
  const count = node.number('num_outputs', node.node.outputs.length)
  const share = Math.ceil(extent / count)
  const sizes =
    node.integers(1, 'split') ?? Array.from({ length: count }, (_, i) => Math.min(share, extent - i * share))
  if (sizes.reduce((sum, size) => sum + size, 0) !== extent) throw node.refused(`splits ${extent} into [${sizes}]`)
  if (sizes.length === 1) return value
  let start = 0
  return sizes.map((size) => {
    const indices = Array.from({ length: size }, (_, i) => start + i)
    start += size
    return taken(node, value, axis, indices)
  })
}

/** Positions from `start` to before `end`; negative ones count from the end. */
export function slicePositions(extent: number, start: number, end: number, step: number): number[] {
  const from = start < 0 ? start + extent : start
  const to = end < 0 ? end + extent : end
  const [low, high] = step > 0 ? [0, extent] : [-1, extent - 1]
  const clamped = (position: number, least: number): number => Math.min(Math.max(position, least), high)
  const positions: number[] = []
  if (step > 0) for (let i = clamped(from, low); i < clamped(to, low); i += step) positions.push(i)
  // Towards the front: -1 stands before the first position.
  if (step < 0) for (let i = clamped(from, 0); i > clamped(to, low); i += step) positions.push(i)
  return positions
}

const slice: Handler = (node) => {
  const value = node.value()
  const [starts, ends] = [node.integers(1, 'starts') ?? [], node.integers(2, 'ends') ?? []]
  const axes = node.integers(3, 'axes') ?? starts.map((_, i) => i)
  const steps = node.integers(4) ?? starts.map(() => 1)
  return axes.reduce((one: Value, given, i) => {
    const axis = node.axis(given, value.axes.length)
    const step = steps[i] ?? 1
    if (!Number.isInteger(step) || step === 0) throw node.refused(`has steps [${steps}]`)
    const extent = shapeOf(one)[axis] ?? 0
    return taken(node, one, axis, slicePositions(extent, starts[i] ?? 0, ends[i] ?? 0, step))
  }, value)
}

const gather: Handler = (node) => {
  const value = node.value()
  const axis = node.axis(node.number('axis', 0), value.axes.length)
  const indices = node.needed(1)
  const extent = shapeOf(value)[axis] ?? 0
  const positions = [...indices.read()].map((i) => (i < 0 ? i + extent : i))
  const result = taken(node, value, axis, positions)
  if (indices.shape.length === 1) return result
  const shape = [...shapeOf(result).slice(0, axis), ...indices.shape, ...shapeOf(result).slice(axis + 1)]
  return node.builder.reshaped(result, shape, node.name)
}

/** Zeros around images are Keras' layer; numbers elsewhere, and other modes, are operations. */
const pad: Handler = (node) => {
  const value = node.value()
  const rank = value.axes.length
  const given = node.integers(1, 'pads') ?? []
  const along = node.integers(3)?.map((axis) => node.axis(axis, rank)) ?? value.axes.map((_, i) => i)
  if (given.length !== 2 * along.length || !given.every(isWhole)) throw node.refused(`has pads [${given}]`)
  const pads = along.map((axis, i) => ({ axis, before: given[i] ?? 0, after: given[along.length + i] ?? 0 }))
  const mode = node.text('mode', 'constant')
  if (!['constant', 'reflect', 'edge', 'wrap'].includes(mode)) throw node.refused(`has mode ${mode}`)
  const filling = node.constant(2)
  const number = filling === undefined ? node.number('value', 0) : (filling.read()[0] ?? 0)
  // Negative pads cut.
  const cut = pads.reduce((one: Value, { axis, before, after }) => {
    if (before >= 0 && after >= 0) return one
    const extent = shapeOf(one)[axis] ?? 0
    const positions = Array.from({ length: extent }, (_, i) => i)
    return taken(node, one, axis, positions.slice(Math.max(0, -before), extent + Math.min(0, after)))
  }, value)
  const growing = pads.filter(({ before, after }) => before > 0 || after > 0)
  if (mode === 'constant') return growing.length === 0 ? cut : padded(node, cut, growing, number)
  return growing.reduce((one: Value, { axis, before, after }) => {
    const extent = shapeOf(one)[axis] ?? 0
    const positions = Array.from({ length: Math.max(0, before) + extent + Math.max(0, after) }, (_, i) =>
      beyond(i - Math.max(0, before), extent, mode),
    )
    return taken(node, one, axis, positions)
  }, cut)
}

/** The position that a position outside stands for. */
function beyond(position: number, extent: number, mode: string): number {
  if (mode === 'edge') return Math.min(Math.max(position, 0), extent - 1)
  const period = mode === 'wrap' ? extent : Math.max(1, 2 * (extent - 1))
  const within = ((position % period) + period) % period
  return within < extent ? within : period - within
}

function padded(
  node: Call,
  given: Value,
  pads: readonly { readonly axis: number; readonly before: number; readonly after: number }[],
  number: number,
): Value {
  const { builder } = node
  const image = pads.every(({ axis }) => axis === 2 || axis === 3) && given.axes.length === 4 && number === 0
  if (image) {
    const [front = [], channels = [], height = [], width = []] = given.axes
    if (!channels.includes(builder.batch) && extentOf(front.filter((one) => one !== builder.batch)) === 1) {
      const place = builder.arranged(given, [height, width, channels], node.name)
      const sides = [2, 3].map((axis): Pair => {
        const found = pads.find((one) => one.axis === axis)
        return [Math.max(0, found?.before ?? 0), Math.max(0, found?.after ?? 0)]
      })
      const [vertical = [0, 0], horizontal = [0, 0]] = sides
      const layer = layers.zeroPadding2d(builder.freeName(node.name), [vertical, horizontal])
      const larger = builder.add(layer, [place])
      const [h = part(1), w = part(1)] = builder.partsAt(larger)
      return { kind: 'value', place: larger, stored: [[h], [w], channels], axes: [front, channels, [h], [w]] }
    }
  }
  return pads.reduce((one: Value, { axis, before, after }) => {
    const { value, at } = builder.isolated(one, axis, node.name)
    const paddings = [
      [0, 0],
      ...value.stored.map((_, i) => (i === at ? [Math.max(0, before), Math.max(0, after)] : [0, 0])),
    ]
    const place = node.operation('pad', [value.place], { attributes: { paddings, value: number } })
    return joined(value, place, axis, at, builder.partsAt.bind(builder))
  }, given)
}

/** Repeats extents of 1. */
const expand: Handler = (node) => {
  const value = node.value()
  const shape = node.needed(1)
  const own = shapeOf(value)
  const wanted = [...shape.read()]
  const rank = Math.max(own.length, wanted.length)
  const grown = Array.from({ length: rank }, (_, i) => {
    const [a = 1, b = 1] = [own[i - rank + own.length], wanted[i - rank + wanted.length]]
    return a === 1 ? b : a
  })
  if (grown.every((extent, i) => extent === (own[i - rank + own.length] ?? 1)))
    return { ...value, axes: [...grown.slice(own.length).map(() => []), ...value.axes] }
  const ones = known(
    new Float32Array(grown.reduce((all, extent) => all * (extent === node.builder.batch.extent ? 1 : extent), 1)).fill(
      1,
    ),
    grown.map((extent) => (extent === node.builder.batch.extent ? 1 : extent)),
    'float',
  )
  return node.broadcast('mul', [value, ones])
}

const tile: Handler = (node) => {
  const value = node.value()
  return [...node.needed(1).read()].reduce((one: Value, count, axis) => {
    const extent = shapeOf(one)[axis] ?? 0
    return count === 1
      ? one
      : taken(
          node,
          one,
          axis,
          Array.from({ length: extent * count }, (_, i) => i % extent),
        )
  }, value)
}

/** Blocks of channels become pixels, or pixels channels. */
function blocks(toSpace: boolean): Handler {
  return (node) => {
    const value = node.value()
    const [examples = 1, channels = 1, height = 1, width = 1] = shapeOf(value)
    const size = node.number('blocksize', 1)
    const { builder } = node
    const through = (inner: readonly number[], order: readonly number[], outer: readonly number[]): Operand => {
      const apart = builder.reshaped(value, inner, node.name)
      return builder.reshaped({ ...apart, axes: order.map((axis) => apart.axes[axis] ?? []) }, outer, node.name)
    }
    const rest = channels / size ** 2
    if (!toSpace) {
      const [down, across] = [height / size, width / size]
      if (!isWhole(down) || !isWhole(across)) throw node.refused(`has blocks of ${size}`)
      return through(
        [examples, channels, down, size, across, size],
        node.text('mode', 'DCR') === 'DCR' ? [0, 3, 5, 1, 2, 4] : [0, 1, 3, 5, 2, 4],
        [examples, channels * size ** 2, down, across],
      )
    }
    if (!isWhole(rest)) throw node.refused(`has blocks of ${size}`)
    const outer = [examples, rest, height * size, width * size]
    if (node.text('mode', 'DCR') === 'DCR')
      return through([examples, size, size, rest, height, width], [0, 3, 4, 1, 5, 2], outer)
    return through([examples, rest, size, size, height, width], [0, 1, 4, 2, 5, 3], outer)
  }
}

export const movementOperators: Readonly<Record<string, Handler>> = {
  Concat: concat,
  DepthToSpace: blocks(true),
  Expand: expand,
  Flatten: flatten,
  Gather: gather,
  Pad: pad,
  Reshape: reshape,
  Slice: slice,
  SpaceToDepth: blocks(false),
  Split: split,
  Squeeze: squeeze,
  Tile: tile,
  Transpose: transpose,
  Unsqueeze: unsqueeze,
}
