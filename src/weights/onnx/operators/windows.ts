/** Convolutions and pools: windows that slide over images, [examples, channels, height, width], or over one axis. */

import type { Shape } from '../../../graph/node.ts'
import * as layers from '../../../nn/layers.ts'
import type { ExplicitPadding, Pair } from '../../../operators/window.ts'
import { type Constant, known, reshaped, transposed } from '../constant.ts'
import type { Call, Handler } from '../node.ts'
import { extentOf, type Part, part, type Value } from '../value.ts'

/** A value of images as a layer takes it: [height, width, channels]. One axis is an image of one row. */
interface Image {
  readonly place: number
  readonly height: number
  readonly width: number
  readonly channels: number
  readonly isRow: boolean
  /** What lies before the channels: the examples. */
  readonly front: readonly Part[]
}

/** Throws 'mismatch' for anything but images or rows, each of one example. */
export function imageOf(node: Call, value: Value): Image {
  const { builder } = node
  const [front = [], channels = [], ...spatial] = value.axes
  const others = front.filter((one) => one !== builder.batch)
  if (spatial.length < 1 || spatial.length > 2)
    throw node.refused(`has ${spatial.length} axes of positions, and weftgrad has one or two`)
  if (extentOf(others) !== 1 || value.axes.slice(1).flat().includes(builder.batch))
    throw node.refused('works along the examples')
  const [height, width] = spatial.length === 1 ? [[], spatial[0] ?? []] : [spatial[0] ?? [], spatial[1] ?? []]
  const place = builder.arranged(value, [height, width, channels], node.name)
  const extents = { height: extentOf(height), width: extentOf(width), channels: extentOf(channels) }
  return { place, ...extents, isRow: spatial.length === 1, front }
}

/** The output of a layer of images, as the graph's [examples, channels, ...positions]. */
export function imageValue(node: Call, place: number, { isRow, front }: Pick<Image, 'isRow' | 'front'>): Value {
  const [height = 1, width = 1, channels = 1] = node.builder.shapeAt(place)
  const [h, w, c] = [part(height), part(width), part(channels)]
  return { kind: 'value', place, stored: [[h], [w], [c]], axes: [front, [c], ...(isRow ? [] : [[h]]), [w]] }
}

/** A window's movement, for both directions. */
interface Movement {
  readonly strides: Pair
  readonly dilationRate: Pair
  readonly padding: 'valid' | ExplicitPadding
}

const pairOf = (
  node: Call,
  name: string,
  list: readonly number[] | undefined,
  isRow: boolean,
  absent: number,
): Pair => {
  const given = list ?? (isRow ? [absent] : [absent, absent])
  const [a, b] = isRow ? [absent, given[0]] : given
  const isWhole = given.length === (isRow ? 1 : 2) && given.every((n) => Number.isInteger(n) && n >= absent)
  if (!isWhole || a === undefined || b === undefined) throw node.refused(`has ${name} [${given}]`)
  return [a, b]
}

/** The padding that `auto_pad` or `pads` asks for; with `ceil_mode`, as much more at the end as a last, partial window takes. */
function movement(node: Call, image: Image, kernel: Pair): Movement {
  const { isRow } = image
  const strides = pairOf(node, 'strides', node.list('strides'), isRow, 1)
  const dilationRate = pairOf(node, 'dilations', node.list('dilations'), isRow, 1)
  const extents = [image.height, image.width] as const
  const padding = explicitPads(node, isRow)
  const auto = node.text('auto_pad', 'NOTSET')
  const isCeiled = node.number('ceil_mode', 0) !== 0
  const sides = ([0, 1] as const).map((side): Pair => {
    const reach = (kernel[side] - 1) * dilationRate[side] + 1
    const [extent, stride] = [extents[side], strides[side]]
    if (auto === 'SAME_UPPER' || auto === 'SAME_LOWER') {
      const total = Math.max(0, (Math.ceil(extent / stride) - 1) * stride + reach - extent)
      const less = Math.floor(total / 2)
      return auto === 'SAME_UPPER' ? [less, total - less] : [total - less, less]
    }
    const [before, after] = auto === 'VALID' ? [0, 0] : padding[side]
    if (!isCeiled) return [before, after]
    let count = Math.ceil((extent + before + after - reach) / stride) + 1
    // A window that begins in the padding at the end is left out.
    if ((count - 1) * stride >= extent + before) count -= 1
    return [before, Math.max(after, (count - 1) * stride + reach - extent - before)]
  })
  const [vertical = [0, 0], horizontal = [0, 0]] = sides
  const isValid = [...vertical, ...horizontal].every((pixels) => pixels === 0)
  return { strides, dilationRate, padding: isValid ? 'valid' : [vertical, horizontal] }
}

function explicitPads(node: Call, isRow: boolean): ExplicitPadding {
  const pads = node.list('pads') ?? (isRow ? [0, 0] : [0, 0, 0, 0])
  const isWhole = pads.length === (isRow ? 2 : 4) && pads.every((n) => Number.isInteger(n) && n >= 0)
  const [a = 0, b = 0, c = 0, d = 0] = pads
  if (!isWhole) throw node.refused(`has pads [${pads}]`)
  return isRow
    ? [
        [0, 0],
        [a, b],
      ]
    : [
        [a, c],
        [b, d],
      ]
}

/** A kernel of one axis as one of images of one row. */
const asImageKernel = (kernel: Constant): Constant =>
  kernel.shape.length === 3 ? reshaped(kernel, [...kernel.shape.slice(0, 2), 1, ...kernel.shape.slice(2)]) : kernel

function kernelOf(node: Call): {
  readonly kernel: Constant
  readonly shape: readonly [number, number, number, number]
} {
  const kernel = asImageKernel(node.needed(1))
  const [a, b, height, width] = kernel.shape
  if (kernel.shape.length !== 4 || a === undefined || b === undefined || height === undefined || width === undefined)
    throw node.refused(`has a kernel of ${node.needed(1).shape.length} axes`)
  return { kernel, shape: [a, b, height, width] }
}

const conv: Handler = (node) => {
  const image = imageOf(node, node.value())
  const { kernel, shape } = kernelOf(node)
  const [filters, inGroup, height, width] = shape
  const groups = node.number('group', 1)
  if (inGroup * groups !== image.channels)
    throw node.refused(`has a kernel for other channels than its input's ${image.channels}`)
  const rank = image.isRow ? 3 : 4
  const following = node.constant(2) === undefined ? node.followingBias(filters, 1, rank) : undefined
  const bias = node.constant(2) ?? following?.bias
  const options = { ...movement(node, image, [height, width]), useBias: bias !== undefined }
  const name = node.builder.freeName(node.name)
  const isDepthwise = groups === image.channels && groups > 1
  const layer = isDepthwise
    ? layers.depthwiseConv2d(name, [height, width], { ...options, depthMultiplier: filters / groups })
    : layers.conv2d(name, filters, [height, width], { ...options, ...(groups === 1 ? {} : { groups }) })
  const ordered = isDepthwise
    ? transposed(reshaped(kernel, [groups, filters / groups, height, width]), [2, 3, 0, 1])
    : transposed(kernel, [2, 3, 1, 0])
  const place = node.builder.add(layer, [image.place], bias === undefined ? [ordered] : [ordered, bias])
  const value = imageValue(node, place, image)
  if (following !== undefined) node.taken.set(following.output, value)
  return value
}

const convTranspose: Handler = (node) => {
  const image = imageOf(node, node.value())
  const { kernel, shape } = kernelOf(node)
  const [, filters, ...size] = shape
  if (node.number('group', 1) !== 1) throw node.refused('has groups, which weftgrad lacks')
  const { isRow } = image
  const strides = pairOf(node, 'strides', node.list('strides'), isRow, 1)
  const dilationRate = pairOf(node, 'dilations', node.list('dilations'), isRow, 1)
  const extra = pairOf(node, 'output_padding', node.list('output_padding'), isRow, 0)
  const wanted = node.list('output_shape')
  const auto = node.text('auto_pad', 'NOTSET')
  const pads = explicitPads(node, isRow)
  const extents = [image.height, image.width] as const
  const beyond: number[] = []
  const sides = ([0, 1] as const).map((side): Pair => {
    const [extent, stride] = [extents[side], strides[side]]
    const reach = ((size[side] ?? 1) - 1) * dilationRate[side] + 1
    const full = (extent - 1) * stride + reach + extra[side]
    const given = isRow && side === 0 ? undefined : wanted?.[isRow ? 0 : side]
    const isSame = auto === 'SAME_UPPER' || auto === 'SAME_LOWER'
    const target = given ?? (isSame ? extent * stride : undefined)
    const total = full - (target ?? full)
    const half = auto === 'SAME_UPPER' ? Math.floor(total / 2) : Math.ceil(total / 2)
    const [before, after] = target === undefined ? pads[side] : [half, total - half]
    // What the layer computes has extent * stride rows, and more if windows overlap.
    const surplus = extent * stride + Math.max(reach - stride, 0) - before - (full - before - after)
    beyond.push(Math.max(0, -surplus))
    return [before, Math.max(0, surplus)]
  })
  const [vertical = [0, 0], horizontal = [0, 0]] = sides
  const bias = node.constant(2)
  const [down = 0, across = 0] = beyond
  const isBeyond = down > 0 || across > 0
  const layer = layers.conv2dTranspose(node.builder.freeName(node.name), filters, [size[0] ?? 1, size[1] ?? 1], {
    ...{ strides, dilationRate, padding: [vertical, horizontal], useBias: bias !== undefined && !isBeyond },
  })
  const ordered = transposed(kernel, [2, 3, 1, 0])
  const weights = bias === undefined || isBeyond ? [ordered] : [ordered, bias]
  const place = node.builder.add(layer, [image.place], weights)
  if (!isBeyond) return imageValue(node, place, image)
  // Pixels that no window reaches have the bias alone.
  const sidesBeyond = [
    [0, down],
    [0, across],
  ] as const
  const padding = layers.zeroPadding2d(node.builder.freeName(`${node.name}_padding`), sidesBeyond)
  const value = imageValue(node, node.builder.add(padding, [place]), image)
  return bias === undefined
    ? value
    : node.broadcast('add', [value, reshaped(bias, [filters, ...(image.isRow ? [1] : [1, 1])])])
}

function poolOf(node: Call) {
  const image = imageOf(node, node.value())
  const poolSize = pairOf(node, 'kernel_shape', node.list('kernel_shape'), image.isRow, 1)
  return { image, poolSize, ...movement(node, image, poolSize) }
}

const maxPool: Handler = (node) => {
  if (node.node.outputs.length > 1 && node.node.outputs[1] !== '') throw node.refused('gives positions of maxima, too')
  const { image, poolSize, strides, padding, dilationRate } = poolOf(node)
  const options = { poolSize, strides, padding }
  const isDilated = dilationRate.some((rate, side) => rate > 1 && (poolSize[side] ?? 1) > 1)
  const place = isDilated
    ? node.operation('maxPool', [image.place], { attributes: { ...options, dilationRate } })
    : node.builder.add(layers.maxPooling2d(node.builder.freeName(node.name), options), [image.place])
  return imageValue(node, place, image)
}

const averagePool: Handler = (node) => {
  const { image, poolSize, strides, padding, dilationRate } = poolOf(node)
  if (dilationRate.some((rate, side) => rate > 1 && (poolSize[side] ?? 1) > 1)) throw node.refused('has dilations')
  const { builder } = node
  const pool = (place: number, sides: 'valid' | ExplicitPadding): number =>
    builder.add(layers.averagePooling2d(builder.freeName(node.name), { poolSize, strides, padding: sides }), [place])
  if (padding === 'valid' || node.number('count_include_pad', 0) === 0)
    return imageValue(node, pool(image.place, padding), image)
  // Zeros count, but not those that only a last, partial window adds: each mean is scaled by what its window counts.
  const padded = builder.add(layers.zeroPadding2d(builder.freeName(`${node.name}_padding`), padding), [image.place])
  const place = pool(padded, 'valid')
  const value = imageValue(node, place, image)
  const stated = explicitPads(node, image.isRow)
  const counts = ([0, 1] as const).map((side) => {
    const end =
      (side === 0 ? image.height : image.width) +
      padding[side][0] +
      (node.number('ceil_mode', 0) === 0 ? padding[side][1] : stated[side][1])
    return Array.from({ length: builder.shapeAt(place)[side] ?? 1 }, (_, i) =>
      Math.min(poolSize[side], end - i * strides[side]),
    )
  })
  const [down = [], across = []] = counts
  const scale = down.flatMap((h) => across.map((w) => (poolSize[0] * poolSize[1]) / (h * w)))
  if (scale.every((one) => one === 1)) return value
  return node.broadcast('mul', [
    value,
    known(scale, image.isRow ? [across.length] : [down.length, across.length], 'float'),
  ])
}

const globalPool =
  (make: (name: string) => ReturnType<typeof layers.globalAveragePooling2d>): Handler =>
  (node) => {
    const image = imageOf(node, node.value())
    const place = node.builder.add(make(node.builder.freeName(node.name)), [image.place])
    const channels = part(image.channels)
    const axes = [image.front, [channels], ...(image.isRow ? [[]] : [[], []])]
    return { kind: 'value', place, stored: [[channels]], axes }
  }

/** A band matrix sums the squares of neighbouring channels (Krizhevsky et al. 2012). */
const localResponse: Handler = (node) => {
  const image = imageOf(node, node.value())
  const [size, bias] = [node.number('size', 1), node.number('bias', 1)]
  const [alpha, beta] = [node.number('alpha', 1e-4), node.number('beta', 0.75)]
  const { channels } = image
  const band = Array.from({ length: channels * channels }, (_, i) => {
    const distance = Math.floor(i / channels) - (i % channels)
    return distance <= Math.ceil((size - 1) / 2) && -distance <= Math.floor((size - 1) / 2) ? alpha / size : 0
  })
  const squares = node.operation('square', [image.place])
  const weight = known(band, [channels, channels], 'float')
  const operands = [null, { shape: weight.shape as Shape, trainable: false }]
  const sums = node.operation('matmul', [squares], { operands }, [weight])
  const shifted = node.operation('add', [sums], { operands: [null, bias] })
  const powers = node.operation('pow', [shifted], { operands: [null, beta] })
  return imageValue(node, node.operation('div', [image.place, powers]), image)
}

export const windowOperators: Readonly<Record<string, Handler>> = {
  AveragePool: averagePool,
  Conv: conv,
  ConvTranspose: convTranspose,
  GlobalAveragePool: globalPool((name) => layers.globalAveragePooling2d(name)),
  GlobalMaxPool: globalPool((name) => layers.globalMaxPooling2d(name)),
  LRN: localResponse,
  MaxPool: maxPool,
}
