/**
 * weftgrad in Node.js: the public surface, a device on the best adapter there is, and files.
 * @module weftgrad/node
 */

export type { LoadedFashionMnist, LoadFashionMnistOptions } from './data/fashion-mnist.node.ts'
export { loadFashionMnist } from './data/fashion-mnist.node.ts'
export * as data from './data/index.node.ts'
export type { FindAdapterOptions } from './gpu/node/adapter.ts'
export type { NodeOpenOptions } from './gpu/node/open.ts'
export { open } from './gpu/node/open.ts'
export * from './index.ts'
export * as nn from './nn/index.node.ts'
export type { FileTuningOptions, TuningMode } from './nn/tuning-store.node.ts'
export { FileTuningStore, tuningMode } from './nn/tuning-store.node.ts'
export { loadTrainedModel } from './runs/trained-model.node.ts'
export type { FindWeightsOptions, FoundFile, WeightsPlace } from './weights/find.node.ts'
export * as weights from './weights/index.node.ts'
