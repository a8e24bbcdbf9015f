/**
 * What operators refuse: immediately, before anything runs, with a typed error that names the operator and the shapes.
 */
import { describe, expect, test } from 'vitest'
import {
  abs,
  add,
  argmax,
  broadcastTo,
  clip,
  concatenate,
  dense,
  dropout,
  gather,
  gradients,
  logSoftmax,
  matmul,
  max,
  mean,
  mul,
  pad,
  reshape,
  slice,
  softmax,
  softmaxCrossEntropy,
  sum,
  tensor,
  toF32,
  transpose,
  where,
} from '../src/index.ts'
import type { Refusal } from './support/refusals.ts'
import { operand, testRefusals } from './support/refusals.ts'

const refusals: readonly Refusal[] = [
  {
    what: 'addends that do not broadcast',
    act: () => add(operand([2, 3]), operand([2, 4])),
    code: 'shape',
    mentions: ['add', '[2, 3]', '[2, 4]'],
  },
  {
    what: 'factors of different ranks that do not broadcast',
    act: () => mul(operand([4, 3]), operand([4])),
    code: 'shape',
    mentions: ['mul', '[4, 3]', '[4]'],
  },
  {
    what: 'whole numbers where float32 is computed',
    act: () => add(operand([2], 'u32'), operand([2])),
    code: 'shape',
    mentions: ['add', 'u32', '[2]'],
  },
  {
    what: 'the magnitude of whole numbers',
    act: () => abs(operand([2], 'u32')),
    code: 'shape',
    mentions: ['abs', 'u32'],
  },
  { what: 'converting float32 to float32', act: () => toF32(operand([2])), code: 'shape', mentions: ['toF32', '[2]'] },
  {
    what: 'a condition that does not broadcast',
    act: () => where(operand([3]), operand([2]), operand([2])),
    code: 'shape',
    mentions: ['where', '[3]', '[2]'],
  },
  {
    what: 'clipping to an empty interval',
    act: () => clip(operand([2]), 1, -1),
    code: 'argument',
    mentions: ['clip', '1', '-1'],
  },
  {
    what: 'clipping to NaN',
    act: () => clip(operand([2]), Number.NaN, 1),
    code: 'argument',
    mentions: ['clip', 'NaN'],
  },
  {
    what: 'a sum over an axis that does not exist',
    act: () => sum(operand([2, 3]), { axes: 2 }),
    code: 'shape',
    mentions: ['sum', '2', '[2, 3]'],
  },
  {
    what: 'a mean over an axis too far from the end',
    act: () => mean(operand([2, 3]), { axes: -3 }),
    code: 'shape',
    mentions: ['mean', '-3', '[2, 3]'],
  },
  {
    what: 'a maximum over the same axis twice',
    act: () => max(operand([2, 3]), { axes: [1, -1] }),
    code: 'shape',
    mentions: ['max', '[2, 3]'],
  },
  {
    what: 'a sum over a fractional axis',
    act: () => sum(operand([2, 3]), { axes: 0.5 }),
    code: 'shape',
    mentions: ['sum', '0.5'],
  },
  {
    what: 'argmax along an axis that does not exist',
    act: () => argmax(operand([2, 3]), { axis: 2 }),
    code: 'shape',
    mentions: ['argmax', '2', '[2, 3]'],
  },
  { what: 'argmax of rank 0', act: () => argmax(operand([])), code: 'shape', mentions: ['argmax', '[]'] },
  {
    what: 'matrices with different inner extents',
    act: () => matmul(operand([2, 3]), operand([4, 5])),
    code: 'shape',
    mentions: ['matmul', '[2, 3]', '[4, 5]'],
  },
  {
    what: 'matrices that only fit untransposed',
    act: () => matmul(operand([2, 3]), operand([3, 5]), { transposeA: true }),
    code: 'shape',
    mentions: ['matmul', '[2, 3]', '[3, 5]'],
  },
  {
    what: 'a vector as a matrix',
    act: () => matmul(operand([3]), operand([3, 5])),
    code: 'shape',
    mentions: ['matmul', '[3]', '[3, 5]'],
  },
  {
    what: 'batches of different sizes',
    act: () => matmul(operand([2, 3, 4]), operand([3, 4, 5])),
    code: 'shape',
    mentions: ['matmul', '[2, 3, 4]', '[3, 4, 5]'],
  },
  {
    what: 'a dense kernel for other features',
    act: () => dense(operand([2, 3]), operand([4, 5])),
    code: 'shape',
    mentions: ['dense', '[2, 3]', '[4, 5]'],
  },
  {
    what: 'a dense bias of another size',
    act: () => dense(operand([2, 3]), operand([3, 5]), operand([4])),
    code: 'shape',
    mentions: ['dense', '[3, 5]', '[4]'],
  },
  {
    what: 'a dense kernel of rank 3',
    act: () => dense(operand([2, 3]), operand([1, 3, 5])),
    code: 'shape',
    mentions: ['dense', '[1, 3, 5]'],
  },
  {
    what: 'a dense activation that does not exist',
    act: () => dense(operand([2, 3]), operand([3, 5]), undefined, { activation: 'swish' as 'relu' }),
    code: 'argument',
    mentions: ['dense', 'swish'],
  },
  { what: 'softmax of rank 0', act: () => softmax(operand([])), code: 'shape', mentions: ['softmax', '[]'] },
  { what: 'log-softmax of rank 0', act: () => logSoftmax(operand([])), code: 'shape', mentions: ['logSoftmax', '[]'] },
  {
    what: 'labels for another number of rows',
    act: () => softmaxCrossEntropy(operand([3, 4]), operand([2], 'u32')),
    code: 'shape',
    mentions: ['softmaxCrossEntropy', '[3, 4]', '[2]'],
  },
  {
    what: 'class numbers as float32',
    act: () => softmaxCrossEntropy(operand([3, 4]), operand([3])),
    code: 'shape',
    mentions: ['softmaxCrossEntropy', '[3, 4]', '[3]'],
  },
  {
    what: 'logits of rank 3',
    act: () => softmaxCrossEntropy(operand([2, 3, 4]), operand([2], 'u32')),
    code: 'shape',
    mentions: ['softmaxCrossEntropy', '[2, 3, 4]'],
  },
  {
    what: 'a loss reduced in an unknown way',
    act: () => softmaxCrossEntropy(operand([3, 4]), operand([3], 'u32'), { reduction: 'median' as 'mean' }),
    code: 'argument',
    mentions: ['softmaxCrossEntropy', 'median'],
  },
  ...[1, -0.1, Number.NaN].map((rate) => ({
    what: `a dropout rate of ${rate}`,
    act: () => dropout(operand([3]), { rate, seed: 1 }),
    code: 'argument' as const,
    mentions: ['dropout', String(rate)],
  })),
  {
    what: 'a shape with another number of elements',
    act: () => reshape(operand([2, 3]), [4, 2]),
    code: 'shape',
    mentions: ['reshape', '[2, 3]', '[4, 2]'],
  },
  {
    what: 'a shape with two unknown extents',
    act: () => reshape(operand([2, 3]), [-1, -1]),
    code: 'shape',
    mentions: ['reshape', '[2, 3]'],
  },
  {
    what: 'an unknown extent that would be fractional',
    act: () => reshape(operand([2, 3]), [4, -1]),
    code: 'shape',
    mentions: ['reshape', '[2, 3]'],
  },
  {
    what: 'a permutation that names an axis twice',
    act: () => transpose(operand([2, 3]), [0, 0]),
    code: 'shape',
    mentions: ['transpose', '[2, 3]', '[0, 0]'],
  },
  {
    what: 'a permutation of too few axes',
    act: () => transpose(operand([2, 3, 4]), [1, 0]),
    code: 'shape',
    mentions: ['transpose', '[2, 3, 4]', '[1, 0]'],
  },
  {
    what: 'a slice that reaches beyond the end',
    act: () => slice(operand([2, 3]), [0, 2], [2, 2]),
    code: 'shape',
    mentions: ['slice', '[2, 3]', '[0, 2]', '[2, 2]'],
  },
  {
    what: 'a slice from before the beginning',
    act: () => slice(operand([2, 3]), [-1, 0], [1, 1]),
    code: 'shape',
    mentions: ['slice', '[2, 3]', '[-1, 0]'],
  },
  { what: 'an empty slice', act: () => slice(operand([2, 3]), [0, 0], [0, 1]), code: 'shape', mentions: ['slice'] },
  {
    what: 'padding by a negative amount',
    act: () =>
      pad(operand([2, 3]), [
        [0, 0],
        [-1, 0],
      ]),
    code: 'shape',
    mentions: ['pad', '[2, 3]'],
  },
  {
    what: 'paddings for too few axes',
    act: () => pad(operand([2, 3]), [[0, 1]]),
    code: 'shape',
    mentions: ['pad', '[2, 3]'],
  },
  { what: 'nothing to concatenate', act: () => concatenate([], 0), code: 'shape', mentions: ['concatenate'] },
  {
    what: 'parts that differ along another axis',
    act: () => concatenate([operand([2, 3]), operand([2, 4])], 0),
    code: 'shape',
    mentions: ['concatenate', '[2, 3]', '[2, 4]'],
  },
  {
    what: 'concatenating along an axis that does not exist',
    act: () => concatenate([operand([2, 3]), operand([2, 3])], 2),
    code: 'shape',
    mentions: ['concatenate', '2'],
  },
  {
    what: 'concatenating one part along an axis that does not exist',
    act: () => concatenate([operand([2, 3])], 2),
    code: 'shape',
    mentions: ['concatenate', '2'],
  },
  {
    what: 'parts of different kinds of numbers',
    act: () => concatenate([operand([2]), operand([2], 'u32')], 0),
    code: 'shape',
    mentions: ['concatenate', 'u32'],
  },
  {
    what: 'indices that are not whole numbers',
    act: () => gather(operand([4, 3]), operand([2])),
    code: 'shape',
    mentions: ['gather', '[4, 3]', '[2]'],
  },
  {
    what: 'gathering rows of rank 0',
    act: () => gather(operand([]), operand([2], 'u32')),
    code: 'shape',
    mentions: ['gather', '[]'],
  },
  {
    what: 'a shape that a tensor cannot be broadcast to',
    act: () => broadcastTo(operand([2, 3]), [2, 4]),
    code: 'shape',
    mentions: ['broadcastTo', '[2, 3]', '[2, 4]'],
  },
  {
    what: 'a shape that a tensor would have to shrink to',
    act: () => broadcastTo(operand([2, 3]), [1, 3]),
    code: 'shape',
    mentions: ['broadcastTo', '[2, 3]', '[1, 3]'],
  },
  { what: 'an empty tensor', act: () => tensor([]), code: 'shape', mentions: ['tensor', '[0]'] },
  {
    what: 'an empty batch',
    act: () => tensor([], [0, 28, 28, 1]),
    code: 'shape',
    mentions: ['tensor', '[0, 28, 28, 1]'],
  },
  {
    what: 'numbers that do not fill the shape',
    act: () => tensor([1, 2, 3], [2, 2]),
    code: 'shape',
    mentions: ['3', '[2, 2]'],
  },
  { what: 'rows of different lengths', act: () => tensor([[1, 2], [3]]), code: 'shape', mentions: ['tensor'] },
  { what: 'rows of different ranks', act: () => tensor([[1], [[2]]]), code: 'shape', mentions: ['tensor'] },
  { what: 'a negative extent', act: () => tensor([1, 2], [-1, -2]), code: 'shape', mentions: ['tensor', '[-1, -2]'] },
  {
    what: 'a negative whole number',
    act: () => tensor([-1], [1], 'u32'),
    code: 'argument',
    mentions: ['tensor', 'u32'],
  },
  {
    what: 'a fraction as a whole number',
    act: () => tensor([1.5], [1], 'u32'),
    code: 'argument',
    mentions: ['tensor', 'u32'],
  },
  {
    what: 'the gradient of argmax',
    act: () => {
      const x = operand([2, 3])
      return gradients(sum(toF32(argmax(x))), [x])
    },
    code: 'no-gradient',
    mentions: ['argmax'],
  },
  {
    what: 'the gradient of anything but a scalar',
    act: () => {
      const x = operand([2, 3])
      return gradients(mul(x, 2), [x])
    },
    code: 'shape',
    mentions: ['[2, 3]'],
  },
]

describe('operators refuse', () => {
  testRefusals(refusals)

  test('to return one number of several', async () => {
    await expect(operand([2, 3]).item()).rejects.toMatchObject({ code: 'shape' })
  })
})
