/**
 * Weights files and their networks, as one namespace: `import { weights } from 'weftgrad'`.
 * @module
 */

export type { WeightEntry, WeightFile, WeightFormat, WeightGroup } from '../format/weight-file.ts'
export type { KerasModelOptions } from './keras-model.ts'
export type { AssignOptions, LoadWeightsOptions, WeightAssignment } from './load.ts'
export { loadWeights } from './load.ts'
export { loadWeightsByName } from './load-by-name.ts'
export type { LoadModelOptions } from './load-model.ts'
export { loadModel } from './load-model.ts'
export type { OpenWeightsOptions } from './open.ts'
export { open } from './open.ts'
export type { PublishedFile, ZooModel } from './zoo.ts'
export { zoo, zooNames } from './zoo.ts'
