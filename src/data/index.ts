/** Data sets, as one namespace: `import { data } from 'weftgrad'`. */

export type { Augmentation, Batch, BatchRows, Dataset } from './contract.ts'
export type { LabelledBytes } from './dataset.ts'
export { ImageDataset, residentImages } from './dataset.ts'
export { dropDuplicates } from './duplicates.ts'
export { fashionMnistClasses, parseFashionMnist, parseFashionMnistCsv } from './fashion-mnist.ts'
export type { FeatureSpec } from './feature-dataset.ts'
export { FeatureDataset } from './feature-dataset.ts'
export type { Split } from './split.ts'
export { randomSplit } from './split.ts'
