/**
 * Layers: Keras' names, options and defaults. A layer is a description; its weights belong to the model. Shapes here
 * exclude the batch.
 */

export type { LayerActivation, PReluOptions, ReluOptions } from './layers/activation.ts'
export { activation, elu, leakyReLU, pReLU, reLU, softmax } from './layers/activation.ts'
export * from './layers/attention.ts'
export * from './layers/convolution.ts'
export type { DenseLayerOptions, DropoutLayerOptions } from './layers/core.ts'
export { dense, dropout, flatten, reshape, spatialDropout2d } from './layers/core.ts'
export type { CallContext, Layer, LayerRole, RebuiltProduct, WeightEncoding, WeightSpec } from './layers/layer.ts'
export { batchedShapeText } from './layers/layer.ts'
export * from './layers/merging.ts'
export type { Named } from './layers/named.ts'
export * from './layers/normalization.ts'
export * from './layers/pooling.ts'
export * from './layers/resampling.ts'
export type { NormalizationLayer } from './layers/standardization.ts'
export { normalization, rescaling } from './layers/standardization.ts'
export type { BiasOptions, KernelOptions } from './layers/weight-options.ts'
