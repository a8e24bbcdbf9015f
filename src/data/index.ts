/** Data sets, as one namespace: `import { data } from 'weftgrad'`. */

export type { LabelledBytes } from './dataset.ts'
export { ImageDataset, residentImages } from './dataset.ts'
export { fashionMnistClasses, parseFashionMnist, parseFashionMnistCsv } from './fashion-mnist.ts'
export type { Split } from './split.ts'
export { dropDuplicates, randomSplit } from './split.ts'
