/** Training in a browser: the float64 trajectory, Node.js' numbers, the same bits twice, and a lost device. */
import { beforeAll, describe, expect, it } from 'vitest'
import { commands } from 'vitest/browser'
import { type nn, open, WeftgradError } from 'weftgrad'
import { largestDifference } from '../support/compare.ts'
import {
  referenceTrajectories,
  type TrajectoryImages,
  trajectoryErrors,
  trajectoryOn,
} from '../support/lenet-trajectory.ts'
import { type ShortTraining, shortTraining } from '../support/short-training.ts'
import { useBrowserDevice } from './browser-device.ts'
import { bytesOfBase64 } from './fixture-files.ts'
import type { NodeNumbers } from './node-commands.ts'

const device = useBrowserDevice()
let node: NodeNumbers
let images: TrajectoryImages
beforeAll(async () => {
  node = await commands.nodeNumbers()
  images = { images: bytesOfBase64(node.images), labels: bytesOfBase64(node.labels) }
}, 600_000)

/** All numbers of a run except its duration. */
const numbersOf = ({ epochs, weights }: ShortTraining) => ({
  epochs: epochs.map(({ seconds: _, ...numbers }) => numbers),
  weights,
})

describe('LeNet-5 in the browser', () => {
  for (const [i, reference] of referenceTrajectories.entries()) {
    const { batch_size: batch, losses } = reference
    it(`follows the float64 trajectory over ${losses.length} steps of ${batch} images, and Node.js to 1e-4`, async () => {
      const own = await trajectoryOn(device(), reference, images)
      const errors = trajectoryErrors(own, reference)
      const difference = largestDifference(own.losses, node.trajectories[i] ?? [])
      console.info(`${device().describe()}: losses are within ${difference.toExponential(1)} of ${node.adapter}`)
      expect(errors.loss).toBeLessThan(5e-5)
      expect(errors.gradient).toBeLessThan(1e-4)
      expect(errors.weight).toBeLessThan(1e-3)
      expect(difference).toBeLessThan(1e-4)
    })
  }

  it('trained with `fit`, has the losses of Node.js to 1e-4, in training and validation', async () => {
    const { epochs } = await shortTraining(device())
    const lossesOf = (logs: readonly nn.EpochLogs[]): number[] =>
      logs.flatMap(({ loss, validationLoss = Number.NaN }) => [loss, validationLoss])
    expect(epochs).toHaveLength(2)
    const difference = largestDifference(lossesOf(epochs), lossesOf(node.epochs))
    console.info(`losses of a short training are within ${difference.toExponential(1)}`)
    expect(difference).toBeLessThan(1e-4)
  })

  it('gives the same bits twice', async () => {
    expect(numbersOf(await shortTraining(device()))).toEqual(numbersOf(await shortTraining(device())))
  })
})

describe('a device that the browser revokes', () => {
  it('rejects pending and later work with one error that says what to do', async () => {
    const own = await open()
    const buffer = own.allocate(1024, 'some numbers')
    const pending = own.read(buffer.slice())
    own.gpu.destroy()
    const error = await pending.catch((reason: unknown) => reason)
    expect(error).toMatchObject({
      code: 'device-lost',
      message: expect.stringContaining('Open a new device and resume from the last checkpoint.'),
      details: { reason: 'destroyed' },
    })
    await expect(own.read(buffer.slice())).rejects.toBe(error)
    await expect(own.idle()).rejects.toBe(error)
    expect(() => own.allocate(16, 'more')).toThrow(WeftgradError)
    expect(await own.lost).toBe(error)
    own.dispose()
  })

  it('can be replaced: training resumes from its checkpoint with the numbers of an uninterrupted run', async () => {
    const whole = await shortTraining(device())
    const own = await open()
    const checkpoints: nn.TrainingCheckpoint[] = []
    const callbacks: nn.Callbacks = {
      onCheckpoint: (checkpoint) => {
        checkpoints.push(checkpoint)
        own.gpu.destroy()
      },
    }
    await expect(shortTraining(own, { callbacks })).rejects.toMatchObject({ code: 'device-lost' })
    expect(own.memory().liveBytes).toBe(0)
    own.dispose()

    const [resume] = checkpoints
    if (resume === undefined) throw new Error('the device was lost before the first checkpoint')
    using other = await open()
    expect(numbersOf(await shortTraining(other, { resume }))).toEqual(numbersOf(whole))
  })
})
