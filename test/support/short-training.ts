/**
 * A short training of LeNet-5 that is the same everywhere: in a page, a worker, and Node.js. The seed makes its images;
 * it takes 20 steps in two epochs, with a validation at the end of each.
 */
import { type Device, data, nn } from 'weftgrad'
import { barImages } from './bar-images.ts'

export interface ShortTraining {
  readonly epochs: readonly nn.EpochLogs[]
  readonly weights: nn.WeightNumbers
}

export async function shortTraining(
  device: Device,
  options: Pick<nn.FitOptions, 'resume' | 'callbacks'> = {},
): Promise<ShortTraining> {
  const { pixels, labels } = barImages(400, 'short training')
  using images = data.residentImages(device, {
    images: pixels,
    labels,
    height: 28,
    width: 28,
    channels: 1,
    classes: 10,
  })
  using model = nn.lenet5({ units: [32, 16] }, { seed: 3 })
  const { epochs } = await nn.fit(model, images, {
    optimizer: nn.adam({ learningRate: 1e-3 }),
    epochs: 2,
    batchSize: 32,
    validationSplit: 0.2,
    seed: 5,
    ...options,
  })
  return { epochs, weights: await model.weightNumbers() }
}
