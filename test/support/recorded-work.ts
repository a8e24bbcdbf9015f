/**
 * Plans the project's work for a device, without computing it: the cases with all variants, training, and the networks.
 * Each kernel is compiled, so that a recording device sees its shader.
 */
import type { Device } from '../../src/gpu/device.ts'
import type { KernelTask } from '../../src/graph/plan/choice.ts'
import { planFor } from '../../src/graph/run/program.ts'
import { data, nn, type Tensor } from '../../src/index.ts'
import { elementCount } from '../../src/kernels/kernel.ts'
import { freeze } from '../../src/nn/freeze.ts'
import { type PretrainedName, pretrained } from '../../src/nn/models/pretrained.ts'
import { trainingTasks } from '../../src/nn/tune.ts'
import { FeatureExtractor } from '../../src/transfer/features.ts'
import { type Case, inputsOf } from '../cases/case.ts'
import { traced } from '../cases/verify.ts'
import { noiseImages } from './noise.ts'

/** The tensors of a case: its result and its gradients. */
export function tensorsOf(testCase: Case): readonly Tensor[] {
  const { y, gradients } = traced(testCase, { inputs: inputsOf(testCase.inputs) })
  return [y, ...gradients]
}

/** Compiles every variant of the kernels. */
async function compileVariants(device: Device, tasks: readonly KernelTask[]): Promise<void> {
  const all = tasks.flatMap((task) => task.candidates.flatMap((name) => task.plan(name).dispatches))
  await Promise.all(all.map((one) => device.pipeline({ ...one, access: one.bindings.map(({ access }) => access) })))
}

/** Compiles the kernels that compute the tensors on the device: fused and as traced, and every variant. */
export async function compileAll(device: Device, tensors: readonly Tensor[]): Promise<void> {
  const wanted = tensors.map(({ value }) => ({ value }))
  for (const fuse of [true, false]) {
    const { dispatches, tasks } = planFor(device, wanted, { record: true, fuse })
    await Promise.all(dispatches.map((one) => device.pipeline(one)))
    await compileVariants(device, tasks)
  }
}

const optimizers = {
  adam: () => nn.adam(),
  adamw: () => nn.adamw({ weightDecay: 0.01 }),
  sgd: () => nn.sgd({ learningRate: 0.1 }),
  momentum: () => nn.sgd({ learningRate: 0.1, momentum: 0.9 }),
} as const
export type OptimizerName = keyof typeof optimizers
export const optimizerNames = Object.keys(optimizers) as readonly OptimizerName[]

/** Trains a LeNet-5 for an epoch with validation, and compiles every variant of its kernels. */
export async function trainLenet(device: Device, name: OptimizerName, batchSize: number): Promise<void> {
  using images = data.residentImages(device, noiseImages(400))
  using model = nn.lenet5({}, { seed: 1 })
  const options = { optimizer: optimizers[name](), batchSize, validationSplit: 0.1, epochs: 1 }
  const { step, validation } = trainingTasks(model, images, options)
  await compileVariants(device, [...step, ...validation])
  await nn.fit(model, images, options)
}

/** The networks with their usual and with small images, and a layer of which features are taken. */
export const networkSizes: readonly (readonly [PretrainedName, number, string])[] = [
  ['vgg16', 32, 'block5_pool'],
  ['vgg16', 224, 'block5_pool'],
  ['xception', 71, 'add_2'],
  ['xception', 299, 'add_2'],
  ['resnet152v2', 32, 'conv5_block3_out'],
  ['resnet152v2', 224, 'conv5_block3_out'],
]

/** Extracts features of a few images by a network whose weights are zeros. */
export async function extractFeatures(
  device: Device,
  [name, size, layer]: (typeof networkSizes)[number],
  count = 8,
): Promise<void> {
  using base = freeze(pretrained[name].build({ size }), { keep: [layer] })
  await base.load(device, async ({ shape }) => new Float32Array(elementCount(shape)))
  using images = data.residentImages(device, noiseImages(count))
  using extractor = await FeatureExtractor.create(base, images, [{ layer, pooling: 'avg' }], {
    preprocessing: pretrained[name].preprocessing,
  })
  await extractor.extract(0, count)
}
