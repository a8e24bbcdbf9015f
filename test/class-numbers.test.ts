/** Class numbers from 0 to 2^24 - 1 keep their value everywhere: in data sets, training, evaluation and model files. */

import { describe, expect, it } from 'vitest'
import { type ImageDataset, residentImages } from '../src/data/dataset.ts'
import { FeatureDataset } from '../src/data/feature-dataset.ts'
import * as nn from '../src/nn/index.ts'
import { useDevice } from './support/device.ts'
import { failure } from './support/failure.ts'

const device = useDevice()

/** One number per example, always 1: the model's output then depends only on its kernel. */
function examples(labels: ArrayLike<number>, classes: number): FeatureDataset {
  const data = FeatureDataset.allocate(device(), { width: 1, labels, classes })
  data.write(0, new Float32Array(labels.length).fill(1))
  return data
}

/** A model that assigns every example to one class. */
function always(wanted: number, classes: number): nn.Model {
  const model = nn.sequential('always', [1], [nn.dense('logits', classes, { useBias: false })])
  const data = new Float32Array(classes)
  data[wanted] = 20
  model.setWeights(new Map([['logits/kernel', { shape: [1, classes], data }]]))
  return model
}

const pixels = (labels: ArrayLike<number>, classes: number): ImageDataset =>
  residentImages(device(), {
    ...{ images: new Uint8Array(labels.length * 4), height: 2, width: 2, channels: 1 },
    ...{ labels, classes },
  })

describe('labels', () => {
  const wide = [299, 43, 65_536 + 43, 2 ** 24 - 1, 0]

  it.each([
    ['number[]', wide],
    ['Uint32Array', Uint32Array.from(wide)],
    ['Int32Array', Int32Array.from(wide)],
    ['Float32Array of whole numbers', Float32Array.from(wide)],
  ])('of a %s keep their value in both kinds of data set', (_, labels) => {
    using images = pixels(labels, 2 ** 24)
    using rows = examples(labels, 2 ** 24)
    expect([...images.labelsOf()]).toEqual(wide)
    expect([...rows.labelsOf()]).toEqual(wide)
    expect([...images.subset([2, 0]).labelsOf()]).toEqual([65_579, 299])
  })

  it('in a Uint16Array are not read as bytes', async () => {
    using images = pixels(Uint16Array.of(299, 256, 255), 300)
    expect([...(await images.labels.data())]).toEqual([299, 256, 255])
  })

  it.each([
    ['an unknown class', [0, 300]],
    ['a negative number', [0, -1]],
    ['a fraction', [0, 1.5]],
    ['NaN', [0, Number.NaN]],
  ])('that hold %s are refused, saying where', async (_, labels) => {
    const message = `1 has the label ${labels[1]}, and there are 300 classes.`
    expect(await failure(() => pixels(labels, 300))).toMatchObject({ code: 'data', message: `Image ${message}` })
    expect(await failure(() => examples(labels, 300))).toMatchObject({ code: 'data', message: `Row ${message}` })
  })

  it('in more than 2^24 classes are refused', async () => {
    for (const classes of [2 ** 24 + 1, 0, 2.5, Number.NaN]) {
      expect(await failure(() => pixels([0], classes))).toMatchObject({ code: 'argument' })
      expect(await failure(() => examples([0], classes))).toMatchObject({ code: 'argument' })
    }
  })
})

describe('evaluation', () => {
  it.each([
    [400, 281],
    [5792, 5791],
  ])('of %i classes predicts %i as itself', async (classes, wanted) => {
    using data = examples([wanted, 25, wanted], classes)
    using model = always(wanted, classes)
    const { predictions, confusion, accuracy } = await nn.evaluate(model, data)
    expect([...predictions]).toEqual([wanted, wanted, wanted])
    expect(accuracy).toBeCloseTo(2 / 3, 6)
    expect(confusion).toHaveLength(classes)
    expect([confusion[wanted]?.[wanted], confusion[25]?.[wanted]]).toEqual([2, 1])
  })

  it.each([70_000, 2 ** 24])('of %i classes has every figure except the confusion matrix', async (classes) => {
    using data = examples([classes - 1, classes - 1, 4463, classes - 1, classes - 1], classes)
    using model = always(classes - 1, classes)
    const { predictions, confusion, accuracy, loss } = await nn.evaluate(model, data)
    expect([...predictions]).toEqual(Array(5).fill(classes - 1))
    expect(accuracy).toBeCloseTo(0.8, 6)
    expect(confusion).toEqual([])
    // The class competes with `classes - 1` zeros: once with a logit of 20, once with 0. Sums over classes round
    // differently.
    const right = Math.log(Math.exp(20) + classes - 1) - 20
    expect(loss).toBeCloseTo(right + 20 / 5, 2)
  })
})

it('training moves the class of the label, not the class of its low bits', async () => {
  const classes = 70_000
  using data = examples(Array(8).fill(65_537), classes)
  using model = always(0, classes)
  await nn.fit(model, data, { optimizer: nn.sgd({ learningRate: 1 }), epochs: 1, batchSize: 8 })
  const kernel = (await model.weightNumbers()).get('logits/kernel')?.data ?? new Float32Array()
  expect(kernel[65_537]).toBeCloseTo(1, 5)
  expect(kernel[1]).toBeLessThan(1e-6)
  expect(kernel[65_537 & 255]).toBeLessThan(1e-6)
})

it('a model with 300 classes is read back from its file', async () => {
  const classNames = Array.from({ length: 300 }, (_, k) => `class ${k}`)
  using model = nn.lenet5({ units: [8, 4], classes: 300 })
  const bytes = await nn.encodeModel(model, { classNames })
  const { model: back, ...described } = nn.decodeModel(bytes)
  using _back = back
  expect(described.classNames).toEqual(classNames)
  expect(await back.weightNumbers()).toEqual(await model.weightNumbers())
})
