/** Layers as Keras 1 described them, by the names that Keras uses today. Other layers stay as they are. */

import { isRecord } from '../format/json.ts'
import type { Json } from './keras-settings.ts'

/** Today's class names. */
const classNames: Readonly<Record<string, string>> = {
  Convolution1D: 'Conv1D',
  Convolution2D: 'Conv2D',
  AtrousConvolution2D: 'Conv2D',
  Deconvolution2D: 'Conv2DTranspose',
  SeparableConvolution2D: 'SeparableConv2D',
}

/** What `Merge` did, by its mode. */
const merges: Readonly<Record<string, string>> = {
  ...{ sum: 'Add', mul: 'Multiply', ave: 'Average', max: 'Maximum', concat: 'Concatenate' },
}

/** Today's names of settings. */
const settingNames: Readonly<Record<string, string>> = {
  ...{ border_mode: 'padding', subsample: 'strides', subsample_length: 'strides', stride: 'strides', p: 'rate' },
  ...{ nb_filter: 'filters', filter_length: 'kernel_size', output_dim: 'units', bias: 'use_bias' },
  ...{ atrous_rate: 'dilation_rate', dim_ordering: 'data_format', input_dtype: 'dtype' },
  ...{ W_regularizer: 'kernel_regularizer', b_regularizer: 'bias_regularizer' },
  ...{ W_constraint: 'kernel_constraint', b_constraint: 'bias_constraint', init: 'kernel_initializer' },
  ...{ gamma_init: 'gamma_initializer', beta_init: 'beta_initializer' },
  ...{ depthwise_init: 'depthwise_initializer', pointwise_init: 'pointwise_initializer' },
}

/** Names of settings that no later Keras has. */
const only =
  /^(border_mode|subsample(_length)?|dim_ordering|nb_(filter|row|col)|filter_length|output_dim|p|[Wb]_regularizer|(gamma|beta)_init)$/

/** The layer by today's names. */
export function withTodaysNames(layer: Json): Json {
  const { class_name: className, config } = layer
  if (typeof className !== 'string' || !isRecord(config)) return layer
  const isOld = Object.hasOwn(classNames, className) || Object.keys(config).some((key) => only.test(key))
  if (className === 'Merge') return merged(layer, config)
  // Mode 0 is the only one that later versions have; its statistics move over batches.
  const { mode, ...settings } = config
  const withoutMode = className === 'BatchNormalization' && mode === 0 ? settings : config
  if (!isOld) return withoutMode === config ? layer : { ...layer, config: withoutMode }
  return {
    ...layer,
    class_name: Object.hasOwn(classNames, className) ? classNames[className] : className,
    config: renamed(withoutMode),
  }
}

function renamed({ nb_row: rows, nb_col: columns, output_shape: _, ...config }: Json): Json {
  const settings: Record<string, unknown> = {}
  for (const [key, value] of Object.entries(config)) {
    const name = Object.hasOwn(settingNames, key) ? (settingNames[key] ?? key) : key
    if (isRecord(value) && /^(Weight|L1L2)Regularizer$/.test(String(value.name)))
      settings[name] = { class_name: 'L1L2', config: value }
    else if (key === 'dim_ordering') settings[name] = value === 'tf' ? 'channels_last' : 'channels_first'
    else settings[name] = value
  }
  return rows === undefined ? settings : { ...settings, kernel_size: [rows, columns] }
}

function merged(layer: Json, { mode, concat_axis: axis, name, ...config }: Json): Json {
  const className = typeof mode === 'string' && Object.hasOwn(merges, mode) ? merges[mode] : undefined
  const settings = className === 'Concatenate' ? { name, axis } : { name }
  return className === undefined || Array.isArray(config.layers)
    ? layer
    : { ...layer, class_name: className, config: settings }
}
