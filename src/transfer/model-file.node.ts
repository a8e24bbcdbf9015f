/**
 * Opens somebody's own model for its features: a file that describes a model of images, with its weights. Keras' `.keras` and
 * whole-model `.h5`, a TensorFlow.js layers model, and the `.safetensors` that weftgrad saves.
 */
import { basename, dirname, join } from 'node:path'
import { WeftgradError } from '../errors.ts'
import { openWeightFile } from '../format/open-weights.node.ts'
import { describeLayer } from '../nn/layers/registry.ts'
import type { Model } from '../nn/model.ts'
import { loadModel } from '../nn/model-file.node.ts'
import type { ReadWeight } from '../nn/model-weights.ts'
import { kerasModel, statedInputShape } from '../weights/keras-model.ts'
import { assignWeights } from '../weights/load.ts'
import { architectureOf } from '../weights/load-model.ts'

/** An open file of a model. */
export interface OpenModel {
  readonly model: Model
  /** What the outputs depend on besides the weights: equal text for an equal network. */
  readonly description: string
  /** Reads one of `model`'s weights. */
  readonly read: ReadWeight
  close(): void
}

/**
 * Opens the model in a file, for square images of `size` pixels, or of its own size for null.
 * @throws WeftgradError 'file' if it cannot be read, 'format' if it is damaged, 'mismatch' if it describes no model, or none
 * of images; 'argument' for a size that the model does not take, or if it takes any and none is given; else as `loadModel`.
 */
export async function openModelFile(path: string, size: number | null): Promise<OpenModel> {
  const open = path.endsWith('.safetensors') ? openOwn : openDescribed
  const opened = await open(path, size)
  const { inputShape } = opened.model
  if (inputShape.length === 3 && (inputShape[2] === 1 || inputShape[2] === 3)) return opened
  opened.close()
  throw new WeftgradError(
    'mismatch',
    `The model in ${path} takes [${inputShape.join(', ')}], no images of 1 or 3 channels. Name another model.`,
    { path, inputShape },
  )
}

/** The name of a model's file to show; a TensorFlow.js model is named by its folder. */
export function modelTitle(path: string): string {
  const name = basename(path)
  return name === 'model.json' ? join(basename(dirname(path)), name) : name
}

async function openDescribed(path: string, size: number | null): Promise<OpenModel> {
  const file = await openWeightFile(path)
  try {
    const described = architectureOf(file)
    const stated = statedInputShape(described, path)?.slice(1) ?? []
    if (size === null && stated.some((extent) => extent === null))
      throw new WeftgradError('argument', `The model in ${path} takes images of any size. Choose one with --size.`, {
        path,
      })
    const model = kerasModel(described, path, size === null ? {} : { inputShape: [size, size, stated.at(2) ?? 3] })
    const { read } = assignWeights(model, file, { ignoreDescription: true })
    return { model, description: JSON.stringify([model.inputShape, described]), read, close: () => file.close() }
  } catch (error) {
    file.close()
    throw error
  }
}

async function openOwn(path: string, size: number | null): Promise<OpenModel> {
  const { model } = await loadModel(path)
  const { inputShape, layers } = model
  const wanted = [size, size]
  if (size !== null && inputShape.slice(0, 2).some((extent, i) => extent !== wanted[i])) {
    model.dispose()
    throw new WeftgradError(
      'argument',
      `The model in ${path} takes images of ${inputShape.slice(0, 2).join('x')}. Leave --size out.`,
      { path, size },
    )
  }
  const described = layers.map(({ layer, inputs }) => ({ ...describeLayer(layer), inputs }))
  return {
    model,
    description: JSON.stringify([inputShape, described]),
    read: (weight) => model.read(weight),
    close: () => model.dispose(),
  }
}
