/** Matrix products: `Dense` where one operand is a constant matrix, else an operation. */

import * as layers from '../../../nn/layers.ts'
import { type Constant, changed, numberOf, reshaped, transposed } from '../constant.ts'
import { type Call, type Handler, rankOf } from '../node.ts'
import { commonFactors, extentOf, factored, type Operand, type Part, part, type Value } from '../value.ts'

/** The value times a constant matrix, [features, units], as `Dense`. */
function dense(node: Call, value: Value, kernel: Constant, bias: Constant | undefined): Value {
  const { builder } = node
  const features = (value.axes.at(-1) ?? []).filter(({ extent }) => extent !== 1)
  const [rows = 1, units = 1] = kernel.shape
  if (features.includes(builder.batch)) throw node.refused('works along the examples')
  if (rows !== extentOf(features)) throw node.refused(`takes ${rows} features, and gets ${extentOf(features)}`)
  // The features stay in the order in which they are; the kernel's rows follow.
  const held = value.stored.flat()
  const ordered = features.toSorted((a, b) => held.indexOf(a) - held.indexOf(b))
  const others = value.stored.map((group) => group.filter((one) => !features.includes(one)))
  const groups = [...others.filter((group) => group.length > 0), ordered]
  const place = builder.arranged(value, groups, node.name)
  const byPart = transposed(reshaped(kernel, [...features.map(({ extent }) => extent), units]), [
    ...ordered.map((one) => features.indexOf(one)),
    features.length,
  ])
  const layer = layers.dense(builder.freeName(node.name), units, { useBias: bias !== undefined })
  const matrix = reshaped(byPart, [rows, units])
  const own = part(units)
  return {
    kind: 'value',
    place: builder.add(layer, [place], bias === undefined ? [matrix] : [matrix, bias]),
    stored: [...groups.slice(0, -1), [own]],
    axes: [...value.axes.slice(0, -1), [own]],
  }
}

const matMul: Handler = (node) => {
  const [a, b] = [node.operand(0), node.operand(1)]
  if (a.kind !== 'value' || b.kind !== 'constant' || b.shape.length !== 2 || rankOf(a) < 2) return product(node, a, b)
  const units = b.shape[1] ?? 1
  const following = node.followingBias(units, rankOf(a) - 1, rankOf(a))
  const value = dense(node, a, b, following?.bias)
  if (following !== undefined) node.taken.set(following.output, value)
  return value
}

/** alpha a b + beta c, with a and b transposed if asked for. */
const gemm: Handler = (node) => {
  const [alpha, beta] = [node.number('alpha', 1), node.number('beta', 1)]
  const [transA, transB] = [node.number('transA', 0) !== 0, node.number('transB', 0) !== 0]
  const flipped = (operand: Operand): Operand =>
    operand.kind === 'constant' ? transposed(operand, [1, 0]) : { ...operand, axes: operand.axes.toReversed() }
  const a = transA ? flipped(node.operand(0)) : node.operand(0)
  const b = transB ? flipped(node.operand(1)) : node.operand(1)
  if (rankOf(a) !== 2 || rankOf(b) !== 2) throw node.refused('takes matrices')
  const c = node.inputs[2]
  const times = (factor: number, constant: Constant): Constant => {
    if (factor === 1) return constant
    return { ...changed(constant, constant.shape, (numbers) => numbers.map((x) => x * factor)) }
  }
  const units = b.kind === 'constant' ? b.shape[1] : undefined
  const isBias = c === undefined || (c.kind === 'constant' && !c.countsExamples && c.shape.length <= 2)
  const row = c?.kind === 'constant' ? biasRow(c, units ?? 0) : undefined
  if (a.kind === 'value' && b.kind === 'constant' && isBias && (c === undefined || row !== undefined))
    return dense(node, a, times(alpha, b), row && times(beta, row))
  const plain = product(node, a, b)
  const scaled = alpha === 1 ? plain : node.each(plain, (name) => layers.rescaling(name, alpha))
  if (c === undefined || beta === 0) return scaled
  if (c.kind === 'constant') return node.broadcast('add', [scaled, times(beta, c)])
  const added = beta === 1 ? c : node.each(c, (name) => layers.rescaling(name, beta))
  return node.broadcast('add', [scaled, added])
}

/** [units] for a bias of one row; undefined for any other. */
function biasRow(constant: Constant, units: number): Constant | undefined {
  const isRow = constant.shape.slice(0, -1).every((extent) => extent === 1)
  if (isRow && constant.shape.at(-1) === units) return reshaped(constant, [units])
  if (numberOf(constant) === undefined) return undefined
  const { name: _, ...unnamed } = constant
  return changed(unnamed, [units], (numbers) => new Float32Array(units).fill(numbers[0] ?? 0))
}

/** A product of stacks of matrices, either of which may be a constant. */
function product(node: Call, a: Operand, b: Operand): Value {
  const { builder } = node
  const isVector = [rankOf(a) === 1, rankOf(b) === 1]
  const [left, right] = [isVector[0] ? withAxis(a, 0) : a, isVector[1] ? withAxis(b, 1) : b]
  const rank = Math.max(rankOf(left), rankOf(right), 2)
  refuseMixedExamples(node, left, right)
  const lead = withRank(left, rank)
  const other = withRank(right, rank)
  const stacks = Array.from({ length: rank - 2 }, (_, axis) => {
    const lists = [lead, other].flatMap((one) => {
      if (one.kind === 'value') return builder.isOpen(one.axes[axis] ?? []) ? [one.axes[axis] ?? []] : []
      return (one.shape[axis] ?? 1) === 1 ? [] : [[part(one.shape[axis] ?? 1)]]
    })
    const factors = commonFactors(lists, builder.batch)
    if (factors === undefined) throw node.refused('multiplies stacks of different extents')
    return factors
  })
  const count = stacks.map((parts) => parts.filter((one) => one !== builder.batch).length)
  const arranged = [lead, other].map((one) => inStacks(node, one, stacks, builder.batch))
  const operands = arranged.map((one) =>
    typeof one === 'number' ? null : { shape: one.shape, ...(one.name === undefined ? { trainable: false } : {}) },
  )
  const constants = arranged.filter((one) => typeof one !== 'number')
  const places = arranged.filter((one) => typeof one === 'number')
  const place = node.operation('matmul', places, constants.length === 0 ? {} : { operands }, constants)
  const parts = builder.partsAt(place)
  let at = 0
  const axes = count.map((length, axis) => {
    const own = parts.slice(at, at + length)
    at += length
    return (stacks[axis] ?? []).includes(builder.batch) ? [builder.batch, ...own] : own
  })
  const ofExamples = (operand: Operand, axis: number, own: readonly Part[]): readonly Part[] =>
    holdsExamples(operand, axis, builder.batch) ? [builder.batch, ...own] : own
  const rows = isVector[0] ? [] : [ofExamples(lead, rank - 2, parts.slice(at, -1))]
  const columns = isVector[1] ? [] : [ofExamples(other, rank - 1, parts.slice(-1))]
  return { kind: 'value', place, stored: parts.map((one) => [one]), axes: [...axes, ...rows, ...columns] }
}

const holdsExamples = (operand: Operand, axis: number, batch: Part): boolean =>
  operand.kind === 'value' && (operand.axes[axis] ?? []).includes(batch)

/** Examples may be a stack of both matrices, or be rows or columns of one. */
function refuseMixedExamples(node: Call, left: Operand, right: Operand): void {
  const holds = (operand: Operand, fromEnd: number): boolean =>
    holdsExamples(operand, rankOf(operand) - fromEnd, node.builder.batch)
  const isVisible = (operand: Operand): boolean =>
    operand.kind === 'value' && operand.axes.flat().includes(node.builder.batch)
  const isSummed = holds(left, 1) || holds(right, 2)
  const isMixed = (holds(left, 2) && isVisible(right)) || (holds(right, 1) && isVisible(left))
  if (isSummed || isMixed) throw node.refused('works along the examples')
}

function withAxis(operand: Operand, at: 0 | 1): Operand {
  if (operand.kind === 'value') return { ...operand, axes: at === 0 ? [[], ...operand.axes] : [...operand.axes, []] }
  return reshaped(operand, at === 0 ? [1, ...operand.shape] : [...operand.shape, 1])
}

function withRank(operand: Operand, rank: number): Operand {
  if (operand.kind === 'value')
    return { ...operand, axes: [...Array.from({ length: rank - operand.axes.length }, () => []), ...operand.axes] }
  return reshaped(operand, [...Array.from({ length: rank - operand.shape.length }, () => 1), ...operand.shape])
}

/** The operand as a stack of matrices, without the examples. */
function inStacks(node: Call, operand: Operand, stacks: readonly (readonly Part[])[], batch: Part): number | Constant {
  const { builder } = node
  if (operand.kind === 'constant') {
    const extents = stacks.flatMap((parts, axis) => {
      const isRepeated = (operand.shape[axis] ?? 1) === 1
      if (!isRepeated && parts.includes(batch)) throw node.refused('has a constant that differs between examples')
      return parts.filter((one) => one !== batch).map(({ extent }) => (isRepeated ? 1 : extent))
    })
    return reshaped(operand, [...extents, ...operand.shape.slice(-2)])
  }
  const value = stacks.reduce(
    (one, factors, axis) => (builder.isOpen(one.axes[axis] ?? []) ? factored(one, axis, factors, batch) : one),
    operand,
  )
  const groups = stacks.flatMap((parts, axis) => {
    const own = (value.axes[axis] ?? []).filter((one) => one !== batch && one.extent !== 1)
    return parts.filter((one) => one !== batch).map((_, i) => (own[i] === undefined ? [] : [own[i]]))
  })
  const matrix = value.axes.slice(-2).map((parts) => parts.filter((one) => one !== batch))
  return builder.arranged(value, [...groups, ...matrix], node.name)
}

export const productOperators: Readonly<Record<string, Handler>> = { Gemm: gemm, MatMul: matMul }
