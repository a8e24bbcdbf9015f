/** Operators that move numbers: reshape, transpose, slice, pad, concatenate, gather, broadcast. */
import type { Tensor1D } from '@tensorflow/tfjs'
import { broadcastTo, concatenate, gather, pad, reshape, slice, sum, tanh, transpose } from '../../src/index.ts'
import * as reference from '../reference/index.ts'
import type { Case, InputSpec } from './case.ts'

const common = { tfjsGradient: true } as const
const filled = (shape: readonly number[]): InputSpec => ({ shape, uniform: [-2, 2] })

function reshaped(what: string, from: readonly number[], to: number[]): Case {
  return {
    name: `reshape: ${what}`,
    operator: 'reshape',
    inputs: [filled(from)],
    run: (x) => reshape(x, to),
    reference: (x) => reference.reshape(x, to),
    tfjs: (tf, x) => tf.reshape(x, to),
    differentiable: [0],
    ...common,
  }
}

function transposed(what: string, shape: readonly number[], permutation?: number[]): Case {
  return {
    name: `transpose: ${what}`,
    operator: 'transpose',
    inputs: [filled(shape)],
    run: (x) => transpose(x, permutation),
    reference: (x) => reference.transpose(x, permutation),
    tfjs: (tf, x) => tf.transpose(x, permutation),
    differentiable: [0],
    ...common,
  }
}

function sliced(what: string, shape: readonly number[], begin: number[], size: number[]): Case {
  return {
    name: `slice: ${what}`,
    operator: 'slice',
    inputs: [filled(shape)],
    run: (x) => slice(x, begin, size),
    reference: (x) => reference.slice(x, begin, size),
    tfjs: (tf, x) => tf.slice(x, begin, size),
    differentiable: [0],
    ...common,
  }
}

function padded(what: string, shape: readonly number[], padding: [number, number][], value = 0): Case {
  return {
    name: `pad: ${what}`,
    operator: 'pad',
    inputs: [filled(shape)],
    run: (x) => pad(x, padding, value),
    reference: (x) => reference.pad(x, padding, value),
    tfjs: (tf, x) => tf.pad(x, padding, value),
    differentiable: [0],
    ...common,
  }
}

function concatenated(what: string, shapes: readonly (readonly number[])[], axis: number): Case {
  return {
    name: `concatenate: ${what}`,
    operator: 'concatenate',
    inputs: shapes.map(filled),
    run: (...xs) => concatenate(xs, axis),
    reference: (...xs) => reference.concatenate(xs, axis),
    tfjs: (tf, ...xs) => tf.concat(xs, axis),
    differentiable: shapes.map((_, i) => i),
    ...common,
  }
}

function gathered(what: string, shape: readonly number[], indices: readonly number[]): Case {
  return {
    name: `gather: ${what}`,
    operator: 'gather',
    inputs: [filled(shape), { shape: [indices.length], dtype: 'u32', values: indices }],
    run: (x, i) => gather(x, i),
    reference: (x, i) => reference.gather(x, i),
    tfjs: (tf, x, i) => tf.gather(x, i as Tensor1D),
    differentiable: [0],
    ...common,
  }
}

function broadcast(what: string, shape: readonly number[], to: number[]): Case {
  return {
    name: `broadcastTo: ${what}`,
    operator: 'broadcastTo',
    inputs: [filled(shape)],
    run: (x) => broadcastTo(x, to),
    reference: (x) => reference.broadcastTo(x, to),
    tfjs: (tf, x) => tf.broadcastTo(x, to),
    differentiable: [0],
    ...common,
  }
}

/** Whole numbers whose bits, read as float32, are tiny or NaN. */
const wholeNumbers: InputSpec = {
  shape: [3, 4],
  dtype: 'u32',
  values: [0, 1, 2, 3, 255, 65535, 8388608, 16777215, 1065353216, 2139095041, 2147483647, 7],
}
const ofWholeNumbers = { differentiable: [], tfjsGradient: 'whole numbers have no gradient' } as const

export const movementCases: readonly Case[] = [
  reshaped('an image to a vector', [2, 3, 4, 5], [2, 60]),
  reshaped('rank 0 to rank 3', [], [1, 1, 1]),
  reshaped('one element to rank 0', [1, 1], []),
  transposed('the axes are reversed by default', [3, 5]),
  transposed('reversed axes of rank 4', [2, 3, 4, 5]),
  ...[
    [0, 2, 1],
    [1, 0, 2],
    [1, 2, 0],
    [2, 0, 1],
    [2, 1, 0],
    [0, 1, 2],
  ].map((permutation) => transposed(`rank 3 by ${permutation.join(', ')}`, [3, 4, 5], permutation)),
  transposed('images to channels first', [2, 5, 6, 3], [0, 3, 1, 2]),
  transposed('a matrix of multiples of four', [8, 12]),
  transposed('rank 4, the last axis stays', [2, 3, 5, 4], [1, 2, 0, 3]),
  transposed('a matrix beyond a tile', [33, 65], [1, 0]),
  sliced('a block in the middle', [4, 5, 6], [1, 2, 3], [2, 2, 3]),
  sliced('multiples of four', [3, 16], [1, 4], [2, 8]),
  sliced('everything', [3, 4], [0, 0], [3, 4]),
  sliced('one element', [3, 4], [2, 3], [1, 1]),
  sliced('some rows', [9, 5], [3, 0], [4, 5]),
  sliced('rank 1', [17], [5], [7]),
  padded(
    'unequal paddings',
    [2, 3],
    [
      [1, 2],
      [0, 3],
    ],
  ),
  padded(
    'images',
    [2, 3, 4, 2],
    [
      [0, 0],
      [2, 2],
      [1, 3],
      [0, 0],
    ],
  ),
  padded(
    'with another value',
    [3, 2],
    [
      [1, 0],
      [0, 1],
    ],
    -1.5,
  ),
  padded(
    'multiples of four',
    [2, 8],
    [
      [1, 0],
      [4, 8],
    ],
    2.5,
  ),
  padded(
    'by nothing',
    [3, 2],
    [
      [0, 0],
      [0, 0],
    ],
  ),
  concatenated(
    'along the first axis',
    [
      [2, 3],
      [1, 3],
      [4, 3],
    ],
    0,
  ),
  concatenated(
    'along the last axis',
    [
      [2, 3, 1],
      [2, 3, 4],
    ],
    -1,
  ),
  concatenated(
    'along the middle axis',
    [
      [2, 1, 3],
      [2, 5, 3],
      [2, 2, 3],
    ],
    1,
  ),
  concatenated(
    'multiples of four',
    [
      [2, 4],
      [2, 12],
      [2, 8],
    ],
    1,
  ),
  concatenated('one tensor', [[2, 3]], 0),
  concatenated(
    'ten tensors, more than a stage may bind',
    Array.from({ length: 10 }, (_, i) => [2, i + 1]),
    1,
  ),
  gathered('rows in any order, some twice', [5, 3], [4, 0, 2, 2, 2, 1]),
  gathered('one row', [5, 3], [3]),
  gathered('images', [3, 2, 2, 2], [2, 0, 2]),
  gathered(
    '65 rows of a table of three',
    [3, 4],
    Array.from({ length: 65 }, (_, i) => (i * 2) % 3),
  ),
  gathered('a few of many rows', [40, 5], [39, 0, 17, 17]),
  {
    ...gathered('a missing row is NaN and has no gradient', [3, 4], [2, 3, 0, 4294967295]),
    gradients: (cotangent) => [
      reference.build([3, 4], ([row = 0, column = 0]) => {
        const positions = [2, 3, 0, 4294967295].flatMap((index, position) => (index === row ? [position] : []))
        return positions.reduce((total, position) => total + reference.at(cotangent, [position, column]), 0)
      }),
    ],
    tfjs: 'TensorFlow.js refuses an index out of range',
  },
  gathered('numbers of a vector', [7], [6, 6, 0, 3]),
  broadcast('a row to a matrix', [5], [3, 5]),
  broadcast('axes of extent 1', [2, 1, 3, 1], [2, 4, 3, 2]),
  broadcast('rank 0', [], [2, 3]),
  {
    name: 'concatenate: the same tensor twice',
    operator: 'concatenate',
    inputs: [filled([2, 3])],
    run: (x) => concatenate([x, tanh(x), x], 0),
    reference: (x) => reference.concatenate([x, reference.tanh(x), x], 0),
    tfjs: (tf, x) => tf.concat([x, tf.tanh(x), x], 0),
    differentiable: [0],
    ...common,
  },
  {
    name: 'slice: overlapping slices of one tensor',
    operator: 'slice',
    inputs: [filled([6, 2])],
    run: (x) => concatenate([slice(x, [0, 0], [4, 2]), slice(x, [2, 0], [4, 2])], 1),
    reference: (x) =>
      reference.concatenate([reference.slice(x, [0, 0], [4, 2]), reference.slice(x, [2, 0], [4, 2])], 1),
    tfjs: (tf, x) => tf.concat([tf.slice(x, [0, 0], [4, 2]), tf.slice(x, [2, 0], [4, 2])], 1),
    differentiable: [0],
    ...common,
  },
  {
    name: 'reshape: between transposes and a sum',
    operator: 'reshape',
    inputs: [filled([3, 4, 2])],
    run: (x) => sum(transpose(reshape(transpose(x, [1, 0, 2]), [6, 4]), [1, 0]), { axes: 1 }),
    reference: (x) =>
      reference.sum(reference.transpose(reference.reshape(reference.transpose(x, [1, 0, 2]), [6, 4]), [1, 0]), {
        axes: 1,
      }),
    tfjs: (tf, x) => tf.sum(tf.transpose(tf.reshape(tf.transpose(x, [1, 0, 2]), [6, 4]), [1, 0]), 1),
    differentiable: [0],
    ...common,
  },
  {
    name: 'transpose: whole numbers',
    operator: 'transpose',
    inputs: [wholeNumbers],
    run: (x) => transpose(x),
    reference: (x) => reference.transpose(x),
    tfjs: (tf, x) => tf.transpose(x),
    ...ofWholeNumbers,
  },
  {
    name: 'slice: whole numbers',
    operator: 'slice',
    inputs: [wholeNumbers],
    run: (x) => slice(x, [1, 1], [2, 2]),
    reference: (x) => reference.slice(x, [1, 1], [2, 2]),
    tfjs: (tf, x) => tf.slice(x, [1, 1], [2, 2]),
    ...ofWholeNumbers,
  },
  {
    name: 'concatenate: whole numbers',
    operator: 'concatenate',
    inputs: [wholeNumbers, wholeNumbers],
    run: (...xs) => concatenate(xs, 1),
    reference: (...xs) => reference.concatenate(xs, 1),
    tfjs: (tf, ...xs) => tf.concat(xs, 1),
    ...ofWholeNumbers,
  },
  {
    name: 'gather: whole numbers',
    operator: 'gather',
    inputs: [wholeNumbers, { shape: [2], dtype: 'u32', values: [2, 0] }],
    run: (x, i) => gather(x, i),
    reference: (x, i) => reference.gather(x, i),
    tfjs: (tf, x, i) => tf.gather(x, i as Tensor1D),
    ...ofWholeNumbers,
  },
  {
    name: 'broadcastTo: whole numbers',
    operator: 'broadcastTo',
    inputs: [wholeNumbers],
    run: (x) => broadcastTo(x, [2, 3, 4]),
    reference: (x) => reference.broadcastTo(x, [2, 3, 4]),
    tfjs: (tf, x) => tf.broadcastTo(x, [2, 3, 4]),
    ...ofWholeNumbers,
  },
]
