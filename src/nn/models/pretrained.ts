/** The networks that have weights trained on ImageNet, by name, with what a caller must know to use them. */

import type { Model, ModelOptions } from '../model.ts'
import type { PreprocessingMode } from '../preprocessing.ts'
import type { PretrainedOptions } from './pretrained-options.ts'
import { resnet152v2, resnet152v2Sizes } from './resnet152v2.ts'
import { vgg16, vgg16Sizes } from './vgg16.ts'
import { xception, xceptionSizes } from './xception.ts'

export interface PretrainedNetwork {
  build(options?: PretrainedOptions, modelOptions?: ModelOptions): Model
  readonly preprocessing: PreprocessingMode
  /** Of images, in pixels: the smallest that the network takes, and those it was trained on. */
  readonly sizes: { readonly smallest: number; readonly usual: number }
}

export type PretrainedName = 'vgg16' | 'xception' | 'resnet152v2'

export const pretrained: { readonly [name in PretrainedName]: PretrainedNetwork } = {
  vgg16: { build: vgg16, preprocessing: 'caffe', sizes: vgg16Sizes },
  xception: { build: xception, preprocessing: 'tf', sizes: xceptionSizes },
  resnet152v2: { build: resnet152v2, preprocessing: 'tf', sizes: resnet152v2Sizes },
}
