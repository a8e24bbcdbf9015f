/**
 * Grid-stride loops of kernels that compute one element per lane: contiguous axes are merged, every workgroup takes one
 * run of neighbouring items, and each of its lanes steps through the run by the size of the workgroup. The coordinates
 * of a lane's item are incremented, so that the loop needs no division (a u32 division is scalarised on lavapipe and
 * costs more than a load).
 *
 * An item is what a lane handles at a time: one element, or a vec4 of neighbours.
 */

import { at } from '../extents.ts'
import type { Shape, Target, UniformValue } from '../kernel.ts'
import { elementCount } from '../kernel.ts'
import { gridWorkgroups, plainWorkgroupSize } from './occupancy.ts'

/** Extents after merging, and each operand's strides over them, in elements; 0 along a broadcast axis. */
export interface IterationSpace {
  readonly extents: readonly number[]
  readonly strides: readonly (readonly number[])[]
}

/**
 * Drops axes of extent 1 and merges neighbours that every operand visits as one run. At least one axis is left.
 * `strides` holds one list per operand.
 */
export function mergeAxes(extents: Shape, strides: readonly (readonly number[])[]): IterationSpace {
  const merged: number[] = []
  const mergedStrides: number[][] = strides.map(() => [])
  extents.forEach((extent, axis) => {
    if (extent === 1) return
    const last = merged.length - 1
    const joins = strides.every((s, i) => mergedStrides[i]?.[last] === at(s, axis) * extent)
    if (last >= 0 && joins) merged[last] = at(merged, last) * extent
    else merged.push(extent)
    strides.forEach((s, i) => {
      at(mergedStrides, i)[merged.length - 1] = at(s, axis)
    })
  })
  return merged.length === 0
    ? { extents: [1], strides: strides.map(() => [0]) }
    : { extents: merged, strides: mergedStrides }
}

/** The space in items of four neighbours along the last axis, whose extent four must divide; a stride of 1 stays 1. */
export function inVectors(space: IterationSpace): IterationSpace {
  const last = space.extents.length - 1
  return {
    extents: space.extents.map((extent, axis) => (axis === last ? extent / 4 : extent)),
    strides: space.strides.map((own) =>
      own[last] === 1 ? own.map((stride, axis) => (axis === last ? 1 : stride / 4)) : own.map((s) => s),
    ),
  }
}

/** The number of workgroups, and of items per lane. */
export interface Grid {
  readonly workgroupSize: number
  readonly workgroups: number
  readonly itemsPerLane: number
}

/** The grid for `items` items with `loads` loads each. It has at least one workgroup. */
export function gridFor(items: number, target: Target, loads = 1): Grid {
  const workgroupSize = plainWorkgroupSize(target)
  const chunks = Math.max(1, Math.ceil(items / workgroupSize))
  const itemsPerLane = Math.ceil(chunks / Math.min(chunks, gridWorkgroups(chunks, loads, target)))
  return { workgroupSize, workgroups: Math.ceil(chunks / itemsPerLane), itemsPerLane }
}

export interface LaneCoordinates {
  readonly uniforms: Readonly<Record<string, UniformValue>>
  /** Declares `item` and its coordinates `d0`, `d1`, ...: those of a lane's first item. */
  readonly start: string
  /** Advances them by the size of the workgroup. */
  readonly advance: string
}

/**
 * Coordinates over `extents`, the last axis fastest. The uniforms are `items`, `itemsPerLane`, `n<axis>` and
 * `step<axis>`.
 */
export function laneCoordinates(extents: readonly number[], grid: Grid): LaneCoordinates {
  const uniforms: Record<string, UniformValue> = { items: elementCount(extents), itemsPerLane: grid.itemsPerLane }
  const start = [`  var item = group * (u.itemsPerLane * ${grid.workgroupSize}u) + lane;`]
  const advance = [`    item += ${grid.workgroupSize}u;`]
  if (extents.length === 1) {
    start.push('  var d0 = item;')
    advance.push('    d0 = item;')
    return { uniforms, start: start.join('\n'), advance: advance.join('\n') }
  }
  let step = grid.workgroupSize
  start.push('  var rest = item;')
  for (let axis = extents.length - 1; axis > 0; axis--) {
    const extent = at(extents, axis)
    uniforms[`n${axis}`] = extent
    uniforms[`step${axis}`] = step % extent
    step = Math.floor(step / extent)
    const carried = axis === extents.length - 1 ? '' : ` + carry${axis + 1}`
    start.push(`  var d${axis} = rest % u.n${axis};`, `  rest = rest / u.n${axis};`)
    advance.push(
      `    d${axis} += u.step${axis}${carried};`,
      `    let carry${axis} = select(0u, 1u, d${axis} >= u.n${axis});`,
      `    d${axis} -= carry${axis} * u.n${axis};`,
    )
  }
  uniforms.step0 = step
  start.push('  var d0 = rest;')
  advance.push('    d0 += u.step0 + carry1;')
  return { uniforms, start: start.join('\n'), advance: advance.join('\n') }
}

/** An operand's offset as a WGSL expression over the coordinates, and the uniforms `<name><axis>` that it reads. */
export function offsetText(
  name: string,
  strides: readonly number[],
): { readonly text: string; readonly uniforms: Readonly<Record<string, UniformValue>> } {
  const uniforms: Record<string, UniformValue> = {}
  const terms: string[] = []
  strides.forEach((stride, axis) => {
    if (stride === 0) return
    if (stride === 1) {
      terms.push(`d${axis}`)
      return
    }
    uniforms[`${name}${axis}`] = stride
    terms.push(`d${axis} * u.${name}${axis}`)
  })
  return { text: terms.length === 0 ? '0u' : terms.join(' + '), uniforms }
}

/** The loop of a lane over its items; `statements` see `item` and its coordinates. */
export function gridStrideLoop(coordinates: LaneCoordinates, statements: string): string {
  return `${coordinates.start}
  for (var iteration = 0u; iteration < u.itemsPerLane; iteration++) {
    if (item < u.items) {
${statements}
    }
${coordinates.advance}
  }`
}
