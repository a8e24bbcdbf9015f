/** The kernels of a training step that are not operators: Adam's update, and gathering a batch of images. */

import { alignUp } from '../src/gpu/alignment.ts'
import { kernelTask } from '../src/graph/plan/choice.ts'
import { targetOf } from '../src/graph/run/program.ts'
import type { DType } from '../src/kernels/kernel.ts'
import { elementCount } from '../src/kernels/kernel.ts'
import type { GatherBatchKey } from '../src/kernels/training/gather-batch.ts'
import { gatherBatch } from '../src/kernels/training/gather-batch.ts'
import type { AdamKey } from '../src/kernels/training/optimizer.ts'
import { adam } from '../src/kernels/training/optimizer.ts'
import { lenet5 } from '../src/nn/models/lenet5.ts'
import { Random } from '../src/random.ts'
import { elementOf } from '../test/reference/array64.ts'
import * as reference from '../test/reference/training.ts'
import { tensorFlowTensor } from '../test/support/tfjs.ts'
import type { BenchCase } from './case.ts'
import { kernelCase } from './case.ts'
import type { ExpectedOutput, HostNumbers } from './case-data.ts'

const list = (length: number, dtype: DType) => ({ shape: [length], dtype })

/**
 * The number of floats in LeNet-5's flat parameters: every tensor starts at a multiple of 256 bytes, as in the engine.
 */
function lenetLength(): number {
  using model = lenet5({}, { seed: 1 })
  const shapes = model.layers.flatMap(({ weights }) => weights.map(({ shape }) => shape))
  return shapes.reduce((sum, shape) => sum + alignUp(elementCount(shape) * 4) / 4, 0)
}

function adamCase(): BenchCase {
  const hyper = { beta1: 0.9, beta2: 0.999, epsilon: 1e-7 }
  const learningRate = 1e-3
  return kernelCase('adam lenet, 113782 parameters', 'memory', {
    isInPlace: true,
    task: (device) => {
      const count = lenetLength()
      const key: AdamKey = { count, ...hyper, weightDecay: false }
      return kernelTask(adam, key, targetOf(device), {
        inputs: [list(count, 'f32'), list(4, 'f32')],
        outputs: [list(count, 'f32'), list(count, 'f32'), list(count, 'f32'), list(4, 'u32')],
      })
    },
    data: async () => {
      const count = lenetLength()
      const random = new Random(1, 'adam')
      const parameters = Float32Array.from({ length: count }, () => random.uniform() * 2 - 1)
      // Away from zero, because implementations differ in where they add epsilon.
      const gradients = Float32Array.from(
        { length: count },
        () => (random.below(2) - 0.5) * (0.2 + 2 * random.uniform()),
      )
      const zeros = new Float64Array(count)
      const start = { parameters: Float64Array.from(parameters), first: zeros, second: zeros }
      const after = reference.adamStep(start, gradients, { ...hyper, learningRate }, 1)
      const updated = (initial: HostNumbers, expected: ArrayLike<number>): ExpectedOutput => ({
        dtype: initial instanceof Float32Array ? 'f32' : 'u32',
        length: initial.length,
        initial,
        expected: (place) => expected[place] ?? Number.NaN,
      })
      const state = Uint32Array.of(1, 0, 1, 0)
      return {
        // The row of the table for the first step: the learning rate with the moments' corrections, and the decay.
        inputs: [gradients, Float32Array.of((learningRate * Math.sqrt(1 - hyper.beta2)) / (1 - hyper.beta1), 0, 0, 0)],
        outputs: [
          updated(parameters, after.parameters),
          updated(new Float32Array(count), after.first),
          updated(new Float32Array(count), after.second),
          updated(state, state),
        ],
        tolerance: { rtol: 1e-5, atol: 1e-7 },
        tensorflow: (tf) => {
          const variable = tf.variable(tf.tensor1d(parameters))
          const gradient = tf.tensor1d(gradients)
          const optimizer = tf.train.adam(learningRate, hyper.beta1, hyper.beta2, hyper.epsilon)
          return () => {
            optimizer.applyGradients([{ name: variable.name, tensor: gradient }])
            return variable
          }
        },
      }
    },
  })
}

function gatherCase(batch: number): BenchCase {
  const frame = { height: 28, width: 28, channels: 1, padTop: 2, padLeft: 2, outHeight: 32, outWidth: 32, divisor: 255 }
  const key: GatherBatchKey = { datasetCount: 10_000, batch, ...frame }
  const imageShape = [key.datasetCount, 28, 28, 1]
  const batchShape = [batch, 32, 32, 1]
  return kernelCase(`gather batch ${batch} images 28x28 to 32x32`, 'memory', {
    task: (device) =>
      kernelTask(gatherBatch, key, targetOf(device), {
        inputs: [{ shape: imageShape, dtype: 'u8' }, list(batch, 'u32'), list(4, 'u32'), list(key.datasetCount, 'u32')],
        outputs: [{ shape: batchShape, dtype: 'f32' }, list(batch, 'u32')],
      }),
    data: async () => {
      const random = new Random(1, 'images')
      const dataset = Uint8Array.from({ length: elementCount(imageShape) }, () => random.below(256))
      const permutation = Uint32Array.from({ length: batch }, () => random.below(key.datasetCount))
      const labels = Uint32Array.from({ length: key.datasetCount }, () => random.below(10))
      const images = reference.gatherBatch(dataset, permutation, frame)
      return {
        inputs: [dataset, permutation, Uint32Array.of(0, 0, 0, 0), labels],
        outputs: [
          { dtype: 'f32', length: elementCount(batchShape), expected: (place) => elementOf(images, place) },
          { dtype: 'u32', length: batch, expected: (place) => labels[permutation[place] ?? -1] ?? Number.NaN },
        ],
        tolerance: { rtol: 1e-6, atol: 0 },
        traffic: batch * (28 * 28 + 4 + 32 * 32 * 4),
        tensorflow: (tf) => {
          const all = tensorFlowTensor(tf, { data: Float32Array.from(dataset), shape: imageShape })
          const indices = tf.tensor1d(Int32Array.from(permutation), 'int32')
          const padding: [number, number][] = [
            [0, 0],
            [2, 2],
            [2, 2],
            [0, 0],
          ]
          return () => tf.pad(tf.gather(all, indices).div(255), padding)
        },
      }
    },
  })
}

export const trainingKernelCases: readonly BenchCase[] = [adamCase(), gatherCase(128)]
