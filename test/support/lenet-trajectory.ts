/**
 * LeNet-5's first training steps from hashed weights, on any device, compared with the same steps in float64
 * (test/fixtures/lenet-trajectory.json): every loss, the first gradients, the final parameters.
 */
import { residentImages } from '../../src/data/dataset.ts'
import type { Device } from '../../src/gpu/device.ts'
import { stepRecordColumns } from '../../src/kernels/training/state.ts'
import { BatchOrder } from '../../src/nn/batch-order.ts'
import { lenet5 } from '../../src/nn/models/lenet5.ts'
import { adam } from '../../src/nn/optimizers.ts'
import { createTrainingStep, TrainingMemory } from '../../src/nn/training-step.ts'
import trajectories from '../fixtures/lenet-trajectory.json' with { type: 'json' }
import { hashedGlorotWeights } from './hashed-weights.ts'

export type ReferenceTrajectory = (typeof trajectories)[number]
export const referenceTrajectories: readonly ReferenceTrajectory[] = trajectories

/** The first training images of Fashion-MNIST, as many as the longest trajectory uses. */
export const trajectoryImages = Math.max(...trajectories.map((one) => one.losses.length * one.batch_size))

/** Images of 28x28 in bytes, with their classes. */
export interface TrajectoryImages {
  readonly images: Uint8Array
  readonly labels: Uint8Array
}

export interface Trajectory {
  readonly losses: readonly number[]
  /** The gradients of the first step, by weight. */
  readonly gradients: ReadonlyMap<string, Float32Array>
  /** The weights after the last step. */
  readonly weights: ReadonlyMap<string, Float32Array>
}

export async function trajectoryOn(
  device: Device,
  { losses: { length: steps }, batch_size: batch, learning_rate: learningRate }: ReferenceTrajectory,
  { images, labels }: TrajectoryImages,
): Promise<Trajectory> {
  const count = steps * batch
  using data = residentImages(device, {
    images: images.subarray(0, count * 784),
    labels: labels.subarray(0, count),
    height: 28,
    width: 28,
    channels: 1,
    classes: 10,
  })
  using model = lenet5().to(device)
  model.setWeights(hashedGlorotWeights(model))
  const memory = TrainingMemory.of(model, adam({ learningRate }), steps)
  const order = new BatchOrder(device, batch, steps)
  order.write(data.indices)
  memory.writeTables(0, steps, steps)
  const program = await createTrainingStep(model, data, order, memory)
  try {
    await program.run()
    const gradients = await device.readAll(
      model.trainableWeights.map((weight) => memory.gradients.slice(weight.offset, model.sliceOf(weight).bytes)),
    )
    await program.run(steps - 1)
    const record = new Float32Array(await device.read(memory.record))
    return {
      losses: Array.from({ length: steps }, (_, step) => record[step * stepRecordColumns] ?? Number.NaN),
      gradients: new Map(
        model.trainableWeights.map(({ name }, i) => [name, new Float32Array(gradients[i] ?? new ArrayBuffer(0))]),
      ),
      weights: new Map([...(await model.weightNumbers())].map(([name, { data }]) => [name, data])),
    }
  } finally {
    program.dispose()
    order.buffer.dispose()
    memory.dispose()
  }
}

/** How far a trajectory is from the reference: the largest relative error of each kind. */
export interface TrajectoryErrors {
  /** Relative to the loss itself. */
  readonly loss: number
  /**
   * For a gradient's l2 norm and first numbers, relative to that norm; for its sum, relative to the norm times the root
   * of its size.
   */
  readonly gradient: number
  /** For a final parameter's l2 norm, relative to itself. */
  readonly weight: number
}

/** How large the errors may be: float32 rounds, and Adam carries the rounding errors from step to step. */
export const trajectoryTolerance: TrajectoryErrors = { loss: 5e-5, gradient: 1e-4, weight: 1e-3 }

interface Statistics {
  readonly l2: number
  readonly sum: number
  readonly first: readonly number[]
}

export function trajectoryErrors(own: Trajectory, reference: ReferenceTrajectory): TrajectoryErrors {
  const entries = (statistics: object) => Object.entries(statistics) as [string, Statistics][]
  const numbersOf = (from: ReadonlyMap<string, Float32Array>, name: string) => from.get(name) ?? new Float32Array()
  const worst = (errors: readonly number[]): number =>
    errors.reduce((a, b) => (Number.isNaN(b) ? Number.POSITIVE_INFINITY : Math.max(a, Math.abs(b))), 0)
  return {
    loss: worst(reference.losses.map((loss, step) => ((own.losses[step] ?? Number.NaN) - loss) / loss)),
    gradient: worst(
      entries(reference.step0_gradients).flatMap(([name, { l2, sum, first }]) => {
        const numbers = numbersOf(own.gradients, name)
        const found = statisticsOf(numbers)
        return [
          (found.l2 - l2) / l2,
          // The uncertainty of a sum of n terms of either sign grows like sqrt(n).
          (found.sum - sum) / (l2 * Math.sqrt(numbers.length)),
          ...first.map((x, i) => ((numbers[i] ?? Number.NaN) - x) / l2),
        ]
      }),
    ),
    weight: worst(
      entries(reference.final_parameters).map(
        ([name, { l2 }]) => (statisticsOf(numbersOf(own.weights, name)).l2 - l2) / l2,
      ),
    ),
  }
}

function statisticsOf(numbers: Float32Array): { readonly l2: number; readonly sum: number } {
  let [squares, sum] = [0, 0]
  for (const x of numbers) {
    squares += x * x
    sum += x
  }
  return { l2: Math.sqrt(squares), sum }
}
