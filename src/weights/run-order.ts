/**
 * The order of a network's layers, needed if only a file's order distinguishes layers of equal shapes. Every format with an order
 * lists a layer after its inputs; for parallel layers, each format has its own rule.
 */

import type { PlacedLayer } from '../nn/model.ts'

/** Whether each layer feeds the next one, directly or through others: then there is only one order. */
export function isChain(all: readonly PlacedLayer[], layers: readonly PlacedLayer[]): boolean {
  const numbers = new Map(all.map((layer, i) => [layer, i]))
  return layers.every((layer, i) => {
    const before = layers[i - 1]
    if (before === undefined) return true
    const feeder = numbers.get(before) ?? -1
    const seen = new Set(layer.inputs)
    for (const input of seen) {
      if (input === feeder) return true
      for (const next of all[input]?.inputs ?? []) if (next > feeder || next === feeder) seen.add(next)
    }
    return false
  })
}

/**
 * Keras' order of a functional model's layers: those farthest from the output first; at equal distance, in the order of a
 * traversal from the output. Source: `map_graph` in keras/src/ops/function.py.
 */
export function kerasOrder<Placed extends Pick<PlacedLayer, 'inputs'>>(all: readonly Placed[]): readonly Placed[] {
  const last = all.length - 1
  const met = new Map<number, number>()
  const open = [last]
  for (let at = open.pop(); at !== undefined; at = open.pop()) {
    if (at < 0 || met.has(at)) continue
    met.set(at, met.size)
    open.push(...(all[at]?.inputs ?? []).toReversed())
  }
  const far = all.map(() => 0)
  for (let at = last; at >= 0; at--) {
    for (const input of all[at]?.inputs ?? []) far[input] = Math.max(far[input] ?? 0, (far[at] ?? 0) + 1)
  }
  const place = (i: number): readonly [number, number] => [far[i] ?? 0, met.get(i) ?? all.length]
  return all
    .map((layer, i) => ({ layer, place: place(i) }))
    .sort((a, b) => b.place[0] - a.place[0] || a.place[1] - b.place[1])
    .map(({ layer }) => layer)
}
