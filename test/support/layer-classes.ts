/** The classes of layers that functions make. */
import type { Layer } from '../../src/nn/layers.ts'

/** The class of the layer that a function makes; undefined if it makes none. */
export function classNameOf(make: (...given: unknown[]) => unknown): string | undefined {
  for (const given of [[], [2], [2, 2], [0.5], ['relu'], [[2]], [2, 2, {}]]) {
    try {
      const made = make(...given) as Partial<Layer> | undefined
      if (typeof made?.className === 'string' && typeof made.call === 'function') return made.className
    } catch {
      // Other arguments may do.
    }
  }
  return undefined
}
