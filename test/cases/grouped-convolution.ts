/** Grouped convolutions: each filter sees only the channels of its group. */
import { conv2d } from '../../src/index.ts'
import type { Array64 } from '../reference/array64.ts'
import { activations, add, unary } from '../reference/elementwise.ts'
import { concatenate, slice } from '../reference/movement.ts'
import * as reference from '../reference/window.ts'
import type { Case, InputSpec } from './case.ts'

interface Options extends reference.ConvOptions {
  readonly groups: number
  readonly bias?: boolean
}

/** One convolution per group, side by side. */
function grouped(
  x: Array64,
  kernel: Array64,
  bias: Array64 | undefined,
  { groups, activation = 'linear', ...options }: Options,
): Array64 {
  const part = (y: Array64, group: number): Array64 => {
    const extent = (y.shape.at(-1) ?? 0) / groups
    return slice(
      y,
      y.shape.map((_, axis) => (axis === y.shape.length - 1 ? group * extent : 0)),
      y.shape.with(-1, extent),
    )
  }
  const parts = Array.from({ length: groups }, (_, group) =>
    reference.conv2d(part(x, group), part(kernel, group), undefined, options),
  )
  const y = concatenate(parts, -1)
  return unary(activations[activation])(bias === undefined ? y : add(y, bias))
}

const noGroups = 'TensorFlow.js has no grouped convolutions'

function convolution(what: string, image: readonly number[], kernel: readonly number[], options: Options): Case {
  const { bias = false, ...attributes } = options
  const inputs: InputSpec[] = [
    { shape: image, uniform: [-1, 1] },
    { shape: kernel, uniform: [-0.5, 0.5] },
  ]
  if (bias) inputs.push({ shape: [kernel[3] ?? 1], uniform: [-0.5, 0.5] })
  return {
    name: `conv2d: ${what}`,
    operator: 'conv2d',
    inputs,
    run: (x, w, b) => conv2d(x, w, b, attributes),
    reference: (x, w, b) => grouped(x, w, b, attributes),
    tfjs: noGroups,
    differentiable: inputs.map((_, i) => i),
    tfjsGradient: noGroups,
  }
}

export const groupedConvolutionCases: readonly Case[] = [
  convolution('2 groups', [2, 5, 6, 4], [3, 3, 2, 6], { groups: 2, padding: 'same' }),
  convolution('3 groups with stride, bias and relu', [1, 7, 7, 9], [3, 3, 3, 6], {
    groups: 3,
    strides: 2,
    bias: true,
    activation: 'relu',
  }),
  convolution('one group per channel', [2, 4, 5, 5], [3, 2, 1, 10], { groups: 5, padding: 'same' }),
  convolution('1x1 in 4 groups', [2, 3, 4, 8], [1, 1, 2, 8], { groups: 4 }),
  convolution('dilated in 2 groups', [1, 8, 7, 4], [3, 3, 2, 4], { groups: 2, dilationRate: 2 }),
]
