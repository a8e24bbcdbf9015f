/** Dense layers, and those that only rearrange or drop numbers. */

import {
  add,
  dense as denseProduct,
  dropout as dropOut,
  flatten as flattenTensor,
  reshape as reshapeTensor,
  slice,
} from '../../autograd/ops.ts'
import type { Tensor } from '../../autograd/tensor.ts'
import { WeftgradError } from '../../errors.ts'
import type { Shape } from '../../graph/node.ts'
import { shapeText } from '../../graph/node.ts'
import { elementCount } from '../../kernels/kernel.ts'
import { aFlag, aFunction, anArray, checkOptions, checkValue, countFrom1, fraction } from '../../options.ts'
import type { Initializer } from '../initializers.ts'
import { glorotUniform, zerosInitializer } from '../initializers.ts'
import type { LayerActivation } from './activation.ts'
import { activations, aLayerActivation } from './activation.ts'
import type { Layer } from './layer.ts'
import { channelsOf, first, needed, noWeights } from './layer.ts'
import { type Named, namedLayer } from './named.ts'

/** Of {@link dense}. */
export interface DenseLayerOptions {
  /** What becomes of the result; 'linear' (nothing) by default. */
  readonly activation?: LayerActivation
  /** True by default. */
  readonly useBias?: boolean
  /** `glorotUniform` by default. */
  readonly kernelInitializer?: Initializer
}

/**
 * Keras' `Dense`: activation(x kernel + bias), [..., in] -> [..., units]. Weights `kernel` [in, units] and `bias` [units]. The
 * last one of a classifier may be 'linear' or 'softmax': the loss takes the logits of either.
 * Its name may be left out: `dense(8)`.
 * @throws WeftgradError 'argument' for units that are not a whole number from 1, or options that there are not.
 */
export function dense(...given: Named<[units: number, options?: DenseLayerOptions]>): Layer {
  return namedLayer('dense', given, makeDense)
}

function makeDense(name: string, units: number, options: DenseLayerOptions = {}): Layer {
  const kinds = { activation: aLayerActivation, useBias: aFlag, kernelInitializer: aFunction }
  checkValue(`${name}: units`, units, countFrom1)
  const checked = checkOptions(name, options, kinds)
  const { activation = 'linear', useBias = true, kernelInitializer = glorotUniform } = checked
  return {
    name,
    className: 'Dense',
    role: {
      kind: 'product',
      kernel: 'kernel',
      takesScale: activation === 'linear',
      takesPadding: false,
      rebuilt: ({ name: other = name, useBias: withBias = useBias }) =>
        makeDense(other, units, { ...options, useBias: withBias }),
    },
    outputShape: (inputs) => [...first(inputs, name).slice(0, -1), units],
    weights: (inputs) => [
      {
        name: 'kernel',
        shape: [channelsOf(inputs, name), units],
        initializer: kernelInitializer,
        trainable: true,
      },
      ...(useBias ? [{ name: 'bias', shape: [units], initializer: zerosInitializer, trainable: true }] : []),
    ],
    call(inputs, weights) {
      const x = first(inputs, name)
      const [kernel, bias] = [needed(weights[0], name), weights[1]]
      const blocks = rowBlocks(kernel.size / units, units)
      if (blocks.length > 1) return activations[activation](productByBlocks(x, kernel, bias, blocks))
      const fused = activation === 'softmax' ? 'linear' : activation
      const y = denseProduct(x, kernel, bias, { activation: fused })
      return activation === 'softmax' ? activations.softmax(y) : y
    },
  }
}

/** What every adapter lets a kernel see of one tensor: WebGPU's default limit. */
const portableBindingBytes = 128 * 2 ** 20

/** Rows of a kernel, cut where it is larger than that: VGG16's fc1 (411 MB) comes in four blocks. */
function rowBlocks(rows: number, columns: number): { readonly from: number; readonly count: number }[] {
  const blocks = Math.ceil((rows * columns * 4) / portableBindingBytes)
  // Rows of a block are a multiple of 64, so that each begins at a multiple of 256 bytes whatever the columns.
  const size = Math.ceil(rows / blocks / 64) * 64
  return Array.from({ length: Math.ceil(rows / size) }, (_, i) => ({
    from: i * size,
    count: Math.min(size, rows - i * size),
  }))
}

function productByBlocks(
  x: Tensor,
  kernel: Tensor,
  bias: Tensor | undefined,
  blocks: readonly { readonly from: number; readonly count: number }[],
): Tensor {
  const before = x.shape.slice(0, -1)
  const parts = blocks.map(({ from, count }) =>
    denseProduct(
      slice(x, [...before.map(() => 0), from], [...before, count]),
      slice(kernel, [from, 0], [count, -1]),
      from === 0 ? bias : undefined,
    ),
  )
  return parts.slice(1).reduce(add, first(parts, 'dense'))
}

/** Keras' `Flatten`: all axes but the batch become one, row-major. */
export function flatten(...given: Named<[]>): Layer {
  return namedLayer('flatten', given, (name) => ({
    name,
    className: 'Flatten',
    outputShape: (inputs) => [elementCount(first(inputs, name))],
    weights: noWeights,
    call: (inputs) => flattenTensor(first(inputs, name)),
  }))
}

/**
 * Keras' `Reshape`: the same numbers in another shape, the batch aside; one extent may be -1.
 * @throws WeftgradError 'shape', once it is wired, where the numbers of elements differ.
 */
export function reshape(...given: Named<[targetShape: Shape]>): Layer {
  return namedLayer('reshape', given, makeReshape)
}

function makeReshape(name: string, targetShape: Shape): Layer {
  checkValue(`${name}: targetShape`, targetShape, anArray)
  return {
    name,
    className: 'Reshape',
    outputShape(inputs) {
      const input = first(inputs, name)
      const known = elementCount(targetShape.filter((extent) => extent !== -1))
      const shape = targetShape.map((extent) => (extent === -1 ? elementCount(input) / known : extent))
      const isShape = shape.every((extent) => Number.isInteger(extent) && extent >= 1)
      if (!isShape || elementCount(shape) !== elementCount(input))
        throw new WeftgradError('shape', `${name} cannot make ${shapeText(targetShape)} of ${shapeText(input)}.`)
      return shape
    },
    weights: noWeights,
    call(inputs) {
      const x = first(inputs, name)
      return reshapeTensor(x, [...x.shape.slice(0, 1), ...targetShape])
    },
  }
}

/**
 * Keras' `Dropout`: zeros a share `rate` in [0, 1) of the inputs in training and scales the rest by 1 / (1 - rate); another
 * share at each step, the same for the same seed. Does nothing otherwise.
 * @throws WeftgradError 'argument' for a rate outside [0, 1).
 */
export function dropout(...given: Named<[rate: number]>): Layer {
  return namedLayer('dropout', given, makeDropout)
}

function makeDropout(name: string, rate: number): Layer {
  checkValue(`${name}: rate`, rate, fraction)
  return {
    name,
    className: 'Dropout',
    outputShape: (inputs) => first(inputs, name),
    weights: noWeights,
    call(inputs, _, { training, seed, counter }) {
      const x = first(inputs, name)
      if (!training || rate === 0) return x
      return dropOut(x, { rate, seed, stream: streamOf(name), ...(counter === undefined ? {} : { counter }) })
    },
  }
}

/** 31 bits of a layer's name, so that two dropouts of a network draw different masks. */
function streamOf(name: string): number {
  let h = 0
  for (let i = 0; i < name.length; i++) h = (Math.imul(h, 31) + name.charCodeAt(i)) & 0x7fffffff
  return h
}
