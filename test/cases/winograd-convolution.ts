/**
 * Convolutions that Winograd's algorithm can run, forward and backward: 3x3 taps at stride 1 from 32 channels and
 * filters on. Its variant must keep the tolerance of the direct ones.
 */
import type { Tensor4D } from '@tensorflow/tfjs'
import { conv2d } from '../../src/index.ts'
import * as reference from '../reference/window.ts'
import type { Case } from './case.ts'
import { convolution } from './convolution.ts'

export const winogradCases: readonly Case[] = [
  convolution("3x3 'same', 32 channels to 32 filters", [2, 8, 8, 32], [3, 3, 32, 32], { padding: 'same' }),
  convolution("3x3 'same' on 7x5, 33 channels to 48 filters with bias and relu", [1, 7, 5, 33], [3, 3, 33, 48], {
    padding: 'same',
    bias: true,
    activation: 'relu',
  }),
  convolution("3x3 'valid' on 9x6, 48 channels to 35 filters", [1, 9, 6, 48], [3, 3, 48, 35], { bias: true }),
  convolution("3x3 'same' on 2x2, 64 channels to 64 filters", [3, 2, 2, 64], [3, 3, 64, 64], { padding: 'same' }),
  convolution('3x3 from 32 channels with padding wider than its reach', [1, 4, 6, 32], [3, 3, 32, 32], {
    padding: [
      [3, 0],
      [1, 4],
    ],
  }),
  {
    name: 'conv2d: 3x3 from 32 channels twice, with bias and relu, whose mask the gradients pass',
    operator: 'conv2d',
    inputs: [
      { shape: [1, 6, 6, 32], uniform: [-1, 1] },
      { shape: [3, 3, 32, 32], uniform: [-0.12, 0.12] },
      { shape: [32], uniform: [-0.5, 0.5] },
    ],
    run(x, w, b) {
      const hidden = conv2d(x, w, b, { padding: 'same', activation: 'relu' })
      return conv2d(hidden, w, b, { padding: 'same', activation: 'relu' })
    },
    reference(x, w, b) {
      const hidden = reference.conv2d(x, w, b, { padding: 'same', activation: 'relu' })
      return reference.conv2d(hidden, w, b, { padding: 'same', activation: 'relu' })
    },
    tfjs(tf, x, w, b) {
      const layer = (image: typeof x) => tf.relu(tf.add(tf.conv2d(image as Tensor4D, w as Tensor4D, 1, 'same'), b))
      return layer(layer(x))
    },
    differentiable: [0, 1, 2],
    tfjsGradient: true,
  },
]
