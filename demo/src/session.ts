/**
 * The interface between the page and the worker. The worker holds the device, the data, the model and the training; the
 * page draws and calls. Everything here can be cloned between threads (`Listener` as a Comlink proxy).
 *
 * A session promises:
 * - One thing at a time: calls that need the device wait until the current training step ends. No call is lost.
 * - A refused call changes nothing: the data, the model and the training stay as they were.
 * - Refused calls reject with a `Refusal`: the code and message of a WeftgradError, from either thread.
 */

/** The code and message of a WeftgradError, as sent between threads. */
export interface Refusal {
  readonly code: string
  /** What was wrong and what to do. */
  readonly message: string
}

export interface AdapterSummary {
  readonly description: string
  /** The driver's name. */
  readonly driver: string
  /** False where a software driver runs on the CPU: everything works, slowly. */
  readonly hardware: boolean
}

export interface DataSummary {
  /** The bundled sample, or the names of the files, for display. */
  readonly source: string
  /** Numbers of training and validation images. Without separate test images, a fifth of the data is held back. */
  readonly trainCount: number
  readonly validationCount: number
  readonly classNames: readonly string[]
  /** A few images (28x28 grey bytes) with their class numbers, to show and to try. */
  readonly samples: readonly { readonly pixels: Uint8Array; readonly label: number }[]
  /** Lines of a CSV skipped because of missing cells; 0 otherwise. */
  readonly droppedLines: number
}

export interface TrainingSettings {
  readonly epochs: number
  readonly batchSize: number
  readonly learningRate: number
  readonly seed: number
}

/** Why training is paused: the user paused it, the tab is hidden, or the device was lost. */
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
  /** Steps since training started. */
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
  /** For the validation images: rows are the true classes, columns the predicted ones. */
  readonly confusion: readonly (readonly number[])[]
}

/** The first layer: its kernels, and its activations for the watched image. */
export interface FirstLayer {
  /** [height, width, channels, filters], as in Keras. */
  readonly kernelShape: readonly [number, number, number, number]
  readonly kernels: Float32Array
  /** [height, width, filters], after the activation. */
  readonly activationShape: readonly [number, number, number]
  readonly activations: Float32Array
}

export interface ImageResult {
  /** One per class, in the data's order; they add up to 1. */
  readonly probabilities: Float32Array
  readonly firstLayer: FirstLayer
}

export interface ModelSummary {
  /** Where the weights come from: 'random initialization', 'training', or a file's name. */
  readonly source: string
  readonly parameters: number
  readonly layers: readonly { readonly name: string; readonly outputShape: string; readonly parameters: number }[]
}

export interface PhotoNetworkSummary {
  readonly source: string
  /** Whether the file has the dense layers that classify into ImageNet's classes. */
  readonly hasTop: boolean
  /** Side in pixels that photos are scaled to. */
  readonly side: number
}

export interface PhotoResult {
  /** The deepest feature maps: [height, width, channels]. */
  readonly featureShape: readonly [number, number, number]
  readonly features: Float32Array
  /** The five most probable classes, most probable first; only for a file with the top. */
  readonly top5?: readonly { readonly name: string; readonly probability: number }[]
  readonly milliseconds: number
}

/** Events that the worker reports. */
export interface Listener {
  state(state: TrainingState): void
  progress(progress: TrainingProgress): void
  epoch(result: EpochResult): void
  /** About once a second while training, and whenever the model changes: the watched image through the first layer. */
  firstLayer(layer: FirstLayer): void
  model(summary: ModelSummary): void
  /** Training failed. It can be resumed unless the state is 'none'. */
  failed(refusal: Refusal): void
  /** The device was lost; a new one is being opened, and then `adapter` is called. */
  deviceLost(refusal: Refusal): void
  adapter(adapter: AdapterSummary): void
  /** Fraction of a large file read so far. */
  reading(fraction: number): void
}

/** The extensions of the files that models are saved in. */
export type SavedFormat = 'safetensors' | 'keras'

export interface Session {
  /** Opens the device. Refuses with 'no-adapter' if there is no WebGPU; the message says what to do. */
  open(listener: Listener): Promise<AdapterSummary>
  /** Uses the 2,000 images bundled with the page. Ends a training on other data. */
  useSample(): Promise<DataSummary>
  /**
   * Uses IDX files (images and labels, also gzipped; training, test or both) or one CSV. Refuses other, damaged or unpaired
   * files with 'data' or 'format', naming the file.
   */
  useFiles(files: readonly File[]): Promise<DataSummary>

  /** Starts from random weights. Resolves once training has ended or was paused; `Listener.state` tells which. */
  train(settings: TrainingSettings): Promise<void>
  /** Stops after the current submission; nothing is lost. Does nothing if no training runs. */
  pause(reason: PauseReason): Promise<void>
  /** Resumes a paused training, with the same numbers as without the pause. Resolves like `train`. */
  resume(): Promise<void>
  /** Takes effect from the next step, even in the middle of an epoch. */
  setLearningRate(rate: number): Promise<void>

  /** @param pixels 28x28 grey bytes, bright on black as in the data. */
  classify(pixels: Uint8Array): Promise<ImageResult>
  /** Sets the image whose activations `Listener.firstLayer` shows. */
  watch(pixels: Uint8Array): Promise<void>

  /** Loads LeNet-5 weights: .safetensors, .h5, .weights.h5 or .keras. The sizes of the dense layers come from the file. */
  loadModel(file: File): Promise<ModelSummary>
  /** The current model as a file, which `loadModel` and the `weftgrad` command can read; Keras opens a .keras file. */
  saveModel(format?: SavedFormat): Promise<Uint8Array>

  /** Loads Keras' VGG16, with or without top. It stays until the session ends or another file is loaded. */
  loadVgg16(file: File): Promise<PhotoNetworkSummary>
  /** @param classIndex the text of Keras' imagenet_class_index.json; without it, classes are named by number. */
  describePhoto(photo: ImageBitmap, classIndex?: string): Promise<PhotoResult>

  /** Destroys the device as a driver reset would; the session recovers. For tests, and to try out the recovery. */
  destroyDevice(): Promise<void>
}
