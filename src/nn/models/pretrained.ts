/** The networks that have weights trained on ImageNet, by name, with what a caller must know to use them. */

import type { Model, ModelOptions } from '../model.ts'
import type { PreprocessingMode } from '../preprocessing.ts'
import type { PretrainedOptions } from './pretrained-options.ts'
import { resnet152v2, resnet152v2Sizes } from './resnet152v2.ts'
import { vgg16, vgg16Sizes } from './vgg16.ts'
import { xception, xceptionSizes } from './xception.ts'

/** A network with published weights, and what must be known to use it. */
export interface PretrainedNetwork {
  /** Makes it, with initial weights. @throws WeftgradError 'argument' for what it cannot be. */
  build(options?: PretrainedOptions, modelOptions?: ModelOptions): Model
  /** What {@link preprocessInput} must do to its images. */
  readonly preprocessing: PreprocessingMode
  /** Height and width of images, in pixels. */
  readonly sizes: {
    /** The least it takes. */
    readonly smallest: number
    /** What it was trained on. */
    readonly usual: number
  }
}

/** Their names here. */
export type PretrainedName = 'vgg16' | 'xception' | 'resnet152v2'

/** The networks that have weights trained on ImageNet, by name; `weights.zoo` says where those are published. */
export const pretrained: { readonly [name in PretrainedName]: PretrainedNetwork } = {
  vgg16: { build: vgg16, preprocessing: 'caffe', sizes: vgg16Sizes },
  xception: { build: xception, preprocessing: 'tf', sizes: xceptionSizes },
  resnet152v2: { build: resnet152v2, preprocessing: 'tf', sizes: resnet152v2Sizes },
}
