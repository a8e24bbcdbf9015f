/**
 * Rewriting before planning: what pays is merged, the numbers stay the same.
 *
 * - relu, sigmoid or tanh after a convolution or dense layer moves into its kernel;
 * - a convolution, relu and 2x2 max-pooling become one kernel, and so do their gradients (fuse-pool.ts);
 * - relu's gradient, bias gradients and the loss' gradient join the kernels beside them (fuse-dense.ts);
 * - a chain of elementwise operators becomes one kernel (`fused`): an intermediate that only one other elementwise
 *   operator reads is never written to memory. Broadcasts become strides;
 * - a tensor that holds one number everywhere becomes a literal in the kernel that reads it.
 */

import type { ElementwiseStep } from '../../kernels/elementwise/elementwise.ts'
import { elementwiseArity } from '../../kernels/elementwise/elementwise.ts'
import type { Target } from '../../kernels/kernel.ts'
import type { Activation, Node, OpAttributes, OpKind, Value } from '../node.ts'
import { outputOf, sameShape, topologicalOrder } from '../node.ts'
import { makeNode } from '../shapes.ts'
import { fuseDense } from './dense.ts'
import { fusePools } from './pool.ts'
import type { Build, Readers, Replacement } from './replacement.ts'

/** Storage bindings a stage may have by default are 8: leave room for the result. */
const mostFusedInputs = 6
/** Beyond this a kernel's body grows without saving anything that matters. */
const mostFusedSteps = 48

/** The same values, computed by fewer kernels, as far as the target has them. */
export function rewrite(outputs: readonly Value[], target: Target): readonly Value[] {
  return new Rewriter(outputs, target).run()
}

const keyOf = (value: Value): string => `${value.node.id}.${value.index}`

class Rewriter {
  readonly #outputs: readonly Value[]
  readonly #target: Target
  readonly #wanted: ReadonlySet<string>
  readonly #readers = new Map<string, Node[]>()
  /** What stands for each traced value. */
  readonly #rewritten = new Map<string, Value>()
  readonly #heads = new Map<Node, Build>()
  readonly #uniforms = new Map<number, number>()

  constructor(outputs: readonly Value[], target: Target) {
    this.#outputs = outputs
    this.#target = target
    this.#wanted = new Set(outputs.map(keyOf))
  }

  run(): readonly Value[] {
    const order = topologicalOrder(this.#outputs)
    for (const node of order) this.#findUniform(node)
    for (const node of order)
      for (const key of new Set(node.inputs.map(keyOf))) {
        const readers = this.#readers.get(key)
        if (readers === undefined) this.#readers.set(key, [node])
        else readers.push(node)
      }
    const replacements = this.#findReplacements(order)
    const gone = new Set(replacements.flatMap((replacement) => replacement.absorbed))
    for (const { heads } of replacements) for (const [node, build] of heads) this.#heads.set(node, build)
    const inlined = this.#inlinedNodes(order.filter((node) => !gone.has(node) && !this.#heads.has(node)))
    for (const node of order) {
      if (gone.has(node) || inlined.has(node.id)) continue
      const values =
        this.#heads.get(node)?.((value) => this.#map(value)) ?? this.#valuesOf(this.#rewriteNode(node, inlined))
      values.forEach((value, index) => {
        this.#rewritten.set(`${node.id}.${index}`, value)
      })
    }
    return this.#outputs.map((value) => this.#map(value))
  }

  #findReplacements(order: readonly Node[]): Replacement[] {
    const readers: Readers = {
      of: (node, index = 0) => this.#readers.get(`${node.id}.${index}`) ?? [],
      wants: (node, index = 0) => this.#wanted.has(`${node.id}.${index}`),
    }
    const uniform = (node: Node): number | undefined => this.#uniform(outputOf(node))
    const used = new Set<Node>()
    return [...fusePools(order, readers, this.#target), ...fuseDense(order, readers, uniform)].filter(
      ({ absorbed, heads }) => {
        const touched = [...absorbed, ...heads.keys()]
        if (touched.some((node) => used.has(node))) return false
        for (const node of touched) used.add(node)
        return true
      },
    )
  }

  #valuesOf(node: Node): readonly Value[] {
    return node.outputs.map((_, index) => outputOf(node, index))
  }

  #map(value: Value): Value {
    const rewritten = this.#rewritten.get(keyOf(value))
    if (rewritten === undefined)
      throw new RangeError(`${value.node.kind} ${value.node.id} was merged away, but is needed`)
    return rewritten
  }

  /** Whether nothing but one other operator wants this value. */
  #private(value: Value): boolean {
    const readers = this.#readers.get(keyOf(value)) ?? []
    const [reader] = readers
    const uses = reader?.inputs.filter((input) => keyOf(input) === keyOf(value)).length
    return readers.length === 1 && uses === 1 && !this.#wanted.has(keyOf(value))
  }

  /** Nodes that live on only inside their reader: each reader takes what fits, from the last node back. */
  #inlinedNodes(order: readonly Node[]): Set<number> {
    const inlined = new Set<number>()
    const groups = new Map<number, { inputs: number; steps: number }>()
    for (const reader of [...order].reverse()) {
      if (this.#activationHost(reader) !== undefined) {
        const host = reader.inputs[0]
        if (host !== undefined) inlined.add(host.node.id)
        continue
      }
      if (!fusible(reader)) continue
      const group = groups.get(reader.id) ?? { inputs: reader.inputs.length, steps: 1 }
      for (const value of reader.inputs) {
        const { node } = value
        if (this.#uniform(value) !== undefined) {
          group.inputs--
          continue
        }
        const isPassedThrough = node.kind === 'broadcast'
        if (!fusible(node) || !this.#private(value)) continue
        if (!isPassedThrough && !sameShape(value.type.shape, reader.outputs[0]?.shape ?? [])) continue
        if (this.#activationHost(node) !== undefined) continue
        const inputs = group.inputs - 1 + node.inputs.length
        if (inputs > mostFusedInputs || group.steps + 1 > mostFusedSteps) continue
        group.inputs = inputs
        group.steps++
        inlined.add(node.id)
        groups.set(node.id, group)
      }
      groups.set(reader.id, group)
    }
    return inlined
  }

  /** The number that a value holds everywhere, where that is known. */
  #uniform(value: Value): number | undefined {
    return this.#uniforms.get(value.node.id)
  }

  /** Notes the number that a node's result holds everywhere, as float32, as a kernel would compute it. */
  #findUniform(node: Node): void {
    if (node.kind === 'constant') this.#uniforms.set(node.id, Math.fround(node.attributes.value))
    const fold = folds[node.kind]
    const operands = node.inputs.map((input) => this.#uniform(input))
    if (fold === undefined || operands.includes(undefined)) return
    this.#uniforms.set(node.id, Math.fround(fold(operands[0] ?? Number.NaN, operands[1] ?? Number.NaN)))
  }

  /** The convolution or dense layer that can apply this node's function itself. */
  #activationHost(node: Node): Extract<Node, { kind: 'conv2d' | 'dense' }> | undefined {
    if (node.kind !== 'relu' && node.kind !== 'sigmoid' && node.kind !== 'tanh') return undefined
    const value = node.inputs[0]
    if (value === undefined || !this.#private(value)) return undefined
    const host = value.node
    if ((host.kind === 'conv2d' || host.kind === 'dense') && host.attributes.activation === 'linear') return host
    return undefined
  }

  #rewriteNode(node: Node, inlined: ReadonlySet<number>): Node {
    const host = this.#activationHost(node)
    if (host !== undefined) {
      const inputs = host.inputs.map((value) => this.#map(value))
      const activation = node.kind as Activation
      return host.kind === 'conv2d'
        ? (makeNode('conv2d', inputs, { ...host.attributes, activation }) as Node)
        : (makeNode('dense', inputs, { activation }) as Node)
    }
    const value = { node, index: 0, type: node.outputs[0] ?? { shape: [], dtype: 'f32' } } as const
    const uniform = node.kind === 'constant' ? undefined : this.#uniform(value)
    if (uniform !== undefined)
      return makeNode('fused', [], { steps: [{ kind: 'constant', value: uniform }], ...value.type }) as Node
    const takesSomething = node.inputs.some(
      (source) => inlined.has(source.node.id) || this.#uniform(source) !== undefined,
    )
    if (fusible(node) && takesSomething) return this.#fuse(node, inlined)
    if (node.inputs.every((input) => this.#map(input).node === input.node)) return node
    // Made anew, so that its number is again larger than those of its inputs.
    return makeNode(
      node.kind,
      node.inputs.map((value) => this.#map(value)),
      node.attributes as OpAttributes[OpKind],
    ) as Node
  }

  /** One kernel for `node` and everything that was inlined into it. */
  #fuse(node: Node, inlined: ReadonlySet<number>): Node {
    const steps: ElementwiseStep[] = []
    const inputs: Value[] = []
    const known = new Map<string, number>()
    const append = (step: ElementwiseStep): number => steps.push(step) - 1
    const visit = (value: Value): number => {
      const key = keyOf(value)
      const step = known.get(key) ?? build(value)
      known.set(key, step)
      return step
    }
    const build = (value: Value): number => {
      const source = value.node
      const uniform = this.#uniform(value)
      if (uniform !== undefined) return append({ kind: 'constant', value: uniform })
      if (source !== node && !inlined.has(source.id)) {
        inputs.push(this.#map(value))
        return append({ kind: 'input', index: inputs.length - 1 })
      }
      const args = source.inputs.map(visit)
      if (source.kind === 'broadcast') return append({ kind: 'copy', args })
      return append({ kind: source.kind, args, ...source.attributes } as ElementwiseStep)
    }
    visit({ node, index: 0, type: node.outputs[0] ?? { shape: [], dtype: 'f32' } })
    const [type] = node.outputs
    return makeNode('fused', inputs, { steps, shape: type?.shape ?? [], dtype: type?.dtype ?? 'f32' }) as Node
  }
}

/** Operators that are worked out here where their operands hold one number everywhere. */
const folds: { readonly [K in OpKind]?: (a: number, b: number) => number } = {
  broadcast: (a) => a,
  reshape: (a) => a,
  neg: (a) => -a,
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  div: (a, b) => a / b,
}

function fusible(node: Node): boolean {
  if (node.kind === 'broadcast') return node.outputs[0]?.dtype === 'f32'
  return Object.hasOwn(elementwiseArity, node.kind) && node.kind !== 'toU32'
}
