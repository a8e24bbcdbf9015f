/** The demo's session on a real device, without the browser around it: what demo/src/session.ts promises to the page. */
import { readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { afterEach, describe, expect, it } from 'vitest'
import { makeSample } from '../demo/sample/maker.node.ts'
import { refusalOf } from '../demo/src/refusals.ts'
import type {
  AdapterSummary,
  EpochResult,
  FirstLayer,
  Listener,
  ModelSummary,
  Refusal,
  TrainingProgress,
  TrainingSettings,
  TrainingState,
} from '../demo/src/session.ts'
import type { SquarePhoto } from '../demo/src/worker/photo.ts'
import { DemoSession } from '../demo/src/worker/session.ts'
import { evaluate } from '../src/autograd/tensors.ts'
import { WeftgradError } from '../src/errors.ts'
import { writeIdx } from '../src/format/idx.ts'
import { readSafetensors, type SafeTensor, writeSafetensors } from '../src/format/safetensors.ts'
import type { Device } from '../src/gpu/device.ts'
import { open } from '../src/gpu/node/open.ts'
import { predict } from '../src/nn/evaluate.ts'
import { vgg16 } from '../src/nn/models/vgg16.ts'
import { preprocessInput } from '../src/nn/preprocessing.ts'
import { resize } from '../src/operators/index.ts'
import { tensor } from '../src/operators/tensor.ts'
import { loadTrainedModel } from '../src/tasks/fashion-mnist-lenet5.node.ts'
import { barImages } from './support/bar-images.ts'
import { disagreement } from './support/compare.ts'
import { hashedGlorotWeights } from './support/hashed-weights.ts'

/** All that the page was told, in order. */
class Told implements Listener {
  readonly states: TrainingState[] = []
  readonly steps: TrainingProgress[] = []
  readonly epochs: EpochResult[] = []
  readonly layers: FirstLayer[] = []
  readonly models: ModelSummary[] = []
  readonly failures: Refusal[] = []
  readonly losses: Refusal[] = []
  readonly adapters: AdapterSummary[] = []
  readonly fractions: number[] = []
  readonly #waiting: { readonly isTrue: () => boolean; readonly resolve: () => void }[] = []

  state = (state: TrainingState): void => this.#add(this.states, state)
  progress = (progress: TrainingProgress): void => this.#add(this.steps, progress)
  epoch = (result: EpochResult): void => this.#add(this.epochs, result)
  firstLayer = (layer: FirstLayer): void => this.#add(this.layers, layer)
  model = (summary: ModelSummary): void => this.#add(this.models, summary)
  failed = (refusal: Refusal): void => this.#add(this.failures, refusal)
  deviceLost = (refusal: Refusal): void => this.#add(this.losses, refusal)
  adapter = (adapter: AdapterSummary): void => this.#add(this.adapters, adapter)
  reading = (fraction: number): void => this.#add(this.fractions, fraction)

  /** Resolves at once, or by what makes it true. */
  until(isTrue: () => boolean): Promise<void> {
    return isTrue() ? Promise.resolve() : new Promise((resolve) => this.#waiting.push({ isTrue, resolve }))
  }

  #add<T>(list: T[], one: T): void {
    list.push(one)
    for (const { isTrue, resolve } of this.#waiting) if (isTrue()) resolve()
  }
}

interface Opened {
  readonly session: DemoSession
  readonly told: Told
  readonly device: () => Device
}

let sample: Promise<Uint8Array> | undefined
const photo: SquarePhoto = { side: 300, rgba: Uint8Array.from({ length: 300 * 300 * 4 }, (_, i) => (i * 37) % 251) }
const noBitmap = { close: () => undefined } as ImageBitmap

const sessions: DemoSession[] = []
afterEach(async () => {
  for (const session of sessions.splice(0)) await session.close()
})

async function openSession(): Promise<Opened> {
  let device: Device | undefined
  const session = new DemoSession({
    openDevice: async () => {
      device = await open()
      return device
    },
    loadSample: () => {
      sample ??= makeSample()
      return sample
    },
    middleSquare: () => photo,
  })
  sessions.push(session)
  const told = new Told()
  await session.open(told)
  return {
    session,
    told,
    device: () => {
      if (device === undefined) throw new Error('the session opens a device first')
      return device
    },
  }
}

function idxFiles(half: string, count: number): File[] {
  const { pixels, labels } = barImages(count, half)
  return [
    fileOf(`${half}-images-idx3-ubyte`, writeIdx({ shape: [count, 28, 28], data: pixels })),
    fileOf(`${half}-labels-idx1-ubyte.gz`, gzipSync(writeIdx({ shape: [count], data: labels }))),
  ]
}

function fileOf(name: string, bytes: Uint8Array | string): File {
  return new File([typeof bytes === 'string' ? bytes : Uint8Array.from(bytes)], name)
}

/** A session with 300 images to train on and 50 to validate with. */
async function openBars(): Promise<Opened> {
  const opened = await openSession()
  await opened.session.useFiles([...idxFiles('train', 300), ...idxFiles('t10k', 50)])
  return opened
}

const settings: TrainingSettings = { epochs: 3, batchSize: 8, learningRate: 1e-3, seed: 5 }

interface Trained {
  readonly model: Uint8Array
  readonly epochs: readonly EpochResult[]
}

let leftAlone: Promise<Trained> | undefined

/** What a training that is left alone comes to: the same for every test, so it runs once. */
function uninterrupted(): Promise<Trained> {
  leftAlone ??= (async () => {
    const { session, told } = await openBars()
    await session.train(settings)
    const model = await session.saveModel()
    await session.close()
    return { model, epochs: told.epochs }
  })()
  return leftAlone
}

const kinds = (states: readonly TrainingState[]): string[] => states.map(({ kind }) => kind)

async function refusal(call: Promise<unknown>): Promise<Refusal> {
  return call.then(
    () => ({ code: 'none', message: 'it was not refused' }),
    (error: unknown) => refusalOf(error),
  )
}

describe('a session of the demo', () => {
  it('trains on the sample to the end, and reports every event', async () => {
    const { session, told } = await openSession()
    const summary = await session.useSample()
    expect(summary).toMatchObject({ trainCount: 2000, validationCount: 500, droppedLines: 0 })
    expect(summary.samples.map(({ label }) => label)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    await session.train({ epochs: 2, batchSize: 50, learningRate: 2e-3, seed: 1 })
    expect(kinds(told.states)).toEqual(['compiling', 'running', 'finished'])
    expect(told.epochs.map(({ epoch }) => epoch)).toEqual([1, 2])
    const last = told.epochs.at(-1)
    expect(last?.validationAccuracy).toBeGreaterThan(0.6)
    const confusion = last?.confusion ?? []
    // 50 images of each class, and those on the diagonal are the accuracy.
    expect(confusion.map((row) => row.reduce((sum, count) => sum + count, 0))).toEqual(Array(10).fill(50))
    const right = confusion.reduce((sum, row, i) => sum + (row[i] ?? 0), 0)
    expect(last?.validationAccuracy).toBeCloseTo(right / 500, 6)
    expect(told.steps.at(-1)).toMatchObject({ epoch: 2, epochs: 2, step: 40, steps: 40, globalStep: 80 })
    expect(told.models.map(({ source }) => source)).toEqual(['random initialization', 'training'])
    expect(told.models.at(-1)).toMatchObject({ parameters: 113_782 })
    expect(told.failures).toEqual([])
  })

  it('classifies, saves and shows the first layer while training, without changing the result', async () => {
    const { model: expected } = await uninterrupted()

    const { session, told } = await openBars()
    const [image] = idxImages(300)
    const training = session.train(settings)
    await told.until(() => told.steps.length > 0)
    const answers: Promise<unknown>[] = []
    for (let i = 0; i < 5; i++) answers.push(session.classify(image), session.watch(image), session.saveModel())
    await Promise.all(answers)
    await training
    expect(await session.saveModel()).toEqual(expected)
    const { probabilities, firstLayer } = await session.classify(image)
    expect(probabilities.reduce((sum, p) => sum + p, 0)).toBeCloseTo(1, 5)
    expect(firstLayer.kernelShape).toEqual([5, 5, 1, 6])
    expect(firstLayer.kernels).toHaveLength(150)
    expect(firstLayer.activationShape).toEqual([28, 28, 6])
    expect(firstLayer.activations).toHaveLength(28 * 28 * 6)
    expect(Math.min(...firstLayer.activations)).toBe(0)
    expect(told.layers.at(-1)?.kernels).not.toEqual(told.layers.at(0)?.kernels)
  })

  it('resumes after pauses with the same numbers as without them', async () => {
    const { model: expected, epochs } = await uninterrupted()

    const { session, told } = await openBars()
    const training = session.train(settings)
    await told.until(() => told.steps.length > 0)
    await session.pause('user')
    await training
    expect(told.states.at(-1)).toEqual({ kind: 'paused', reason: 'user' })
    const paused = await session.saveModel()
    expect(await session.saveModel()).toEqual(paused)
    expect(paused).not.toEqual(expected)
    const resumed = session.resume()
    await told.until(() => told.epochs.length > 1)
    await session.pause('hidden')
    await resumed
    expect(told.states.at(-1)).toEqual({ kind: 'paused', reason: 'hidden' })
    // Where nothing runs, nothing is paused.
    await session.pause('user')
    expect(told.states.at(-1)).toEqual({ kind: 'paused', reason: 'hidden' })
    await session.resume()
    expect(told.states.at(-1)).toEqual({ kind: 'finished' })
    expect(await session.saveModel()).toEqual(expected)
    expect(told.epochs).toHaveLength(3)
    for (const [i, epoch] of epochs.entries()) {
      const { seconds: _, ...numbers } = epoch
      expect(told.epochs[i]).toMatchObject(numbers)
    }
  })

  it('accepts a new learning rate within an epoch, without a visible stop', async () => {
    const { session, told } = await openBars()
    const long = { ...settings, epochs: 4 }
    const training = session.train(long)
    await told.until(() => told.steps.length > 0)
    await session.setLearningRate(1e-9)
    // Steps that were submitted already have the rate of before.
    await told.until(() => told.epochs.length > 0)
    const before = await session.saveModel()
    await training
    const after = await session.saveModel()
    expect(kinds(told.states)).toEqual(['compiling', 'running', 'finished'])
    expect(told.epochs.map(({ learningRate }) => learningRate)).toEqual([1e-9, 1e-9, 1e-9, 1e-9])
    for (const [name, { data }] of readSafetensors(before).tensors) {
      const now = readSafetensors(after).tensors.get(name)
      expect(disagreement(now?.data as Float32Array, data as Float32Array, { rtol: 0, atol: 1e-5 })).toBeUndefined()
    }
  })

  it('accepts the same learning rate again without changing the result', async () => {
    const { model: expected } = await uninterrupted()

    const { session, told } = await openBars()
    const training = session.train(settings)
    // Not after so many reports of progress: a fast device is done before the second.
    await told.until(() => told.states.at(-1)?.kind === 'running')
    await session.setLearningRate(settings.learningRate)
    for (const count of [1, 2]) {
      await told.until(() => told.epochs.length >= count)
      await session.setLearningRate(settings.learningRate)
    }
    await training
    expect(await session.saveModel()).toEqual(expected)
  })

  it('recovers data, model and a paused training from a lost device', async () => {
    const { model: expected } = await uninterrupted()

    const { session, told, device } = await openBars()
    const first = device()
    const training = session.train(settings)
    await told.until(() => told.epochs.length > 0)
    const [image] = idxImages(300)
    // A call that is under way is done again.
    const asked = session.classify(image)
    await session.destroyDevice()
    await training
    expect((await asked).probabilities).toHaveLength(10)
    expect(told.losses.map(({ code }) => code)).toEqual(['device-lost'])
    expect(told.adapters).toHaveLength(1)
    expect(device()).not.toBe(first)
    expect(told.states.at(-1)).toEqual({ kind: 'paused', reason: 'device-lost' })
    await session.resume()
    expect(told.states.at(-1)).toEqual({ kind: 'finished' })
    expect(await session.saveModel()).toEqual(expected)
    // Once more, where nothing runs.
    await session.destroyDevice()
    expect(told.states.at(-1)).toEqual({ kind: 'finished' })
    expect(await session.saveModel()).toEqual(expected)
    expect(told.failures).toEqual([])
  })

  it('starts over if the device is lost in the first epoch', async () => {
    const { session, told } = await openBars()
    const training = session.train(settings)
    await told.until(() => told.states.at(-1)?.kind === 'running')
    await session.destroyDevice()
    await training
    await session.resume()
    expect(told.epochs.map(({ epoch }) => epoch)).toEqual([1, 2, 3])
    expect(told.states.at(-1)).toEqual({ kind: 'finished' })
  })

  it('reports numbers that are not finite, and resumes from the last whole epoch with a lower rate', async () => {
    const { session, told } = await openBars()
    await session.train({ ...settings, learningRate: 1e30 })
    expect(told.failures.map(({ code }) => code)).toEqual(['not-finite'])
    expect(told.states.at(-1)).toEqual({ kind: 'none' })

    const training = session.train(settings)
    await told.until(() => told.epochs.length > 0)
    await session.setLearningRate(1e30)
    await training
    expect(told.failures).toHaveLength(2)
    expect(told.states.at(-1)).toEqual({ kind: 'paused', reason: 'user' })
    await session.setLearningRate(1e-3)
    await session.resume()
    expect(told.states.at(-1)).toEqual({ kind: 'finished' })
    expect(told.epochs.map(({ epoch }) => epoch)).toEqual([1, 2, 3])
  })

  it('leaves no device memory behind after several models, data sets and trainings', async () => {
    const { session, device } = await openBars()
    await session.train({ ...settings, epochs: 1 })
    const before = device().memory()
    await session.train({ ...settings, epochs: 1, seed: 6 })
    await session.useFiles([...idxFiles('train', 300), ...idxFiles('t10k', 50)])
    await session.loadModel(fileOf('saved.safetensors', await session.saveModel()))
    await session.train({ ...settings, epochs: 1 })
    expect(device().memory().liveBytes).toBe(before.liveBytes)
    expect(device().memory().liveBuffers).toBe(before.liveBuffers)
  })

  it('refuses invalid settings, images and commands', async () => {
    const { session, told } = await openSession()
    expect(await refusal(session.train(settings))).toMatchObject({ code: 'data' })
    await session.useFiles(idxFiles('train', 50))
    for (const wrong of [{ epochs: 0 }, { batchSize: 1.5 }, { learningRate: 0 }, { seed: -1 }])
      expect(await refusal(session.train({ ...settings, ...wrong }))).toMatchObject({ code: 'argument' })
    expect(await refusal(session.resume())).toMatchObject({ code: 'argument' })
    expect(await refusal(session.setLearningRate(Number.NaN))).toMatchObject({ code: 'argument' })
    expect(await refusal(session.classify(new Uint8Array(3)))).toMatchObject({ code: 'shape' })
    expect(await refusal(session.watch(new Uint8Array(785)))).toMatchObject({ code: 'shape' })
    expect(await refusal(session.describePhoto(noBitmap))).toMatchObject({ code: 'argument' })
    expect(told.states).toEqual([])
  })

  it('says what to do if no device can be opened, and opens one later', async () => {
    const nothing = new WeftgradError('no-adapter', 'There is no WebGPU here. Take another browser.')
    let isThere = false
    const session = new DemoSession({
      openDevice: () => (isThere ? open() : Promise.reject(nothing)),
      loadSample: async () => new Uint8Array(),
      middleSquare: () => photo,
    })
    sessions.push(session)
    const told = new Told()
    expect(await refusal(session.open(told))).toEqual({ code: 'no-adapter', message: nothing.message })
    expect(await refusal(session.useSample())).toMatchObject({ code: 'no-adapter' })
    isThere = true
    expect((await session.open(told)).description).not.toBe('')
    expect(await refusal(session.useSample())).toMatchObject({ code: 'format' })
    expect((await session.classify(new Uint8Array(784))).probabilities).toHaveLength(10)
  })
})

function idxImages(count: number): [Uint8Array] {
  return [barImages(count, 'train').pixels.slice(0, 784)]
}

describe("the user's data", () => {
  it('are recognised by their content, in any order and under any names', async () => {
    const { session } = await openSession()
    const files = [...idxFiles('train', 60), ...idxFiles('t10k', 20)]
    const renamed = files.reverse().map((file, i) => new File([file], `file ${i}`))
    expect(await session.useFiles(renamed)).toMatchObject({ trainCount: 60, validationCount: 20 })
    expect(await session.useFiles(idxFiles('t10k', 50))).toMatchObject({ trainCount: 40, validationCount: 10 })
  })

  it('can be a CSV, whose lines with missing cells are left out', async () => {
    const { session } = await openSession()
    const { pixels, labels } = barImages(20, 'csv')
    const header = ['label', ...Array.from({ length: 784 }, (_, i) => `pixel${i + 1}`)].join()
    const rows = Array.from(labels, (label, i) => [label, ...pixels.subarray(i * 784, (i + 1) * 784)].join())
    const text = [header, ...rows, rows[0]?.replace(/,\d+$/, ','), ''].join('\n')
    const summary = await session.useFiles([fileOf('mine.csv', text)])
    expect(summary).toMatchObject({ trainCount: 16, validationCount: 4, droppedLines: 1, source: 'mine.csv' })
  })

  it('that are damaged, incomplete or of another kind are refused by name, and nothing changes', async () => {
    const { session, told } = await openBars()
    const training = session.train({ ...settings, epochs: 2 })
    await told.until(() => told.steps.length > 0)
    await session.pause('user')
    await training
    const states = told.states.length
    const before = await session.saveModel()

    const [images, labels] = idxFiles('train', 30)
    if (images === undefined || labels === undefined) throw new Error('a half has two files')
    const cut = new File([images.slice(0, 5000)], 'cut-images')
    const cases: [File[], string, string][] = [
      [[], 'data', 'No files'],
      [[images], 'data', 'train-images-idx3-ubyte'],
      [[labels], 'data', 'train-labels-idx1-ubyte.gz'],
      [[cut, labels], 'format', 'cut-images'],
      [[images, new File([labels.slice(0, 30)], 'cut-labels.gz')], 'format', 'cut-labels.gz'],
      [[images, ...idxFiles('train', 20).slice(1)], 'data', 'train-images-idx3-ubyte'],
      [[fileOf('not.csv', 'a,b\n1,2\n')], 'format', 'not.csv'],
      [[fileOf('photo.png', Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0, 0, 0, 1))], 'format', 'photo.png'],
      [[fileOf('empty', '')], 'format', 'empty'],
      [[images, labels, ...idxFiles('t10k', 20), ...idxFiles('more', 10)], 'data', 'more-images-idx3-ubyte'],
    ]
    for (const [files, code, name] of cases) {
      const told = await refusal(session.useFiles(files))
      expect({ name, ...told }).toMatchObject({ name, code })
      expect(told.message).toContain(name)
    }
    expect(told.states).toHaveLength(states)
    expect(await session.saveModel()).toEqual(before)
    await session.resume()
    expect(told.states.at(-1)).toEqual({ kind: 'finished' })
    expect(told.steps.at(-1)).toMatchObject({ steps: 38 })
  })

  it('end a training that uses other data', async () => {
    const { session, told } = await openBars()
    const training = session.train(settings)
    await told.until(() => told.steps.length > 0)
    await session.useFiles(idxFiles('train', 50))
    await training
    expect(told.states.at(-1)).toEqual({ kind: 'none' })
    expect(await refusal(session.resume())).toMatchObject({ code: 'argument' })
  })
})

const models = fileURLToPath(new URL('fixtures/models', import.meta.url))
const expected = readSafetensors(readFileSync(join(models, 'expected.safetensors'))).tensors
const expectedImages = expected.get('images')?.data as Uint8Array
const expectedProbabilities = expected.get('probabilities')?.data as Float32Array

describe("the user's model", () => {
  it.each(['lenet5.h5', 'lenet5.keras', 'lenet5.weights.h5', 'lenet5_keras2_weights.h5'])(
    'is read from %s, and gives the probabilities that Keras gave',
    async (name) => {
      const { session, told } = await openSession()
      const summary = await session.loadModel(fileOf(name, readFileSync(join(models, name))))
      expect(summary.source).toBe(name)
      expect(told.models.at(-1)).toEqual(summary)
      for (const i of [0, 1, 2]) {
        const { probabilities } = await session.classify(expectedImages.slice(i * 784, (i + 1) * 784))
        const wanted = expectedProbabilities.subarray(i * 10, (i + 1) * 10)
        expect(disagreement(probabilities, wanted, { rtol: 0, atol: 1e-5 })).toBeUndefined()
      }
    },
  )

  it('can have other dense layers, which further training keeps', async () => {
    const small = await openSession()
    const tensors = new Map<string, SafeTensor>()
    const shapes = { conv1: [5, 5, 1, 6], conv2: [5, 5, 6, 16], dense1: [400, 24], dense2: [24, 12], logits: [12, 10] }
    for (const [layer, shape] of Object.entries(shapes)) {
      const count = shape.reduce((product, extent) => product * extent, 1)
      const bias = shape.at(-1) ?? 0
      tensors.set(`${layer}/kernel`, { dtype: 'F32', shape, data: new Float32Array(count).fill(0.01) })
      tensors.set(`${layer}/bias`, { dtype: 'F32', shape: [bias], data: new Float32Array(bias) })
    }
    const file = fileOf('small.safetensors', writeSafetensors(tensors, {}))
    expect((await small.session.loadModel(file)).parameters).toBe(156 + 2416 + 9624 + 300 + 130)
    await small.session.useFiles(idxFiles('train', 50))
    await small.session.train({ ...settings, epochs: 1 })
    expect(small.told.models.at(-1)).toMatchObject({ source: 'training', parameters: 12_626 })
  })

  it('can be saved, and read by the command and by the session', async () => {
    const { session, told } = await openBars()
    await session.train(settings)
    const saved = await session.saveModel()
    const [image] = idxImages(300)
    const { probabilities } = await session.classify(image)
    const folder = await mkdtemp(join(tmpdir(), 'weftgrad-demo-'))
    try {
      await writeFile(join(folder, 'model.safetensors'), saved)
      const { model, units, classNames } = await loadTrainedModel(folder)
      using read = model
      expect(units).toEqual([256, 32])
      expect(classNames[9]).toBe('Ankle boot')
      expect(
        disagreement(await predict(read, image, [28, 28, 1]), probabilities, { rtol: 0, atol: 1e-6 }),
      ).toBeUndefined()
    } finally {
      await rm(folder, { recursive: true })
    }
    await session.train({ ...settings, epochs: 1, seed: 9 })
    await session.loadModel(fileOf('saved.safetensors', saved))
    expect(told.states.at(-1)).toEqual({ kind: 'none' })
    expect(await session.saveModel()).toEqual(saved)
    expect((await session.classify(image)).probabilities).toEqual(probabilities)
  })

  it("that is damaged or not a LeNet-5 is refused with the reader's message, and nothing changes", async () => {
    const { session, told } = await openBars()
    const training = session.train(settings)
    await told.until(() => told.steps.length > 0)
    await session.pause('user')
    await training
    const before = await session.saveModel()
    const other: SafeTensor = { dtype: 'F32', shape: [3, 4], data: new Float32Array(12) }
    const bad = readFileSync(join(models, 'lenet5.h5')).subarray(0, 100_000)
    expect(await refusal(session.loadModel(fileOf('cut.h5', bad)))).toMatchObject({ code: 'format' })
    expect(await refusal(session.loadModel(fileOf('text.txt', 'hello')))).toMatchObject({ code: 'format' })
    const foreign = fileOf('foreign.safetensors', writeSafetensors(new Map([['dense/kernel', other]]), {}))
    const told1 = await refusal(session.loadModel(foreign))
    expect(told1.code).toBe('mismatch')
    expect(told1.message).toMatch(/foreign\.safetensors does not fit lenet5: conv1/)
    expect(await session.saveModel()).toEqual(before)
    expect(told.models).toHaveLength(2)
    await session.resume()
    expect(told.states.at(-1)).toEqual({ kind: 'finished' })
  })
})

describe('a network for photos', () => {
  it("is VGG16 from a file: it gives the network's deepest feature maps, also after a lost device", async () => {
    const { session, told, device } = await openSession()
    using network = vgg16()
    const weights = hashedGlorotWeights(network)
    const tensors = new Map<string, SafeTensor>()
    for (const [name, { shape, data }] of weights) tensors.set(name, { dtype: 'F32', shape, data })
    const file = fileOf('vgg16.safetensors', writeSafetensors(tensors, {}))
    expect(await session.loadVgg16(file)).toEqual({ source: 'vgg16.safetensors', hasTop: false, side: 224 })
    expect(told.fractions.at(-1)).toBe(1)
    const result = await session.describePhoto(noBitmap)
    expect(result.featureShape).toEqual([7, 7, 512])
    expect(result.top5).toBeUndefined()

    await session.destroyDevice()
    expect((await session.describePhoto(noBitmap)).features).toEqual(result.features)

    network.setWeights(weights)
    const pixels = Float32Array.from(photo.rgba).filter((_, i) => i % 4 !== 3)
    const small = resize(tensor(pixels, [1, 300, 300, 3]), { height: 224, width: 224 })
    const [maps] = await evaluate([network.call(preprocessInput(small, 'caffe'))], { device: device() })
    const largest = Math.max(...(maps ?? []))
    expect(disagreement(result.features, maps ?? [], { rtol: 1e-4, atol: 1e-5 * largest })).toBeUndefined()
  })

  it('of another kind is refused, and the previous one stays', async () => {
    const { session } = await openSession()
    const lenet = fileOf('lenet5.h5', readFileSync(join(models, 'lenet5.h5')))
    const told = await refusal(session.loadVgg16(lenet))
    expect(told.code).toBe('mismatch')
    expect(told.message).toContain('It looks like the weights of a LeNet-5.')
    expect(await refusal(session.describePhoto(noBitmap))).toMatchObject({ code: 'argument' })
  })
})
