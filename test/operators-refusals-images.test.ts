/**
 * What image operators refuse: immediately, before anything runs, with a typed error that names the operator and the
 * shapes.
 */
import { describe } from 'vitest'
import { averagePool, batchNormalization, conv2d, depthwiseConv2d, globalAveragePool, maxPool } from '../src/index.ts'
import type { Refusal } from './support/refusals.ts'
import { operand, testRefusals } from './support/refusals.ts'

const image = operand([1, 5, 6, 3])
const kernel = operand([3, 3, 3, 4])

const refusals: readonly Refusal[] = [
  {
    what: 'an image of rank 3',
    act: () => conv2d(operand([5, 6, 3]), kernel),
    code: 'shape',
    mentions: ['conv2d', '[5, 6, 3]'],
  },
  {
    what: 'a kernel of rank 3',
    act: () => conv2d(image, operand([3, 3, 4])),
    code: 'shape',
    mentions: ['conv2d', '[3, 3, 4]'],
  },
  {
    what: 'a kernel for other channels',
    act: () => conv2d(image, operand([3, 3, 2, 4])),
    code: 'shape',
    mentions: ['conv2d', '[1, 5, 6, 3]', '[3, 3, 2, 4]'],
  },
  {
    what: 'a bias for another number of filters',
    act: () => conv2d(image, kernel, operand([5])),
    code: 'shape',
    mentions: ['conv2d', '[3, 3, 3, 4]', '[5]'],
  },
  {
    what: 'a whole-number image',
    act: () => conv2d(operand([1, 5, 6, 3], 'u32'), kernel),
    code: 'shape',
    mentions: ['conv2d', 'u32'],
  },
  {
    what: "a kernel larger than the image with 'valid' padding",
    act: () => conv2d(image, operand([7, 7, 3, 4])),
    code: 'shape',
    mentions: ['conv2d', '7x7', '[1, 5, 6, 3]'],
  },
  {
    what: 'a dilated kernel that reaches beyond the image',
    act: () => conv2d(image, kernel, undefined, { dilationRate: 3 }),
    code: 'shape',
    mentions: ['conv2d', '[1, 5, 6, 3]'],
  },
  {
    what: 'a padding that does not exist',
    // A caller without types can pass anything.
    act: () => conv2d(image, kernel, undefined, { padding: 'full' as 'same' }),
    code: 'argument',
    mentions: ['conv2d', 'full'],
  },
  {
    what: 'negative padding',
    act: () =>
      conv2d(image, kernel, undefined, {
        padding: [
          [-1, 0],
          [0, 0],
        ],
      }),
    code: 'argument',
    mentions: ['conv2d', '-1'],
  },
  {
    what: 'half a pixel of padding',
    act: () =>
      maxPool(image, {
        poolSize: 2,
        padding: [
          [0.5, 0],
          [0, 0],
        ],
      }),
    code: 'argument',
    mentions: ['maxPool', '0.5'],
  },
  {
    what: 'a stride of 0',
    act: () => conv2d(image, kernel, undefined, { strides: 0 }),
    code: 'argument',
    mentions: ['conv2d', '0'],
  },
  {
    what: 'a stride of 1.5',
    act: () => conv2d(image, kernel, undefined, { strides: [1, 1.5] }),
    code: 'argument',
    mentions: ['conv2d', '1.5'],
  },
  {
    what: 'a dilation of 0',
    act: () => conv2d(image, kernel, undefined, { dilationRate: [0, 1] }),
    code: 'argument',
    mentions: ['conv2d', '0'],
  },
  {
    what: 'an activation that does not exist',
    act: () => conv2d(image, kernel, undefined, { activation: 'swish' as 'relu' }),
    code: 'argument',
    mentions: ['conv2d', 'swish'],
  },
  {
    what: 'a depthwise kernel for other channels',
    act: () => depthwiseConv2d(image, operand([3, 3, 4, 1])),
    code: 'shape',
    mentions: ['depthwiseConv2d', '[1, 5, 6, 3]', '[3, 3, 4, 1]'],
  },
  {
    what: 'a pooling window larger than the image',
    act: () => maxPool(image, { poolSize: 6 }),
    code: 'shape',
    mentions: ['maxPool', '6x6', '[1, 5, 6, 3]'],
  },
  {
    what: 'an empty pooling window',
    act: () => averagePool(image, { poolSize: 0 }),
    code: 'argument',
    mentions: ['averagePool', '0'],
  },
  {
    what: 'pooling windows that lie entirely in the padding',
    act: () =>
      averagePool(image, {
        poolSize: 2,
        padding: [
          [2, 0],
          [0, 0],
        ],
      }),
    code: 'argument',
    mentions: ['averagePool'],
  },
  {
    what: 'pooling a matrix',
    act: () => averagePool(operand([5, 6]), { poolSize: 2 }),
    code: 'shape',
    mentions: ['averagePool', '[5, 6]'],
  },
  {
    what: 'the global average of a matrix',
    act: () => globalAveragePool(operand([5, 6])),
    code: 'shape',
    mentions: ['globalAveragePool', '[5, 6]'],
  },
  {
    what: 'statistics for other channels',
    act: () => batchNormalization(image, { mean: operand([4]), variance: operand([4]) }),
    code: 'shape',
    mentions: ['batchNormalization', '[1, 5, 6, 3]', '[4]'],
  },
  {
    what: 'statistics that would widen the result',
    act: () => batchNormalization(operand([2, 1]), { mean: operand([4]), variance: operand([4]) }),
    code: 'shape',
    mentions: ['batchNormalization', '[2, 1]', '[4]'],
  },
]

describe('operators refuse', () => {
  testRefusals(refusals)
})
