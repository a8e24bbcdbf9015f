/** Optional names of layers: a model names its unnamed layers as Keras does: `dense`, `dense_1`, `dense_2` ... */

import type { Layer } from './layer.ts'

/** The settings of a layer, after an optional name. */
export type Named<Settings extends readonly unknown[]> = Settings | readonly [name: string, ...settings: Settings]

/**
 * Builds a layer from its settings, which become its config: those before the options object by the names in
 * `positional`. Without a name, its model names it after `kind`.
 */
export function namedLayer<Settings extends readonly unknown[]>(
  kind: string,
  given: Named<Settings>,
  make: (name: string, ...settings: Settings) => Layer,
  positional: readonly string[] = [],
): Layer {
  const build = (own: string, settings: Settings): Layer => ({
    ...make(own, ...settings),
    config: {
      ...Object.fromEntries(positional.map((setting, i) => [setting, settings[i]])),
      ...(settings[positional.length] as object | undefined),
    },
  })
  const [name, ...settings] = given
  // A leading string is the name, except for `activation`, whose settings start with a string themselves.
  if (typeof name === 'string') return build(name, settings as unknown as Settings)
  return unnamedLayer(kind, (own) => build(own, given as Settings))
}

/** A layer that its model will name. */
export function unnamedLayer(kind: string, make: (name: string) => Layer): Layer {
  return { ...make(kind), named: make }
}
