/**
 * An ONNX graph as it grows: nodes, weights, and values that know where their channels are. ONNX' convolutions want channels first,
 * weftgrad has them last. A value keeps its order until a node needs the other one, so a network of images has none turned
 * between its first convolution and its pooling.
 */

import type { Shape } from '../../graph/node.ts'
import { elementCount } from '../../kernels/kernel.ts'
import type { ExportedCall, ExportedWeight } from '../exported-model.ts'

/** The result of a node. */
export interface Value {
  readonly name: string
  /** weftgrad's shape: without the batch, channels last. */
  readonly shape: Shape
  /** Whether the channels come after the batch instead. */
  readonly isChannelsFirst: boolean
}

type Attribute = number | string | readonly number[]
/** The attributes of a node; floats, also whole ones, are in `floats`. */
export interface Attributes {
  readonly [name: string]: Attribute | Readonly<Record<string, number>>
}

const floatType = 1
const int64Type = 7

/** Where the axes of weftgrad's order, the batch included, are with the channels first. */
const channelsFirstOrder = (rank: number): readonly number[] => [
  0,
  rank - 1,
  ...Array.from({ length: rank - 2 }, (_, i) => i + 1),
]
const channelsLastOrder = (rank: number): readonly number[] => [
  0,
  ...Array.from({ length: rank - 2 }, (_, i) => i + 2),
  1,
]

export class GraphWriter {
  readonly nodes: object[] = []
  readonly initializers: object[] = []
  readonly #names = new Set<string>()
  /** Weights and constants written so far, by what they are. */
  readonly #held = new Map<string, string>()
  readonly #turned = new Map<string, Value>()
  #prefix = ''

  /** Names the next nodes after a call of a layer. */
  begin({ layer, turn }: ExportedCall): void {
    this.#prefix = turn === 0 ? layer.name : `${layer.name}_${turn}`
  }

  /** Keeps a name from being given to a node. */
  reserve(name: string): string {
    this.#names.add(name)
    return name
  }

  /** Adds a node. Returns the name of its output. */
  node(operator: string, inputs: readonly string[], attributes: Attributes = {}, floats: Attributes = {}): string {
    const name = this.#free(`${this.#prefix}/${operator}`)
    const listed = Object.entries(attributes).map(([key, value]) => attribute(key, value as Attribute))
    const ofFloats = Object.entries(floats).map(([key, f]) => ({ name: key, type: 1, f: f as number }))
    this.nodes.push({
      ...{ name, opType: operator, input: [...inputs], output: [name] },
      attribute: [...listed, ...ofFloats],
    })
    return name
  }

  /** Gives a value the name of the graph's output. */
  end(value: string, output: string): void {
    this.nodes.push({ name: output, opType: 'Identity', input: [value], output: [output], attribute: [] })
  }

  /** A weight of the call's layer in another order of axes and another shape, by its name there. */
  weight(call: ExportedCall, role: string, order?: readonly number[], shape?: Shape): string {
    const name = `${call.layer.name}/${role}`
    return this.#once(`${name} ${order} ${shape}`, () => {
      const { shape: own, data } = weightOf(call, role)
      const turned = order === undefined ? { shape: own, data } : transposed(own, data, order)
      return this.#tensor(name, shape ?? turned.shape, turned.data)
    })
  }

  /** Numbers that are no weight. */
  floats(shape: Shape, numbers: readonly number[]): string {
    const data = Float32Array.from(numbers)
    return this.#once(`floats ${shape}: ${data}`, () => this.#tensor('constant', shape, data))
  }

  /** Whole numbers: axes, extents. */
  integers(numbers: readonly number[]): string {
    const data = BigInt64Array.from(numbers, BigInt)
    return this.#once(`integers ${numbers}`, () => this.#tensor('extents', [numbers.length], data))
  }

  /** The value with its channels last, as weftgrad has it. */
  channelsLast(value: Value): Value {
    return this.#inOrder(value, false)
  }

  channelsFirst(value: Value): Value {
    return this.#inOrder(value, true)
  }

  #inOrder(value: Value, isChannelsFirst: boolean): Value {
    const rank = value.shape.length + 1
    if (value.isChannelsFirst === isChannelsFirst || rank < 3) return { ...value, isChannelsFirst }
    const known = this.#turned.get(value.name)
    if (known !== undefined) return known
    const perm = isChannelsFirst ? channelsFirstOrder(rank) : channelsLastOrder(rank)
    const turned = { ...value, name: this.node('Transpose', [value.name], { perm }), isChannelsFirst }
    this.#turned.set(value.name, turned).set(turned.name, value)
    return turned
  }

  #once(key: string, write: () => string): string {
    const known = this.#held.get(key) ?? write()
    this.#held.set(key, known)
    return known
  }

  #tensor(wanted: string, shape: Shape, data: Float32Array | BigInt64Array): string {
    const name = this.#free(wanted)
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
    const dataType = data instanceof Float32Array ? floatType : int64Type
    this.initializers.push({ name, dims: shape.map(BigInt), dataType, rawData: bytes })
    return name
  }

  #free(wanted: string): string {
    let name = wanted
    for (let i = 1; this.#names.has(name); i++) name = `${wanted}_${i}`
    return this.reserve(name)
  }
}

function attribute(name: string, value: Attribute): object {
  if (typeof value === 'string') return { name, type: 3, s: new TextEncoder().encode(value) }
  return typeof value === 'number' ? { name, type: 2, i: BigInt(value) } : { name, type: 7, ints: value.map(BigInt) }
}

/** A layer's weight; one without numbers if it has none of that name, which no layer here asks for. */
export function weightOf({ layer }: ExportedCall, role: string): ExportedWeight {
  return layer.weights.find((weight) => weight.role === role) ?? { role, shape: [0], data: new Float32Array() }
}

export const hasWeight = ({ layer }: ExportedCall, role: string): boolean =>
  layer.weights.some((weight) => weight.role === role)

/** The numbers in another order of axes. */
export function transposed(
  shape: Shape,
  data: Float32Array,
  order: readonly number[],
): { readonly shape: Shape; readonly data: Float32Array } {
  const strides = shape.map((_, axis) => elementCount(shape.slice(axis + 1)))
  const turned = order.map((axis) => shape[axis] ?? 1)
  const steps = order.map((axis) => strides[axis] ?? 1)
  const result = new Float32Array(data.length)
  const at = turned.map(() => 0)
  let from = 0
  for (let to = 0; to < result.length; to++) {
    result[to] = data[from] ?? 0
    for (let axis = turned.length - 1; axis >= 0; axis--) {
      const [place = 0, step = 0, extent = 1] = [at[axis], steps[axis], turned[axis]]
      if (place + 1 < extent) {
        at[axis] = place + 1
        from += step
        break
      }
      at[axis] = 0
      from -= place * step
    }
  }
  return { shape: turned, data: result }
}
