/** Layers with a name, and layers whose model names them, as in Keras: `dense`, `dense_1`, `dense_2` ... */

import type { Layer } from './layer.ts'

/** What a layer is made of, with a name before it or without. */
export type Named<Settings extends readonly unknown[]> = Settings | readonly [name: string, ...settings: Settings]

/** The layer that `make` gives for a name and settings; without a name, one that its model names after `kind`. */
export function namedLayer<Settings extends readonly unknown[]>(
  kind: string,
  given: Named<Settings>,
  make: (name: string, ...settings: Settings) => Layer,
): Layer {
  const [name, ...settings] = given
  // Which of the two it is shows in the first: no layer's settings but an activation's begin with a string.
  if (typeof name === 'string') return make(name, ...(settings as unknown as Settings))
  return unnamedLayer(kind, (own) => make(own, ...(given as Settings)))
}

/** A layer that its model names. */
export function unnamedLayer(kind: string, make: (name: string) => Layer): Layer {
  return { ...make(kind), named: make }
}
