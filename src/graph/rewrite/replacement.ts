/** What the pattern finders of rewriting (fuse-*.ts) share: who reads what, and what becomes of the nodes they match. */

import type { Node, OpAttributes, OpKind, Value } from '../node.ts'
import { outputOf } from '../node.ts'
import { makeNode } from '../shapes.ts'

/** Who reads which value; `wants` tells whether somebody outside the graph needs it. */
export interface Readers {
  of(node: Node, index?: number): readonly Node[]
  wants(node: Node, index?: number): boolean
}

/** Makes the values that stand for a node's outputs; `map` gives what stands for a value traced earlier. */
export type Build = (map: (value: Value) => Value) => readonly Value[]

export interface Replacement {
  /** Nodes that nothing needs any more. */
  readonly absorbed: readonly Node[]
  readonly heads: ReadonlyMap<Node, Build>
}

export function isZero(value: Value | undefined): boolean {
  return value?.node.kind === 'constant' && value.node.attributes.value === 0
}

export function sameValue(a: Value | undefined, b: Value | undefined): boolean {
  return a !== undefined && b !== undefined && a.node === b.node && a.index === b.index
}

/** A new node's outputs. */
export function outputsOf<K extends OpKind>(
  kind: K,
  inputs: readonly Value[],
  attributes: OpAttributes[K],
): readonly Value[] {
  const node = makeNode(kind, inputs, attributes) as Node
  return node.outputs.map((_, index) => outputOf(node, index))
}

/**
 * Heads for two nodes that become the two outputs of one: whichever is asked for first makes it. The operands must be
 * traced before both.
 */
export function sharedHeads(first: readonly Node[], second: readonly Node[], build: Build): Map<Node, Build> {
  let made: readonly Value[] | undefined
  const make: Build = (map) => {
    made ??= build(map)
    return made
  }
  return new Map<Node, Build>([
    ...first.map((node): [Node, Build] => [node, (map) => make(map).slice(0, 1)]),
    ...second.map((node): [Node, Build] => [node, (map) => make(map).slice(1)]),
  ])
}
