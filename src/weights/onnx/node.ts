/** A node of an ONNX graph while its layers are made: its operands and attributes, checked as they are asked for. */

import type { WeftgradError } from '../../errors.ts'
import type { OnnxNode, OnnxTensor } from '../../format/onnx-graph.ts'
import type { OperationOptions } from '../../nn/layers/operation.ts'
import { operation } from '../../nn/layers/operation.ts'
import type { Layer } from '../../nn/layers.ts'
import { combined } from './broadcast.ts'
import type { GraphBuilder } from './builder.ts'
import type { Constant, Numbers } from './constant.ts'
import { numberOf } from './constant.ts'
import { type Operand, shapeOf, type Value } from './value.ts'

/** Makes the layers of a node. Returns its outputs; those that are not made must not be used. */
export type Handler = (node: Call) => Operand | readonly (Operand | undefined)[]

export class Call {
  readonly node: OnnxNode
  readonly builder: GraphBuilder
  readonly inputs: readonly (Operand | undefined)[]
  /** The version of ONNX's set of operators. */
  readonly opset: number
  /** A name for its layers: that of its first weight, or its own. */
  readonly name: string
  /** Outputs of the next node that this one computes, too. */
  readonly taken = new Map<string, Value>()
  /** What else the graph does with an output, for a node that can take over a part of the next one. */
  readonly #follower: (output: string) => OnnxNode | undefined
  readonly #constant: (name: string) => Constant | undefined

  constructor(
    node: OnnxNode,
    builder: GraphBuilder,
    inputs: readonly (Operand | undefined)[],
    opset: number,
    graph: {
      /** The only node that takes an output, if there is just one. */
      readonly follower: (output: string) => OnnxNode | undefined
      readonly constant: (name: string) => Constant | undefined
    },
  ) {
    this.node = node
    this.builder = builder
    this.inputs = inputs
    this.opset = opset
    this.#follower = graph.follower
    this.#constant = graph.constant
    const weights = inputs.flatMap((one) => (one?.kind === 'constant' && one.name !== undefined ? [one.name] : []))
    const [weight] = weights
    const stem = weight?.replace(/[./][^./]*$/, '') ?? ''
    this.name = stem !== '' && stem !== weight ? stem : node.name || node.operator
  }

  refused(problem: string): WeftgradError {
    return this.builder.refused(`its ${this.node.operator} '${this.node.name || this.node.outputs[0]}' ${problem}`)
  }

  get operands(): readonly Operand[] {
    return this.inputs.map((_, i) => this.operand(i))
  }

  operand(i: number): Operand {
    const found = this.inputs[i]
    if (found === undefined) throw this.refused(`lacks its input ${i}`)
    return found
  }

  /** An input that layers compute. */
  value(i = 0): Value {
    const found = this.operand(i)
    if (found.kind === 'value') return found
    throw this.refused(`has a constant as its input ${i}`)
  }

  /** An input that must be known; undefined if it is left out. */
  constant(i: number): Constant | undefined {
    const found = this.inputs[i]
    if (found === undefined || found.kind === 'constant') return found
    throw this.refused(`computes its input ${i}, which must be a constant`)
  }

  needed(i: number): Constant {
    const found = this.constant(i)
    if (found === undefined) throw this.refused(`lacks its input ${i}`)
    return found
  }

  /** Whole numbers among the inputs, or in an attribute, as older operators have them. */
  integers(i: number, attribute?: string): readonly number[] | undefined {
    const found = this.constant(i)
    if (found !== undefined) return [...found.read()]
    return attribute === undefined ? undefined : this.list(attribute)
  }

  number(name: string, absent: number): number {
    const found = this.node.attributes.get(name)
    if (found === undefined) return absent
    if (typeof found === 'number') return found
    throw this.refused(`has an attribute ${name} that is no number`)
  }

  text(name: string, absent: string): string {
    const found = this.node.attributes.get(name)
    if (found === undefined) return absent
    if (typeof found === 'string') return found
    throw this.refused(`has an attribute ${name} that is no text`)
  }

  list(name: string): readonly number[] | undefined {
    const found = this.node.attributes.get(name)
    if (found === undefined) return undefined
    if (Array.isArray(found) && found.every((one) => typeof one === 'number')) return found
    throw this.refused(`has an attribute ${name} that is no list of numbers`)
  }

  tensor(name: string): OnnxTensor | undefined {
    const found = this.node.attributes.get(name)
    return typeof found === 'object' && 'read' in found ? found : undefined
  }

  /** An axis counted from 0. @throws WeftgradError 'mismatch' for one that is not there. */
  axis(axis: number, rank: number): number {
    const found = axis < 0 ? axis + rank : axis
    if (Number.isInteger(found) && found >= 0 && found < rank) return found
    throw this.refused(`has axis ${axis}, and its input has ${rank} axes`)
  }

  /** Adds a layer that computes each number by itself. */
  each(value: Value, make: (name: string) => Layer, weights?: readonly Constant[]): Value {
    return { ...value, place: this.builder.add(make(this.builder.freeName(this.name)), [value.place], weights) }
  }

  /** Adds an operation. */
  operation(
    operator: string,
    inputs: readonly number[],
    options: Omit<OperationOptions, 'operator'> = {},
    weights: readonly Constant[] = [],
  ): number {
    return this.builder.add(operation(this.builder.freeName(this.name), { operator, ...options }), inputs, weights)
  }

  /** Adds an operation on each number. */
  unary(operator: string, attributes?: OperationOptions['attributes'], value: Value = this.value()): Value {
    return { ...value, place: this.operation(operator, [value.place], attributes && { attributes }) }
  }

  /** Adds an operation on operands that broadcast. Constants become numbers or weights. */
  broadcast(operator: string, operands: readonly Operand[] = this.operands): Value {
    const together = combined(this.builder, operands, this.name)
    const inputs = together.operands.filter((one) => typeof one === 'number')
    const weights: Constant[] = []
    const described = together.operands.map((one) => {
      if (typeof one === 'number') return null
      const single = numberOf(one)
      if (single !== undefined) return single
      weights.push(one)
      return { shape: one.shape, ...(one.name === undefined ? { trainable: false } : {}) }
    })
    const isPlain = described.every((one) => one === null)
    return together.result(this.operation(operator, inputs, isPlain ? {} : { operands: described }, weights))
  }

  /**
   * A bias that the next node adds to the only output: [channels] along the axis. Its output is then this node's. Undefined if
   * the next node does something else.
   */
  followingBias(
    channels: number,
    axis: number,
    rank: number,
  ): { readonly bias: Constant; readonly output: string } | undefined {
    const [output = ''] = this.node.outputs
    const next = this.#follower(output)
    const other = next?.inputs.find((name) => name !== output)
    if (next?.operator !== 'Add' || other === undefined) return undefined
    const bias = this.#constant(other)
    if (bias === undefined || bias.countsExamples || bias.shape.length > rank) return undefined
    const along = axis - rank + bias.shape.length
    const isBias = bias.shape.every((extent, i) => extent === (i === along ? channels : 1)) && along >= 0
    return isBias ? { bias: { ...bias, shape: [channels] }, output: next.outputs[0] ?? '' } : undefined
  }
}

/** The numbers of a weight, as float32. */
export const floats = (numbers: Numbers): Float32Array =>
  numbers instanceof Float32Array ? numbers : Float32Array.from(numbers)

export const rankOf = (operand: Operand): number => shapeOf(operand).length
