/**
 * weftgrad's public surface: runs wherever WebGPU is. `weftgrad/node` adds what needs Node.js.
 * @module weftgrad
 */

export * from './autograd/define-op.ts'
export * from './autograd/grad.ts'
export { evaluate, keep, planOf } from './autograd/tensors.ts'
export * as data from './data/index.ts'
export type { ErrorCode } from './errors.ts'
export { WeftgradError } from './errors.ts'
export { currentDevice } from './gpu/current-device.ts'
export type {
  AdapterFacts,
  BufferSlice,
  BytesOf,
  Device,
  DeviceBuffer,
  DeviceMemory,
  Precision,
  Subgroups,
} from './gpu/device.ts'
export type { OpenOptions } from './gpu/open.ts'
export { open } from './gpu/open.ts'
export { createDevice, isDevice } from './gpu/webgpu-device.ts'
export type { Choice, KernelTask, VariantTable } from './graph/plan/choice.ts'
export type { Location, Plan, PlannedDispatch } from './graph/plan/plan.ts'
export type { EvaluateOptions, HostNumbers } from './graph/run/evaluate.ts'
export type { TunedEntries, TunedEntry, TuningStore } from './graph/tuning/store.ts'
export { MemoryTuningStore } from './graph/tuning/store.ts'
export type { CandidateResult, TunedKernel, TuneOptions, TuningResult } from './graph/tuning/tuning.ts'
export { tune } from './graph/tuning/tuning.ts'
export * as nn from './nn/index.ts'
export * from './operators/index.ts'
export type { DType, FlatNumbers, NestedNumbers, Shape } from './operators/tensor.ts'
export { KeptTensor, Tensor, tensor } from './operators/tensor.ts'
export * as weights from './weights/index.ts'
