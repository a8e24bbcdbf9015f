/**
 * Models that end in a softmax, as in Keras' tutorials: they are trained, evaluated and read like the same model ending
 * in logits. No probability goes through a second softmax.
 */
import { describe, expect, it } from 'vitest'
import { data, nn, softmax, tensor } from '../src/index.ts'
import { barImages } from './support/bar-images.ts'
import { useDevice } from './support/device.ts'

const device = useDevice()

/** A dense network whose weights depend only on their names, with any ending. */
const endingIn = (...end: readonly nn.Layer[]): nn.Model =>
  nn.sequential('ends', [28, 28, 1], [nn.flatten('flatten'), ...end], { seed: 2 })

const linear = (): nn.Model => endingIn(nn.dense('answers', 10))

const ends: readonly (readonly [what: string, make: () => nn.Model])[] = [
  ['a dense layer with softmax', () => endingIn(nn.dense('answers', 10, { activation: 'softmax' }))],
  ['an activation', () => endingIn(nn.dense('answers', 10), nn.activation('probabilities', 'softmax'))],
  [
    'a softmax that is reshaped',
    () =>
      endingIn(
        nn.dense('answers', 10),
        nn.reshape('image', [1, 1, 10]),
        nn.activation('probabilities', 'softmax'),
        nn.flatten('flat'),
      ),
  ],
  [
    'a custom layer',
    () => {
      const layer = nn.dense('answers', 10)
      return endingIn({ ...layer, call: (...context) => softmax(layer.call(...context)) })
    },
  ],
]

const images = (count: number): ReturnType<typeof data.residentImages> => {
  const { pixels, labels } = barImages(count, 'softmax ends')
  return data.residentImages(device(), { images: pixels, labels, height: 28, width: 28, channels: 1, classes: 10 })
}

const bits = (numbers: ArrayLike<number> | undefined): number[] => [
  ...new Uint32Array(Float32Array.from(numbers ?? []).buffer),
]

/** All the results that a model can give. */
async function outcomeOf(model: nn.Model) {
  using rows = images(120)
  const { epochs } = await nn.fit(model, rows, {
    optimizer: nn.adam({ learningRate: 1e-2 }),
    epochs: 2,
    batchSize: 32,
    validationSplit: 0.2,
  })
  const { pixels } = barImages(5, 'others')
  const evaluated = await nn.evaluate(model, rows, { probabilities: true, flipAverage: true })
  const predicted = await nn.predict(model, pixels, [28, 28, 1])
  const own = model.call(
    tensor(
      Float32Array.from(pixels, (byte) => byte / 255),
      [5, 28, 28, 1],
    ),
  )
  return {
    history: epochs.map(({ seconds: _, ...figures }) => figures),
    weights: [...(await model.weightNumbers()).values()].map(({ data }) => bits(data)),
    evaluated: { ...evaluated, probabilities: bits(evaluated.probabilities) },
    predicted,
    own: await own.data(),
  }
}

describe('a model that ends in a softmax', () => {
  it.each(ends)('is trained and read like a model that ends in logits: %s', async (_, make) => {
    using plain = linear()
    using model = make()
    const { predicted, own, ...figures } = await outcomeOf(model)
    const { predicted: same, own: logits, ...expected } = await outcomeOf(plain)
    expect(figures).toEqual(expected)
    expect(bits(predicted)).toEqual(bits(same))
    // The outputs of the layers, and the outputs before the softmax.
    expect(Math.max(...own.map((p, i) => Math.abs(p - (predicted[i] ?? 0))))).toBeLessThan(1e-6)
    expect(Math.max(...logits)).toBeGreaterThan(1)
  })

  it('has the loss of its logits if a probability is too small for a float32', async () => {
    using model = endingIn(nn.dense('answers', 10, { activation: 'softmax' }))
    const kernel = new Float32Array(7840)
    const bias = Float32Array.from({ length: 10 }, (_, i) => (i === 3 ? 200 : 0))
    model.setWeights(
      new Map([
        ['answers/kernel', { shape: [784, 10], data: kernel }],
        ['answers/bias', { shape: [10], data: bias }],
      ]),
    )
    using rows = images(10)
    const { loss, accuracy } = await nn.evaluate(model, rows)
    expect(loss).toBeCloseTo(180, 3)
    expect(accuracy).toBeCloseTo(0.1)
  })

  it.each([
    ['VGG16', nn.vgg16({ includeTop: true })],
    ['Xception', nn.xception({ size: 71, includeTop: true })],
    ['ResNet152V2', nn.resnet152v2({ size: 32, includeTop: true })],
  ])('includes %s with its classifier, frozen or not', (_, network) => {
    const x = tensor(new Float32Array(3 * (network.inputShape[0] ?? 0) ** 2), [1, ...network.inputShape])
    for (const model of [network, nn.freeze(network)]) {
      expect(model.call(x).value.node.op.name).toBe('softmax')
      expect(model.logits(x).value.node.op.name).toBe('dense')
    }
  })

  it('does not include one with a softmax only in the middle, or a reshape that mixes its classes', async () => {
    using attention = endingIn(nn.dense('answers', 10, { activation: 'softmax' }), nn.dense('more', 10))
    const mixed = endingIn(nn.dense('answers', 20, { activation: 'softmax' }), nn.reshape('pairs', [2, 10]))
    const x = tensor(new Float32Array(784), [1, 28, 28, 1])
    for (const model of [attention, mixed]) expect(model.logits(x).shape).toEqual([1, ...model.outputShape])
    expect(mixed.logits(x).value.node.op.name).toBe('reshape')
    expect(mixed.logits(x).value.node.inputs[0]?.node.op.name).toBe('softmax')
  })
})
