/** Compares LeNet-5's first training steps, from known weights, with the same steps in float64. */

import { loadFashionMnist } from '../../../src/data/fashion-mnist.node.ts'
import type { TrajectoryErrors } from '../../../test/support/lenet-trajectory.ts'
import {
  referenceTrajectories,
  trajectoryErrors,
  trajectoryOn,
  trajectoryTolerance,
} from '../../../test/support/lenet-trajectory.ts'
import type { Part } from '../part.ts'

interface CheckedTrajectory {
  readonly steps: number
  readonly batch: number
  readonly learningRate: number
  /** The largest relative error of each kind. */
  readonly errors: TrajectoryErrors
}

export interface TrajectoryFigures {
  /** Larger errors are problems. */
  readonly tolerance: TrajectoryErrors
  readonly trajectories: readonly CheckedTrajectory[]
}

export const trajectoryPart: Part<TrajectoryFigures> = {
  name: 'trajectory',
  title: 'LeNet-5 against float64',
  seconds: 25,
  async run(work) {
    const { train } = await loadFashionMnist({ dataDir: work.options.dataDir })
    const trajectories: CheckedTrajectory[] = []
    for (const reference of referenceTrajectories) {
      const { batch_size: batch, learning_rate: learningRate, losses } = reference
      const what = `${losses.length} steps of ${batch} images`
      await work.attempt(what, 0, async (device) => {
        const errors = trajectoryErrors(await trajectoryOn(device, reference, train), reference)
        trajectories.push({ steps: losses.length, batch, learningRate, errors })
        work.report({ tolerance: trajectoryTolerance, trajectories: [...trajectories] })
        for (const kind of ['loss', 'gradient', 'weight'] as const)
          if (!(errors[kind] < trajectoryTolerance[kind]))
            work.problem(`${what}: the ${kind} is off by ${errors[kind]}; ${trajectoryTolerance[kind]} is allowed.`)
      })
    }
  },
  page({ tolerance, trajectories }) {
    const row = (name: string, { loss, gradient, weight }: TrajectoryErrors): string =>
      `| ${[name, ...[loss, gradient, weight].map((error) => error.toExponential(1))].join(' | ')} |`
    return [
      'The largest relative errors.',
      '',
      '| | loss | gradient | weight |',
      '|---|---:|---:|---:|',
      ...trajectories.map((one) => row(`${one.steps} steps of ${one.batch} images`, one.errors)),
      row('allowed', tolerance),
    ]
  },
}
