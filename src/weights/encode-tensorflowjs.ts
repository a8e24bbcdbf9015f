/**
 * Models as TensorFlow.js layers models: a `model.json` with the layers and the list of weights, and the weights beside it in files
 * of at most 4 MB, as TensorFlow.js' own converter writes them.
 *
 * Promises: the same model and options give the same bytes; a file's name changes with its content, so that a new model can be
 * written beside an old one before `model.json` points to it.
 */

import { crc32, crcText } from '../format/crc32.ts'
import type { Model } from '../nn/model.ts'
import { checkOptions } from '../options.ts'
import { kerasDescription, kerasLacks } from './describe-keras.ts'
import { exportKinds } from './encode-keras.ts'
import {
  type ExportedCall,
  type ExportedLayer,
  type ExportedModel,
  type ExportOptions,
  exportedModel,
  type Lacks,
} from './exported-model.ts'

const mostShardBytes = 4 * 2 ** 20

/** Whether a file beside a `model.json` has a name that weights get here. */
export const isOwnShard = (name: unknown): name is string =>
  typeof name === 'string' && /^shard\d+of\d+-[\da-f]{8}\.bin$/.test(name)

/**
 * Writes a model as a TensorFlow.js layers model: `tf.loadLayersModel` opens it. Returns its files by name: `model.json` and the
 * weights beside it. Class names and the description are the model's user-defined metadata.
 * @throws WeftgradError 'argument' for layers that TensorFlow.js lacks, all at once, and layers that do not lead to the output;
 * 'mismatch' for another number of class names than outputs, 'disposed' after the model's `dispose`.
 */
export async function encodeTensorflowJs(
  model: Model,
  options: ExportOptions = {},
): Promise<Readonly<Record<string, Uint8Array>>> {
  checkOptions('encodeTensorflowJs', options, exportKinds)
  const exported = await exportedModel('A TensorFlow.js model', model, options, tensorflowJsLacks)
  const weights = weightsOf(exported)
  const bytes = joined(weights.map(({ data }) => data))
  const count = Math.max(1, Math.ceil(bytes.length / mostShardBytes))
  const content = crcText(crc32(bytes))
  const shards = Array.from({ length: count }, (_, i): [string, Uint8Array] => [
    `shard${i + 1}of${count}-${content}.bin`,
    bytes.subarray(i * mostShardBytes, (i + 1) * mostShardBytes),
  ])
  const described = {
    ...{ format: 'layers-model', generatedBy: 'weftgrad', convertedBy: null },
    modelTopology: {
      ...kerasDescription(exported, 2, tensorflowJsLayer),
      keras_version: 'tfjs-layers 4.22.0',
      backend: 'tensor_flow.js',
    },
    weightsManifest: [
      {
        paths: shards.map(([name]) => name),
        weights: weights.map(({ name, shape }) => ({ name, shape, dtype: 'float32' })),
      },
    ],
    ...(Object.keys(exported.metadata).length > 0 ? { userDefinedMetadata: exported.metadata } : {}),
  }
  return { 'model.json': new TextEncoder().encode(JSON.stringify(described)), ...Object.fromEntries(shards) }
}

/** Layers of Keras that TensorFlow.js (4.22) does not have. */
const missing: ReadonlySet<string> = new Set(['GroupNormalization', 'MultiHeadAttention', 'Normalization', 'Subtract'])
/** Its `hard_sigmoid` is the function of Keras 2. */
const missingFunctions: ReadonlySet<unknown> = new Set(['hard_sigmoid', 'hard_silu'])

const isOne = (value: unknown): boolean => [value ?? 1].flat().every((number) => number === 1)

const tensorflowJsLacks: Lacks = (call) => {
  const { className, config } = call.layer
  if (missing.has(className)) return 'TensorFlow.js has no such layer'
  if (missingFunctions.has(config.activation)) return `TensorFlow.js has no function ${config.activation}`
  if (className === 'Rescaling' && [config.scale, config.offset].some(Array.isArray))
    return 'TensorFlow.js rescales all channels by one number'
  if (config.padding === 'causal') return 'TensorFlow.js has no causal padding'
  if (className === 'Conv2D' && !isOne(config.groups)) return 'TensorFlow.js has no groups of channels'
  if ((className === 'DepthwiseConv2D' || className === 'Conv2DTranspose') && !isOne(config.dilation_rate))
    return 'TensorFlow.js does not dilate its kernel'
  if (config.interpolation === 'bilinear')
    return 'TensorFlow.js interpolates between the corners of pixels, not their centres'
  if (className === 'ELU' && !isOne(config.alpha)) return 'TensorFlow.js has no alpha but 1'
  if (className === 'ReLU' && ((config.negative_slope ?? 0) !== 0 || (config.threshold ?? 0) !== 0))
    return 'its slope and threshold are not in TensorFlow.js'
  return kerasLacks(call)
}

/** The layer in TensorFlow.js' words. */
function tensorflowJsLayer({ layer, outputShape }: ExportedCall): Pick<ExportedLayer, 'className' | 'config'> {
  const { className, config } = layer
  const { negative_slope: slope, ...rest } = config
  if (className === 'LeakyReLU')
    return { className, config: { ...rest, ...(slope === undefined ? {} : { alpha: slope }) } }
  if (className === 'SpatialDropout2D')
    return { className: 'Dropout', config: { ...config, noise_shape: [null, 1, 1, null] } }
  // It takes the axis after the batch by default, and finds no extent by itself.
  if (className === 'Softmax') return { className, config: { axis: -1 } }
  if (className === 'Reshape') return { className, config: { target_shape: outputShape } }
  const named = config.activation === 'silu' ? { activation: 'swish' } : {}
  // The weights are in the file, and its names of initializers differ.
  const settings = Object.entries({ ...config, ...named }).filter(([key]) => !/_(initializer|regularizer)$/.test(key))
  return { className, config: Object.fromEntries(settings) }
}

function weightsOf({ calls }: ExportedModel) {
  const layers = new Set(calls.map(({ layer }) => layer))
  return [...layers].flatMap(({ name, weights }) =>
    weights.map(({ role, shape, data }) => ({ name: `${name}/${role}`, shape, data })),
  )
}

function joined(parts: readonly Float32Array[]): Uint8Array {
  const all = new Float32Array(parts.reduce((sum, { length }) => sum + length, 0))
  let at = 0
  for (const part of parts) {
    all.set(part, at)
    at += part.length
  }
  return new Uint8Array(all.buffer)
}
