/**
 * The demo's session on a real device, without the browser around it: what demo/src/session.ts promises to the page.
 */
import { describe, expect, it } from 'vitest'
import type { EpochResult, TrainingState } from '../demo/src/session.ts'
import { DemoSession } from '../demo/src/worker/session.ts'
import { WeftgradError } from '../src/errors.ts'
import { readSafetensors } from '../src/format/safetensors.ts'
import { open } from '../src/gpu/node/open.ts'
import { disagreement } from './support/compare.ts'
import {
  fileOf,
  idxFiles,
  idxImages,
  noBitmap,
  photo,
  refusal,
  settings,
  Told,
  useSessions,
} from './support/demo-session.ts'

const { sessions, openSession, openBars } = useSessions()

interface Trained {
  readonly model: Uint8Array
  readonly epochs: readonly EpochResult[]
}

let leftAlone: Promise<Trained> | undefined

/** The outcome of an undisturbed training. It is the same for every test, so it runs once. */
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
    // 50 images of each class; the diagonal counts the correct ones.
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
    // If nothing runs, nothing can be paused.
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
    // Steps already submitted use the previous rate.
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
    // Do not count progress reports: a fast device finishes before the second.
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
    // A pending call is repeated.
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
    // Once more, while nothing runs.
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
