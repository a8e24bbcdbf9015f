/** The networks with weights trained on ImageNet, by name, with what a caller needs to use them. */

import type { Model, ModelOptions } from '../model.ts'
import type { PreprocessingMode } from '../preprocessing.ts'
import type { PretrainedOptions } from './pretrained-options.ts'
import { resnet152v2, resnet152v2Sizes } from './resnet152v2.ts'
import { vgg16, vgg16Sizes } from './vgg16.ts'
import { xception, xceptionSizes } from './xception.ts'

/** A network with published weights, and what is needed to use it. */
export interface PretrainedNetwork {
  /** Builds it with initial weights. @throws WeftgradError 'argument' for unsupported options. */
  build(options?: PretrainedOptions, modelOptions?: ModelOptions): Model
  /** The mode of {@link preprocessInput} for its images. */
  readonly preprocessing: PreprocessingMode
  /** Height and width of images, in pixels. */
  readonly sizes: {
    /** The smallest it accepts. */
    readonly smallest: number
    /** The size it was trained with. */
    readonly usual: number
  }
}

/** The networks' names. */
export type PretrainedName = 'vgg16' | 'xception' | 'resnet152v2'

/** The networks with weights trained on ImageNet, by name; `weights.zoo` lists where those are published. */
export const pretrained: { readonly [name in PretrainedName]: PretrainedNetwork } = {
  vgg16: { build: vgg16, preprocessing: 'caffe', sizes: vgg16Sizes },
  xception: { build: xception, preprocessing: 'tf', sizes: xceptionSizes },
  resnet152v2: { build: resnet152v2, preprocessing: 'tf', sizes: resnet152v2Sizes },
}
