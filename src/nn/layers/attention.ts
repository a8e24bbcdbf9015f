/** Attention: each position of a sequence takes a weighted mean of the positions of another, or of the same. */

import { WeftgradError } from '../../errors.ts'
import type { Shape } from '../../graph/node.ts'
import { shapeText } from '../../graph/node.ts'
import { add, matmul, mul, reshape, softmax, transpose } from '../../operators/index.ts'
import type { Tensor } from '../../operators/tensor.ts'
import { aFlag, checkOptions, checkValue, countFrom1, fraction } from '../../options.ts'
import type { Initializer } from '../initializers.ts'
import { glorotUniform, zerosInitializer } from '../initializers.ts'
import { dropped } from './core.ts'
import type { Layer, WeightSpec } from './layer.ts'
import { needed } from './layer.ts'
import { type Named, namedLayer } from './named.ts'
import { type KernelOptions, kernelKinds, trained } from './weight-options.ts'

/** Options of {@link multiHeadAttention}; the defaults are Keras'. */
export interface MultiHeadAttentionOptions extends KernelOptions {
  /** Numbers of a value in each head; `keyDim` by default. */
  readonly valueDim?: number
  /** Share of the attention weights that training drops. 0 by default. */
  readonly dropout?: number
  /** Whether the four products add a bias. True by default. */
  readonly useBias?: boolean
}

/**
 * Keras' `MultiHeadAttention` (Vaswani et al., "Attention Is All You Need", 2017): softmax(q kᵀ / sqrt(keyDim)) v in `numHeads`
 * heads. Inputs, each [positions, features]: query, value and, if it is not the value, key; a single input attends to itself.
 * Output: [query positions, query features]. Weights: kernel and bias of `query`, `key`, `value` and `attention_output`.
 * @throws WeftgradError 'argument' for counts that are not positive whole numbers; 'shape', in a model, for inputs that are not
 * sequences, or key and value of different lengths.
 */
export function multiHeadAttention(
  ...given: Named<[numHeads: number, keyDim: number, options?: MultiHeadAttentionOptions]>
): Layer {
  return namedLayer('multi_head_attention', given, makeAttention, ['numHeads', 'keyDim'])
}

function makeAttention(name: string, numHeads: number, keyDim: number, options: MultiHeadAttentionOptions = {}): Layer {
  checkValue(`${name}: numHeads`, numHeads, countFrom1)
  checkValue(`${name}: keyDim`, keyDim, countFrom1)
  const {
    valueDim = keyDim,
    dropout = 0,
    useBias = true,
  } = checkOptions(name, options, {
    ...{ valueDim: countFrom1, dropout: fraction, useBias: aFlag, ...kernelKinds },
  })

  /** Query, value, key. */
  const roles = <T>(inputs: readonly T[]): readonly [T, T, T] => {
    const [query, value = query, key = value] = inputs
    if (query === undefined || value === undefined || key === undefined || inputs.length > 3)
      throw new WeftgradError('shape', `${name} takes one to three inputs: query, value, key.`)
    return [query, value, key]
  }
  const sequences = (inputs: readonly Shape[]): readonly (readonly [number, number])[] => {
    const found = roles(inputs).map((shape): readonly [number, number] => {
      const [positions, features] = shape
      if (positions === undefined || features === undefined || shape.length !== 2)
        throw new WeftgradError('shape', `${name} takes sequences [positions, features], not ${shapeText(shape)}.`)
      return [positions, features]
    })
    if (found[1]?.[0] !== found[2]?.[0])
      throw new WeftgradError('shape', `${name}: value and key must have equally many positions.`)
    return found
  }

  /** [batch, positions, features] -> [batch, heads, positions, numbers]. */
  const inHeads = (x: Tensor, kernel: Tensor, bias: Tensor | undefined): Tensor => {
    const [batch = 0, positions = 0, features = 0] = x.shape
    const product = matmul(x, reshape(kernel, [features, -1]))
    const y = bias === undefined ? product : add(product, reshape(bias, [-1]))
    return transpose(reshape(y, [batch, positions, numHeads, -1]), [0, 2, 1, 3])
  }

  return {
    name,
    className: 'MultiHeadAttention',
    outputShape: (inputs) => sequences(inputs)[0] ?? [],
    weights(inputs) {
      const [query, value, key] = sequences(inputs)
      const product = (part: string, shape: Shape, biasShape: Shape): WeightSpec[] => {
        const kernel = trained(options, 'kernel', shape, glorotUniform, `${part}/kernel`)
        return [
          // Glorot's fans are those of the product of matrices, [features, heads * numbers].
          { ...kernel, initializer: asMatrix(kernel.initializer, part) },
          ...(useBias ? [trained(options, 'bias', biasShape, zerosInitializer, `${part}/bias`)] : []),
        ]
      }
      const features = query?.[1] ?? 0
      return [
        ...product('query', [features, numHeads, keyDim], [numHeads, keyDim]),
        ...product('key', [key?.[1] ?? 0, numHeads, keyDim], [numHeads, keyDim]),
        ...product('value', [value?.[1] ?? 0, numHeads, valueDim], [numHeads, valueDim]),
        ...product('attention_output', [numHeads, valueDim, features], [features]),
      ]
    },
    call(inputs, weights, context) {
      const [query, value, key] = roles(inputs)
      const step = useBias ? 2 : 1
      const kernel = (i: number): Tensor => needed(weights[step * i], name)
      const bias = (i: number): Tensor | undefined => (useBias ? weights[step * i + 1] : undefined)
      const q = mul(inHeads(query, kernel(0), bias(0)), 1 / Math.sqrt(keyDim))
      const scores = matmul(q, inHeads(key, kernel(1), bias(1)), { transposeB: true })
      const mixed = matmul(dropped(softmax(scores), dropout, name, context), inHeads(value, kernel(2), bias(2)))
      const [batch = 0, , positions = 0] = mixed.shape
      const rows = reshape(transpose(mixed, [0, 2, 1, 3]), [batch, positions, -1])
      const features = query.shape.at(-1) ?? 0
      const y = matmul(rows, reshape(kernel(3), [-1, features]))
      const last = bias(3)
      return last === undefined ? y : add(y, last)
    },
  }
}

/** Initializes a kernel of three axes as the matrix that it is used as. */
function asMatrix(initializer: Initializer, part: string): Initializer {
  return ([a = 1, b = 1, c = 1], random) => initializer(part === 'attention_output' ? [a * b, c] : [a, b * c], random)
}
