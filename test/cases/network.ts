/** Combinations of operators as in networks: they exercise fusion and the accumulation of gradients. */
import type { Tensor2D, Tensor4D } from '@tensorflow/tfjs'
import {
  add,
  conv2d,
  dense,
  globalAveragePool,
  matmul,
  maxPool,
  mean,
  mul,
  relu,
  reshape,
  softmax,
  softmaxCrossEntropy,
  square,
  sub,
  sum,
} from '../../src/index.ts'
import { scalar64 } from '../reference/array64.ts'
import * as reference from '../reference/index.ts'
import type { Case } from './case.ts'

export const networkCases: readonly Case[] = [
  {
    name: 'network: a small LeNet, from images to the loss',
    operator: 'network',
    inputs: [
      { shape: [3, 8, 8, 1], uniform: [0, 1] },
      { shape: [3, 3, 1, 4], uniform: [-0.6, 0.6] },
      { shape: [4], uniform: [-0.2, 0.2] },
      { shape: [36, 5], uniform: [-0.4, 0.4] },
      { shape: [5], uniform: [-0.2, 0.2] },
      { shape: [3], dtype: 'u32', values: [4, 0, 2] },
    ],
    run: (x, kernel, bias, weights, offset, labels) => {
      const features = maxPool(conv2d(x, kernel, bias, { activation: 'relu' }), { poolSize: 2 })
      return softmaxCrossEntropy(dense(reshape(features, [3, 36]), weights, offset), labels)
    },
    reference: (x, kernel, bias, weights, offset, labels) => {
      const features = reference.maxPool(reference.conv2d(x, kernel, bias, { activation: 'relu' }), { poolSize: 2 })
      const logits = reference.dense(reference.reshape(features, [3, 36]), weights, offset)
      return reference.softmaxCrossEntropy(logits, labels)
    },
    tfjs: (tf, x, kernel, bias, weights, offset, labels) => {
      const convolved = tf.relu(tf.add(tf.conv2d(x as Tensor4D, kernel as Tensor4D, 1, 'valid'), bias))
      const features = tf.maxPool(convolved as Tensor4D, 2, 2, 'valid')
      const logits = tf.add(tf.matMul(tf.reshape(features, [3, 36]), weights as Tensor2D), offset)
      const targets = tf.oneHot(tf.cast(labels, 'int32'), 5)
      return tf.mean(tf.neg(tf.sum(tf.mul(targets, tf.logSoftmax(logits)), -1)))
    },
    differentiable: [0, 1, 2, 3, 4],
    tfjsGradient: true,
  },
  {
    name: 'network: a residual block, the input used twice',
    operator: 'network',
    inputs: [
      { shape: [2, 4, 4, 3], uniform: [-1, 1] },
      { shape: [3, 3, 3, 3], uniform: [-0.4, 0.4] },
      { shape: [3], uniform: [-0.2, 0.2] },
    ],
    run: (x, kernel, bias) =>
      globalAveragePool(relu(add(x, conv2d(x, kernel, bias, { padding: 'same', activation: 'relu' })))),
    reference: (x, kernel, bias) => {
      const branch = reference.conv2d(x, kernel, bias, { padding: 'same', activation: 'relu' })
      return reference.globalAveragePool(reference.relu(reference.add(x, branch)))
    },
    tfjs: (tf, x, kernel, bias) => {
      const branch = tf.relu(tf.add(tf.conv2d(x as Tensor4D, kernel as Tensor4D, 1, 'same'), bias))
      return tf.mean(tf.relu(tf.add(x, branch)), [1, 2])
    },
    differentiable: [0, 1, 2],
    tfjsGradient: true,
  },
  {
    name: 'network: attention of a few tokens',
    operator: 'network',
    inputs: [
      { shape: [2, 5, 4], uniform: [-1, 1] },
      { shape: [4, 4], uniform: [-1, 1] },
      { shape: [4, 4], uniform: [-1, 1] },
      { shape: [4, 3], uniform: [-1, 1] },
    ],
    run: (x, query, key, value) => {
      const scores = matmul(matmul(x, query), matmul(x, key), { transposeB: true })
      return matmul(softmax(mul(scores, 0.5)), matmul(x, value))
    },
    reference: (x, query, key, value) => {
      const scores = reference.matmul(reference.matmul(x, query), reference.matmul(x, key), { transposeB: true })
      return reference.matmul(reference.softmax(reference.mul(scores, scalar64(0.5))), reference.matmul(x, value))
    },
    tfjs: (tf, x, query, key, value) => {
      const project = (weights: typeof x) =>
        tf.reshape(tf.matMul(tf.reshape(x, [10, 4]), weights as Tensor2D), [2, 5, -1])
      const scores = tf.matMul(project(query), project(key), false, true)
      return tf.matMul(tf.softmax(tf.mul(scores, 0.5)), project(value))
    },
    differentiable: [0, 1, 2, 3],
    tfjsGradient: true,
  },
  {
    name: 'network: mean squared error of a line',
    operator: 'network',
    inputs: [
      { shape: [17, 1], uniform: [-1, 1] },
      { shape: [17, 1], uniform: [-1, 1] },
      { shape: [], uniform: [-1, 1] },
      { shape: [], uniform: [-1, 1] },
    ],
    run: (x, y, slope, intercept) => mean(square(sub(add(mul(x, slope), intercept), y))),
    reference: (x, y, slope, intercept) =>
      reference.mean(reference.square(reference.sub(reference.add(reference.mul(x, slope), intercept), y))),
    tfjs: (tf, x, y, slope, intercept) => tf.mean(tf.square(tf.sub(tf.add(tf.mul(x, slope), intercept), y))),
    differentiable: [0, 1, 2, 3],
    tfjsGradient: true,
  },
  {
    name: 'network: rows scaled by their own sums of squares',
    operator: 'network',
    inputs: [{ shape: [3, 9], uniform: [0.2, 1] }],
    run: (x) => mul(x, sum(square(x), { axes: 1, keepDims: true })),
    reference: (x) => reference.mul(x, reference.sum(reference.square(x), { axes: 1, keepDims: true })),
    tfjs: (tf, x) => tf.mul(x, tf.sum(tf.square(x), 1, true)),
    differentiable: [0],
    tfjsGradient: true,
  },
]
