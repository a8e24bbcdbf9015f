/** A node of a TensorFlow graph as `graph-operations.ts` reads it: what it takes, its attributes, and the layers that it becomes. */

import type { WeftgradError } from '../errors.ts'
import { isRecord } from '../format/json.ts'
import type { GraphConstant, GraphNode } from '../format/weight-file.ts'
import type { Shape } from '../graph/node.ts'
import { shapeText } from '../graph/node.ts'
import { elementCount } from '../kernels/kernel.ts'
import type { LayerConfig } from '../nn/layers/registry.ts'

/** The numbers of a weight of a layer. */
export interface WeightSource {
  readonly constant: GraphConstant
  /** What the layer's numbers are of the constant's, if they are others. */
  readonly change?: (numbers: Float32Array, shape: readonly number[]) => Float32Array
}

/** What a node computes: the output of a layer, a constant, or sizes that depend on shapes alone (-1 is the batch). */
export type GraphValue =
  | { readonly kind: 'place'; readonly place: number; readonly shape: Shape }
  | { readonly kind: 'constant'; readonly constant: GraphConstant }
  | { readonly kind: 'sizes'; readonly sizes: readonly number[] }

export type PlaceValue = Extract<GraphValue, { kind: 'place' }>

/** What a node becomes is added to. */
export interface NodeBuilder {
  refused(problem: string): WeftgradError
  constant(name: string): GraphValue
  input(node: GraphNode): GraphValue
  layer(
    name: string,
    className: string,
    config: LayerConfig,
    inputs: readonly PlaceValue[],
    weights: readonly WeightSource[],
  ): PlaceValue
}

/** Attributes and axes hold few numbers; weights are read when the model is loaded. */
const mostInline = 65_536

/** One node with what it takes. */
export class NodeReader {
  readonly node: GraphNode
  readonly operands: readonly GraphValue[]
  readonly #builder: NodeBuilder

  constructor(node: GraphNode, operands: readonly GraphValue[], builder: NodeBuilder) {
    this.node = node
    this.operands = operands
    this.#builder = builder
  }

  /** The error for a node that has something that no layer does. */
  refused(problem: string): WeftgradError {
    return this.#builder.refused(`'${this.node.name}' (${this.node.op}) ${problem}`)
  }

  readonly unsupported = (): never => {
    throw this.refused('is not supported here')
  }

  input(): GraphValue {
    return this.#builder.input(this.node)
  }

  itself(): GraphValue {
    return this.#builder.constant(this.node.name)
  }

  value(i: number): GraphValue {
    const value = this.operands[i]
    if (value === undefined) throw this.refused(`has no operand ${i + 1}`)
    return value
  }

  /** An operand that is a layer's output. */
  place(i: number): PlaceValue {
    const value = this.value(i)
    if (value.kind !== 'place') throw this.refused(`has a constant as operand ${i + 1}`)
    return value
  }

  /** An operand that is a constant. */
  constant(i: number): GraphConstant {
    const value = this.value(i)
    if (value.kind !== 'constant') throw this.refused(`computes its operand ${i + 1}`)
    return value.constant
  }

  /** The few numbers of an operand that no layer computes. */
  async numbers(i: number): Promise<readonly number[]> {
    const value = this.value(i)
    if (value.kind === 'sizes') return value.sizes
    const constant = this.constant(i)
    if (elementCount(constant.shape) > mostInline)
      throw this.refused(`has ${shapeText(constant.shape)} as operand ${i + 1}`)
    return [...(await constant.read())]
  }

  add(
    className: string,
    config: LayerConfig,
    inputs: readonly PlaceValue[],
    weights: readonly WeightSource[] = [],
    part = '',
  ): PlaceValue {
    return this.#builder.layer(`${this.node.name}${part}`, className, config, inputs, weights)
  }

  #attribute(name: string): Readonly<Record<string, unknown>> {
    const value = this.node.attributes[name]
    return isRecord(value) ? value : {}
  }

  /** A number; `otherwise` if the node does not have it. */
  number(name: string, otherwise: number): number {
    const { f, i } = this.#attribute(name)
    const value = f ?? i
    return value === undefined ? otherwise : Number(value)
  }

  flag(name: string): boolean {
    return this.#attribute(name).b === true
  }

  /** A text, which files hold in base64. */
  text(name: string): string | undefined {
    const { s } = this.#attribute(name)
    return typeof s === 'string' ? fromBase64(s) : undefined
  }

  texts(name: string): readonly string[] {
    return this.#list(name, 's').map((text) => fromBase64(String(text)))
  }

  ints(name: string): readonly number[] {
    return this.#list(name, 'i').map(Number)
  }

  #list(name: string, kind: string): readonly unknown[] {
    const { list } = this.#attribute(name)
    const found = isRecord(list) ? list[kind] : undefined
    return Array.isArray(found) ? found : []
  }
}

function fromBase64(text: string): string {
  try {
    return atob(text)
  } catch {
    return text
  }
}
