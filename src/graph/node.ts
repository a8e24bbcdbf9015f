/**
 * The contract of the graph. A traced computation is a graph of immutable nodes; a `Value` is one output of a node. A
 * node holds its operation, which is a value too: its name, its shape rule, and how to plan its kernel. The graph has
 * no list of operations: it asks each operation what it needs to know, and compares operations by identity (`isNode`).
 * A program therefore contains only the operations it imports.
 *
 * Operations that users call also have a derivative: see `Operator` in operators/operator.ts.
 */

import { WeftgradError } from '../errors.ts'
import type { BufferSlice, Device } from '../gpu/device.ts'
import type { OperatorStep } from '../kernels/elementwise/elementwise.ts'
import type { DType, Family, KernelPlan, Shape, Target } from '../kernels/kernel.ts'

export type { DType, Shape } from '../kernels/kernel.ts'

/** The shape and dtype of a tensor. */
export interface TensorType {
  /** Extents, positive whole numbers. */
  readonly shape: Shape
  /** The type of its elements. */
  readonly dtype: DType
}

/** Picks a variant and plans a kernel. */
export interface Kernels {
  readonly target: Target
  /** Plans the family's kernel for the key. Throws what the family throws. */
  plan<Key extends object>(family: Family<Key>, key: Key): KernelPlan
}

/** Attributes of an operation without any. */
export type NoAttributes = Readonly<Record<never, never>>

/** One kind of node. Names are for messages and labels only; two operations may share one. */
export interface Operation<A extends object = object> {
  readonly name: string
  /** The input that may be f16; no other operation reads f16 tensors. */
  readonly half?: number
  /** Returns the outputs' types. Throws 'shape' or 'argument' for inputs or attributes that do not fit. */
  shape(inputs: readonly TensorType[], attributes: A): readonly TensorType[]
  /** Plans the kernel from the node's types and attributes; `noKernel` for an operation that computes nothing. */
  lower(node: Node<A>, kernels: Kernels): KernelPlan
  /** The equivalent step of an elementwise kernel; chains consist of such steps. */
  step?(attributes: A): Omit<OperatorStep, 'args'>
  /**
   * The number in every element of the result if the inputs hold `a` and `b` in every element (NaN for a missing
   * input).
   */
  uniform?(a: number, b: number, attributes: A): number
  /** The element of the first input at which the result starts, if the result is a contiguous part of that memory. */
  view?(input: TensorType, attributes: A): number | undefined
  /** The operation that computes this node and its only reader together, from this node's inputs. */
  absorb?(node: Node<A>, reader: Node): Traced | undefined
  /** Matches of the fusion rules that start at this node, the best first. */
  fuse?(node: Node<A>, graph: GraphView): readonly Replacement[]
}

/** An operation with its attributes. */
export interface Traced<A extends object = object> {
  readonly op: Operation<A>
  readonly attributes: A
}

export interface Node<A extends object = object> extends Traced<A> {
  /** Increases with every node: inputs have smaller numbers than the nodes that use them. */
  readonly id: number
  readonly inputs: readonly Value[]
  readonly outputs: readonly TensorType[]
}

export interface Value {
  readonly node: Node
  readonly index: number
  readonly type: TensorType
}

/** A fusion rule's view of the graph around a node. */
export interface GraphView {
  readonly target: Target
  /** The nodes that read an output. */
  readers(node: Node, index?: number): readonly Node[]
  /** Whether the caller needs an output. */
  wants(node: Node, index?: number): boolean
  /** The number in every element of a value, if known. */
  uniform(value: Value): number | undefined
}

/** Builds the values that replace a node's outputs; `map` returns the replacement of a value traced earlier. */
export type Build = (map: (value: Value) => Value) => readonly Value[]

/** The replacement for the nodes that a fusion rule matched. */
export interface Replacement {
  /** Nodes that are no longer needed. */
  readonly absorbed: readonly Node[]
  readonly heads: ReadonlyMap<Node, Build>
}

/** The storage of a leaf's numbers. The graph reads it only when it runs. */
export interface Storage {
  /** The slice on `device`; uploads first if the numbers are still on the host. Throws 'disposed'. */
  on(device: Device): BufferSlice
  /** The device that already holds the numbers, if any. */
  readonly device: Device | undefined
  /** Whether `on` makes a temporary copy that the caller must release after the run. */
  readonly transient: boolean
}

export interface LeafAttributes {
  readonly storage: Storage
  readonly type: TensorType
}

/** Existing numbers: a parameter, a data set, an input. */
export const leafOp: Operation<LeafAttributes> = {
  name: 'leaf',
  shape: (_, { type }) => [type],
  lower: noKernel,
}

/** The `lower` of an operation without a kernel. */
export function noKernel(node: Node): never {
  throw new RangeError(`${node.op.name} is not computed by a kernel`)
}

let nextId = 0

/** Throws 'shape': `reader` does not read f16 tensors. */
export function refuseHalf(reader: string): never {
  throw new WeftgradError('shape', `${reader} reads no f16 weights; freeze without precision 'f16'.`)
}

/** Checks the inputs and makes a node; the only way to make one. Throws 'shape' or 'argument' if they do not fit. */
export function makeNode<A extends object>(op: Operation<A>, inputs: readonly Value[], attributes: A): Node<A> {
  if (inputs.some(({ type }, i) => type.dtype === 'f16' && i !== op.half)) refuseHalf(op.name)
  const outputs = op.shape(
    inputs.map((value) => value.type),
    attributes,
  )
  for (const { shape } of outputs)
    if (shape.some((extent) => !Number.isInteger(extent) || extent < 1))
      throw new WeftgradError(
        'shape',
        `${op.name}: ${shapeText(shape)} has an extent that is not a positive whole number.`,
        { shape },
      )
  return { id: nextId++, op, attributes, inputs, outputs }
}

/** Whether a node is of this operation; narrows its attributes. */
export function isNode<A extends object>(node: Node | undefined, op: Operation<A>): node is Node<A> {
  return node?.op === (op as Operation)
}

export function shapeText(shape: Shape): string {
  return `[${shape.join(', ')}]`
}

export function sameShape(a: Shape, b: Shape): boolean {
  return a.length === b.length && a.every((extent, axis) => extent === b[axis])
}

/** One output of a node. */
export function outputOf(node: Node, index = 0): Value {
  const type = node.outputs[index]
  if (type === undefined) throw new RangeError(`${node.op.name} has no output ${index}`)
  return { node, index, type }
}

/** All outputs of a node. */
export function outputsOf(node: Node): readonly Value[] {
  return node.outputs.map((type, index) => ({ node, index, type }))
}

/** One input of a node, whose shape rule has checked the number of inputs. */
export function inputOf(node: Node, index: number): Value {
  const value = node.inputs[index]
  if (value === undefined) throw new RangeError(`${node.op.name} has no input ${index}`)
  return value
}

/** A key that is unique for each value of a graph. */
export const keyOf = ({ node, index }: Pick<Value, 'node' | 'index'>): string => `${node.id}.${index}`

export function sameValue(a: Value | undefined, b: Value | undefined): boolean {
  return a !== undefined && b !== undefined && a.node === b.node && a.index === b.index
}

/**
 * The nodes that `outputs` depend on, each after its inputs. Iterative, so that long chains do not exhaust the stack.
 */
export function topologicalOrder(outputs: readonly Value[]): Node[] {
  const reached = new Map<number, Node>()
  const open = outputs.map((value) => value.node)
  for (let node = open.pop(); node !== undefined; node = open.pop()) {
    if (reached.has(node.id)) continue
    reached.set(node.id, node)
    for (const value of node.inputs) open.push(value.node)
  }
  return [...reached.values()].sort((a, b) => a.id - b.id)
}
