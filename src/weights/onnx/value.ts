/**
 * What a node of an ONNX graph takes and gives while the model is built: a constant, or the output of a layer.
 *
 * ONNX's images are [examples, channels, height, width], weftgrad's [examples, height, width, channels]. So a value says where
 * each of its axes lies. An axis consists of parts, and the layer's output has the same parts in an order of its own. Reshaping
 * splits and joins parts, transposing reorders axes; neither needs a layer. A layer that rearranges numbers is added only where
 * an operator needs another order.
 *
 * The examples are a part of their own, which is always the first axis of a layer's output. It may be within any axis of the
 * value, or in none: in a graph for one example, which drops that axis, each example is computed as if it were alone.
 */

import type { Constant } from './constant.ts'

/** A part of an axis. Two parts of the same extent are different ones. */
export interface Part {
  readonly extent: number
}

/** The output of a layer, seen as a tensor of the graph. */
export interface Value {
  readonly kind: 'value'
  /** The layer's index; -1 is the model's input. */
  readonly place: number
  /** The parts of each axis of the layer's output, without the examples. */
  readonly stored: readonly (readonly Part[])[]
  /** The parts of each of the tensor's axes. */
  readonly axes: readonly (readonly Part[])[]
}

export type Operand = Value | Constant

export const part = (extent: number): Part => ({ extent })

/** The number of positions. */
export const extentOf = (parts: readonly Part[]): number => parts.reduce((product, { extent }) => product * extent, 1)

export const shapeOf = (operand: Operand): readonly number[] =>
  operand.kind === 'constant' ? operand.shape : operand.axes.map(extentOf)

/** The value with parts replaced by others, which stand for the same numbers. */
function replaced(value: Value, by: ReadonlyMap<Part, readonly Part[]>): Value {
  const inAxis = (parts: readonly Part[]): readonly Part[] => parts.flatMap((one) => by.get(one) ?? [one])
  return { ...value, stored: value.stored.map(inAxis), axes: value.axes.map(inAxis) }
}

/**
 * The axes of a row-major reshape, as parts: neighbours joined, and split where that comes out even. Undefined if the numbers
 * must be rearranged first.
 */
export function reshapedAxes(value: Value, shape: readonly number[], batch: Part): Value | undefined {
  const isOpen = (one: Part): boolean => one === batch || one.extent !== 1
  const queue = value.axes.flat().filter(isOpen)
  const splits = new Map<Part, readonly Part[]>()
  const axes: Part[][] = []
  for (const extent of shape) {
    const axis: Part[] = []
    let missing = extent
    // Examples of a graph for one example are an axis of extent 1: they take the first that there is.
    while (missing > 1 || (axis.length === 0 && queue[0]?.extent === 1)) {
      const next = queue.shift()
      if (next === undefined) return undefined
      if (missing % next.extent === 0) {
        axis.push(next)
        missing /= next.extent
        continue
      }
      if (next === batch || next.extent % missing !== 0) return undefined
      const pieces = [part(missing), part(next.extent / missing)] as const
      const whole = [...splits].find(([, parts]) => parts.includes(next))
      if (whole === undefined) splits.set(next, pieces)
      else
        splits.set(
          whole[0],
          whole[1].flatMap((one) => (one === next ? pieces : [one])),
        )
      axis.push(pieces[0])
      queue.unshift(pieces[1])
      missing = 1
    }
    axes.push(axis)
  }
  if (queue.some((one) => one.extent !== 1)) return undefined
  return { ...replaced(value, splits), axes }
}

/** Extents of parts that all these lists of parts can be split into, in order; undefined if there are none. */
export function commonFactors(lists: readonly (readonly Part[])[], batch: Part): readonly Part[] | undefined {
  const queues = lists.map((list) => list.filter((one) => one === batch || one.extent !== 1))
  const factors: Part[] = []
  while (queues.some((queue) => queue.length > 0)) {
    const firsts = queues.map(([first]) => first)
    if (firsts.includes(undefined)) return undefined
    if (firsts.some((one) => one === batch)) {
      if (!firsts.every((one) => one === batch)) return undefined
      factors.push(batch)
      for (const queue of queues) queue.shift()
      continue
    }
    const least = Math.min(...firsts.map((one) => one?.extent ?? 1))
    if (firsts.some((one) => (one?.extent ?? 1) % least !== 0)) return undefined
    factors.push(part(least))
    for (const queue of queues) {
      const rest = (queue.shift()?.extent ?? 1) / least
      if (rest > 1) queue.unshift(part(rest))
    }
  }
  return factors
}

/** The value with its parts along an axis split into these. Parts of extent 1 go. */
export function factored(value: Value, axis: number, factors: readonly Part[], batch: Part): Value {
  const splits = new Map<Part, readonly Part[]>()
  const queue = [...factors]
  for (const whole of value.axes[axis] ?? []) {
    if (whole === batch) {
      queue.shift()
      continue
    }
    const pieces: Part[] = []
    while (extentOf(pieces) < whole.extent) pieces.push(part(queue.shift()?.extent ?? whole.extent))
    if (pieces.length !== 1) splits.set(whole, pieces)
  }
  return replaced(value, splits)
}
