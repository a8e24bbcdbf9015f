/**
 * Collects the layers of a model that is built from an ONNX graph, and where the numbers of their weights come from. Adds layers
 * that rearrange numbers where an operator needs another order of axes than its input has.
 */

import { WeftgradError } from '../../errors.ts'
import { sameShape, shapeText } from '../../graph/node.ts'
import { operation } from '../../nn/layers/operation.ts'
import * as layers from '../../nn/layers.ts'
import type { WiredLayer } from '../../nn/model.ts'
import type { Constant, Numbers } from './constant.ts'
import { commonFactors, extentOf, factored, type Part, part, reshapedAxes, type Value } from './value.ts'

type Layer = layers.Layer

/** Parts of the axes of a layer's output. */
export type Groups = readonly (readonly Part[])[]

export class GraphBuilder {
  /** The file's name in messages. */
  readonly source: string
  /** The examples. Its extent is the graph's own, or one that stands for an open number. */
  readonly batch: Part
  readonly layers: (WiredLayer & { readonly layer: Layer })[] = []
  /** The numbers of each weight, by its name in the model. */
  readonly weights = new Map<string, () => Numbers>()
  readonly #inputShape: readonly number[]
  readonly #shapes: (readonly number[])[] = []
  readonly #names = new Set<string>()
  /** How often a name was wanted: a graph can have very many nodes without names. */
  readonly #wanted = new Map<string, number>()

  constructor(source: string, inputShape: readonly number[], batch: Part) {
    this.source = source
    this.#inputShape = inputShape
    this.batch = batch
  }

  /** An error about a graph that is not expressible. */
  refused(problem: string): WeftgradError {
    return new WeftgradError('mismatch', `${this.source} describes a model that weftgrad cannot build: ${problem}.`, {
      source: this.source,
    })
  }

  /** The name, or with a number if it is taken. Names of layers do not begin with a slash. */
  freeName(wanted: string): string {
    const stem = wanted.replace(/^\/+/, '') || 'layer'
    let count = this.#wanted.get(stem) ?? 0
    let name = count === 0 ? stem : `${stem}_${count}`
    while (this.#names.has(name)) name = `${stem}_${++count}`
    this.#wanted.set(stem, count + 1)
    this.#names.add(name)
    return name
  }

  /** The shape of a layer's output. */
  shapeAt(place: number): readonly number[] {
    return (place < 0 ? this.#inputShape : this.#shapes[place]) ?? []
  }

  /**
   * Adds a layer. Returns its place.
   * @param weights its weights, in its order.
   * @throws WeftgradError 'shape' for inputs that it cannot take, 'mismatch' for weights that do not fit.
   */
  add(layer: Layer, inputs: readonly number[], weights: readonly Constant[] = []): number {
    const shapes = inputs.map((place) => this.shapeAt(place))
    const outputShape = layer.outputShape(shapes)
    if (outputShape.includes(0)) throw this.refused(`'${layer.name}' gives an empty tensor, ${shapeText(outputShape)}`)
    const specs = layer.weights(shapes)
    if (specs.length !== weights.length)
      throw this.refused(`'${layer.name}' has ${weights.length} weights, and its layer takes ${specs.length}`)
    for (const [i, spec] of specs.entries()) {
      const { shape = [], read = () => new Float32Array() } = weights[i] ?? {}
      if (!sameShape(shape, spec.shape))
        throw this.refused(
          `the ${spec.name} of '${layer.name}' has the shape ${shapeText(shape)}, and its layer takes ${shapeText(spec.shape)}`,
        )
      this.weights.set(`${layer.name}/${spec.name}`, read)
    }
    this.#shapes.push(outputShape)
    return this.layers.push({ layer, inputs }) - 1
  }

  /** The value's numbers in this order: a layer's output whose axes have these parts. Adds layers if they are needed. */
  arranged(value: Value, groups: Groups, name: string): number {
    const isOpen = ({ extent }: Part): boolean => extent !== 1
    const wanted = groups.flat().filter(isOpen)
    const held = value.stored.flat().filter(isOpen)
    let { place } = value
    if (wanted.length !== held.length || wanted.some((one) => !held.includes(one)))
      throw new RangeError(`${name}: the parts of its input do not fit`)
    if (wanted.some((one, i) => one !== held[i])) {
      const blocks = neighbours(held, wanted)
      const order = blocks
        .map((_, i) => i)
        .sort((a, b) => wanted.indexOf(first(blocks[a])) - wanted.indexOf(first(blocks[b])))
      place = this.#inShape(place, blocks.map(extentOf), name)
      const permutation = [0, ...order.map((i) => i + 1)]
      const own = this.freeName(`${name}_transpose`)
      place = this.add(operation(own, { operator: 'transpose', attributes: { permutation } }), [place])
    }
    return this.#inShape(place, groups.map(extentOf), name)
  }

  #inShape(place: number, shape: readonly number[], name: string): number {
    if (sameShape(this.shapeAt(place), shape)) return place
    return this.add(layers.reshape(this.freeName(`${name}_reshape`), shape), [place])
  }

  /** The value with one part for each axis, in the order of the axes; an axis with the examples may have two. */
  plain(value: Value, name: string): Value {
    const groups = value.axes.map((axis) => axis.filter((one) => one !== this.batch))
    const place = this.arranged(value, groups, name)
    const parts = groups.map((group) => part(extentOf(group)))
    const axes = value.axes.map((axis, i) => {
      const own = parts[i] === undefined || parts[i].extent === 1 ? [] : [parts[i]]
      // Only the examples before the rest are one axis with it.
      if (axis.includes(this.batch) && own.length > 0 && axis.find(({ extent }) => extent !== 1) !== this.batch)
        throw this.refused(`'${name}' takes numbers of all examples in turn`)
      return axis.includes(this.batch) ? [this.batch, ...own] : own
    })
    return { kind: 'value', place, stored: parts.map((one) => [one]), axes }
  }

  /** The value with an axis that is one part and one axis of the layer's output: the result's `at`. */
  isolated(value: Value, axis: number, name: string): { readonly value: Value; readonly at: number } {
    const parts = (value.axes[axis] ?? []).filter(({ extent }) => extent !== 1)
    if ((value.axes[axis] ?? []).includes(this.batch)) throw this.refused(`'${name}' works along the examples`)
    const held = value.stored.flat()
    const start = held.indexOf(first(parts))
    const isTogether = parts.length > 0 && parts.every((one, i) => held[start + i] === one)
    const others = value.stored.flatMap((group) => {
      const kept = runs(group, (one) => parts.includes(one))
      return kept.filter((run) => !run.some((one) => parts.includes(one)))
    })
    // Where it is, if its parts are neighbours; else last.
    const before = isTogether ? held.slice(0, start) : held
    const at = others.filter((group) => group.every((one) => before.includes(one))).length
    const groups = [...others.slice(0, at), parts, ...others.slice(at)]
    const place = this.arranged(value, groups, name)
    const own = part(extentOf(parts))
    const axes = value.axes.map((one, i) => (i === axis ? [own] : one))
    return { value: { kind: 'value', place, stored: groups.map((group, i) => (i === at ? [own] : group)), axes }, at }
  }

  /** Reshapes the value, row-major. */
  reshaped(value: Value, shape: readonly number[], name: string): Value {
    const direct = reshapedAxes(value, shape, this.batch)
    if (direct !== undefined) return direct
    const plain = this.plain(value, name)
    const rest = plain.axes.flat().filter((one) => one !== this.batch)
    // All numbers of an example in a row, if the examples come first.
    const joined = part(extentOf(rest))
    const hasBatch = plain.axes.some((axis) => axis.includes(this.batch))
    const axes = hasBatch ? [[this.batch], [joined]] : [[joined]]
    const isFirst =
      !hasBatch || plain.axes.flat().find(({ extent }) => extent !== 1) === this.batch || this.batch.extent === 1
    const place = this.arranged(plain, [rest], name)
    const row: Value = { kind: 'value', place, stored: [[joined]], axes }
    const result = isFirst ? reshapedAxes(row, shape, this.batch) : undefined
    if (result !== undefined) return result
    throw this.refused(
      `'${name}' reshapes ${shapeText(value.axes.map(extentOf))} to ${shapeText(shape)}, which mixes the examples`,
    )
  }

  /**
   * Splits the values' axes into the same parts, axis by axis, where they are not of extent 1. Values with fewer axes get some
   * in front.
   * @param except an axis that may differ.
   */
  alike(values: readonly Value[], rank: number, name: string, except?: number): readonly Value[] {
    const padded = values.map((value) => ({
      ...value,
      axes: [...Array.from({ length: rank - value.axes.length }, () => []), ...value.axes],
    }))
    let result: readonly Value[] = padded
    for (let axis = 0; axis < rank; axis++) {
      if (axis === except) continue
      const open = (value: Value): boolean => this.isOpen(value.axes[axis] ?? [])
      const factors = commonFactors(
        result.filter(open).map((value) => value.axes[axis] ?? []),
        this.batch,
      )
      if (factors === undefined) {
        const isPlain = result.every(({ axes }) => axes.every((one) => one.filter((p) => p !== this.batch).length < 2))
        if (isPlain)
          throw this.refused(
            `'${name}' combines ${values.map((one) => shapeText(one.axes.map(extentOf))).join(' and ')}`,
          )
        return this.alike(
          padded.map((value) => this.plain(value, name)),
          rank,
          name,
          except,
        )
      }
      result = result.map((value) => (open(value) ? factored(value, axis, factors, this.batch) : value))
    }
    return result
  }

  /** Whether an axis is more than an extent of 1 that repeats. */
  isOpen(axis: readonly Part[]): boolean {
    return axis.includes(this.batch) || extentOf(axis) !== 1
  }

  /** A new part for each axis of a layer's output. */
  partsAt(place: number): readonly Part[] {
    return this.shapeAt(place).map(part)
  }
}

function first(parts: readonly Part[] | undefined): Part {
  return parts?.[0] ?? part(1)
}

/** Splits a list where the property changes. */
export function runs<T>(list: readonly T[], property: (one: T) => unknown): T[][] {
  const found: T[][] = []
  for (const one of list) {
    const last = found.at(-1)
    if (last?.[0] !== undefined && property(last[0]) === property(one)) last.push(one)
    else found.push([one])
  }
  return found
}

/** Joins parts that are neighbours, in the same order, in both lists. */
function neighbours(held: readonly Part[], wanted: readonly Part[]): Part[][] {
  const blocks: Part[][] = []
  for (const one of held) {
    const last = blocks.at(-1)?.at(-1)
    if (last !== undefined && wanted[wanted.indexOf(last) + 1] === one) blocks.at(-1)?.push(one)
    else blocks.push([one])
  }
  return blocks
}
