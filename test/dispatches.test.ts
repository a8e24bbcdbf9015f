/**
 * The dispatches of a training step of LeNet-5, on every kind of adapter: pooling is fused on all of them, unless tuning on
 * a GPU chose otherwise.
 */
import { expect, test } from 'vitest'
import { residentImages } from '../src/data/dataset.ts'
import { open } from '../src/gpu/open.ts'
import type { VariantTable } from '../src/graph/plan/choice.ts'
import { BatchOrder } from '../src/nn/batch-order.ts'
import { lenet5 } from '../src/nn/models/lenet5.ts'
import { adam } from '../src/nn/optimizers.ts'
import { createTrainingStep, TrainingMemory } from '../src/nn/training-step.ts'
import type { RecordingOptions } from './support/recording-gpu.ts'
import { RecordingGpu } from './support/recording-gpu.ts'

async function stepLabels(options: RecordingOptions, variants: VariantTable = {}): Promise<string[]> {
  const recording = new RecordingGpu(options)
  using device = await open({ gpu: recording.gpu })
  using model = lenet5({}, { seed: 1 })
  model.to(device)
  const images = { images: new Uint8Array(256 * 28 * 28), height: 28, width: 28, channels: 1 }
  using data = residentImages(device, { ...images, labels: new Uint8Array(256), classes: 10 })
  using memory = TrainingMemory.of(model, adam(), 2)
  const order = new BatchOrder(device, 128, 2)
  using program = await createTrainingStep(model, data, order, memory, variants)
  order.buffer.dispose()
  return program.commands.map(({ label }) => label)
}

test.each([
  ['a GPU without subgroups', {}],
  ['a GPU with subgroups of 8', { subgroupSize: 8 }],
  ['a GPU with subgroups of 32', { subgroupSize: 32 }],
  ['a CPU without subgroups', { software: true }],
  ['a CPU with subgroups of 8', { software: true, subgroupSize: 8 }],
  ['a CPU with subgroups of 32', { software: true, subgroupSize: 32 }],
] as [string, RecordingOptions][])('%s', async (_, options) => {
  expect(await stepLabels(options)).toHaveLength(18)
})

const separate = {
  conv2dPool: 'separate',
  'conv2dPool.inputGradient': 'separate',
  'conv2dPool.filterGradient': 'separate',
}

test('a GPU can convolve and pool in separate kernels, whose partial sums are still added up together', async () => {
  const labels = await stepLabels({ subgroupSize: 32 }, separate)
  expect(labels.filter((label) => label.startsWith('conv2dPool'))).toEqual([])
  expect(labels.filter((label) => label.endsWith('sumPartials'))).toEqual([])
  expect(labels).toHaveLength(27)
})

test("a GPU can also mask relu's gradient and add up the gradient of a bias in kernels of their own", async () => {
  const apart = { matmul: 'separate' }
  const labels = await stepLabels({ subgroupSize: 32 }, apart)
  const fused = await stepLabels({ subgroupSize: 32 })
  expect(labels.length).toBeGreaterThan(fused.length)
  expect(labels.filter((label) => label.startsWith('elementwise')).length).toBeGreaterThan(0)
  expect(await stepLabels({ software: true, subgroupSize: 8 }, apart)).toEqual(
    await stepLabels({ software: true, subgroupSize: 8 }),
  )
})

test('a CPU always fuses them', async () => {
  const options = { software: true, subgroupSize: 8 }
  expect(await stepLabels(options, separate)).toEqual(await stepLabels(options))
})
