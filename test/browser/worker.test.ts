/** weftgrad in a Web Worker: operators, training, and files read in parts. */
import { type Remote, wrap } from 'comlink'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { writeSafetensors } from '../../src/format/safetensors.ts'
import { disagreement } from '../support/compare.ts'
import { shortTraining } from '../support/short-training.ts'
import { useBrowserDevice } from './browser-device.ts'
import { expectedPredictions, fixtureFile } from './fixture-files.ts'
import type { Jobs } from './worker-jobs.ts'

const device = useBrowserDevice()
let worker: Worker
let jobs: Remote<Jobs>
beforeAll(async () => {
  worker = new Worker(new URL('./worker-jobs.ts', import.meta.url), { type: 'module' })
  jobs = wrap<Jobs>(worker)
})
afterAll(() => worker.terminate())

describe('a worker', () => {
  it('computes the first case of every operator correctly', async () => {
    const { ran, failures } = await jobs.failuresOf()
    expect(failures).toEqual([])
    expect(ran).toBeGreaterThan(50)
  })

  it('trains LeNet-5 to the same bits as a page', async () => {
    const [own, other] = [await jobs.train(), await shortTraining(device())]
    expect(own.weights).toEqual(other.weights)
    expect(own.epochs.map(({ loss }) => loss)).toEqual(other.epochs.map(({ loss }) => loss))
  })

  it.each([['lenet5.h5'], ['lenet5.keras']])('reads the weights of %s, and gives its probabilities', async (name) => {
    const { images, probabilities } = await expectedPredictions()
    const own = await jobs.predict(await fixtureFile(name), images)
    if (typeof own === 'string') throw new Error(own)
    expect(disagreement(own, probabilities, { rtol: 0, atol: 1e-5 })).toBeUndefined()
  })

  it('refuses a truncated file, and reads the next one', async () => {
    const { images } = await expectedPredictions()
    const file = await fixtureFile('lenet5.h5')
    expect(await jobs.predict(file.slice(0, file.size / 2), images)).toBe('format')
    expect(typeof (await jobs.predict(file, images))).toBe('object')
  })

  it('reads only the parts of a large file that it needs', async () => {
    const large = new Float32Array(2 ** 23)
    const last = Float32Array.of(1, 2, 3)
    const bytes = writeSafetensors(
      new Map([
        ['a/kernel', { dtype: 'F32', shape: [large.length], data: large }],
        ['b/kernel', { dtype: 'F32', shape: [3], data: last }],
      ]),
    )
    const { numbers, bytesAsked } = await jobs.readLast(new Blob([bytes]))
    expect([...numbers]).toEqual([...last])
    expect(bytesAsked).toBeLessThan(bytes.length / 32)
  })
})
