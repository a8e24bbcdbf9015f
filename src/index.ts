/** weftgrad's public surface: runs wherever WebGPU is. `weftgrad/node` adds what needs Node.js. */

export * from './autograd/custom.ts'
export type { EvaluateOptions } from './autograd/evaluate.ts'
export * from './autograd/grad.ts'
export * from './autograd/ops.ts'
export type { DType, NestedNumbers, Shape } from './autograd/tensor.ts'
export { KeptTensor, Tensor, tensor } from './autograd/tensor.ts'
export { evaluate, planOf } from './autograd/tensors.ts'
export * as data from './data/index.ts'
export type { ErrorCode } from './errors.ts'
export { WeftgradError } from './errors.ts'
export { currentDevice, Device } from './gpu/device.ts'
export * as nn from './nn/index.ts'
