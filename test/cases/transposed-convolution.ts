/** Transposed convolution: strides, paddings, dilation, bias and activation. */
import type { Tensor4D, Tensor as TensorFlowTensor } from '@tensorflow/tfjs'
import { conv2dTranspose } from '../../src/index.ts'
import type { Array64 } from '../reference/array64.ts'
import { build } from '../reference/array64.ts'
import { activations, add, unary } from '../reference/elementwise.ts'
import type { ConvOptions } from '../reference/window.ts'
import { slide } from '../reference/window.ts'
import type { TensorFlow } from '../support/tfjs.ts'
import type { Case, InputSpec } from './case.ts'
import { activationOf } from './matmul.ts'

type Pair = readonly [number, number]
const pair = (value: number | Pair): Pair => (typeof value === 'number' ? [value, value] : value)

type Extents4 = [batch: number, height: number, width: number, channels: number]

function along(axis: 0 | 1, extent: number, window: number, options: ConvOptions): { out: number; before: number } {
  const { padding = 'valid' } = options
  const [stride, dilation] = [pair(options.strides ?? 1)[axis], pair(options.dilationRate ?? 1)[axis]]
  const sides = typeof padding === 'string' ? padding : padding[axis]
  const total = typeof sides === 'string' ? 0 : sides[0] + sides[1]
  const reach = (window - 1) * dilation + 1
  const out = sides === 'same' ? extent * stride : extent * stride + Math.max(reach - stride, 0) - total
  return { out, before: slide(out, window, stride, dilation, sides).before }
}

function outputShape(image: readonly number[], kernel: readonly number[], options: ConvOptions): Extents4 {
  const [batch = 0, height = 0, width = 0] = image
  const [kernelHeight = 0, kernelWidth = 0, filters = 0] = kernel
  return [batch, along(0, height, kernelHeight, options).out, along(1, width, kernelWidth, options).out, filters]
}

/** Each element of x adds the kernel, scaled by the element, to the image around its position. */
function reference(x: Array64, kernel: Array64, bias: Array64 | undefined, options: ConvOptions): Array64 {
  const [batch = 0, height = 0, width = 0, channels = 0] = x.shape
  const [kernelHeight = 0, kernelWidth = 0, filters = 0] = kernel.shape
  const { activation = 'linear' } = options
  const [strides, dilation] = [pair(options.strides ?? 1), pair(options.dilationRate ?? 1)]
  const [rows, columns] = [along(0, height, kernelHeight, options), along(1, width, kernelWidth, options)]
  const shape = outputShape(x.shape, kernel.shape, options)
  const y = build(shape, () => 0)
  for (let n = 0; n < batch; n++)
    for (let i = 0; i < height; i++)
      for (let j = 0; j < width; j++)
        for (let r = 0; r < kernelHeight; r++)
          for (let s = 0; s < kernelWidth; s++) {
            const row = i * strides[0] + r * dilation[0] - rows.before
            const column = j * strides[1] + s * dilation[1] - columns.before
            if (row < 0 || column < 0 || row >= rows.out || column >= columns.out) continue
            for (let f = 0; f < filters; f++)
              for (let c = 0; c < channels; c++) {
                const at = ((n * rows.out + row) * columns.out + column) * filters + f
                const weight = kernel.data[((r * kernelWidth + s) * filters + f) * channels + c] ?? Number.NaN
                y.data[at] =
                  (y.data[at] ?? 0) + weight * (x.data[((n * height + i) * width + j) * channels + c] ?? Number.NaN)
              }
          }
  return unary(activations[activation])(bias === undefined ? y : add(y, bias))
}

interface Options extends ConvOptions {
  readonly padding?: 'same' | 'valid' | readonly [Pair, Pair]
}

function transposed(
  what: string,
  image: readonly number[],
  kernel: readonly number[],
  options: Options & { readonly bias?: boolean } = {},
): Case {
  const { bias = false, ...attributes } = options
  const { padding = 'valid', strides = 1, activation = 'linear' } = attributes
  const inputs: InputSpec[] = [
    { shape: image, uniform: [-1, 1] },
    { shape: kernel, uniform: [-0.5, 0.5] },
  ]
  if (bias) inputs.push({ shape: [kernel[2] ?? 1], uniform: [-0.5, 0.5] })
  const isTheirs = typeof padding === 'string' && attributes.dilationRate === undefined
  const tfjs = (tf: TensorFlow, x: TensorFlowTensor, w: TensorFlowTensor, b?: TensorFlowTensor): TensorFlowTensor => {
    const shape = outputShape(image, kernel, attributes)
    const y = tf.conv2dTranspose(
      x as Tensor4D,
      w as Tensor4D,
      shape,
      [...pair(strides)],
      typeof padding === 'string' ? padding : 'valid',
    )
    return activationOf(tf, activation)(b === undefined ? y : tf.add(y, b))
  }
  const reason = 'TensorFlow.js takes neither dilation nor explicit padding here'
  return {
    name: `conv2dTranspose: ${what}`,
    operator: 'conv2dTranspose',
    inputs,
    run: (x, w, b) => conv2dTranspose(x, w, b, attributes),
    reference: (x, w, b) => reference(x, w, b, attributes),
    tfjs: isTheirs ? tfjs : reason,
    differentiable: inputs.map((_, i) => i),
    tfjsGradient: isTheirs ? true : reason,
  }
}

export const transposedConvolutionCases: readonly Case[] = [
  transposed("3x3 'valid'", [2, 4, 5, 3], [3, 3, 4, 3]),
  transposed("3x3 'same'", [2, 4, 5, 3], [3, 3, 4, 3], { padding: 'same' }),
  transposed("3x3 'same' with stride 2, bias and relu", [2, 4, 5, 3], [3, 3, 4, 3], {
    padding: 'same',
    strides: 2,
    bias: true,
    activation: 'relu',
  }),
  transposed("4x4 'valid' with stride 2", [1, 3, 3, 5], [4, 4, 2, 5], { strides: 2 }),
  transposed('2x2 side by side', [1, 3, 4, 8], [2, 2, 8, 8], { strides: 2, bias: true }),
  transposed("a stride beyond the kernel, 'valid'", [1, 3, 3, 2], [2, 2, 3, 2], { strides: 3 }),
  transposed('dilated', [1, 4, 4, 2], [3, 2, 3, 2], { dilationRate: 2 }),
  transposed('explicit padding', [1, 4, 4, 2], [3, 3, 3, 2], {
    strides: 2,
    padding: [
      [1, 0],
      [0, 1],
    ],
  }),
]
