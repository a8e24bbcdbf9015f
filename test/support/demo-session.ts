/** Sessions of the demo for the tests of a file, on a real device, and the user's files. */
import { gzipSync } from 'node:zlib'
import { afterEach } from 'vitest'
import { makeSample } from '../../demo/sample/maker.node.ts'
import { refusalOf } from '../../demo/src/refusals.ts'
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
} from '../../demo/src/session.ts'
import type { SquarePhoto } from '../../demo/src/worker/photo.ts'
import { DemoSession } from '../../demo/src/worker/session.ts'
import { writeIdx } from '../../src/format/idx.ts'
import type { Device } from '../../src/gpu/device.ts'
import { open } from '../../src/gpu/node/open.ts'
import { barImages } from './bar-images.ts'

/** Everything that the page was told, in order. */
export class Told implements Listener {
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

  /** Resolves at once if `isTrue` holds, else at the event that makes it true. */
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

export const photo: SquarePhoto = {
  side: 300,
  rgba: Uint8Array.from({ length: 300 * 300 * 4 }, (_, i) => (i * 37) % 251),
}
export const noBitmap = { close: () => undefined } as ImageBitmap

interface Sessions {
  /** The sessions, closed after each test. */
  readonly sessions: DemoSession[]
  openSession(): Promise<Opened>
  /** Opens a session with 300 images for training and 50 for validation. */
  openBars(): Promise<Opened>
}

export function useSessions(): Sessions {
  let sample: Promise<Uint8Array> | undefined
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

  async function openBars(): Promise<Opened> {
    const opened = await openSession()
    await opened.session.useFiles([...idxFiles('train', 300), ...idxFiles('t10k', 50)])
    return opened
  }

  return { sessions, openSession, openBars }
}

export function idxFiles(half: string, count: number): File[] {
  const { pixels, labels } = barImages(count, half)
  return [
    fileOf(`${half}-images-idx3-ubyte`, writeIdx({ shape: [count, 28, 28], data: pixels })),
    fileOf(`${half}-labels-idx1-ubyte.gz`, gzipSync(writeIdx({ shape: [count], data: labels }))),
  ]
}

export function idxImages(count: number): [Uint8Array] {
  return [barImages(count, 'train').pixels.slice(0, 784)]
}

export function fileOf(name: string, bytes: Uint8Array | string): File {
  return new File([typeof bytes === 'string' ? bytes : Uint8Array.from(bytes)], name)
}

export const settings: TrainingSettings = { epochs: 3, batchSize: 8, learningRate: 1e-3, seed: 5 }

export async function refusal(call: Promise<unknown>): Promise<Refusal> {
  return call.then(
    () => ({ code: 'none', message: 'it was not refused' }),
    (error: unknown) => refusalOf(error),
  )
}
