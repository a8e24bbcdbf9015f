/**
 * VGG16: configuration D of Simonyan & Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition",
 * 2015. Layers have Keras' names. Its preprocessing is 'caffe'.
 */

import { WeftgradError } from '../../errors.ts'
import { conv2d, dense, flatten, maxPooling2d } from '../layers.ts'
import type { Model, ModelOptions } from '../model.ts'
import { sequential } from '../model.ts'
import type { PretrainedOptions } from './pretrained-options.ts'
import { checkedOptions, pooledEnd } from './pretrained-options.ts'

/** Blocks of 3x3 convolutions, each followed by a pool that halves the images. */
const blocks = [
  { convolutions: 2, filters: 64 },
  { convolutions: 2, filters: 128 },
  { convolutions: 3, filters: 256 },
  { convolutions: 3, filters: 512 },
  { convolutions: 3, filters: 512 },
]

export const vgg16Sizes = { smallest: 32, usual: 224 } as const

/**
 * VGG16: configuration D of Simonyan & Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition",
 * 2015. Input [224, 224, 3] by default, preprocessed as 'caffe'; 14,714,688 parameters, or 138,357,544 with the
 * classifier, whose first layer needs 224x224. Layers have Keras' names.
 * @throws WeftgradError 'argument' for images smaller than 32x32, or other unsupported options.
 */
export function vgg16(options: PretrainedOptions = {}, modelOptions: ModelOptions = {}): Model {
  const { inputShape, pooling, includeTop, classes } = checkedOptions('vgg16', vgg16Sizes, options)
  if (includeTop && (inputShape[0] !== 224 || inputShape[1] !== 224))
    throw new WeftgradError('argument', `vgg16: the classifier takes images of 224x224, not ${inputShape.join('x')}.`)
  const base = blocks.flatMap(({ convolutions, filters }, i) => [
    ...Array.from({ length: convolutions }, (_, j) =>
      conv2d(`block${i + 1}_conv${j + 1}`, filters, 3, { padding: 'same', activation: 'relu' }),
    ),
    maxPooling2d(`block${i + 1}_pool`),
  ])
  const classifier = [
    flatten('flatten'),
    dense('fc1', 4096, { activation: 'relu' }),
    dense('fc2', 4096, { activation: 'relu' }),
    dense('predictions', classes, { activation: 'softmax' }),
  ]
  const end = includeTop ? classifier : pooledEnd(pooling)
  return sequential('vgg16', inputShape, [...base, ...end], modelOptions)
}
