/**
 * LeNet-5 after LeCun et al., "Gradient-Based Learning Applied to Document Recognition", 1998, with relu, max-pooling
 * and full connections, as is usual today.
 */

import { checkOptions, countFrom1, fraction, type Kind } from '../../options.ts'
import { conv2d, dense, dropout as dropoutLayer, flatten, maxPooling2d } from '../layers.ts'
import type { Model, ModelOptions } from '../model.ts'
import { sequential } from '../model.ts'

/** Options of {@link lenet5}. */
export interface Lenet5Options {
  /** Units of the two hidden dense layers. [256, 32] by default. */
  readonly units?: readonly [number, number]
  /** Number of classes. 10 by default. */
  readonly classes?: number
  /** Dropout rate after the first hidden dense layer. 0 by default. */
  readonly dropout?: number
}

const twoUnits: Kind = [
  'two positive whole numbers',
  (value) => Array.isArray(value) && value.length === 2 && value.every(countFrom1[1]),
]

/**
 * LeNet-5 (LeCun et al., "Gradient-Based Learning Applied to Document Recognition", 1998) with relu, max-pooling and
 * full connections, as is usual today. Input [32, 32, 1], output logits [classes]; 113,782 parameters with units [256,
 * 32] and 10 classes. Data sets pad smaller images.
 * @throws WeftgradError 'argument' for units or classes that are not positive whole numbers, or a dropout outside [0,
 * 1).
 */
export function lenet5(network: Lenet5Options = {}, options: ModelOptions = {}): Model {
  const kinds = { units: twoUnits, classes: countFrom1, dropout: fraction }
  const { units = [256, 32], classes = 10, dropout = 0 } = checkOptions('lenet5', network, kinds)
  return sequential(
    'lenet5',
    [32, 32, 1],
    [
      conv2d('conv1', 6, 5, { activation: 'relu' }), // 28x28x6
      maxPooling2d('pool1'), // 14x14x6
      conv2d('conv2', 16, 5, { activation: 'relu' }), // 10x10x16
      maxPooling2d('pool2'), // 5x5x16
      flatten('flatten'),
      dense('dense1', units[0], { activation: 'relu' }),
      ...(dropout > 0 ? [dropoutLayer('dropout1', dropout)] : []),
      dense('dense2', units[1], { activation: 'relu' }),
      dense('logits', classes),
    ],
    options,
  )
}
