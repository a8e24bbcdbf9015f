/**
 * ResNet152V2: the 152 layers of table 1 in He et al., "Deep Residual Learning for Image Recognition", 2016, with the
 * pre-activated blocks of their "Identity Mappings in Deep Residual Networks", 2016. Layers have Keras' names. Its
 * preprocessing is 'tf'.
 */

import type { Layer } from '../layers.ts'
import { activation, add, batchNormalization, conv2d, maxPooling2d, zeroPadding2d } from '../layers.ts'
import type { Model, ModelOptions } from '../model.ts'
import type { Place } from '../wiring.ts'
import { Wiring } from '../wiring.ts'
import type { PretrainedOptions } from './pretrained-options.ts'
import { averagedEnd, checkedOptions, numbered } from './pretrained-options.ts'

export const resnet152v2Sizes = { smallest: 32, usual: 224 } as const

/** The stacks of blocks; the last block of a stack has its stride. A block outputs four times its filters. */
const stacks = [
  { name: 'conv2', filters: 64, blocks: 3, strides: 2 },
  { name: 'conv3', filters: 128, blocks: 8, strides: 2 },
  { name: 'conv4', filters: 256, blocks: 36, strides: 2 },
  { name: 'conv5', filters: 512, blocks: 3, strides: 1 },
]

/** Adds a normalisation and relu. */
const activated = (prefix: string): Layer[] => [
  batchNormalization(`${prefix}_bn`, { epsilon: 1.001e-5 }),
  activation(`${prefix}_relu`, 'relu'),
]

/**
 * ResNet152V2: the 152 layers of table 1 in He et al., "Deep Residual Learning for Image Recognition", 2016, with the
 * pre-activated blocks of their "Identity Mappings in Deep Residual Networks", 2016. Input [224, 224, 3] by default,
 * preprocessed as 'tf'; 58,331,648 parameters, 60,380,648 with the classifier. Layers have Keras' names.
 * @throws WeftgradError 'argument' for images smaller than 32x32, or other unsupported options.
 */
export function resnet152v2(options: PretrainedOptions = {}, modelOptions: ModelOptions = {}): Model {
  const checked = checkedOptions('resnet152v2', resnet152v2Sizes, options)
  const net = new Wiring()
  let pools = 0

  /**
   * 1x1, 3x3 and 1x1 convolutions of the activated input, added to the input or, in a stack's first block, to a
   * projection.
   */
  const block = (x: Place, name: string, filters: number, strides: number, isFirst: boolean): Place => {
    const active = net.chain(x, ...activated(`${name}_preact`))
    const narrow = net.chain(
      active,
      conv2d(`${name}_1_conv`, filters, 1, { useBias: false }),
      ...activated(`${name}_1`),
      zeroPadding2d(`${name}_2_pad`),
      conv2d(`${name}_2_conv`, filters, 3, { strides, useBias: false }),
      ...activated(`${name}_2`),
    )
    let shortcut = x
    if (isFirst) shortcut = net.chain(active, conv2d(`${name}_0_conv`, 4 * filters, 1, { strides }))
    else if (strides > 1)
      shortcut = net.chain(x, maxPooling2d(numbered('max_pooling2d', pools++), { poolSize: 1, strides }))
    const wide = net.chain(narrow, conv2d(`${name}_3_conv`, 4 * filters, 1))
    return net.merge(add(`${name}_out`), shortcut, wide)
  }

  let x = net.chain(
    net.input,
    zeroPadding2d('conv1_pad', 3),
    conv2d('conv1_conv', 64, 7, { strides: 2 }),
    zeroPadding2d('pool1_pad'), // these zeros count in the maxima
    maxPooling2d('pool1_pool', { poolSize: 3, strides: 2 }),
  )
  for (const { name, filters, blocks, strides } of stacks)
    for (let i = 1; i <= blocks; i++) x = block(x, `${name}_block${i}`, filters, i === blocks ? strides : 1, i === 1)
  x = net.chain(x, ...activated('post'))
  net.chain(x, ...averagedEnd(checked, { avg: 'avg_pool', max: 'max_pool' }))
  return net.model('resnet152v2', checked.inputShape, modelOptions)
}
