/**
 * Data sets, as one namespace: `import { data } from 'weftgrad'`.
 * @module
 */

export type { GunzipOptions } from '../format/gzip.ts'
export { gunzip, isGzip } from '../format/gzip.ts'
export type { IdxArray } from '../format/idx.ts'
export { parseIdx } from '../format/idx.ts'
export type { PngImage } from '../format/png.ts'
export { encodePng } from '../format/png.ts'
export type { FlatNumbers } from '../operators/tensor.ts'
export { ArrayDataset } from './array-dataset.ts'
export type { ArraysSpec } from './arrays.ts'
export { arrays } from './arrays.ts'
export type { Augmentation, Batch, BatchRows, Dataset, ExampleSource } from './contract.ts'
export type { CsvOptions } from './csv.ts'
export { csv } from './csv.ts'
export type { LabelledBytes } from './dataset.ts'
export { ImageDataset, residentImages } from './dataset.ts'
export { dropDuplicates } from './duplicates.ts'
export { examples } from './examples.ts'
export type {
  FashionMnistBytes,
  FashionMnistPart,
  LabelledImages,
  NamedIdx,
  ParseFashionMnistOptions,
} from './fashion-mnist.ts'
export { fashionMnistClasses, parseFashionMnist, parseFashionMnistCsv, parseFashionMnistPair } from './fashion-mnist.ts'
export type { FeatureSpec } from './feature-dataset.ts'
export { FeatureDataset } from './feature-dataset.ts'
export type { GeneratedExamples, GeneratorOptions } from './generator.ts'
export { GeneratorDataset, generator } from './generator.ts'
export type { ImageFilesOptions } from './image-files.ts'
export { imageFiles } from './image-files.ts'
export type { PictureOptions, PictureSplit, SplitPictures } from './pictures.ts'
export type { Split } from './split.ts'
export { randomSplit } from './split.ts'
