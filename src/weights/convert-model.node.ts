/**
 * Converts a file with a model into a whole model in any of the formats that are written, and a file with weights only to safetensors.
 * The model is built and filled on the host: no device is needed.
 */
import { WeftgradError } from '../errors.ts'
import type { WeightFile } from '../format/weight-file.ts'
import { elementCount } from '../kernels/kernel.ts'
import type { Model } from '../nn/model.ts'
import { type DecodedModel, readMetadata } from '../nn/model-file.ts'
import { checkNumbers, type WeightNumbers } from '../nn/model-weights.ts'
import { type ConvertedTensor, type ConvertOptions, convertWeights, rangeOf } from './convert.node.ts'
import { describedModel, describesModel } from './load-model.ts'
import { formatOf, type ModelFormat, saveModel } from './save-model.node.ts'

/** What was written. */
export interface Conversion {
  readonly format: ModelFormat
  readonly tensors: readonly ConvertedTensor[]
  /** The model, if one was written; else only its weights were. */
  readonly model?: { readonly name: string; readonly layers: number } & Omit<DecodedModel, 'model'>
  /** Why only the weights were written. */
  readonly reason?: string
}

/**
 * Writes the file's model, or its weights, to `path`, in the format of its extension, and replaces an existing file.
 * @throws WeftgradError 'argument' for an extension or layers that no format has, 'mismatch' for a file without a description of
 * its model, unless `path` is safetensors; else as `loadModel`, `saveModel` and `convertWeights`. `path` is unchanged then.
 */
export async function convertFile(file: WeightFile, path: string, options: ConvertOptions = {}): Promise<Conversion> {
  const format = await formatOf(path)
  const weightsOnly = async (reason: string): Promise<Conversion> => {
    if (format !== 'safetensors')
      throw new WeftgradError('mismatch', `${reason} Only .safetensors can hold weights alone.`, { path })
    return { format, tensors: await convertWeights(file, path, options), reason }
  }
  if (!describesModel(file)) return await weightsOnly(`${file.source} has weights, but no description of a model.`)
  const built = await filledModel(file, options).catch((error) => {
    const isOurs = error instanceof WeftgradError && error.code !== 'aborted' && error.code !== 'file'
    if (format === 'safetensors' && isOurs) return error
    throw error
  })
  if (built instanceof WeftgradError) return await weightsOnly(built.message)
  const { model, tensors } = built
  try {
    const { classNames, description } = readMetadata(file.metadata ?? {})
    // What another tool wrote under this name need not be class names.
    const isFitting = classNames?.length === model.outputShape.at(-1)
    const texts = { ...(classNames !== undefined && isFitting ? { classNames } : {}), description }
    await saveModel(model, path, texts)
    return { format, tensors, model: { name: model.name, layers: model.layers.length, ...texts } }
  } finally {
    model.dispose()
  }
}

/** The file's model with its weights, on the host. */
async function filledModel(
  file: WeightFile,
  { onProgress, signal }: ConvertOptions,
): Promise<{ readonly model: Model; readonly tensors: readonly ConvertedTensor[] }> {
  const { model, read, entries } = await describedModel(file)
  try {
    const tensors: ConvertedTensor[] = []
    const numbers = new Map<string, { shape: readonly number[]; data: Float32Array }>()
    const totalBytes = model.weights.reduce((sum, { shape }) => sum + 4 * elementCount(shape), 0)
    let bytes = 0
    for (const weight of model.weights) {
      if (signal?.aborted)
        throw new WeftgradError('aborted', `Converting ${file.source} was aborted.`, {}, signal.reason)
      const { name, shape } = weight
      const data = await read(weight)
      checkNumbers(file.source, weight, data)
      numbers.set(name, { shape, data })
      const tensor = { name, shape, storedAs: entries.get(weight)?.dtype ?? 'float32', ...rangeOf(data) }
      tensors.push(tensor)
      bytes += data.byteLength
      onProgress?.({ tensor, bytes, totalBytes })
    }
    model.setWeights(numbers satisfies WeightNumbers)
    return { model, tensors }
  } catch (error) {
    model.dispose()
    throw error
  }
}
