/**
 * Weights files and their networks, as one namespace: `import { weights } from 'weftgrad'`.
 * @module
 */

export type { WeightEntry, WeightFile, WeightFormat, WeightGroup } from '../format/weight-file.ts'
export type { WeightAssignment } from './load.ts'
export { loadWeights } from './load.ts'
export { loadWeightsByName } from './load-by-name.ts'
export { open } from './open.ts'
export type { PublishedFile, ZooModel } from './zoo.ts'
export { zoo, zooNames } from './zoo.ts'
