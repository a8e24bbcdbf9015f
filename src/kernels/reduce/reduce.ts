/**
 * Sums, maxima and minima over any axes. The position of the maximum is in argmax.ts.
 *
 * Promises beyond those of kernel.ts: long sums are blocked as in long-sum.ts, within lanes and across workgroups; NaN
 * anywhere makes the result NaN, for maxima and minima too.
 *
 * Variants of `reduce`: in `plain` and `vec4`, one lane computes an output, or several lanes compute parts that a
 * second pass joins. In `workgroup`, a whole workgroup reduces a contiguous row, which suits how a GPU reads memory.
 */

import { at } from '../extents.ts'
import type { Dispatch, Family, KernelPlan, Operand, Target, UniformValue, Variant } from '../kernel.ts'
import { dispatch, elementCount, input, output, reads, scratch, writes } from '../kernel.ts'
import { cooperativeGroup, groupFunctions, supportsGroup } from '../schedule/cooperative.ts'
import { gridFor, gridStrideLoop, laneCoordinates, offsetText } from '../schedule/grid-stride.ts'
import { prefersWorkgroupRows, reductionLimits } from '../schedule/occupancy.ts'
import type { WgslFunction, Width } from '../wgsl/functions.ts'
import { declareFunctions, fromOrderedKey, nanKey, orderedKey, scalar, vector } from '../wgsl/functions.ts'
import type { LongSum } from '../wgsl/long-sum.ts'
import { longSum } from '../wgsl/long-sum.ts'
import type { Axis, ReduceKey, Split, VectorAxis } from './axes.ts'
import { axesInVectors, countOf, extentsOf, isRows, splitAxes, vectorAxisOf } from './axes.ts'

export type { ArgmaxKey } from './argmax.ts'
export { argmax } from './argmax.ts'
export type { ReduceKey } from './axes.ts'

interface Accumulator {
  /** The accumulator's type: `f32` for sums, u32 for the `orderedKey`s of maxima and minima. */
  readonly type: 'f32' | 'u32'
  readonly identity: string
  readonly load: (x: string) => string
  readonly combine: (a: string, b: string) => string
  readonly finish: (total: string) => string
  readonly builtin: 'subgroupAdd' | 'subgroupMax' | 'subgroupMin'
  readonly needs: readonly WgslFunction[]
}

const extremum = (operation: 'max' | 'min'): Accumulator => ({
  type: 'u32',
  identity: operation === 'max' ? '0u' : '0xffffffffu',
  load: (x) => `orderedKey(${x}, ${nanKey[operation]})`,
  combine: (a, b) => `${operation}(${a}, ${b})`,
  finish: (total) => `fromOrderedKey(${total})`,
  builtin: operation === 'max' ? 'subgroupMax' : 'subgroupMin',
  needs: [orderedKey, fromOrderedKey],
})

const accumulators: { readonly [Operation in ReduceKey['operation']]: Accumulator } = {
  sum: {
    type: 'f32',
    identity: '0.0',
    load: (x) => x,
    combine: (a, b) => `${a} + ${b}`,
    finish: (total) => `${total} * u.scale`,
    builtin: 'subgroupAdd',
    needs: [],
  },
  max: extremum('max'),
  min: extremum('min'),
}

interface Pass {
  readonly label: string
  readonly operation: ReduceKey['operation']
  readonly split: Split
  readonly vectorAxis: VectorAxis
  /** Number of parts of the reduced elements; results are [parts, ...outputs]. */
  readonly parts: number
  readonly scale: number
  readonly from: Operand
  readonly to: Operand
}

/** The extents of an accumulation: only sums need blocks. */
function accumulation({ type, identity }: Accumulator, wide: string, terms: number): LongSum {
  return longSum(wide, ['total'], { terms: type === 'f32' ? terms : 0, start: `${wide}(${identity})` })
}

function lanePass(pass: Pass, target: Target): Dispatch {
  const { vectorAxis, parts } = pass
  const accumulator = accumulators[pass.operation]
  const width: Width = vectorAxis === 'none' ? scalar : vector
  const kept = vectorAxis === 'none' ? pass.split.kept : axesInVectors(pass.split.kept)
  const reduced = vectorAxis === 'none' ? pass.split.reduced : axesInVectors(pass.split.reduced)
  const tail = vectorAxis === 'reduced' && countOf(pass.split.reduced) % 4 !== 0
  const count = countOf(reduced)
  const length = Math.ceil(count / parts)

  const first = parts > 1 ? [parts] : []
  const extents = [...first, ...extentsOf(kept)]
  const tasks = extents.length === 0 ? [1] : extents
  const grid = gridFor(elementCount(tasks), target, length)
  const coordinates = laneCoordinates(tasks, grid)
  const base = offsetText('kept', [...first.map(() => 0), ...kept.map((axis) => axis.stride)])
  const reading = reducedCounter(reduced, parts > 1 ? 'begin' : undefined)
  const uniforms: Record<string, UniformValue> = {
    ...coordinates.uniforms,
    ...base.uniforms,
    ...reading.uniforms,
    count,
    length,
  }
  if (accumulator.type === 'f32') uniforms.scale = { f32: pass.scale }
  if (tail) uniforms.elements = countOf(pass.split.reduced)

  const wide = accumulator.type === 'f32' ? width.f : width.u
  const identity = `${wide}(${accumulator.identity})`
  const sum = accumulation(accumulator, wide, length)
  const loaded = accumulator.load('x[offset]')
  const mask = 'offset * 4u + vec4u(0u, 1u, 2u, 3u) < vec4u(u.elements)'
  const term = tail ? `select(${identity}, ${loaded}, ${mask})` : loaded
  const { combine, finish } = accumulator
  const total =
    vectorAxis === 'reduced'
      ? combine(`(${combine('total.x', 'total.y')})`, `(${combine('total.z', 'total.w')})`)
      : 'total'
  const ownWidth = vectorAxis === 'kept' ? width : scalar
  const narrow = vectorAxis === 'kept' ? width.f : 'f32'
  const functions = [
    declareFunctions(
      accumulator.needs.filter((one) => one === orderedKey),
      width,
    ),
    declareFunctions(
      accumulator.needs.filter((one) => one === fromOrderedKey),
      ownWidth,
    ),
  ]
  return dispatch({
    label: pass.label,
    bindings: [reads('x', pass.from, width.f), writes('result', pass.to, narrow)],
    uniforms,
    workgroupSize: grid.workgroupSize,
    workgroups: grid.workgroups,
    declarations: functions.join('\n'),
    body: gridStrideLoop(
      coordinates,
      `      ${parts > 1 ? 'let begin = d0 * u.length;' : ''}
      let end = min(${parts > 1 ? 'begin' : '0u'} + u.length, u.count);
      var offset = ${base.text};
${reading.start}
${sum.whole(
  ['position', parts > 1 ? 'begin' : '0u', 'end'],
  `          total = ${combine('total', term)};
${reading.advance}`,
)}
      let joined = ${total};
      result[item] = ${finish('joined')};`,
    ),
  })
}

/** Moves `offset` over the reduced elements, one at a time; `begin` names the position to start from, if not 0. */
function reducedCounter(
  axes: readonly Axis[],
  begin: string | undefined,
): { readonly start: string; readonly advance: string; readonly uniforms: Readonly<Record<string, UniformValue>> } {
  const uniforms: Record<string, UniformValue> = {}
  const inner = axes.length - 1
  if (inner < 0) return { start: '', advance: '', uniforms }
  const start: string[] = []
  const advance: string[] = []
  axes.forEach(({ extent, stride }, axis) => {
    uniforms[`jump${axis}`] = stride
    if (axis > 0) uniforms[`m${axis}`] = extent
  })
  if (begin !== undefined) start.push(`      var rest = ${begin};`)
  for (let axis = inner; axis > 0; axis--) {
    start.push(`      var r${axis} = ${begin === undefined ? '0u' : `rest % u.m${axis}`};`)
    if (begin !== undefined) start.push(`      rest = rest / u.m${axis};`, `      offset += r${axis} * u.jump${axis};`)
  }
  if (begin !== undefined) start.push('      offset += rest * u.jump0;')
  advance.push(`            offset += u.jump${inner};`)
  for (let axis = inner; axis > 0; axis--) {
    // Unsigned arithmetic wraps around if the step back is longer than the step forward.
    const here = at(axes, axis)
    uniforms[`wrap${axis}`] = (at(axes, axis - 1).stride - here.extent * here.stride) >>> 0
    if (axis < inner) advance.push(`            r${axis} += select(0u, 1u, wraps${axis + 1});`)
    else advance.push(`            r${axis}++;`)
    advance.push(
      `            let wraps${axis} = r${axis} == u.m${axis};`,
      `            offset += select(0u, u.wrap${axis}, wraps${axis});`,
      `            r${axis} = select(r${axis}, 0u, wraps${axis});`,
    )
  }
  return { start: start.join('\n'), advance: advance.join('\n'), uniforms }
}

/** The number of parts to split `terms` loads into, for each of `outputs` lanes. */
function partsFor(outputs: number, terms: number, target: Target): number {
  const { lanes, worthwhile, leastPart } = reductionLimits(target)
  if (terms < worthwhile || outputs * 2 > lanes) return 1
  const wanted = Math.min(Math.ceil(lanes / outputs), Math.floor(terms / leastPart))
  return Math.ceil(terms / Math.ceil(terms / wanted)) // no part is empty
}

/** Joins [parts, ...outputs] in scratch 0. */
function joinParts(key: ReduceKey, parts: number, outputs: number, target: Target): Dispatch {
  const split = splitAxes({ operation: key.operation, shape: [parts, outputs], axes: [0] })
  return lanePass(
    {
      label: `reduce.${key.operation}/joinParts`,
      operation: key.operation,
      split,
      vectorAxis: vectorAxisOf(split) ?? 'none',
      parts: 1,
      scale: key.scale ?? 1,
      from: scratch(0),
      to: output(0),
    },
    target,
  )
}

function planLanes(key: ReduceKey, target: Target, variant: 'plain' | 'vec4'): KernelPlan {
  const split = splitAxes(key)
  const vectorAxis: VectorAxis = variant === 'plain' ? 'none' : (vectorAxisOf(split) ?? 'none')
  const outputs = countOf(split.kept)
  const parts = partsFor(
    vectorAxis === 'kept' ? outputs / 4 : outputs,
    Math.ceil(countOf(split.reduced) / (vectorAxis === 'reduced' ? 4 : 1)),
    target,
  )
  const first = lanePass(
    {
      label: `reduce.${key.operation}/${variant}`,
      operation: key.operation,
      split,
      vectorAxis,
      parts,
      scale: parts > 1 ? 1 : (key.scale ?? 1),
      from: input(0),
      to: parts > 1 ? scratch(0) : output(0),
    },
    target,
  )
  return finishPlan(key, variant, first, parts, outputs, target)
}

function finishPlan(
  key: ReduceKey,
  variant: string,
  first: Dispatch,
  parts: number,
  outputs: number,
  target: Target,
): KernelPlan {
  const split = parts > 1
  return {
    variant,
    dispatches: split ? [first, joinParts(key, parts, outputs, target)] : [first],
    scratchBytes: split ? [parts * outputs * 4] : [],
    flops: 0,
  }
}

function planRows(key: ReduceKey, target: Target): KernelPlan {
  const split = splitAxes(key)
  const accumulator = accumulators[key.operation]
  const group = cooperativeGroup('workgroup', target)
  const rows = countOf(split.kept)
  const columns = countOf(split.reduced)
  // 512 workgroups keep a large GPU busy; each lane of a part should still have eight loads.
  const wanted = Math.max(1, Math.min(Math.ceil(512 / rows), Math.floor(columns / (group.size * 8))))
  const parts = Math.ceil(columns / Math.ceil(columns / wanted))
  const { type, load, combine, finish } = accumulator
  const length = Math.ceil(columns / parts)
  const sum = accumulation(accumulator, type, Math.ceil(length / group.size))
  const uniforms: Record<string, UniformValue> = { rows, columns, length }
  if (type === 'f32') uniforms.scale = { f32: parts > 1 ? 1 : (key.scale ?? 1) }
  const first = dispatch({
    label: `reduce.${key.operation}/workgroup`,
    bindings: [reads('x', input(0)), writes('result', parts > 1 ? scratch(0) : output(0))],
    uniforms,
    workgroupSize: group.workgroupSize,
    workgroups: rows * parts,
    declarations: `${declareFunctions(accumulator.needs, scalar)}
${groupFunctions(group, [{ name: 'groupTotal', type, combine, builtin: accumulator.builtin }])}`,
    body: `
  if (group < groups) {
    let part = group / u.rows;
    let row = group - part * u.rows;
    let end = min((part + 1u) * u.length, u.columns);
${sum.whole(
  ['column', 'part * u.length + lane', 'end', group.size],
  `        total = ${combine('total', load('x[row * u.columns + column]'))};`,
)}
    total = groupTotal(total, lane);
    if (lane == 0u) {
      result[group] = ${finish('total')};
    }
  }`,
  })
  return finishPlan(key, 'workgroup', first, parts, rows, target)
}

type ReduceVariant = 'plain' | 'vec4' | 'workgroup'

const variants: readonly Variant<ReduceKey, ReduceVariant>[] = [
  { name: 'plain', supports: () => true, plan: (key, target) => planLanes(key, target, 'plain') },
  {
    name: 'vec4',
    supports: (key) => vectorAxisOf(splitAxes(key)) !== undefined,
    plan: (key, target) => planLanes(key, target, 'vec4'),
  },
  {
    name: 'workgroup',
    supports: (key, target) => supportsGroup('workgroup', target) && isRows(splitAxes(key)),
    plan: planRows,
  },
]

/** Reductions. Throws 'shape' for axes that the shape does not have, 'argument' for a scale of anything but a sum. */
export const reduce: Family<ReduceKey, ReduceVariant> = {
  name: 'reduce',
  variants,
  prefer: (key, target) => {
    const split = splitAxes(key)
    // Below 64 columns most of a workgroup would idle.
    if (
      prefersWorkgroupRows(target) &&
      isRows(split) &&
      countOf(split.reduced) >= 64 &&
      supportsGroup('workgroup', target)
    )
      return 'workgroup'
    return vectorAxisOf(split) === undefined ? 'plain' : 'vec4'
  },
}
