/**
 * What a Keras model's configuration (JSON in `.h5` and `.keras` files, `model.json` of TensorFlow.js) says about its
 * layers, as far as files of weights need it. Whatever is not as expected is passed over: weights do not depend on it.
 */
import { isRecord } from './json.ts'

export interface ConfiguredLayer {
  /** The layer's own name. */
  readonly name: string
  /** Keras' class. */
  readonly className: string
  /** Where Keras 3 keeps the layer's weights: `layers/conv2d_1`. It counts the layers of a class, whatever their names. */
  readonly path: string
}

const deepestNesting = 32

/** The layers in order, each nested model before its own layers. */
export function configuredLayers(model: unknown, within = '', depth = 0): ConfiguredLayer[] {
  const config =
    isRecord(model) && isRecord(model.config) ? model.config.layers : isRecord(model) ? model.config : model
  if (!Array.isArray(config) || depth > deepestNesting) return []
  const counts = new Map<string, number>()
  return config.flatMap((layer: unknown) => {
    if (!isRecord(layer) || typeof layer.class_name !== 'string' || !isRecord(layer.config)) return []
    const className = layer.class_name
    const kind = snakeCase(className)
    const count = counts.get(kind) ?? 0
    counts.set(kind, count + 1)
    const path = `${within}layers/${kind}${count === 0 ? '' : `_${count}`}`
    const own = typeof layer.config.name === 'string' ? [{ name: layer.config.name, className, path }] : []
    return [...own, ...configuredLayers(layer, `${path}/`, depth + 1)]
  })
}

/** Layers' classes by their names. */
export function classesOf(layers: readonly ConfiguredLayer[]): ReadonlyMap<string, string> {
  return new Map(layers.map(({ name, className }) => [name, className]))
}

/** As Keras does it: `SeparableConv2D` is `separable_conv2d`. */
function snakeCase(className: string): string {
  return className
    .replace(/\W/g, '')
    .replace(/(?<=.)(?=[A-Z][a-z])|(?<=[a-z])(?=[A-Z])/g, '_')
    .toLowerCase()
}
