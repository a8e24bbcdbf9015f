/** Runs the same training twice, each on its own device, and compares the weights bit by bit. */

import { createHash } from 'node:crypto'
import { residentImages } from '../../../src/data/dataset.ts'
import type { Device } from '../../../src/gpu/device.ts'
import { fit } from '../../../src/nn/fit.ts'
import { lenet5 } from '../../../src/nn/models/lenet5.ts'
import { adam } from '../../../src/nn/optimizers.ts'
import { Random } from '../../../src/random.ts'
import type { Part } from '../part.ts'

const imageCount = 2048
const classes = 10

export interface DeterminismFigures {
  readonly images: number
  readonly batch: number
  readonly epochs: number
  /** Each training's last loss, and the SHA-256 of its weights: the same on equal adapters and drivers. */
  readonly trainings: readonly { readonly loss: number; readonly sha256: string }[]
}

export const determinismPart: Part<DeterminismFigures> = {
  name: 'determinism',
  title: 'Determinism',
  seconds: 25,
  async run(work) {
    const batch = 32
    const epochs = work.options.quick ? 1 : 3
    const trainings: { loss: number; sha256: string }[] = []
    for (const turn of ['first', 'second']) {
      if (turn === 'second') await work.reopen()
      await work.attempt(`${turn} training`, 0, async (device) => {
        trainings.push(await train(device, batch, epochs))
        work.report({ images: imageCount, batch, epochs, trainings: [...trainings] })
      })
    }
    const [first, second] = trainings
    if (first === undefined || second === undefined) {
      work.problem('Nothing was compared: that takes two finished trainings.')
      return
    }
    if (!Number.isFinite(first.loss)) work.problem(`The loss is ${first.loss}.`)
    if (first.sha256 !== second.sha256)
      work.problem(`Two trainings gave different weights; their losses are ${first.loss} and ${second.loss}.`)
  },
  page({ images, batch, epochs, trainings }) {
    const [first, second] = trainings
    if (second === undefined) return ['Two trainings are needed to compare, and they were not done.']
    const is = first?.sha256 === second.sha256 ? 'bit-identical weights' : '**different weights**'
    return [
      `Training LeNet-5 with dropout and augmentation twice (${epochs} epochs of ${images} images in batches of ${batch}) gave ${is}.`,
      `SHA-256 of the weights: \`${first?.sha256 ?? 'none'}\`.`,
    ]
  },
}

/** Uses everything random whose order could differ: dropout, flips, shifts, the order of the images. */
async function train(device: Device, batch: number, epochs: number): Promise<{ loss: number; sha256: string }> {
  const random = new Random(1, 'determinism')
  const images = Uint8Array.from({ length: imageCount * 28 * 28 }, () => random.below(256))
  const labels = Uint8Array.from({ length: imageCount }, () => random.below(classes))
  using data = residentImages(device, { images, labels, height: 28, width: 28, channels: 1, classes })
  using model = lenet5({ dropout: 0.25 }, { seed: 1 }).to(device)
  const history = await fit(model, data, {
    optimizer: adam(),
    epochs,
    batchSize: batch,
    seed: 1,
    augmentation: { flip: 'random', shift: 2 },
  })
  const hash = createHash('sha256')
  for (const { data: numbers } of (await model.weightNumbers()).values()) hash.update(new Uint8Array(numbers.buffer))
  return { loss: history.epochs.at(-1)?.loss ?? Number.NaN, sha256: hash.digest('hex') }
}
