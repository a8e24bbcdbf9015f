/**
 * Computes nodes whose inputs are all known, as exporters write them around reshapes: shapes, their extents, sums and
 * products of them, and weights that are transposed or scaled. Small tensors on the host, in double precision.
 */

import { elementCount } from '../../kernels/kernel.ts'
import {
  broadcasted,
  type Constant,
  changed,
  constantOf,
  known,
  reshaped,
  strided,
  stridesOf,
  transposed,
} from './constant.ts'
import type { Call } from './node.ts'
import { slicePositions } from './operators/movements.ts'
import { shapeOf } from './value.ts'

/** Computes the outputs; undefined if the operator is none of these. */
type Folder = (node: Call) => Constant | readonly Constant[]

/** The most numbers that are computed on the host: the largest weights have some hundred million. */
const mostNumbers = 2 ** 28

/** The shape of what layers compute is known, too. */
const shape: Folder = (node) => {
  const extents = shapeOf(node.operand(0)).slice(...bounds(node))
  const countsExamples = extents.some((extent) => extent === node.builder.batch.extent && extent > 1)
  return { ...known(extents, [extents.length], 'integer'), countsExamples }
}

function bounds(node: Call): [number, number | undefined] {
  const end = node.node.attributes.get('end')
  return [node.number('start', 0), typeof end === 'number' ? end : undefined]
}

const constant: Folder = (node) => {
  const tensor = node.tensor('value')
  if (tensor !== undefined) return constantOf(tensor, false)
  const { attributes } = node.node
  if (attributes.has('value_float')) return known([node.number('value_float', 0)], [], 'float')
  if (attributes.has('value_int')) return known([node.number('value_int', 0)], [], 'integer')
  const [floats, integers] = [node.list('value_floats'), node.list('value_ints')]
  if (floats !== undefined) return known(floats, [floats.length], 'float')
  if (integers !== undefined) return known(integers, [integers.length], 'integer')
  throw node.refused('holds no numbers')
}

const unary =
  (compute: (x: number) => number): Folder =>
  (node) => {
    const { name: _, ...x } = node.needed(0)
    return changed(x, x.shape, (numbers) => numbers.map(compute))
  }

/** Numbers of two operands that broadcast. */
function binary(compute: (a: number, b: number) => number, type?: Constant['type']): Folder {
  return (node) => {
    const operands = node.inputs.map((_, i) => node.needed(i))
    return operands.slice(1).reduce((a, b) => {
      const shape = commonShape(node, [a, b])
      const [left, right] = [broadcasted(a, shape).read(), broadcasted(b, shape).read()]
      const isInteger = a.type === 'integer' && b.type === 'integer'
      const numbers = left.map((x, i) => {
        const y = compute(x, right[i] ?? Number.NaN)
        return isInteger ? Math.trunc(y) : y
      })
      return known(numbers, shape, type ?? (a.type === 'float' || b.type === 'float' ? 'float' : 'integer'))
    }, node.needed(0))
  }
}

function commonShape(node: Call, operands: readonly Constant[]): number[] {
  const rank = Math.max(...operands.map(({ shape }) => shape.length))
  const shape = Array.from({ length: rank }, (_, i) => {
    const extents = operands.map((one) => one.shape[i - rank + one.shape.length] ?? 1)
    const most = extents.find((extent) => extent !== 1) ?? 1
    if (extents.some((extent) => extent !== 1 && extent !== most))
      throw node.refused('combines constants of different shapes')
    return most
  })
  return bounded(node, shape)
}

function bounded(node: Call, shape: readonly number[]): number[] {
  if (!shape.every((extent) => Number.isSafeInteger(extent) && extent >= 0) || elementCount(shape) > mostNumbers)
    throw node.refused(`gives a constant of [${shape}]`)
  return [...shape]
}

const where: Folder = (node) => {
  const operands = [0, 1, 2].map((i) => node.needed(i))
  const shape = commonShape(node, operands)
  const [condition, a, b] = operands.map((one) => broadcasted(one, shape).read())
  const numbers = Float64Array.from(condition ?? [], (c, i) => (c === 0 ? b : a)?.[i] ?? Number.NaN)
  return known(numbers, shape, node.needed(1).type)
}

const cast: Folder = (node) => {
  const x = node.needed(0)
  const to = node.number('to', 1)
  if ([1, 10, 11, 16].includes(to)) return { ...x, type: 'float', read: () => Float32Array.from(x.read()) }
  if (to === 9) return { ...changed(x, x.shape, (numbers) => numbers.map((one) => Number(one !== 0))), type: 'boolean' }
  return known(Float64Array.from(x.read(), Math.trunc), x.shape, 'integer')
}

const concat: Folder = (node) => {
  const operands = node.inputs.map((_, i) => node.needed(i))
  const rank = operands[0]?.shape.length ?? 0
  const axis = node.axis(node.number('axis', 0), rank)
  const before = elementCount((operands[0]?.shape ?? []).slice(0, axis))
  const parts = operands.map((one) => ({ numbers: one.read(), row: elementCount(one.shape.slice(axis)) }))
  const row = parts.reduce((sum, part) => sum + part.row, 0)
  const shape = bounded(
    node,
    (operands[0]?.shape ?? []).map((extent, i) =>
      i === axis ? operands.reduce((sum, one) => sum + (one.shape[i] ?? 0), 0) : extent,
    ),
  )
  if (before * row !== elementCount(shape)) throw node.refused('joins constants of different shapes')
  const numbers = new Float64Array(before * row)
  let at = 0
  for (let i = 0; i < before; i++)
    for (const part of parts) {
      numbers.set(part.numbers.subarray(i * part.row, (i + 1) * part.row), at)
      at += part.row
    }
  return known(numbers, shape, operands[0]?.type ?? 'integer')
}

/** The constant at these positions of an axis. */
function taken(one: Constant, axis: number, positions: readonly number[]): Constant {
  const shape = one.shape.map((extent, i) => (i === axis ? positions.length : extent))
  const strides = stridesOf(one.shape)
  const front = [axis, ...shape.map((_, i) => i).filter((i) => i !== axis)]
  const numbers = one.read()
  const rows = positions.map((position) =>
    strided(
      numbers,
      front.slice(1).map((i) => shape[i] ?? 1),
      front.slice(1).map((i) => strides[i] ?? 0),
      position * (strides[axis] ?? 0),
    ),
  )
  const joined = new Float64Array(elementCount(shape))
  let at = 0
  for (const row of rows) {
    joined.set(row, at)
    at += row.length
  }
  const moved = known(
    joined,
    front.map((i) => shape[i] ?? 1),
    one.type,
  )
  return transposed(
    moved,
    shape.map((_, i) => front.indexOf(i)),
  )
}

const gather: Folder = (node) => {
  const [x, indices] = [node.needed(0), node.needed(1)]
  const axis = node.axis(node.number('axis', 0), x.shape.length)
  const extent = x.shape[axis] ?? 0
  const positions = [...indices.read()].map((i) => (i < 0 ? i + extent : i))
  if (positions.some((i) => !(i >= 0 && i < extent)))
    throw node.refused(`takes a position outside an axis of ${extent}`)
  const shape = [...x.shape.slice(0, axis), ...indices.shape, ...x.shape.slice(axis + 1)]
  bounded(node, shape)
  return reshaped(taken(x, axis, positions), shape)
}

const slice: Folder = (node) => {
  const x = node.needed(0)
  const [starts, ends] = [node.integers(1, 'starts') ?? [], node.integers(2, 'ends') ?? []]
  const axes = node.integers(3, 'axes') ?? starts.map((_, i) => i)
  const steps = node.integers(4)
  return axes.reduce((one, given, i) => {
    const axis = node.axis(given, x.shape.length)
    const step = steps?.[i] ?? 1
    if (!Number.isInteger(step) || step === 0) throw node.refused('has steps that are no whole numbers')
    return taken(one, axis, slicePositions(one.shape[axis] ?? 0, starts[i] ?? 0, ends[i] ?? 0, step))
  }, x)
}

const reshape: Folder = (node) => {
  const x = node.needed(0)
  const count = elementCount(x.shape)
  const given = (node.integers(1, 'shape') ?? []).map((extent, i) => (extent === 0 ? (x.shape[i] ?? 0) : extent))
  const rest = given.reduce((product, extent) => (extent === -1 ? product : product * extent), 1)
  const shape = bounded(
    node,
    given.map((extent) => (extent === -1 ? count / rest : extent)),
  )
  if (elementCount(shape) !== count) throw node.refused(`reshapes [${x.shape}] to [${given}]`)
  return reshaped(x, shape)
}

const squeeze: Folder = (node) => {
  const x = node.needed(0)
  const axes = node.integers(1, 'axes')?.map((axis) => node.axis(axis, x.shape.length))
  return reshaped(
    x,
    x.shape.filter((extent, i) => !(axes?.includes(i) ?? extent === 1)),
  )
}

const unsqueeze: Folder = (node) => {
  const x = node.needed(0)
  const axes = node.integers(1, 'axes') ?? []
  const rank = x.shape.length + axes.length
  const added = axes.map((axis) => node.axis(axis, rank))
  const old = x.shape.values()
  return reshaped(
    x,
    Array.from({ length: rank }, (_, i) => (added.includes(i) ? 1 : (old.next().value ?? 1))),
  )
}

const transpose: Folder = (node) => {
  const x = node.needed(0)
  const permutation = node.list('perm') ?? x.shape.map((_, i) => i).reverse()
  if (permutation.length !== x.shape.length || !x.shape.every((_, i) => permutation.includes(i)))
    throw node.refused(`has perm [${permutation}]`)
  return transposed(x, permutation)
}

/** Repeats extents of 1, but not for the number of examples: a constant serves each of them. */
const expand: Folder = (node) => {
  const [x, wanted] = [node.needed(0), node.needed(1)]
  const open = node.builder.batch.extent
  const extents = [...wanted.read()].map((extent) => (wanted.countsExamples && extent === open ? 1 : extent))
  return broadcasted(x, commonShape(node, [x, { ...x, shape: extents }]))
}

const constantOfShape: Folder = (node) => {
  const wanted = node.needed(0)
  const open = node.builder.batch.extent
  const extents = [...wanted.read()].map((extent) => (wanted.countsExamples && extent === open ? 1 : extent))
  const tensor = node.tensor('value')
  const filling = tensor === undefined ? known([0], [1], 'float') : constantOf(tensor, false)
  return known(
    new Float64Array(elementCount(bounded(node, extents))).fill(filling.read()[0] ?? 0),
    extents,
    filling.type,
  )
}

const range: Folder = (node) => {
  const [start = 0, limit = 0, delta = 1] = [0, 1, 2].map((i) => node.needed(i).read()[0])
  const count = Math.max(0, Math.ceil((limit - start) / delta))
  bounded(node, [count])
  return known(
    Float64Array.from({ length: count }, (_, i) => start + i * delta),
    [count],
    node.needed(0).type,
  )
}

function reduction(combine: (a: number, b: number) => number, initial: number): Folder {
  return (node) => {
    const x = node.needed(0)
    const axes = node.integers(1, 'axes')?.map((axis) => node.axis(axis, x.shape.length)) ?? x.shape.map((_, i) => i)
    const kept = x.shape.map((_, i) => i).filter((i) => !axes.includes(i))
    const moved = transposed(x, [...kept, ...axes]).read()
    const shape = kept.map((i) => x.shape[i] ?? 1)
    const row = elementCount(axes.map((i) => x.shape[i] ?? 1))
    const numbers = Float64Array.from({ length: elementCount(shape) }, (_, i) =>
      Array.from(moved.subarray(i * row, (i + 1) * row)).reduce(combine, initial),
    )
    const withAxes = x.shape.map((extent, i) => (axes.includes(i) ? 1 : extent))
    return known(numbers, node.number('keepdims', 1) === 0 ? shape : withAxes, x.type)
  }
}

const truth = (compute: (a: number, b: number) => boolean): Folder => binary((a, b) => Number(compute(a, b)), 'boolean')

const folders: Readonly<Record<string, Folder>> = {
  Abs: unary(Math.abs),
  Add: binary((a, b) => a + b),
  And: truth((a, b) => a !== 0 && b !== 0),
  Cast: cast,
  Ceil: unary(Math.ceil),
  Concat: concat,
  Constant: constant,
  ConstantOfShape: constantOfShape,
  Cos: unary(Math.cos),
  Div: binary((a, b) => a / b),
  Equal: truth((a, b) => a === b),
  Exp: unary(Math.exp),
  Expand: expand,
  Floor: unary(Math.floor),
  Gather: gather,
  Greater: truth((a, b) => a > b),
  GreaterOrEqual: truth((a, b) => a >= b),
  Identity: (node) => node.needed(0),
  Less: truth((a, b) => a < b),
  LessOrEqual: truth((a, b) => a <= b),
  Log: unary(Math.log),
  Max: binary(Math.max),
  Min: binary(Math.min),
  Mod: binary((a, b) => a - b * Math.floor(a / b)),
  Mul: binary((a, b) => a * b),
  Neg: unary((x) => -x),
  Not: unary((x) => Number(x === 0)),
  Or: truth((a, b) => a !== 0 || b !== 0),
  Pow: binary((a, b) => a ** b),
  Range: range,
  Reciprocal: unary((x) => 1 / x),
  ReduceMax: reduction(Math.max, Number.NEGATIVE_INFINITY),
  ReduceMin: reduction(Math.min, Number.POSITIVE_INFINITY),
  ReduceProd: reduction((a, b) => a * b, 1),
  ReduceSum: reduction((a, b) => a + b, 0),
  Reshape: reshape,
  Round: unary(Math.round),
  Shape: shape,
  Sin: unary(Math.sin),
  Size: (node) => known([elementCount(shapeOf(node.operand(0)))], [], 'integer'),
  Slice: slice,
  Sqrt: unary(Math.sqrt),
  Squeeze: squeeze,
  Sub: binary((a, b) => a - b),
  Transpose: transpose,
  Unsqueeze: unsqueeze,
  Where: where,
}

/** Those that only rearrange numbers: what they give counts examples where their numbers do. */
const arranging = /^(Shape|Gather|Slice|Concat|Squeeze|Unsqueeze|Reshape|Cast|Identity|Mul|Div|Add|Sub|Where|Max|Min)$/

/** Operators that fold, whether or not layers can compute them. */
export const isFoldable = (operator: string): boolean => Object.hasOwn(folders, operator)

/** The node's outputs, if they follow from constants alone. */
export function folded(node: Call): readonly Constant[] | undefined {
  const { operator } = node.node
  const isOfShape = operator === 'Shape' || operator === 'Size'
  const isKnown = node.inputs.every((one) => one === undefined || one.kind === 'constant')
  if (!Object.hasOwn(folders, operator) || (!isKnown && !isOfShape)) return undefined
  const fold = folders[operator]
  const result = fold?.(node)
  if (result === undefined) return undefined
  const outputs = Array.isArray(result) ? result : [result]
  const open = node.builder.batch.extent
  const counts =
    (isOfShape && node.builder.batch.extent > 1) ||
    node.inputs.some((one) => one?.kind === 'constant' && one.countsExamples)
  if (!counts) return outputs
  // The number of examples is open: what is computed from it is known only as a multiple of it.
  return outputs.map((one) => {
    const isCounting = (x: number): boolean => Math.abs(x) >= open / 2
    const countsExamples = arranging.test(operator)
      ? one.read().some(isCounting)
      : !/^(Expand|ConstantOfShape)$/.test(operator)
    return { ...one, countsExamples }
  })
}
