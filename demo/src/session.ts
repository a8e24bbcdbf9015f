/**
 * What the page and the worker agree on. The worker holds the device, the data, the model and the training; the page
 * draws and asks. Everything here can be cloned from one thread to the other (`Listener` as a Comlink proxy).
 *
 * Promises of a session:
 * - One thing at a time: calls that need the device wait for the training's next step border, none is lost.
 * - A refused call changes nothing: the data, the model and the training are as they were before it.
 * - Refusals are `Refusal`s: the code and the sentence of a WeftgradError, whichever thread it came from.
 */

/** What a WeftgradError says, as it crosses between threads. */
export interface Refusal {
  readonly code: string
  /** What was wrong and what to do. */
  readonly message: string
}

export interface AdapterSummary {
  readonly description: string
  /** False for a processor that plays a GPU: everything works, slowly. */
  readonly hardware: boolean
}

export interface DataSummary {
  /** For people: the bundled sample, or the names of the files. */
  readonly source: string
  /** Images to train on and to validate with. Without test images of its own, a fifth of the data is held back. */
  readonly trainCount: number
  readonly validationCount: number
  readonly classNames: readonly string[]
  /** 28x28 grey bytes of a few images with their class numbers, for the page to show and to try. */
  readonly samples: readonly { readonly pixels: Uint8Array; readonly label: number }[]
  /** Lines of a CSV that were left out for missing cells; 0 otherwise. */
  readonly droppedLines: number
}

export interface TrainingSettings {
  readonly epochs: number
  readonly batchSize: number
  readonly learningRate: number
  readonly seed: number
}

/** Why training does not run: the user's wish, a page that nobody sees, a device that went away. */
export type PauseReason = 'user' | 'hidden' | 'device-lost'

export type TrainingState =
  | { readonly kind: 'none' }
  | { readonly kind: 'compiling' }
  | { readonly kind: 'running' }
  | { readonly kind: 'paused'; readonly reason: PauseReason }
  | { readonly kind: 'finished' }

export interface TrainingProgress {
  /** From 1. */
  readonly epoch: number
  readonly epochs: number
  readonly step: number
  readonly steps: number
  /** Steps since the training began. */
  readonly globalStep: number
  readonly imagesPerSecond: number
  /** Seconds. */
  readonly etaSeconds: number
  /** Means over this epoch so far. */
  readonly loss?: number
  readonly accuracy?: number
}

export interface EpochResult {
  /** From 1. */
  readonly epoch: number
  readonly loss: number
  readonly accuracy: number
  readonly validationLoss: number
  readonly validationAccuracy: number
  readonly learningRate: number
  readonly seconds: number
  /** Of the validation images. Rows are the true classes, columns the predicted ones. */
  readonly confusion: readonly (readonly number[])[]
}

/** The first layer: what it looks for, and what it makes of the watched image. */
export interface FirstLayer {
  /** [height, width, channels, filters], as Keras has them. */
  readonly kernelShape: readonly [number, number, number, number]
  readonly kernels: Float32Array
  /** [height, width, filters], after the activation. */
  readonly activationShape: readonly [number, number, number]
  readonly activations: Float32Array
}

export interface ImageResult {
  /** One a class, in the data's order; they add up to 1. */
  readonly probabilities: Float32Array
  readonly firstLayer: FirstLayer
}

export interface ModelSummary {
  /** Where the weights are from: 'random numbers', 'training', or a file's name. */
  readonly source: string
  readonly parameters: number
  readonly layers: readonly { readonly name: string; readonly outputShape: string; readonly parameters: number }[]
}

export interface PhotoNetworkSummary {
  readonly source: string
  /** Whether the file has the dense layers that name ImageNet's classes. */
  readonly hasTop: boolean
  /** Pixels a side that photos are scaled to. */
  readonly side: number
}

export interface PhotoResult {
  /** The deepest feature maps: [height, width, channels]. */
  readonly featureShape: readonly [number, number, number]
  readonly features: Float32Array
  /** The five most probable classes, most probable first; only of a file with the top. */
  readonly top5?: readonly { readonly name: string; readonly probability: number }[]
  readonly milliseconds: number
}

/** What the worker tells without being asked. */
export interface Listener {
  state(state: TrainingState): void
  progress(progress: TrainingProgress): void
  epoch(result: EpochResult): void
  /** About once a second while training, and whenever the model changes: the watched image through the first layer. */
  firstLayer(layer: FirstLayer): void
  model(summary: ModelSummary): void
  /** Training ended by a failure. It can be resumed unless the state says 'none'. */
  failed(refusal: Refusal): void
  /** The device went away; a new one is being opened, and then `adapter` is called. */
  deviceLost(refusal: Refusal): void
  adapter(adapter: AdapterSummary): void
  /** Bytes of a large file read so far. */
  reading(fraction: number): void
}

export interface Session {
  /** Opens the device. Refuses with 'no-adapter' where there is no WebGPU, saying what to do. */
  open(listener: Listener): Promise<AdapterSummary>
  /** The 2,000 images that come with the page. A training that was begun with other data ends. */
  useSample(): Promise<DataSummary>
  /**
   * IDX files (images and labels, also gzipped; training, test or both) or one CSV. Refuses with 'data' or 'format' what
   * is something else, damaged, or half of a pair, naming the file.
   */
  useFiles(files: readonly File[]): Promise<DataSummary>

  /** Begins anew from random weights. Resolves once training has ended or was paused; `Listener.state` tells which. */
  train(settings: TrainingSettings): Promise<void>
  /** Stops after the submission that runs; nothing is lost. Does nothing where nothing runs. */
  pause(reason: PauseReason): Promise<void>
  /** Goes on where it was paused, by the same numbers as without the pause. Resolves as `train`. */
  resume(): Promise<void>
  /** From the next step on, also in the middle of an epoch. */
  setLearningRate(rate: number): Promise<void>

  /** @param pixels 28x28 grey bytes, the object bright on black, as in the data. */
  classify(pixels: Uint8Array): Promise<ImageResult>
  /** The image whose activations `Listener.firstLayer` shows from now on. */
  watch(pixels: Uint8Array): Promise<void>

  /** A LeNet-5's weights: .safetensors, .h5, .weights.h5 or .keras; the dense layers' sizes are taken from the file. */
  loadModel(file: File): Promise<ModelSummary>
  /** The model as it is, as a .safetensors file that `loadModel` and the `weftgrad` command read. */
  saveModel(): Promise<Uint8Array>

  /** Keras' VGG16, with or without top. Stays until the session ends or another file is given. */
  loadVgg16(file: File): Promise<PhotoNetworkSummary>
  /** @param classIndex the text of Keras' imagenet_class_index.json; without it, classes go by their numbers. */
  describePhoto(photo: ImageBitmap, classIndex?: string): Promise<PhotoResult>

  /** Destroys the device as a driver's reset would; the session recovers. For tests, and for whoever does not believe it. */
  destroyDevice(): Promise<void>
}
