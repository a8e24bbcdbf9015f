/**
 * The operator functions. Each checks its operands at once and builds a node; nothing runs yet. Images are NHWC,
 * kernels HWIO, dense kernels [in, out]. A plain number stands for a tensor of shape []. All functions throw 'shape'
 * (naming the operator, the shapes and what was expected) or 'argument' for operands that do not fit.
 */

export type { Activation } from './activation.ts'
export { gelu, relu, sigmoid, tanh } from './activation.ts'
export type { BatchNormOptions } from './batch-normalization.ts'
export { batchNormalization, batchNormalizationTraining } from './batch-normalization.ts'
export { elu, hardSigmoid, hardSilu, leakyRelu, mish, relu6, selu, silu, softplus } from './composed-activations.ts'
export type { ConvOptions } from './conv2d.ts'
export { conv2d, conv2dTranspose } from './conv2d.ts'
export { softmaxCrossEntropy } from './cross-entropy.ts'
export { dense } from './dense.ts'
export { depthwiseConv2d } from './depthwise-conv2d.ts'
export type { DropoutOptions } from './dropout.ts'
export { dropout } from './dropout.ts'
export {
  abs,
  add,
  clip,
  div,
  equal,
  erf,
  exp,
  greater,
  greaterEqual,
  less,
  lessEqual,
  log,
  maximum,
  minimum,
  mul,
  neg,
  pow,
  reciprocal,
  sign,
  sqrt,
  square,
  sub,
  toF32,
  where,
} from './elementwise.ts'
export { gather } from './gather.ts'
export type { LayerNormOptions } from './layer-normalization.ts'
export { layerNormalization } from './layer-normalization.ts'
export { matmul } from './matmul.ts'
export {
  broadcastTo,
  concatenate,
  fill,
  flatten,
  ones,
  pad,
  reshape,
  slice,
  transpose,
  zeros,
} from './movement.ts'
export type { Operand } from './operator.ts'
export { constant } from './operator.ts'
export type { PoolOptions } from './pool.ts'
export { averagePool, globalAveragePool, maxPool } from './pool.ts'
export type { ReduceOptions } from './reduce.ts'
export { argmax, max, mean, min, sum } from './reduce.ts'
export { resize } from './resize.ts'
export { logSoftmax, softmax } from './softmax.ts'
export type { ExplicitPadding, Padding, Pair } from './window.ts'
