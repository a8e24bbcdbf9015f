/** Opens a weights file in any of the formats, recognised by its first bytes, whatever its name. */
import { WeftgradError } from '../errors.ts'
import type { OpenShard } from './beside.ts'
import { type ByteSource, readBytes } from './byte-source.ts'
import type { Hdf5Loader } from './hdf5.ts'
import { hdf5Signature } from './hdf5-structure.ts'
import { openKerasArchive } from './keras-archive.ts'
import { openKerasH5 } from './keras-h5.ts'
import { looksLikeOnnx, openOnnx } from './onnx.ts'
import { openSafetensors } from './safetensors-weights.ts'
import { openTensorflowJs } from './tensorflowjs.ts'
import type { WeightFile } from './weight-file.ts'

export interface OpenWeightsOptions {
  /** Opens the files beside a `model.json` or an ONNX file; without it, a model that has some is refused. */
  readonly openShard?: OpenShard
  /** See `openKerasH5`. */
  readonly hdf5?: Hdf5Loader
}

const zipStart = [0x50, 0x4b]
/** The largest graph models have about ten thousand nodes, in 10 MB. Parsed, they take ten times as much. */
const longestModelJson = 64 * 2 ** 20

/**
 * Opens a file. Closing it closes the source.
 * @throws WeftgradError 'format' for other formats, or a damaged file.
 */
export async function openWeights(source: ByteSource, options: OpenWeightsOptions = {}): Promise<WeightFile> {
  const { openShard, hdf5 } = options
  try {
    const start = readBytes(source, 0, Math.min(source.size, 64))
    if (startsWith(start, hdf5Signature)) return await openKerasH5(source, hdf5)
    if (startsWith(start, zipStart)) return await openKerasArchive(source, hdf5)
    // A safetensors file starts with the length of its header, which is below 100 MB.
    if (start[8] === 0x7b && start[7] === 0) return openSafetensors(source)
    if (looksLikeOnnx(start)) return await openOnnx(source, openShard)
    if (/^\s*\{/.test(new TextDecoder().decode(start))) {
      if (openShard === undefined || source.size > longestModelJson) throw unknown(source, 'model.json')
      const modelJson = readBytes(source, 0, source.size)
      source.close()
      return await openTensorflowJs(modelJson, openShard, source.name)
    }
    throw unknown(source, looksLike(start))
  } catch (error) {
    source.close()
    throw error
  }
}

function startsWith(bytes: Uint8Array, signature: readonly number[]): boolean {
  return signature.every((byte, i) => bytes[i] === byte)
}

/** Files that people give by mistake. */
function looksLike(start: Uint8Array): string | undefined {
  const text = new TextDecoder('latin1').decode(start).trimStart()
  if (start.length === 0) return 'an empty file'
  if (start[0] === 0x1f && start[1] === 0x8b) return 'a gzip file, which must be unpacked first'
  if (/^<(!doctype|html|\?xml)/i.test(text)) return 'a web page or a server response'
  if (text.startsWith('version https://git-lfs')) return 'a Git LFS pointer: run `git lfs pull`'
  return undefined
}

function unknown(source: ByteSource, guess?: string): WeftgradError {
  const { name } = source
  return new WeftgradError(
    'format',
    `${name} is not a supported weights file${guess === undefined ? '' : `; it looks like ${guess}`}. ` +
      "Supported: Keras' .h5 and .keras, TensorFlow.js' model.json with the files beside it, .safetensors and .onnx.",
    { source: name },
  )
}
