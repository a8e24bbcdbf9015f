/**
 * A training checkpoint as bytes: one safetensors file. Tensors are `weights/NAME`, `best/NAME`, `moments/NUMBER` and
 * `record`; numbers, history and settings are strings in its metadata.
 *
 * Promises: decoding restores a checkpoint bit for bit; the same checkpoint gives the same bytes; a CRC-32 over the
 * whole file reveals damaged files and files of another kind.
 */
import { WeftgradError } from '../errors.ts'
import { crc32, crcText } from '../format/crc32.ts'
import { boundedJson } from '../format/json.ts'
import { readSafetensors, type SafeTensor, type Safetensors, writeSafetensors } from '../format/safetensors.ts'
import type { EpochLogs, TrainingCheckpoint, TrainingSettings } from './contract.ts'

type Weights = TrainingCheckpoint['weights']

const formatName = 'weftgrad-training-checkpoint'
const formatVersion = '2'
/** Takes the checksum's place while it is computed. */
const noChecksum = '00000000'

/**
 * Encodes a checkpoint as a safetensors file. @throws WeftgradError 'argument' if a weight's name or shape does not
 * fit.
 */
export function encodeCheckpoint(checkpoint: TrainingCheckpoint): Uint8Array<ArrayBuffer> {
  const tensors = new Map<string, SafeTensor>()
  const put = (name: string, data: Float32Array, shape: readonly number[] = [data.length]): void => {
    tensors.set(name, { dtype: 'F32', shape, data })
  }
  for (const [name, { shape, data }] of checkpoint.weights) put(`weights/${name}`, data, shape)
  for (const [name, { shape, data }] of checkpoint.best?.weights ?? []) put(`best/${name}`, data, shape)
  for (const [i, data] of checkpoint.moments.entries()) put(`moments/${i}`, data)
  put('record', checkpoint.record)
  const metadata: Record<string, string> = {
    format: formatName,
    version: formatVersion,
    checksum: noChecksum,
    epoch: String(checkpoint.epoch),
    step: String(checkpoint.step),
    globalStep: String(checkpoint.globalStep),
    history: jsonOf(checkpoint.history),
    settings: jsonOf(checkpoint.settings),
    // The maps' order is part of the checkpoint; the file sorts tensors by name.
    order: JSON.stringify([...checkpoint.weights.keys()]),
    ...(checkpoint.best === undefined ? {} : { bestEpoch: String(checkpoint.best.epoch) }),
  }
  const checksum = crcText(crc32(writeSafetensors(tensors, metadata)))
  return writeSafetensors(tensors, { ...metadata, checksum })
}

/**
 * Restores a checkpoint.
 * @param source names the bytes in errors, for example the file's path.
 * @throws WeftgradError 'format' for damaged bytes or another kind of file, 'mismatch' for another version.
 */
export function decodeCheckpoint(bytes: Uint8Array, source = 'The checkpoint'): TrainingCheckpoint {
  const { tensors, metadata } = readSafetensors(bytes, source)
  if (metadata.format !== formatName) {
    throw new WeftgradError(
      'format',
      `${source} is a safetensors file, but not a weftgrad checkpoint. Give the checkpoint.safetensors of a run.`,
      { source },
    )
  }
  if (metadata.version !== formatVersion) {
    throw new WeftgradError(
      'mismatch',
      `${source} is a checkpoint of format ${metadata.version}; this weftgrad reads format ${formatVersion}. Resume with the version of weftgrad that wrote it.`,
      { source, version: metadata.version },
    )
  }
  if (crcText(crc32(writeSafetensors(tensors, { ...metadata, checksum: noChecksum }))) !== metadata.checksum) {
    throw damaged(source, 'its checksum does not match')
  }
  const reader = new Reader(tensors, metadata, source)
  const order = reader.names('order')
  const history = reader.json('history')
  if (!Array.isArray(history)) throw damaged(source, 'its history is not a list')
  const bestEpoch = metadata.bestEpoch === undefined ? undefined : reader.count('bestEpoch')
  const moments: Float32Array[] = []
  while (tensors.has(`moments/${moments.length}`)) moments.push(reader.tensor(`moments/${moments.length}`).data)
  return {
    epoch: reader.count('epoch'),
    step: reader.count('step'),
    globalStep: reader.count('globalStep'),
    weights: reader.weights('weights', order),
    moments,
    record: reader.tensor('record').data,
    history: history.map((logs: unknown) => epochLogs(logs, source)),
    ...(bestEpoch === undefined ? {} : { best: { epoch: bestEpoch, weights: reader.weights('best', order) } }),
    settings: settingsFrom(reader.json('settings'), source),
  }
}

class Reader {
  readonly #tensors: Safetensors['tensors']
  readonly #metadata: Safetensors['metadata']
  readonly #source: string

  constructor(tensors: Safetensors['tensors'], metadata: Safetensors['metadata'], source: string) {
    this.#tensors = tensors
    this.#metadata = metadata
    this.#source = source
  }

  /** Copies the data: a checkpoint outlives the file's bytes and shares no memory with them. */
  tensor(name: string): { readonly shape: readonly number[]; readonly data: Float32Array } {
    const tensor = this.#tensors.get(name)
    if (tensor?.dtype !== 'F32') throw damaged(this.#source, `it has no float32 tensor '${name}'`)
    return { shape: tensor.shape, data: tensor.data.slice() }
  }

  weights(group: string, order: readonly string[]): Weights {
    return new Map(order.map((name) => [name, this.tensor(`${group}/${name}`)]))
  }

  text(key: string): string {
    const text = this.#metadata[key]
    if (text === undefined) throw damaged(this.#source, `'${key}' is missing`)
    return text
  }

  count(key: string): number {
    const value = Number(this.text(key))
    if (!Number.isSafeInteger(value) || value < 0) throw damaged(this.#source, `'${key}' is not a count`)
    return value
  }

  json(key: string): unknown {
    try {
      return boundedJson(this.text(key))
    } catch (cause) {
      if (cause instanceof WeftgradError) throw cause
      throw damaged(this.#source, `'${key}' is not JSON`)
    }
  }

  names(key: string): string[] {
    const names = this.json(key)
    if (Array.isArray(names) && names.every((name): name is string => typeof name === 'string')) return names
    throw damaged(this.#source, `'${key}' is not a list of names`)
  }
}

function epochLogs(value: unknown, source: string): EpochLogs {
  const field = fieldsOf(value, source)
  const names = isRecord(value) ? Object.keys(value) : []
  return {
    ...Object.fromEntries(names.map((name) => [name, field.number(name)])),
    epoch: field.number('epoch'),
    loss: field.number('loss'),
    learningRate: field.number('learningRate'),
    seconds: field.number('seconds'),
  }
}

function settingsFrom(value: unknown, source: string): TrainingSettings {
  const field = fieldsOf(value, source)
  const all = Object.entries(isRecord(value) ? value : {})
  const bad = all.find(([, one]) => typeof one !== 'string' && typeof one !== 'number')
  if (bad !== undefined) throw damaged(source, `its setting '${bad[0]}' is neither text nor a number`)
  return {
    ...Object.fromEntries(all as [string, string | number][]),
    seed: field.number('seed'),
    batchSize: field.number('batchSize'),
    epochs: field.number('epochs'),
    trainCount: field.number('trainCount'),
    validationCount: field.number('validationCount'),
    optimizer: field.text('optimizer'),
    model: field.text('model'),
  }
}

function fieldsOf(value: unknown, source: string): { number(key: string): number; text(key: string): string } {
  const get = (key: string): unknown => (isRecord(value) ? value[key] : undefined)
  return {
    number(key) {
      const found = get(key)
      if (typeof found === 'number') return found
      if (found === 'NaN' || found === 'Infinity' || found === '-Infinity') return Number(found)
      throw damaged(source, `'${key}' is not a number`)
    },
    text(key) {
      const found = get(key)
      if (typeof found === 'string') return found
      throw damaged(source, `'${key}' is not text`)
    },
  }
}

/** JSON keeps doubles exactly, except those that are not finite: they become strings. */
function jsonOf(value: unknown): string {
  return JSON.stringify(value, (_, one: unknown) =>
    typeof one === 'number' && !Number.isFinite(one) ? String(one) : one,
  )
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function damaged(source: string, problem: string): WeftgradError {
  return new WeftgradError(
    'format',
    `${source} is damaged: ${problem}. Resume from another checkpoint, or train again.`,
    { source },
  )
}
