/** Whole training steps against the same steps in float64: every loss, the first gradients, the final parameters. */

import { describe, expect, it } from 'vitest'
import { residentImages } from '../src/data/dataset.ts'
import { loadFashionMnist } from '../src/data/fashion-mnist.node.ts'
import { stepRecordColumns } from '../src/kernels/training-state.ts'
import { lenet5 } from '../src/nn/models/lenet5.ts'
import { adam, optimizerTable } from '../src/nn/optimizers.ts'
import { BatchOrder, createTrainingStep, TrainingMemory } from '../src/nn/training-step.ts'
import { fnv1a, hashedNumbers } from '../src/weights/hashed.ts'
import check from './fixtures/hashed-check.json' with { type: 'json' }
import trajectories from './fixtures/lenet-trajectory.json' with { type: 'json' }
import { useDevice } from './support/device.ts'
import { hashedGlorotWeights } from './support/hashed-weights.ts'

interface Statistics {
  readonly l2: number
  readonly sum: number
  readonly first: readonly number[]
}

function statisticsOf(numbers: Float32Array): { l2: number; sum: number } {
  let [squares, sum] = [0, 0]
  for (const x of numbers) {
    squares += x * x
    sum += x
  }
  return { l2: Math.sqrt(squares), sum }
}

describe('LeNet-5 follows the float64 trajectory', () => {
  const device = useDevice()

  it('starts from the hashed weights that the reference started from', () => {
    expect(fnv1a('conv1/kernel')).toBe(check['fnv1a("conv1/kernel")'])
    expect([...hashedNumbers('conv1/kernel', 8)]).toEqual(check['conv1/kernel first 8'])
  })

  for (const reference of trajectories) {
    const { batch_size: batch, learning_rate: learningRate, losses } = reference
    it(`over ${losses.length} steps of ${batch} images at a learning rate of ${learningRate}`, async () => {
      const steps = losses.length
      const { train } = await loadFashionMnist()
      const count = steps * batch
      using data = residentImages(device(), {
        ...train,
        images: train.images.subarray(0, count * 784),
        labels: train.labels.subarray(0, count),
        channels: 1,
        classes: 10,
      })
      using model = lenet5().to(device())
      model.setWeights(hashedGlorotWeights(model))
      const optimizer = adam({ learningRate })
      const memory = new TrainingMemory(device(), model, optimizer, steps)
      const order = new BatchOrder(device(), batch, steps)
      order.write(data.indices)
      device().write(memory.table.slice(), optimizerTable(optimizer, 0, steps, steps))
      const program = await createTrainingStep(model, data, order, memory, optimizer)

      await program.run()
      const gradients = await device().readAll(
        model.trainableWeights.map((weight) => memory.gradients.slice(weight.offset, model.sliceOf(weight).bytes)),
      )
      await program.run(steps - 1)
      const record = new Float32Array(await device().read(memory.record))
      losses.forEach((loss, step) => {
        const own = record[step * stepRecordColumns] ?? Number.NaN
        expect(Math.abs(own - loss) / loss, `loss of step ${step}`).toBeLessThan(5e-5)
      })

      model.trainableWeights.forEach(({ name }, i) => {
        const expected = (reference.step0_gradients as Record<string, Statistics>)[name]
        const own = new Float32Array(gradients[i] ?? new ArrayBuffer(0))
        if (expected === undefined) throw new Error(`the reference lacks ${name}`)
        const { l2, sum } = statisticsOf(own)
        expect(Math.abs(l2 - expected.l2) / expected.l2, `l2 of the gradient of ${name}`).toBeLessThan(1e-4)
        // A sum of n terms of either sign is as uncertain as sqrt(n) of them.
        expect(Math.abs(sum - expected.sum), `sum of the gradient of ${name}`).toBeLessThan(
          1e-4 * expected.l2 * Math.sqrt(own.length),
        )
        expected.first.forEach((x, j) => {
          expect(Math.abs((own[j] ?? Number.NaN) - x), `gradient of ${name}, number ${j}`).toBeLessThan(
            1e-4 * expected.l2,
          )
        })
      })

      const weights = await model.weightNumbers()
      for (const [name, expected] of Object.entries(reference.final_parameters as Record<string, Statistics>)) {
        const { l2 } = statisticsOf(weights.get(name)?.data ?? new Float32Array())
        expect(Math.abs(l2 - expected.l2) / expected.l2, `final l2 of ${name}`).toBeLessThan(1e-3)
      }
      program.dispose()
      order.buffer.dispose()
      memory.dispose()
    })
  }
})
