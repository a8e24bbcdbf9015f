/** Short trainings on the images of pictures.ts, on one device for a file's tests. */
import type { ImageDataset } from '../../src/data/dataset.ts'
import { residentImages } from '../../src/data/dataset.ts'
import type { Device } from '../../src/gpu/device.ts'
import { nn } from '../../src/index.ts'
import type { EpochLogs, FitOptions, History } from '../../src/nn/contract.ts'
import type { Model } from '../../src/nn/model.ts'
import type { WeightNumbers } from '../../src/nn/model-weights.ts'
import type { Schedule } from '../../src/nn/schedules.ts'
import { useDevice } from './device.ts'
import { pictures } from './pictures.ts'

export interface Outcome {
  readonly weights: WeightNumbers
  readonly epochs: Omit<EpochLogs, 'seconds'>[]
  readonly bestEpoch: number
}

/** The file's device, and the results of a training on it. */
export interface Training {
  readonly device: () => Device
  pictureSet(count: number, on?: Device, seed?: number): ImageDataset
  /** Trains a model to the end, and releases everything. */
  trained(makeModel: () => Model, count: number, options?: Partial<FitOptions>, on?: Device): Promise<Outcome>
}

export function useTraining(): Training {
  const device = useDevice()
  const pictureSet = (count: number, on: Device = device(), seed = 1): ImageDataset =>
    residentImages(on, pictures(count, seed))
  async function trained(
    makeModel: () => Model,
    count: number,
    options: Partial<FitOptions> = {},
    on: Device = device(),
  ): Promise<Outcome> {
    using data = pictureSet(count, on)
    using model = makeModel()
    const history = await nn.fit(model, data, { optimizer: nn.adam(), epochs: 2, batchSize: 16, ...options })
    return await outcomeOf(model, history)
  }
  return { device, pictureSet, trained }
}

async function outcomeOf(model: Model, history: History): Promise<Outcome> {
  return { weights: await model.weightNumbers(), epochs: numbersOf(history.epochs), bestEpoch: history.bestEpoch }
}

/** The epochs without times. */
function numbersOf(epochs: readonly EpochLogs[]): Omit<EpochLogs, 'seconds'>[] {
  return epochs.map(({ seconds: _, ...numbers }) => numbers)
}

/** Increases the loss after this many steps, so that the previous epoch stays the best. */
export function unlearningAfter(steps: number): Schedule {
  return { name: `unlearning after ${steps}`, rate: (step) => (step < steps ? 0.1 : -0.1) }
}
