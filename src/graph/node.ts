/**
 * The contract of the graph. A traced computation is a graph of immutable nodes; a `Value` is one output of a node. A node
 * holds its operation, which is a value too: what it is called, the shapes it gives, and how it becomes a kernel. The graph
 * knows no list of operations. What it needs to know about one it asks the operation, and operations are told apart by
 * identity (`isNode`), so a program holds the operations that it imports, and no others.
 *
 * Operations that users call have a derivative as well: see `Operator` in operators/operator.ts.
 */

import { WeftgradError } from '../errors.ts'
import type { BufferSlice, Device } from '../gpu/device.ts'
import type { OperatorStep } from '../kernels/elementwise/elementwise.ts'
import type { DType, Family, KernelPlan, Shape, Target } from '../kernels/kernel.ts'

export type { DType, Shape } from '../kernels/kernel.ts'

/** The shape and dtype of a tensor. */
export interface TensorType {
  /** Extents, whole numbers from 1. */
  readonly shape: Shape
  /** What its elements are. */
  readonly dtype: DType
}

/** Picks a variant and plans a kernel. */
export interface Kernels {
  readonly target: Target
  /** The plan of this family for the key. Throws what the family refuses. */
  plan<Key extends object>(family: Family<Key>, key: Key): KernelPlan
}

/** Attributes of an operation without any. */
export type NoAttributes = Readonly<Record<never, never>>

/** One kind of node. Names serve messages and labels only; two operations may share one. */
export interface Operation<A extends object = object> {
  readonly name: string
  /** The outputs' types. Throws 'shape' or 'argument' for inputs or attributes that do not fit. */
  shape(inputs: readonly TensorType[], attributes: A): readonly TensorType[]
  /** From a node's types and attributes to the key of a kernel family; `noKernel` where nothing is ever computed. */
  lower(node: Node<A>, kernels: Kernels): KernelPlan
  /** The step of an elementwise kernel that does the same to each element: what chains are made of. */
  step?(attributes: A): Omit<OperatorStep, 'args'>
  /** The number that the result holds everywhere, where inputs hold `a` and `b` everywhere (NaN stands for no input). */
  uniform?(a: number, b: number, attributes: A): number
  /** How many elements into the first input's memory the result starts, where it is a run of that memory. */
  view?(input: TensorType, attributes: A): number | undefined
  /** The operation that computes this node and its only reader together, from this node's inputs. */
  absorb?(node: Node<A>, reader: Node): Traced | undefined
  /** What the rules of fusion that start at this node match, the best first. */
  fuse?(node: Node<A>, graph: GraphView): readonly Replacement[]
}

/** An operation with its attributes. */
export interface Traced<A extends object = object> {
  readonly op: Operation<A>
  readonly attributes: A
}

export interface Node<A extends object = object> extends Traced<A> {
  /** Grows with every node made: inputs have smaller numbers than the nodes that use them. */
  readonly id: number
  readonly inputs: readonly Value[]
  readonly outputs: readonly TensorType[]
}

export interface Value {
  readonly node: Node
  readonly index: number
  readonly type: TensorType
}

/** What a rule of fusion may ask about the graph around a node. */
export interface GraphView {
  readonly target: Target
  /** The nodes that read an output. */
  readers(node: Node, index?: number): readonly Node[]
  /** Whether the caller wants an output. */
  wants(node: Node, index?: number): boolean
  /** The number that a value holds everywhere, where that is known. */
  uniform(value: Value): number | undefined
}

/** Makes the values that stand for a node's outputs; `map` gives what stands for a value traced earlier. */
export type Build = (map: (value: Value) => Value) => readonly Value[]

/** What becomes of the nodes that a rule of fusion matched. */
export interface Replacement {
  /** Nodes that nothing needs any more. */
  readonly absorbed: readonly Node[]
  readonly heads: ReadonlyMap<Node, Build>
}

/** Where a leaf's numbers live. The graph asks only when it runs. */
export interface Storage {
  /** The slice on `device`, uploading first if the numbers are still on the host. Throws 'disposed'. */
  on(device: Device): BufferSlice
  /** The device the numbers live on already, if any. */
  readonly device: Device | undefined
  /** True where `on` makes a temporary copy that the caller must release after the run. */
  readonly transient: boolean
}

export interface LeafAttributes {
  readonly storage: Storage
  readonly type: TensorType
}

/** Numbers that are there already: a parameter, a data set, an input. */
export const leafOp: Operation<LeafAttributes> = {
  name: 'leaf',
  shape: (_, { type }) => [type],
  lower: noKernel,
}

/** Stands for the kernels of an operation that needs none. */
export function noKernel(node: Node): never {
  throw new RangeError(`${node.op.name} is not computed by a kernel`)
}

let nextId = 0

/** Makes a node after checking its inputs: the only way to make one. Throws 'shape' or 'argument'; nothing is made then. */
export function makeNode<A extends object>(op: Operation<A>, inputs: readonly Value[], attributes: A): Node<A> {
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

/** One input of a node, which its shape rule has counted. */
export function inputOf(node: Node, index: number): Value {
  const value = node.inputs[index]
  if (value === undefined) throw new RangeError(`${node.op.name} has no input ${index}`)
  return value
}

/** Text that tells the values of a graph apart. */
export const keyOf = ({ node, index }: Pick<Value, 'node' | 'index'>): string => `${node.id}.${index}`

export function sameValue(a: Value | undefined, b: Value | undefined): boolean {
  return a !== undefined && b !== undefined && a.node === b.node && a.index === b.index
}

/** The nodes that `outputs` depend on, each after its inputs. Iterative, so that long chains do not exhaust the stack. */
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
