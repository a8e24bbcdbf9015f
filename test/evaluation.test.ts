/** Evaluation and prediction, compared with counting on the host. */
import { describe, expect, it } from 'vitest'
import { residentImages } from '../src/data/dataset.ts'
import { nn, tensor } from '../src/index.ts'
import type { Model } from '../src/nn/model.ts'
import { failure } from './support/failure.ts'
import { classes, pictures, side } from './support/pictures.ts'
import { plainModel, restlessModel } from './support/small-models.ts'
import { useTraining } from './support/training.ts'

const { device } = useTraining()

/** Loss, predictions and confusion matrix computed on the host from the model's logits. */
async function countedOnHost(model: Model, images: Uint8Array, labels: Uint8Array) {
  const count = labels.length
  const x = tensor(
    Float32Array.from(images, (byte) => byte / 255),
    [count, side, side, 1],
  )
  const logits = await model.call(x).data({ device: device() })
  const confusion = Array.from({ length: classes }, () => new Array<number>(classes).fill(0))
  const predictions: number[] = []
  let loss = 0
  labels.forEach((label, i) => {
    const row = [...logits.subarray(i * classes, (i + 1) * classes)]
    const predicted = row.indexOf(Math.max(...row))
    predictions.push(predicted)
    const line = confusion[label]
    if (line !== undefined) line[predicted] = (line[predicted] ?? 0) + 1
    loss += Math.log(row.reduce((sum, logit) => sum + Math.exp(logit), 0)) - (row[label] ?? 0)
  })
  const hits = confusion.reduce((sum, row, k) => sum + (row[k] ?? 0), 0)
  return { loss: loss / count, accuracy: hits / count, confusion, predictions }
}

describe('evaluation', () => {
  const bytes = pictures(53, 9)

  it.each([7, 53, 1, 1000])('in batches of %i agrees with counting on the host', async (batchSize) => {
    using data = residentImages(device(), bytes)
    using model = restlessModel(3)
    const expected = await countedOnHost(model, bytes.images, bytes.labels)
    const before = device().memory()
    const actual = await nn.evaluate(model, data, { batchSize })
    expect(actual.loss).toBeCloseTo(expected.loss, 5)
    expect(actual.accuracy).toBeCloseTo(expected.accuracy, 6)
    expect(actual.confusion).toEqual(expected.confusion)
    expect([...actual.predictions]).toEqual(expected.predictions)
    expect(device().memory()).toMatchObject({ liveBytes: before.liveBytes, liveBuffers: before.liveBuffers })
  })

  it('takes the images of a subset in its order, with their labels', async () => {
    using data = residentImages(device(), bytes)
    using model = plainModel(3)
    const positions = [50, 3, 3, 17, 0, 52, 8]
    const subset = data.subset([0, 1, ...positions]).subset(positions.map((_, i) => i + 2))
    expect([...subset.labelsOf()]).toEqual(positions.map((i) => bytes.labels[i]))
    const images = positions.flatMap((i) => [...bytes.images.subarray(i * side * side, (i + 1) * side * side)])
    const expected = await countedOnHost(model, Uint8Array.from(images), Uint8Array.from(subset.labelsOf()))
    const actual = await nn.evaluate(model, subset, { batchSize: 3 })
    expect(actual.loss).toBeCloseTo(expected.loss, 5)
    expect(actual.confusion).toEqual(expected.confusion)
    expect([...actual.predictions]).toEqual(expected.predictions)
    const rows = actual.confusion.map((row) => row.reduce((a, b) => a + b, 0))
    expect(rows).toEqual(Array.from({ length: classes }, (_, k) => subset.labelsOf().filter((x) => x === k).length))
  })

  it('can be repeated while the weights change', async () => {
    using data = residentImages(device(), bytes)
    using model = plainModel(1)
    using other = plainModel(2)
    const evaluator = await nn.Evaluator.create(model, data, { batchSize: 10 })
    const [first, again] = [await evaluator.run(), await evaluator.run()]
    expect(again).toEqual(first)
    expect(first.predictions).toHaveLength(0)
    model.setWeights(await other.weightNumbers())
    const changed = await evaluator.run({ predictions: true })
    expect(changed).toEqual(await nn.evaluate(other, data, { batchSize: 10 }))
    expect(changed.loss).not.toBe(first.loss)
    evaluator.dispose()
  })

  it('of empty batches, and of images or classes that do not fit, is refused', async () => {
    using data = residentImages(device(), bytes)
    using many = residentImages(device(), { ...bytes, classes: 5 })
    using model = plainModel()
    for (const batchSize of [0, -1, 2.5, Number.NaN])
      expect(await failure(nn.evaluate(model, data, { batchSize }))).toMatchObject({ code: 'argument' })
    expect(await failure(nn.evaluate(model, many))).toMatchObject({ code: 'mismatch' })
    using lenet = nn.sequential('narrow', [4, 4, 1], [nn.flatten('flatten'), nn.dense('logits', classes)])
    expect(await failure(nn.evaluate(lenet, data))).toMatchObject({ code: 'shape' })
  })

  it('of a disposed data set is refused, and the device stays usable', async () => {
    const data = residentImages(device(), bytes)
    using model = plainModel()
    const evaluator = await nn.Evaluator.create(model, data)
    data.dispose()
    expect(await failure(evaluator.run())).toMatchObject({ code: 'disposed' })
    expect(await failure(nn.evaluate(model, data))).toMatchObject({ code: 'disposed' })
    evaluator.dispose()
    expect(await tensor([1, 2]).data({ device: device() })).toEqual(Float32Array.of(1, 2))
  })

  it('gives probabilities for images of bytes, padded to the input', async () => {
    using model = nn.sequential('wide', [10, 11, 1], [nn.flatten('flatten'), nn.dense('logits', classes)], { seed: 2 })
    model.to(device())
    const probabilities = await nn.predict(model, bytes.images.subarray(0, 2 * side * side), [side, side, 1])
    expect(probabilities).toHaveLength(2 * classes)
    const kernel = (await model.weightNumbers()).get('logits/kernel')?.data ?? new Float32Array()
    for (const i of [0, 1]) {
      const logits = Array.from({ length: classes }, (_, k) => {
        let total = 0
        for (let y = 0; y < side; y++)
          for (let x = 0; x < side; x++) {
            const byte = bytes.images[(i * side + y) * side + x] ?? 0
            total += (byte / 255) * (kernel[((y + 1) * 11 + x + 1) * classes + k] ?? 0)
          }
        return Math.exp(total)
      })
      const sum = logits.reduce((a, b) => a + b, 0)
      logits.forEach((logit, k) => {
        expect(probabilities[i * classes + k]).toBeCloseTo(logit / sum, 5)
      })
    }
    for (const size of [63, 0])
      expect(await failure(nn.predict(model, new Uint8Array(size), [side, side, 1]))).toMatchObject({ code: 'shape' })
    expect(await failure(nn.predict(model, new Uint8Array(144), [12, 12, 1]))).toMatchObject({ code: 'shape' })
  })
})
