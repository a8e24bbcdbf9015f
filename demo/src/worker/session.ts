/**
 * The worker's session: one device with the data, the LeNet-5, its training, and a network for photos.
 *
 * Calls run one after the other; only training and the network for photos run beside them. WebGPU's queue keeps their
 * submissions whole and in order, so a call sees the weights between two submissions of steps, and changes none of them.
 * Everything on the device can be rebuilt from the host: after a loss, a call is repeated on the next device.
 */
import { type Device, data, nn, WeftgradError, weights } from 'weftgrad'
import { refusalOf } from '../refusals.ts'
import type {
  AdapterSummary,
  DataSummary,
  ImageResult,
  Listener,
  ModelSummary,
  PauseReason,
  PhotoNetworkSummary,
  PhotoResult,
  SavedFormat,
  Session,
  TrainingSettings,
} from '../session.ts'
import { dataOfFiles, type HostData, PlacedData, sampleData } from './data.ts'
import { checkImage, lookAt } from './first-layer.ts'
import { Lane } from './lane.ts'
import { defaultUnits, loadLenet5 } from './model-files.ts'
import { PhotoNetwork, type SquarePhoto } from './photo.ts'
import { checkSettings, Training } from './training.ts'

/** What the session needs from its environment: a browser's worker, or a test. */
export interface Environment {
  openDevice(): Promise<Device>
  /** The bytes made by demo/sample/. */
  loadSample(): Promise<Uint8Array>
  middleSquare(photo: ImageBitmap): SquarePhoto
}

interface Lenet5 {
  readonly model: nn.Model
  readonly units: readonly [number, number]
  /** See `ModelSummary`. */
  readonly source: string
  /** The latest copy on the host. */
  readonly weights: nn.WeightNumbers
}

const firstLayerEveryMs = 1000

export class DemoSession implements Session {
  readonly #environment: Environment
  readonly #lane = new Lane()
  /** A lane of its own: a large network must not hold up the rest. */
  readonly #photoLane = new Lane()
  #listener: Listener | undefined
  #device: Device | undefined
  #data: PlacedData | undefined
  #lenet5: Lenet5 | undefined
  #training: Training | undefined
  #watched: Uint8Array | undefined
  #photos: PhotoNetwork | undefined
  #lastFirstLayer = 0
  #isClosed = false

  constructor(environment: Environment) {
    this.#environment = environment
  }

  open(listener: Listener): Promise<AdapterSummary> {
    return this.#lane.run(async () => {
      this.#listener = listener
      const device = this.#device ?? (await this.#openDevice())
      if (this.#lenet5 === undefined)
        await this.#adopt(device, nn.lenet5({ units: defaultUnits }), defaultUnits, 'random initialization')
      return adapterSummary(device)
    })
  }

  useSample(): Promise<DataSummary> {
    return this.#useData(async () => sampleData(await this.#environment.loadSample()))
  }

  useFiles(files: readonly File[]): Promise<DataSummary> {
    return this.#useData(() => dataOfFiles(files))
  }

  #useData(read: () => Promise<HostData>): Promise<DataSummary> {
    return this.#turn(async (device) => {
      const placed = new PlacedData(device, await read())
      await this.#endTraining()
      this.#data?.dispose()
      this.#data = placed
      const { summary } = placed
      this.#watched ??= summary.samples[0]?.pixels
      await this.#showFirstLayer()
      return summary
    })
  }

  async train(settings: TrainingSettings): Promise<void> {
    const { ended } = await this.#turn(async (device) => {
      checkSettings(settings)
      if (this.#data === undefined)
        throw new WeftgradError('data', 'There is no data to train on yet. Use the sample, or drop files.')
      await this.#endTraining()
      const units = this.#lenet5?.units ?? defaultUnits
      await this.#adopt(device, nn.lenet5({ units }, { seed: settings.seed }), units, 'training')
      this.#training = new Training(settings, {
        state: (state) => this.#listener?.state(state),
        progress: (progress) => this.#listener?.progress(progress),
        epoch: (result) => this.#listener?.epoch(result),
        failed: (refusal) => this.#listener?.failed(refusal),
        moved: () => this.#showMovingLayer(),
      })
      return { ended: this.#run(this.#training) }
    })
    await ended
  }

  pause(reason: PauseReason): Promise<void> {
    return this.#lane.run(async () => this.#training?.pause(reason))
  }

  async resume(): Promise<void> {
    const { ended } = await this.#turn(async () => {
      const training = this.#training
      if (training === undefined || training.state.kind === 'none' || training.state.kind === 'finished')
        throw new WeftgradError('argument', 'There is no paused training to resume. Start one.')
      return { ended: this.#run(training) }
    })
    await ended
  }

  setLearningRate(rate: number): Promise<void> {
    return this.#lane.run(async () => {
      nn.constantRate(rate)
      this.#training?.setLearningRate(rate)
    })
  }

  classify(pixels: Uint8Array): Promise<ImageResult> {
    return this.#turn(() => lookAt(this.#opened().model, pixels))
  }

  watch(pixels: Uint8Array): Promise<void> {
    return this.#turn(async () => {
      checkImage(pixels)
      this.#watched = pixels.slice()
      await this.#showFirstLayer()
    })
  }

  loadModel(file: File): Promise<ModelSummary> {
    return this.#turn(async (device) => {
      const { model, units } = await loadLenet5(device, file)
      await this.#endTraining()
      return await this.#adopt(device, model, units, file.name)
    })
  }

  saveModel(format: SavedFormat = 'safetensors'): Promise<Uint8Array> {
    return this.#turn(() => {
      // The HDF5 library is loaded when the first .keras file is written.
      const encode = format === 'keras' ? weights.encodeKeras : nn.encodeModel
      return encode(this.#opened().model, { classNames: data.fashionMnistClasses })
    })
  }

  loadVgg16(file: File): Promise<PhotoNetworkSummary> {
    return this.#photoTurn(async (device) => (await this.#adoptPhotoNetwork(device, file)).summary)
  }

  describePhoto(photo: ImageBitmap, classIndex?: string): Promise<PhotoResult> {
    const described = this.#photoTurn(async (device) => {
      if (this.#photos === undefined)
        throw new WeftgradError('argument', 'No VGG16 weights yet. Drop their file first.')
      // After a loss the network's device is gone; the file is still there.
      const isHere = this.#photos.device === device
      const network = isHere ? this.#photos : await this.#adoptPhotoNetwork(device, this.#photos.file)
      return await network.describe(this.#environment.middleSquare(photo), classIndex)
    })
    return described.finally(() => photo.close())
  }

  async destroyDevice(): Promise<void> {
    const lost = this.#device
    if (lost === undefined) return
    lost.gpu.destroy()
    await lost.lost
    await this.#turn(async () => undefined)
  }

  /** Ends everything and releases the device. A page simply ends its worker. */
  async close(): Promise<void> {
    this.#isClosed = true
    await this.#lane.run(async () => this.#training?.end())
    await this.#photoLane.run(async () => this.#device?.dispose())
  }

  /** Runs the task in turn on a working device. If it fails because the device was lost, runs it again on the next one. */
  #turn<T>(task: (device: Device) => Promise<T>): Promise<T> {
    return this.#lane.run(() => onUsable(() => this.#usableDevice(), task))
  }

  #photoTurn<T>(task: (device: Device) => Promise<T>): Promise<T> {
    return this.#photoLane.run(() => onUsable(() => this.#turn(async (device) => device), task))
  }

  #opened(): Lenet5 {
    if (this.#lenet5 === undefined) throw new WeftgradError('no-adapter', 'The session has no device yet. Open it.')
    return this.#lenet5
  }

  async #usableDevice(): Promise<Device> {
    this.#opened()
    if (this.#device?.usable === true) return this.#device
    return await this.#recover()
  }

  /** Opens another device and restores everything that was on the last one. */
  async #recover(): Promise<Device> {
    const lost = this.#device
    if (lost !== undefined) {
      // A device that failed without being lost is no more use.
      lost.gpu.destroy()
      this.#listener?.deviceLost(refusalOf(await lost.lost))
      await this.#training?.settled()
      lost.dispose()
      this.#device = undefined
    }
    const device = await this.#openDevice()
    if (this.#data !== undefined) this.#data = new PlacedData(device, this.#data.host)
    const { units, weights, source } = this.#withTrainedWeights(this.#opened())
    const model = nn.lenet5({ units })
    model.setWeights(weights)
    this.#lenet5 = { model: model.to(device), units, weights, source }
    this.#listener?.adapter(adapterSummary(device))
    await this.#showFirstLayer()
    return device
  }

  async #openDevice(): Promise<Device> {
    const device = await this.#environment.openDevice()
    this.#device = device
    void device.lost.then(() => this.#noticeLoss(device))
    return device
  }

  /** A call that finds the device unusable opens the next one; this does so when no call is about to come. */
  #noticeLoss(device: Device): void {
    if (this.#isClosed || device.usable) return
    this.#turn(async () => undefined).catch((error: unknown) => this.#listener?.failed(refusalOf(error)))
  }

  /** Replaces the model by this one, on the device. */
  async #adopt(device: Device, model: nn.Model, units: Lenet5['units'], source: string): Promise<ModelSummary> {
    const adopted = { model: model.to(device), units, source, weights: await model.weightNumbers() }
    this.#lenet5?.model.dispose()
    this.#lenet5 = adopted
    const summary = modelSummary(adopted)
    this.#listener?.model(summary)
    await this.#showFirstLayer()
    return summary
  }

  async #adoptPhotoNetwork(device: Device, file: File): Promise<PhotoNetwork> {
    const network = await PhotoNetwork.load(device, file, (fraction) => this.#listener?.reading(fraction))
    this.#photos?.dispose()
    this.#photos = network
    return network
  }

  async #run(training: Training): Promise<void> {
    const [device, placed] = [this.#device, this.#data]
    if (device === undefined || placed === undefined) throw new RangeError('training needs a device and data')
    await training.run({ model: this.#opened().model, train: placed.train, validation: placed.validation })
    this.#noticeLoss(device)
  }

  /** Ends a training on another model or other data, which cannot continue; its weights stay. */
  async #endTraining(): Promise<void> {
    const training = this.#training
    if (training === undefined) return
    await training.end()
    this.#lenet5 = this.#withTrainedWeights(this.#opened())
    this.#training = undefined
    if (training.state.kind !== 'none') this.#listener?.state({ kind: 'none' })
  }

  #withTrainedWeights(lenet5: Lenet5): Lenet5 {
    return { ...lenet5, weights: this.#training?.checkpoint?.weights ?? lenet5.weights }
  }

  async #showFirstLayer(): Promise<void> {
    this.#lastFirstLayer = performance.now()
    if (this.#watched === undefined || this.#lenet5 === undefined) return
    const { firstLayer } = await lookAt(this.#lenet5.model, this.#watched)
    this.#listener?.firstLayer(firstLayer)
  }

  /** Updates the first layer about once a second during training. */
  #showMovingLayer(): void {
    if (performance.now() - this.#lastFirstLayer < firstLayerEveryMs) return
    this.#lastFirstLayer = performance.now()
    // Nothing waits for it; if it fails, the training reports the same failure.
    this.#turn(() => this.#showFirstLayer()).catch(() => undefined)
  }
}

async function onUsable<T>(usable: () => Promise<Device>, task: (device: Device) => Promise<T>): Promise<T> {
  const device = await usable()
  try {
    return await task(device)
  } catch (error) {
    if (device.usable) throw error
    return await task(await usable())
  }
}

function adapterSummary(device: Device): AdapterSummary {
  return { description: device.describe(), driver: device.facts.driver, hardware: device.facts.hardware }
}

function modelSummary({ model, source }: Lenet5): ModelSummary {
  return {
    source,
    parameters: model.parameterCount,
    layers: model.layers.map(({ layer, outputShape, weights }) => ({
      name: layer.name,
      outputShape: outputShape.join(' x '),
      parameters: weights.reduce((sum, { shape }) => sum + shape.reduce((product, extent) => product * extent, 1), 0),
    })),
  }
}
