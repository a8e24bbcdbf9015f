/**
 * The pretrained networks, built by TensorFlow.js from Keras' layer tables, and written as files with hashed weights.
 */
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { LayersModel, SymbolicTensor } from '@tensorflow/tfjs'
import type { PretrainedName } from '../../src/nn/models/pretrained.ts'
import { hashedGains, hashedWeight } from '../../src/weights/hashed.ts'
import type { TensorFlow } from './tfjs.ts'

export interface LayoutLayer {
  readonly name: string
  readonly class: string
  readonly inputs: readonly string[]
  /** Names and shapes, in the order of Keras' files. */
  readonly weights: readonly (readonly [string, readonly number[]])[]
  readonly filters?: number
  readonly kernel_size?: readonly [number, number]
  readonly strides?: readonly [number, number]
  readonly padding?: 'valid' | 'same' | readonly [readonly [number, number], readonly [number, number]]
  readonly use_bias?: boolean
  readonly activation?: string
  readonly epsilon?: number
  readonly pool_size?: readonly [number, number]
}

export async function kerasLayout(name: PretrainedName): Promise<readonly LayoutLayer[]> {
  const path = new URL(`../fixtures/keras-layouts/${name}.json`, import.meta.url)
  return JSON.parse(await readFile(path, 'utf8')).layers
}

/** A network without a top, for images of any size; its weights are hashed from their names. */
export async function hashedLayersModel(tf: TensorFlow, name: PretrainedName, size: number): Promise<LayersModel> {
  const layout = await kerasLayout(name)
  const outputs = new Map<string, SymbolicTensor>()
  for (const layer of layout) {
    const fed = layer.inputs.map((input) => outputs.get(input) as SymbolicTensor)
    const [first] = fed
    const output =
      first === undefined
        ? tf.input({ shape: [size, size, 3], name: layer.name })
        : layersLayer(tf, layer).apply(fed.length > 1 ? fed : first)
    outputs.set(layer.name, output as SymbolicTensor)
  }
  const [input, output] = [layout[0], layout.at(-1)].map((layer) => outputs.get(layer?.name ?? ''))
  const model = tf.model({ inputs: input as SymbolicTensor, outputs: output as SymbolicTensor, name })
  for (const { name: layer, weights } of layout) {
    if (weights.length === 0) continue
    const tensors = weights.map(([weight, shape]) =>
      tf.tensor(hashedWeight(`${layer}/${weight}`, shape, hashedGains[name]), [...shape]),
    )
    model.getLayer(layer).setWeights(tensors)
    tf.dispose(tensors)
  }
  return model
}

function layersLayer(tf: TensorFlow, layer: LayoutLayer) {
  const { name, filters = 0, use_bias: useBias = true, activation, epsilon } = layer
  const pair = (value: readonly [number, number] = [1, 1]): [number, number] => [...value]
  const [kernelSize, strides, poolSize] = [pair(layer.kernel_size), pair(layer.strides), pair(layer.pool_size)]
  const padding = typeof layer.padding === 'string' ? layer.padding : 'valid'
  const convolution = { name, filters, kernelSize, strides, padding, useBias, activation: activation as 'relu' }
  switch (layer.class) {
    case 'Conv2D':
      // Zeros: what an initializer draws would be replaced anyway, and drawing takes seconds.
      return tf.layers.conv2d({ ...convolution, kernelInitializer: 'zeros' })
    case 'SeparableConv2D':
      return tf.layers.separableConv2d({
        ...convolution,
        depthwiseInitializer: 'zeros',
        pointwiseInitializer: 'zeros',
      })
    case 'BatchNormalization':
      return tf.layers.batchNormalization({ name, ...(epsilon === undefined ? {} : { epsilon }) })
    case 'Activation':
      return tf.layers.activation({ name, activation: activation as 'relu' })
    case 'MaxPooling2D':
      return tf.layers.maxPooling2d({ name, poolSize, strides, padding })
    case 'ZeroPadding2D':
      return tf.layers.zeroPadding2d({ name, padding: layer.padding as [[number, number], [number, number]] })
    case 'Add':
      return tf.layers.add({ name })
    default:
      throw new Error(`${name} is a ${layer.class}, which these networks do not have`)
  }
}

/** Writes a layers model as TensorFlow.js' converter does: model.json and shards. */
export async function writeLayersModel(
  tf: TensorFlow,
  model: LayersModel,
  folder: string,
  { shardBytes = 4 * 2 ** 20, includeOptimizer = false } = {},
): Promise<void> {
  await mkdir(folder, { recursive: true })
  await model.save(
    tf.io.withSaveHandler(async ({ modelTopology, weightSpecs = [], weightData }) => {
      const bytes = Buffer.from(tf.io.CompositeArrayBuffer.join(weightData))
      const count = Math.ceil(bytes.length / shardBytes)
      const paths = Array.from({ length: count }, (_, i) => `group1-shard${i + 1}of${count}.bin`)
      for (const [i, path] of paths.entries()) {
        await writeFile(join(folder, path), bytes.subarray(i * shardBytes, (i + 1) * shardBytes))
      }
      const manifest = { format: 'layers-model', modelTopology, weightsManifest: [{ paths, weights: weightSpecs }] }
      await writeFile(join(folder, 'model.json'), JSON.stringify(manifest))
      return { modelArtifactsInfo: { dateSaved: new Date(), modelTopologyType: 'JSON' as const } }
    }),
    { includeOptimizer },
  )
}
