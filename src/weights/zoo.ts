/**
 * The networks whose ImageNet weights Keras publishes: addresses, checksums, sizes. Files without `top` end with the last
 * features; files with it add 1000 classes.
 */

import { WeftgradError } from '../errors.ts'
import type { PretrainedName } from '../nn/models/pretrained.ts'

/** A published file. */
export interface PublishedFile {
  /** Its name, also in caches. */
  readonly name: string
  /** Its address. */
  readonly url: string
  /** MD5 (32 digits) or SHA-256 (64 digits) of its bytes, in hex. */
  readonly checksum: string
  /** Its size in bytes; undefined if unpublished. */
  readonly bytes: number | undefined
}

/** The names in the zoo, the smallest network first. */
export const zooNames: readonly PretrainedName[] = ['vgg16', 'xception', 'resnet152v2']

/** A network with published weights. */
export interface ZooModel {
  /** The name as its authors write it. */
  readonly title: string
  /** Number of parameters. */
  readonly parameters: {
    /** Up to the last features. */
    readonly base: number
    /** With the classifier of 1000 classes. */
    readonly withTop: number
  }
  /** The published files. */
  readonly files: {
    /** Up to the last features. */
    readonly base: PublishedFile
    /** With the classifier of 1000 classes. */
    readonly withTop: PublishedFile
  }
}

const site = 'https://storage.googleapis.com'

function kerasFile(folder: string, stem: string, ending: string, checksum: string, bytes?: number): PublishedFile {
  const name = `${stem}_weights_tf_dim_ordering_tf_kernels${ending}.h5`
  return { name, url: `${site}/tensorflow/keras-applications/${folder}/${name}`, checksum, bytes }
}

/** The networks whose ImageNet weights Keras publishes: files, checksums, sizes. */
export const zoo: Readonly<Record<PretrainedName, ZooModel>> = {
  vgg16: {
    title: 'VGG16',
    parameters: { base: 14_714_688, withTop: 138_357_544 },
    files: {
      base: kerasFile('vgg16', 'vgg16', '_notop', '6d6bbae143d832006294945121d1f1fc', 58_889_256),
      withTop: kerasFile('vgg16', 'vgg16', '', '64373286793e3c8b2b4e3219cbf3544b', 553_467_096),
    },
  },
  xception: {
    title: 'Xception',
    parameters: { base: 20_861_480, withTop: 22_910_480 },
    files: {
      base: kerasFile('xception', 'xception', '_notop', 'b0042744bf5b25fce3cb969f33bebb97', 83_683_744),
      withTop: kerasFile('xception', 'xception', '', '0a58e3b7378bc2990ea3b43d5981f1f6', 91_884_032),
    },
  },
  resnet152v2: {
    title: 'ResNet152V2',
    parameters: { base: 58_331_648, withTop: 60_380_648 },
    files: {
      base: kerasFile('resnet', 'resnet152v2', '_notop', 'ed17cf2e0169df9d443503ef94b23b33', 234_545_216),
      withTop: kerasFile('resnet', 'resnet152v2', '', 'a49b44d1979771252814e80f8ec446f9'),
    },
  },
}

/** The names of ImageNet's 1000 classes, as Keras publishes them: `{ "0": ["n01440764", "tench"], ... }`. */
export const classIndexFile: PublishedFile = {
  name: 'imagenet_class_index.json',
  url: `${site}/download.tensorflow.org/data/imagenet_class_index.json`,
  checksum: 'c2c37ea517e94d9795004a39431a14cb',
  bytes: 35_363,
}

/** The network of this name; undefined if it is not in the zoo. */
export function zooNameIn(text: string): PretrainedName | undefined {
  return zooNames.find((one) => one === text.toLowerCase())
}

/** Throws 'argument' for a name that is not in the zoo. */
export function zooNameOf(text: string): PretrainedName {
  const name = zooNameIn(text)
  if (name !== undefined) return name
  throw new WeftgradError('argument', `Unknown network '${text}'. Known are ${zooNames.join(', ')}.`, {
    name: text,
  })
}
