/** What operators along axes share: axes moved to the end, and axes reduced where they lie. */

import * as layers from '../../../nn/layers.ts'
import { runs } from '../builder.ts'
import type { Call } from '../node.ts'
import type { Part, Value } from '../value.ts'

/** The value with these axes' parts last, in the order in which they are. */
export function withLast(
  node: Call,
  value: Value,
  axes: readonly (readonly Part[])[],
): { readonly value: Value; readonly parts: readonly Part[] } {
  const { builder } = node
  const wanted = axes.flat().filter(({ extent }) => extent !== 1)
  if (axes.flat().includes(builder.batch)) throw node.refused('works along the examples')
  const parts = value.stored.flat().filter((one) => wanted.includes(one))
  const others = value.stored.map((group) => group.filter((one) => !parts.includes(one)))
  const groups = [...others.filter((group) => group.length > 0), parts]
  return { value: { ...value, place: builder.arranged(value, groups, node.name), stored: groups }, parts }
}

/** Reduces axes where they lie. */
export function reduced(node: Call, operator: string, value: Value, axes: readonly number[], keepDims: boolean): Value {
  const { builder } = node
  const gone = axes.flatMap((axis) => value.axes[axis] ?? [])
  if (gone.includes(builder.batch)) throw node.refused('works along the examples')
  const left = value.axes.flatMap((axis, i) => (axes.includes(i) ? (keepDims ? [[]] : []) : [axis]))
  const groups = value.stored.flatMap((group) => runs(group, (one) => gone.includes(one)))
  const isGone = groups.map((group) => group.every((one) => gone.includes(one)))
  const stored = groups.filter((_, i) => !isGone[i])
  const place = builder.arranged(value, groups, node.name)
  if (stored.length === groups.length) return { ...value, place, stored, axes: left }
  if (operator === 'mean' && isImage(value, axes)) {
    const layer = layers.globalAveragePooling2d(builder.freeName(node.name))
    return { ...value, place: builder.add(layer, [place]), stored, axes: left }
  }
  const attributes = { axes: isGone.flatMap((one, i) => (one ? [i + 1] : [])) }
  return { ...value, place: node.operation(operator, [place], { attributes }), stored, axes: left }
}

/** Whether these are the positions of images that lie as weftgrad's do. */
function isImage({ axes: [, channels, height, width, ...others], stored }: Value, axes: readonly number[]): boolean {
  const order = [height, width, channels]
  const isOrdered = stored.length === 3 && stored.every((group, i) => group.length === 1 && group[0] === order[i]?.[0])
  return isOrdered && others.length === 0 && axes.length === 2 && axes.includes(2) && axes.includes(3)
}
