/**
 * Rewrites a graph before planning: merges nodes if that pays and does not change the numbers. It knows no operator by
 * name:
 *
 * - an operation brings its own fusion rules (`fuse`), tried at each of its nodes: a convolution with its pooling, the
 *   loss with its gradient (operators/fusion/);
 * - an operation absorbs its only reader if it can compute both (`absorb`): a convolution its activation;
 * - a chain of elementwise operators (`step`) becomes one kernel: an intermediate that only one other elementwise
 *   operator reads is never written to memory. Broadcasts become strides;
 * - a tensor with the same number in every element (`uniform`) becomes a literal in the kernel that reads it.
 */

import type { ElementwiseStep } from '../../kernels/elementwise/elementwise.ts'
import type { Target } from '../../kernels/kernel.ts'
import type { Build, GraphView, Node, Replacement, Traced, Value } from '../node.ts'
import { keyOf, makeNode, outputOf, outputsOf, sameShape, sameValue, topologicalOrder } from '../node.ts'
import { chainOp } from './elementwise-chain.ts'

/** WebGPU allows 8 storage bindings a stage by default; this leaves room for the result. */
const mostFusedInputs = 6
/** Longer chains make the kernel larger without a noticeable saving. */
const mostFusedSteps = 48

/** Returns the same values, computed by fewer kernels if the target supports them. */
export function rewrite(outputs: readonly Value[], target: Target): readonly Value[] {
  return new Rewriter(outputs, target).run()
}

class Rewriter {
  readonly #outputs: readonly Value[]
  readonly #target: Target
  readonly #wanted: ReadonlySet<string>
  readonly #readers = new Map<string, Node[]>()
  /** The replacement of each traced value. */
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
      const values = this.#heads.get(node)?.((value) => this.#map(value)) ?? outputsOf(this.#rewriteNode(node, inlined))
      values.forEach((value, index) => {
        this.#rewritten.set(keyOf({ node, index }), value)
      })
    }
    return this.#outputs.map((value) => this.#map(value))
  }

  /** The matches of the operations' rules; if two overlap, the one that comes first in node order. */
  #findReplacements(order: readonly Node[]): Replacement[] {
    const graph: GraphView = {
      target: this.#target,
      readers: (node, index = 0) => this.#readers.get(keyOf({ node, index })) ?? [],
      wants: (node, index = 0) => this.#wanted.has(keyOf({ node, index })),
      uniform: (value) => this.#uniform(value),
    }
    const used = new Set<Node>()
    return order
      .flatMap((node) => node.op.fuse?.(node, graph) ?? [])
      .filter(({ absorbed, heads }) => {
        const touched = [...absorbed, ...heads.keys()]
        if (touched.some((node) => used.has(node))) return false
        for (const node of touched) used.add(node)
        return true
      })
  }

  #map(value: Value): Value {
    const rewritten = this.#rewritten.get(keyOf(value))
    if (rewritten === undefined)
      throw new RangeError(`${value.node.op.name} ${value.node.id} was merged away, but is needed`)
    return rewritten
  }

  /** Whether exactly one other operator needs this value. */
  #private(value: Value): boolean {
    const readers = this.#readers.get(keyOf(value)) ?? []
    const [reader] = readers
    const uses = reader?.inputs.filter((input) => sameValue(input, value)).length
    return readers.length === 1 && uses === 1 && !this.#wanted.has(keyOf(value))
  }

  /** The nodes to inline into their reader; each reader takes what fits, from the last node backward. */
  #inlinedNodes(order: readonly Node[]): Set<number> {
    const inlined = new Set<number>()
    const groups = new Map<number, { inputs: number; steps: number }>()
    for (const reader of [...order].reverse()) {
      const host = this.#hostOf(reader)
      if (host !== undefined) {
        inlined.add(host.node.id)
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
        const isPassedThrough = node.op.step?.(node.attributes).kind === 'copy'
        if (!fusible(node) || !this.#private(value)) continue
        if (!isPassedThrough && !sameShape(value.type.shape, reader.outputs[0]?.shape ?? [])) continue
        if (this.#hostOf(node) !== undefined) continue
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

  /** The number in every element of a value, if known. */
  #uniform(value: Value): number | undefined {
    return this.#uniforms.get(value.node.id)
  }

  /** Records the number in every element of a node's result, in float32 as a kernel would compute it. */
  #findUniform(node: Node): void {
    const operands = node.inputs.map((input) => this.#uniform(input))
    if (node.op.uniform === undefined || operands.includes(undefined)) return
    const [a = Number.NaN, b = Number.NaN] = operands
    this.#uniforms.set(node.id, Math.fround(node.op.uniform(a, b, node.attributes)))
  }

  /** The operand that can absorb this node, and the operation that computes both. */
  #hostOf(reader: Node): { readonly node: Node; readonly both: Traced } | undefined {
    const [value] = reader.inputs
    if (value === undefined || reader.inputs.length > 1 || !this.#private(value)) return undefined
    const both = value.node.op.absorb?.(value.node, reader)
    return both && { node: value.node, both }
  }

  #rewriteNode(node: Node, inlined: ReadonlySet<number>): Node {
    const host = this.#hostOf(node)
    if (host !== undefined) return makeNode(host.both.op, this.#mapped(host.node), host.both.attributes)
    const uniform = node.inputs.length === 0 ? undefined : this.#uniforms.get(node.id)
    if (uniform !== undefined)
      return makeNode(chainOp, [], { steps: [{ kind: 'constant', value: uniform }], ...outputOf(node).type })
    const takesSomething = node.inputs.some(
      (source) => inlined.has(source.node.id) || this.#uniform(source) !== undefined,
    )
    if (fusible(node) && takesSomething) return this.#chain(node, inlined)
    if (node.inputs.every((input) => this.#map(input).node === input.node)) return node
    // A new node, so that its number is larger than those of its inputs.
    return makeNode(node.op, this.#mapped(node), node.attributes)
  }

  #mapped(node: Node): Value[] {
    return node.inputs.map((value) => this.#map(value))
  }

  /** Makes one kernel of `node` and everything inlined into it. */
  #chain(node: Node, inlined: ReadonlySet<number>): Node {
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
      const step = source === node || inlined.has(source.id) ? source.op.step?.(source.attributes) : undefined
      if (step !== undefined) return append({ ...step, args: source.inputs.map(visit) })
      inputs.push(this.#map(value))
      return append({ kind: 'input', index: inputs.length - 1 })
    }
    const whole = outputOf(node)
    visit(whole)
    return makeNode(chainOp, inputs, { steps, ...whole.type })
  }
}

/** Whether a node can be part of an elementwise chain. */
function fusible({ op, outputs }: Node): boolean {
  return op.step !== undefined && outputs[0]?.dtype === 'f32'
}
