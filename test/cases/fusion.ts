/**
 * The patterns that rewriting fuses: convolution with relu and 2x2 max-pooling and their gradients, chains of dense
 * layers, the loss with its gradient. Awkward shapes, and similar patterns that must not be fused.
 */
import type { Tensor2D, Tensor4D } from '@tensorflow/tfjs'
import { add, conv2d, dense, matmul, maxPool, mul, relu, softmaxCrossEntropy, sum } from '../../src/index.ts'
import * as reference from '../reference/index.ts'
import type { Case } from './case.ts'

function pooledConvolution(
  what: string,
  image: readonly [number, number, number, number],
  kernel: readonly [number, number, number, number],
  activation: 'relu' | 'linear' = 'relu',
  bias = true,
): Case {
  const scale = 1.5 / Math.sqrt(kernel[0] * kernel[1] * kernel[2])
  return {
    name: `fusion: convolution and pooling, ${what}`,
    operator: 'fusion',
    inputs: [
      { shape: image, distinct: [-1, 1] },
      { shape: kernel, uniform: [-scale, scale] },
      ...(bias ? [{ shape: [kernel[3]], uniform: [-0.3, 0.3] } as const] : []),
    ],
    run: (x, w, b) => maxPool(conv2d(x, w, b, { activation }), { poolSize: 2 }),
    reference: (x, w, b) => reference.maxPool(reference.conv2d(x, w, b, { activation }), { poolSize: 2 }),
    tfjs: (tf, x, w, b) => {
      const sums = tf.conv2d(x as Tensor4D, w as Tensor4D, 1, 'valid')
      const shifted = b === undefined ? sums : tf.add(sums, b)
      return tf.maxPool((activation === 'relu' ? tf.relu(shifted) : shifted) as Tensor4D, 2, 2, 'valid')
    },
    differentiable: bias ? [0, 1, 2] : [0, 1],
    tfjsGradient: true,
  }
}

export const fusionCases: readonly Case[] = [
  pooledConvolution("LeNet's first", [2, 32, 32, 1], [5, 5, 1, 6]),
  pooledConvolution("LeNet's second", [1, 14, 14, 6], [5, 5, 6, 16]),
  pooledConvolution('an odd number of rows and columns, whose last are dropped', [1, 9, 8, 3], [3, 3, 3, 5]),
  pooledConvolution('a kernel taller than wide', [2, 8, 7, 2], [4, 1, 2, 3]),
  pooledConvolution('a kernel wider than tall', [2, 7, 9, 1], [1, 4, 1, 2]),
  pooledConvolution('one by one', [2, 6, 4, 5], [1, 1, 5, 4]),
  pooledConvolution('one filter', [1, 6, 6, 1], [2, 2, 1, 1]),
  pooledConvolution('seventeen filters', [1, 5, 6, 2], [2, 2, 2, 17]),
  pooledConvolution('thirty-two filters', [1, 6, 6, 3], [3, 3, 3, 32]),
  pooledConvolution('forty filters, more than a subgroup holds', [1, 6, 6, 2], [3, 3, 2, 40]),
  pooledConvolution('seventeen channels, too many taps for the fused kernel', [1, 6, 6, 17], [5, 5, 17, 4]),
  pooledConvolution('without activation', [2, 8, 8, 2], [3, 3, 2, 6], 'linear'),
  pooledConvolution('without bias', [2, 8, 8, 2], [3, 3, 2, 6], 'relu', false),
  pooledConvolution('a single window', [1, 4, 4, 1], [3, 3, 1, 3]),
  {
    name: 'fusion: a pooled convolution whose own result is wanted too',
    operator: 'fusion',
    inputs: [
      { shape: [2, 8, 8, 1], distinct: [-1, 1] },
      { shape: [3, 3, 1, 4], uniform: [-0.6, 0.6] },
      { shape: [4], uniform: [-0.2, 0.2] },
    ],
    run: (x, w, b) => {
      const y = conv2d(x, w, b, { activation: 'relu' })
      return add(sum(maxPool(y, { poolSize: 2 })), sum(mul(y, 0.25)))
    },
    reference: (x, w, b) => {
      const y = reference.conv2d(x, w, b, { activation: 'relu' })
      const quarter = reference.mul(y, reference.scalar64(0.25))
      return reference.add(reference.sum(reference.maxPool(y, { poolSize: 2 })), reference.sum(quarter))
    },
    tfjs: (tf, x, w, b) => {
      const y = tf.relu(tf.add(tf.conv2d(x as Tensor4D, w as Tensor4D, 1, 'valid'), b))
      return tf.add(tf.sum(tf.maxPool(y as Tensor4D, 2, 2, 'valid')), tf.sum(tf.mul(y, 0.25)))
    },
    differentiable: [0, 1, 2],
    tfjsGradient: true,
  },
  {
    name: 'fusion: three dense layers and the loss',
    operator: 'fusion',
    inputs: [
      { shape: [5, 7], uniform: [-1, 1] },
      { shape: [7, 12], uniform: [-0.5, 0.5] },
      { shape: [12], uniform: [-0.1, 0.1] },
      { shape: [12, 9], uniform: [-0.5, 0.5] },
      { shape: [9], uniform: [-0.1, 0.1] },
      { shape: [9, 4], uniform: [-0.5, 0.5] },
      { shape: [4], uniform: [-0.1, 0.1] },
      { shape: [5], dtype: 'u32', values: [3, 0, 1, 1, 2] },
    ],
    run: (x, w1, b1, w2, b2, w3, b3, labels) => {
      const hidden = dense(dense(x, w1, b1, { activation: 'relu' }), w2, b2, { activation: 'relu' })
      return softmaxCrossEntropy(dense(hidden, w3, b3), labels)
    },
    reference: (x, w1, b1, w2, b2, w3, b3, labels) => {
      const hidden = reference.dense(reference.dense(x, w1, b1, 'relu'), w2, b2, 'relu')
      return reference.softmaxCrossEntropy(reference.dense(hidden, w3, b3), labels)
    },
    tfjs: (tf, x, w1, b1, w2, b2, w3, b3, labels) => {
      const layer = (h: typeof x, w: typeof x, b: typeof x) => tf.add(tf.matMul(h as Tensor2D, w as Tensor2D), b)
      const hidden = tf.relu(layer(tf.relu(layer(x, w1, b1)), w2, b2))
      const targets = tf.oneHot(tf.cast(labels, 'int32'), 4)
      return tf.mean(tf.neg(tf.sum(tf.mul(targets, tf.logSoftmax(layer(hidden, w3, b3))), -1)))
    },
    differentiable: [0, 1, 2, 3, 4, 5, 6],
    tfjsGradient: true,
  },
  {
    name: 'fusion: relu after a product of transposed matrices',
    operator: 'fusion',
    inputs: [
      { shape: [6, 5], uniform: [-1, 1] },
      { shape: [7, 6], uniform: [-1, 1] },
    ],
    run: (a, b) => relu(matmul(a, b, { transposeA: true, transposeB: true })),
    reference: (a, b) => reference.relu(reference.matmul(a, b, { transposeA: true, transposeB: true })),
    tfjs: (tf, a, b) => tf.relu(tf.matMul(a as Tensor2D, b as Tensor2D, true, true)),
    differentiable: [0, 1],
    tfjsGradient: true,
  },
]
