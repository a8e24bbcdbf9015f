/**
 * Models as Keras' files: `.keras` archives of Keras 3, and `.h5` files with the model's description, which Keras 2 began and
 * Keras 3 reads. Both hold every layer and setting, so that training can go on; the optimizer's state is not part of a model.
 *
 * Promises: a file is refused as a whole if a layer cannot be in it; reading it back gives the same weights, bit for bit.
 */

import type { Hdf5Loader } from '../format/hdf5.ts'
import { type Hdf5Group, type Hdf5Numbers, writeHdf5 } from '../format/hdf5-writer.ts'
import { snakeCase } from '../format/keras-config.ts'
import { metadataName } from '../format/weight-file.ts'
import { zipOf } from '../format/zip-writer.ts'
import type { Model } from '../nn/model.ts'
import { anArray, anObject, checkOptions } from '../options.ts'
import { inKerasOrder, kerasDescription, kerasLacks } from './describe-keras.ts'
import { type ExportedLayer, type ExportOptions, exportedModel } from './exported-model.ts'

/** The version whose classes and settings the files have: `hard_sigmoid` is not the function of Keras 2. */
const kerasVersion = '3.0.0'
/** The most names in an attribute: HDF5 keeps 64 KB with a group, and each takes 16 bytes. Keras splits its lists, too. */
const mostNames = 4000

/**
 * Writes a model as a `.keras` file of Keras 3: `keras.saving.load_model` opens it. Class names and the description are in its
 * `metadata.json`, as `weftgrad_metadata`.
 * @throws WeftgradError 'argument' for layers that Keras lacks, all at once, and layers that do not lead to the output;
 * 'mismatch' for another number of class names than outputs, 'disposed' after the model's `dispose`.
 */
export async function encodeKeras(model: Model, options: ExportOptions = {}): Promise<Uint8Array> {
  return await kerasArchive(model, options)
}

/**
 * Writes a model as an `.h5` file with its description: `keras.saving.load_model` opens it, and so do tools for Keras 2. Class
 * names and the description are in its attribute `weftgrad_metadata`, as JSON.
 * @throws WeftgradError as {@link encodeKeras}.
 */
export async function encodeKerasH5(model: Model, options: ExportOptions = {}): Promise<Uint8Array> {
  return await kerasH5(model, options)
}

export const exportKinds = { classNames: anArray, description: anObject }

/** `encodeKeras` with the caller's HDF5 library. */
export async function kerasArchive(model: Model, options: ExportOptions, hdf5?: Hdf5Loader): Promise<Uint8Array> {
  checkOptions('encodeKeras', options, exportKinds)
  const exported = await exportedModel('A .keras file', model, options, kerasLacks)
  const counts = new Map([['input_layer', 1]])
  const groups = inKerasOrder(exported).map((layer): [string, Hdf5Group] => {
    const kind = snakeCase(layer.className)
    const count = counts.get(kind) ?? 0
    counts.set(kind, count + 1)
    return [count === 0 ? kind : `${kind}_${count}`, { groups: keras3Groups(layer) }]
  })
  const root = { layers: { groups: Object.fromEntries(groups) }, vars: { attributes: { name: exported.name } } }
  const weights = await writeHdf5({ groups: root }, hdf5)
  return zipOf({
    'metadata.json': jsonBytes({ keras_version: kerasVersion, [metadataName]: exported.metadata }),
    'config.json': jsonBytes(kerasDescription(exported, 3)),
    'model.weights.h5': weights,
  })
}

const jsonBytes = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value))

/** The weights of a layer in `vars`, numbered; those of attention in a group for each product: `query/kernel` in `query_dense`. */
function keras3Groups(layer: ExportedLayer): Readonly<Record<string, Hdf5Group>> {
  const parts = new Map<string, Hdf5Numbers[]>([['', []]])
  for (const { role, numbers } of storedWeights(layer)) {
    const part = role.slice(0, Math.max(0, role.lastIndexOf('/')))
    parts.set(part, [...(parts.get(part) ?? []), numbers])
  }
  const groups = [...parts].map(([part, numbers]): [string, Hdf5Group] => {
    const vars = {
      attributes: { name: part === '' ? layer.name : part },
      datasets: Object.fromEntries(numbers.entries()),
    }
    return part === '' ? ['vars', vars] : [`${part.replace('attention_', '')}_dense`, { groups: { vars } }]
  })
  return Object.fromEntries(groups)
}

/** A layer's weights as Keras has them: its `Normalization` also counts the examples that it was adapted to. */
function storedWeights({ className, weights }: ExportedLayer): readonly { role: string; numbers: Hdf5Numbers }[] {
  const stored = weights.map(({ role, shape, data }) => ({ role, numbers: { shape, data } as Hdf5Numbers }))
  const count = { role: 'count', numbers: { shape: [], data: Int32Array.of(0) } }
  return className === 'Normalization' ? [...stored, count] : stored
}

/** `encodeKerasH5` with the caller's HDF5 library. */
export async function kerasH5(model: Model, options: ExportOptions, hdf5?: Hdf5Loader): Promise<Uint8Array> {
  checkOptions('encodeKerasH5', options, exportKinds)
  const exported = await exportedModel('An .h5 file', model, options, kerasLacks)
  const made = { backend: 'tensorflow', keras_version: kerasVersion }
  const layers = inKerasOrder(exported)
  const groups = [[exported.inputName, listed('weight_names', [])] as const, ...layers.map(layerGroup)]
  const names = [exported.inputName, ...layers.map(({ name }) => name)]
  return await writeHdf5(
    {
      attributes: {
        [metadataName]: JSON.stringify(exported.metadata),
        ...made,
        model_config: JSON.stringify(kerasDescription(exported, 2)),
      },
      groups: {
        model_weights: {
          attributes: { ...listed('layer_names', names).attributes, ...made },
          groups: Object.fromEntries(groups),
        },
      },
    },
    hdf5,
  )
}

/** A layer's weights by name: `conv/kernel`, in a group `conv` of its own. */
function layerGroup(layer: ExportedLayer): [string, Hdf5Group] {
  const weights = storedWeights(layer).map(({ role, numbers }) => [`${layer.name}/${role}`, numbers] as const)
  const names = weights.map(([name]) => name)
  return [layer.name, { ...listed('weight_names', names), datasets: Object.fromEntries(weights) }]
}

function listed(attribute: string, names: readonly string[]): Hdf5Group {
  if (names.length <= mostNames) return { attributes: { [attribute]: names } }
  const pieces = Array.from({ length: Math.ceil(names.length / mostNames) }, (_, i) => [
    `${attribute}${i}`,
    names.slice(i * mostNames, (i + 1) * mostNames),
  ])
  return { attributes: Object.fromEntries(pieces) }
}
