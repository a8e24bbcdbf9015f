/**
 * Brings the operands of an elementwise operator into one order of axes, with numpy's broadcasting: the outputs of layers by
 * rearranging them where they differ, constants by rearranging their numbers once.
 */

import { type GraphBuilder, runs } from './builder.ts'
import { type Constant, reshaped, transposed } from './constant.ts'
import { extentOf, type Operand, type Part, part, shapeOf, type Value } from './value.ts'

/** Operands in one order. */
export interface Combined {
  /** In the operands' order: the place of a layer, or a constant in the order of the layers' outputs, without the examples. */
  readonly operands: readonly (number | Constant)[]
  /** The tensor that a layer makes of them. */
  result(place: number): Value
}

/** @param except an axis along which the operands may differ; each must be one part there. */
export function combined(builder: GraphBuilder, operands: readonly Operand[], name: string, except?: number): Combined {
  const rank = Math.max(...operands.map((one) => shapeOf(one).length))
  const given = operands.filter((one): one is Value => one.kind === 'value')
  const values = builder.alike(given, rank, name, except)
  const lead = values.reduce((most, one) => (openParts(builder, one) > openParts(builder, most) ? one : most))
  const constants = operands.filter((one): one is Constant => one.kind === 'constant')
  const slots = Array.from({ length: rank }, (_, axis) => {
    const parts = [lead, ...values].map((value) => value.axes[axis] ?? [])
    const held = parts.find((list) => builder.isOpen(list))
    if (held !== undefined) return held.filter((one) => one === builder.batch || one.extent !== 1)
    if (axis === except) return [part(1)]
    const extents = constants.map(({ shape }) => shape[axis - rank + shape.length] ?? 1)
    const own = Math.max(1, ...extents)
    return own === 1 ? [] : [part(own)]
  })
  /** Each operand's part for a slot; undefined where it repeats. */
  const counterparts = values.map((value) => {
    const own = new Map<Part, Part>()
    for (const [axis, parts] of slots.entries()) {
      const held = (value.axes[axis] ?? []).filter((one) => one === builder.batch || one.extent !== 1)
      for (const [i, slot] of parts.entries()) {
        const mine = axis === except ? value.axes[axis]?.[0] : held[i]
        if (mine !== undefined && mine !== builder.batch) own.set(slot, mine)
      }
    }
    return own
  })
  const constantSlots = constants.map(({ shape }) => {
    const missing = rank - shape.length
    return new Set(slots.flatMap((parts, axis) => ((shape[axis - missing] ?? 1) === 1 ? [] : parts)))
  })
  const all = slots.flat().filter((one) => one !== builder.batch)
  const isComplete = all.every((slot) => lead.stored.flat().includes(slot))
  const groups = (isComplete ? lead.stored : all.map((slot) => [slot])).flatMap((group) =>
    runs(
      group.filter((one) => all.includes(one)),
      (slot) => [...counterparts, ...constantSlots].map((own) => own.has(slot)).join(),
    ).concat(group.some((one) => all.includes(one)) ? [] : [[]]),
  )
  const places = values.map((value, i) =>
    builder.arranged(
      value,
      groups.map((group) => group.flatMap((slot) => counterparts[i]?.get(slot) ?? [])),
      name,
    ),
  )
  const [nextPlace, nextSlots] = [places.values(), constantSlots.values()]
  return {
    operands: operands.map((operand) => {
      if (operand.kind === 'value') return nextPlace.next().value ?? -1
      const own = nextSlots.next().value ?? new Set()
      return inStoredOrder(builder, operand, slots, groups, own, name)
    }),
    result: (place) => ({ kind: 'value', place, stored: groups, axes: slots }),
  }
}

const openParts = (builder: GraphBuilder, { axes }: Value): number =>
  axes.filter((axis) => builder.isOpen(axis)).length +
  Math.log2(axes.reduce((all, axis) => all * extentOf(axis), 1)) / 100

/** A constant's numbers in the order of the layers' outputs, without leading extents of 1. */
function inStoredOrder(
  builder: GraphBuilder,
  constant: Constant,
  slots: readonly (readonly Part[])[],
  groups: readonly (readonly Part[])[],
  own: ReadonlySet<Part>,
  name: string,
): Constant {
  if (constant.countsExamples) throw builder.refused(`'${name}' computes with the number of examples`)
  const shape = [...slots.slice(constant.shape.length).map(() => 1), ...constant.shape]
  const one = withoutExamples(builder, reshaped(constant, shape), slots, name)
  const missing = slots.length - constant.shape.length
  for (const [axis, parts] of slots.entries()) {
    const extent = one.shape[axis] ?? 1
    const all = extentOf(parts.filter((slot) => slot !== builder.batch))
    if (axis >= missing && extent !== 1 && extent !== all)
      throw builder.refused(`'${name}' combines an axis of ${all} with a constant's of ${extent}`)
  }
  const parts = slots.flat().filter((slot) => slot !== builder.batch)
  const apart = reshaped(
    one,
    parts.map((slot) => (own.has(slot) ? slot.extent : 1)),
  )
  const order = groups.flat().map((slot) => parts.indexOf(slot))
  const rest = parts.map((_, i) => i).filter((i) => !order.includes(i))
  const ordered = transposed(apart, [...rest, ...order])
  const stored = groups.map((group) => extentOf(group.filter((slot) => own.has(slot))))
  const leading = stored.findIndex((extent) => extent !== 1)
  return reshaped(ordered, leading < 0 ? [] : stored.slice(leading))
}

/** The constant of one example. Throws 'mismatch' if it differs between them. */
function withoutExamples(
  builder: GraphBuilder,
  constant: Constant,
  slots: readonly (readonly Part[])[],
  name: string,
): Constant {
  const axis = slots.findIndex((parts) => parts.includes(builder.batch))
  const extent = constant.shape[axis] ?? 1
  const rest = extentOf((slots[axis] ?? []).filter((slot) => slot !== builder.batch))
  if (axis < 0 || extent === 1 || extent === rest) return constant
  const shape = constant.shape.map((all, i) => (i === axis ? rest : all))
  const numbers = constant.read()
  const size = numbers.length / (extent / rest)
  const isSame =
    constant.shape.slice(0, axis).every((all) => all === 1) && numbers.every((x, i) => x === numbers[i % size])
  if (!isSame || !Number.isInteger(size))
    throw builder.refused(`'${name}' has a constant that differs between examples`)
  return { ...constant, shape, read: () => constant.read().slice(0, size) }
}
