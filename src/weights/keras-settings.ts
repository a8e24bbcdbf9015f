/**
 * The settings in Keras' descriptions of layers, and weftgrad's: the one place where they differ. Both have Keras 3's names, so
 * only what is written otherwise, means nothing here, or is not supported is listed.
 */

import { isRecord } from '../format/json.ts'

export type Json = Readonly<Record<string, unknown>>

/** What decides the meaning of a setting besides its class. */
export interface KerasDialect {
  /** Keras' first version number; 2 for TensorFlow.js. */
  readonly version: number
}

/** Settings that mean nothing once a model is built and its weights are loaded, for all classes. */
const withoutEffect: ReadonlySet<string> = new Set([
  ...['name', 'trainable', 'dtype', 'batch_shape', 'batch_input_shape', 'input_shape', 'input_dim', 'input_length'],
  ...['sparse', 'ragged', 'seed', 'rng_seed', 'synchronized', 'fused', 'virtual_batch_size', 'implementation', 'init'],
  ...['renorm', 'renorm_clipping', 'renorm_momentum', 'lora_rank', 'lora_alpha', 'quantization_config', 'optional'],
  ...['flash_attention', 'autocast', 'supports_masking', 'activity_regularizer'],
])

/** Names that other versions use, by class: those of Keras 3, which are weftgrad's, by the others. */
const otherNames: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  LeakyReLU: { alpha: 'negative_slope' },
}

/** A setting that weftgrad's layers do not have, by class or for all: the JSON of the values that they stand for. */
const onlyValues: Readonly<Record<string, Readonly<Record<string, RegExp>>>> = {
  // The last axis, counted from either end; `kerasModel` compares it with the shape.
  '': { data_format: /^"channels_last"$/, axis: /^\[?(-1|[1-4])\]?$/, groups: /^1$/, output_padding: /^null$/ },
  LayerNormalization: { rms_scaling: /^false$/ },
  MultiHeadAttention: { use_causal_mask: /^false$/, use_gate: /^false$/, attention_axes: /^\[?1\]?$/ },
  Normalization: { invert: /^false$/ },
  Conv2DTranspose: { dilation_rate: /^(1|\[1,1\])$/ },
  LayerScale: { projection_dim: /./ },
}

/** Settings that weftgrad's layers do have, though `onlyValues` has them for all classes. */
const supported: ReadonlySet<string> = new Set(['Concatenate axis', 'GroupNormalization groups', 'Conv2D groups'])

/** What a table has by a name from a file, which may be `constructor`. */
function entry<T>(table: Readonly<Record<string, T>> | undefined, name: string): T | undefined {
  return table !== undefined && Object.hasOwn(table, name) ? table[name] : undefined
}

/** The beginning of a value's JSON, for messages. */
export function jsonStart(value: unknown, most = 120): string {
  const text = JSON.stringify(value) ?? 'nothing'
  return text.length > most ? `${text.slice(0, most)}...` : text
}

/** A setting that weftgrad cannot follow. */
export interface UnsupportedSetting {
  readonly key: string
  readonly value: unknown
}

/** The settings that decide what a layer computes and how it is trained, by weftgrad's names, or the first that is not supported. */
export function layerSettings(
  className: string,
  config: Json,
  dialect: KerasDialect,
): { readonly settings: Json; readonly unsupported?: UnsupportedSetting } {
  const settings: Record<string, unknown> = {}
  for (const [key, value] of Object.entries(config)) {
    if (value === null || value === undefined || withoutEffect.has(key) || /_(initializer|constraint)$/.test(key))
      continue
    const isSupported = supported.has(`${className} ${key}`)
    const own = entry(entry(onlyValues, className), key) ?? (isSupported ? undefined : entry(onlyValues[''], key))
    if (own !== undefined) {
      if (!own.test(jsonStart(value))) return { settings, unsupported: { key, value } }
    } else if (key.endsWith('_regularizer')) settings[key] = regularizer(value)
    else {
      const name = entry(entry(otherNames, className), key) ?? key
      if (key.endsWith('activation')) settings[name] = activationName(value, dialect)
      // Along one axis weftgrad takes a number where Keras writes a list of one.
      else settings[name] = className.endsWith('1D') && Array.isArray(value) && value.length === 1 ? value[0] : value
    }
  }
  return { settings }
}

/**
 * The name of a function: `'relu'`, or Keras 3's `{ class_name: 'function', config: 'relu' }`. Anything else stays as it is, for
 * the layer to refuse.
 */
export function activationName(value: unknown, { version }: KerasDialect): unknown {
  const name = isRecord(value) && value.class_name === 'function' ? value.config : value
  // Keras 3 has another function of this name.
  return name === 'hard_sigmoid' && version < 3 ? 'hard_sigmoid_keras_2' : name
}

/** `{ class_name: 'L2', config: { l2: 0.01 } }`; the class of one's own stays as it is, for the layer to refuse. */
function regularizer(value: unknown): unknown {
  if (!isRecord(value)) return value
  const { class_name: className, config } = value
  const names: Readonly<Record<string, string>> = { L1: 'l1', L2: 'l2', L1L2: 'l1_l2' }
  const known = typeof className === 'string' && Object.hasOwn(names, className)
  const { l1, l2 } = isRecord(config) ? config : {}
  return known ? { className, config: JSON.parse(JSON.stringify({ l1, l2 })) } : value
}
