/**
 * Describes a model as Keras does, the opposite of `keras-model.ts`: as Keras 3 writes it into `.keras` files, or as Keras 2
 * wrote it into `.h5` files and TensorFlow.js writes it into `model.json`. Keras 3 reads both.
 */

import { isRecord } from '../format/json.ts'
import type { LayerConfig } from '../nn/layers/registry.ts'
import type { ExportedCall, ExportedLayer, ExportedModel, Lacks } from './exported-model.ts'
import { kerasOrder } from './run-order.ts'

export type KerasVersion = 2 | 3

/** The layers that Keras has under the same name and with the same settings. A new one is written once a test has shown that. */
const kerasClasses: ReadonlySet<string> = new Set([
  ...['Activation', 'Add', 'Average', 'AveragePooling2D', 'BatchNormalization', 'Concatenate', 'Conv1D', 'Conv2D'],
  ...[
    'Conv2DTranspose',
    'Cropping2D',
    'Dense',
    'DepthwiseConv2D',
    'Dropout',
    'ELU',
    'Flatten',
    'GlobalAveragePooling1D',
  ],
  ...['GlobalAveragePooling2D', 'GlobalMaxPooling1D', 'GlobalMaxPooling2D', 'GroupNormalization', 'LayerNormalization'],
  ...['LeakyReLU', 'MaxPooling2D', 'Maximum', 'Minimum', 'MultiHeadAttention', 'Multiply', 'Normalization', 'PReLU'],
  ...['ReLU', 'Rescaling', 'Reshape', 'SeparableConv2D', 'Softmax', 'SpatialDropout2D', 'Subtract', 'UpSampling2D'],
  'ZeroPadding2D',
])
const kerasFunctions: ReadonlySet<unknown> = new Set([
  ...['linear', 'relu', 'sigmoid', 'tanh', 'softmax', 'gelu', 'mish', 'relu6', 'selu', 'silu', 'softplus'],
  ...['hard_sigmoid', 'hard_silu'],
])

/** What Keras lacks. It refuses explicit paddings of windows. */
export const kerasLacks: Lacks = ({ layer: { className, config } }) => {
  if (!kerasClasses.has(className)) return 'Keras has no such layer'
  if (!kerasFunctions.has(config.activation ?? 'linear')) return `Keras has no function ${config.activation}`
  if (Array.isArray(config.padding) && className !== 'ZeroPadding2D')
    return "its padding is in pixels, and Keras has only 'valid' and 'same' (put zeroPadding2d before it)"
  return undefined
}

/** The layers in the order in which Keras lists and numbers them. */
export function inKerasOrder({ calls }: ExportedModel): readonly ExportedLayer[] {
  const places = new Map<ExportedCall | undefined, number>(calls.map((call, i) => [call, i]))
  const wired = calls.map((call) => ({ call, inputs: call.inputs.map((input) => places.get(input) ?? -1) }))
  return [...new Set(kerasOrder(wired).map(({ call }) => call.layer))]
}

/**
 * The model as JSON: `{ class_name, config }`.
 * @param inWords the class and settings of a call's layer, where a reader takes others than Keras.
 */
export function kerasDescription(
  model: ExportedModel,
  version: KerasVersion,
  inWords: (call: ExportedCall) => Pick<ExportedLayer, 'className' | 'config'> = ({ layer }) => layer,
): object {
  const { name, inputName, inputShape, calls } = model
  const record = version === 3 ? keras3Record : keras2Record
  const callRecord = version === 3 ? keras3Call : keras2Call
  const inputConfig = {
    ...{ [version === 3 ? 'batch_shape' : 'batch_input_shape']: [null, ...inputShape] },
    ...{ dtype: 'float32', sparse: false, name: inputName },
  }
  const layers = inKerasOrder(model).flatMap((layer) => {
    const { name, trainable } = layer
    const own = calls.filter((call) => call.layer === layer)
    return own.slice(0, 1).map((call) => {
      const { className, config } = inWords(call)
      const settings = { name, ...(trainable ? {} : { trainable }), ...kerasConfig(config, version) }
      const nodes = own.map((one) => callRecord(one, model))
      return { ...record('keras.layers', className, settings), name, inbound_nodes: nodes }
    })
  })
  const config = {
    ...{ name, trainable: true },
    layers: [{ ...record('keras.layers', 'InputLayer', inputConfig), name: inputName, inbound_nodes: [] }, ...layers],
    input_layers: [[inputName, 0, 0]],
    output_layers: [reference(calls.at(-1), inputName)],
  }
  return record('keras.src.models.functional', 'Functional', config)
}

const keras2Record = (_: string, className: string, config: object): object => ({ class_name: className, config })

const keras3Record = (module: string, className: string, config: object): object => ({
  ...{ module, class_name: className, config },
  registered_name: null,
})

/** The settings, with initializers and regularizers as Keras has them. */
function kerasConfig(config: LayerConfig, version: KerasVersion): LayerConfig {
  const settings = Object.entries(config).map(([key, value]) => {
    if (!isRecord(value) || typeof value.className !== 'string' || !isRecord(value.config)) return [key, value]
    const module = key.endsWith('_regularizer') ? 'keras.regularizers' : 'keras.initializers'
    return [key, (version === 3 ? keras3Record : keras2Record)(module, value.className, value.config)]
  })
  return Object.fromEntries(settings)
}

type Reference = readonly [layer: string, turn: number, output: number]

const reference = (call: ExportedCall | undefined, inputName: string): Reference =>
  call === undefined ? [inputName, 0, 0] : [call.layer.name, call.turn, 0]

/** The arguments of a call: one tensor, a list of them, or several for attention, whose value Keras wants named even if it is the query. */
function argumentsOf({ layer, inputs }: ExportedCall): readonly ExportedCall['inputs'][] {
  if (layer.className !== 'MultiHeadAttention') return [inputs]
  const [query, value = query, ...key] = inputs
  return [query, value, ...key].map((input) => [input])
}

function keras3Call(call: ExportedCall, { inputName, inputShape }: ExportedModel): object {
  const args = argumentsOf(call).map((inputs) => {
    const tensors = inputs.map((input) => ({
      class_name: '__keras_tensor__',
      config: {
        shape: [null, ...(input?.outputShape ?? inputShape)],
        ...{ dtype: 'float32', keras_history: reference(input, inputName) },
      },
    }))
    return tensors.length === 1 ? tensors[0] : tensors
  })
  return { args, kwargs: {} }
}

/** Keras 2 has a list of the tensors of one argument. Keras 3 writes calls with several like its own into `.h5` files, too. */
function keras2Call(call: ExportedCall, model: ExportedModel): object {
  const [inputs = [], ...further] = argumentsOf(call)
  if (further.length > 0) return keras3Call(call, model)
  return inputs.map((input) => [...reference(input, model.inputName), {}])
}
