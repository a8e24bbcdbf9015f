/** weftgrad in Node.js: the public surface, a device on the best adapter there is, and files. */

import { fashionMnist } from './data/fashion-mnist.node.ts'
import * as portableData from './data/index.ts'
import { openWeightFile } from './format/open-weights.node.ts'
import { findClassIndex, findWeights } from './weights/find.node.ts'
import * as portableWeights from './weights/index.ts'

export { loadFashionMnist } from './data/fashion-mnist.node.ts'
export { open } from './gpu/node/open.ts'
export * from './index.ts'
export type { FileTuningOptions, TuningMode } from './nn/tuning-store.node.ts'
export { FileTuningStore, tuningMode } from './nn/tuning-store.node.ts'
export { loadTrainedModel } from './study/trained-model.node.ts'
export type { FindWeightsOptions, FoundFile } from './weights/find.node.ts'
export const data = { ...portableData, fashionMnist }
export const weights = { ...portableWeights, find: findWeights, findClassIndex, open: openWeightFile }
