/** Merges two nodes into one node with two outputs. */

import type { Build, Node } from '../node.ts'

/** Heads for both nodes: the first one built makes the shared node. Its operands must be traced before both. */
export function sharedHeads(first: readonly Node[], second: readonly Node[], build: Build): Map<Node, Build> {
  let made: ReturnType<Build> | undefined
  const make: Build = (map) => {
    made ??= build(map)
    return made
  }
  return new Map<Node, Build>([
    ...first.map((node): [Node, Build] => [node, (map) => make(map).slice(0, 1)]),
    ...second.map((node): [Node, Build] => [node, (map) => make(map).slice(1)]),
  ])
}
