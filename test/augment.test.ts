/** Augmentation of gathered batches: each change against float64 with the generator's words, and training with it. */
import { describe, expect, it } from 'vitest'
import { residentImages } from '../src/data/dataset.ts'
import { FeatureDataset } from '../src/data/feature-dataset.ts'
import type { HostNumbers } from '../src/graph/run/evaluate.ts'
import { evaluate, nn, type Tensor, tensor } from '../src/index.ts'
import type { AugmentOptions } from '../src/nn/augment.ts'
import type { FitOptions, TrainingCheckpoint } from '../src/nn/contract.ts'
import { augmentDraws } from '../src/operators/augment.ts'
import type { Array64 } from './reference/array64.ts'
import { array64 } from './reference/array64.ts'
import * as reference from './reference/index.ts'
import { useDevice } from './support/device.ts'
import { noiseImages } from './support/noise.ts'

const device = useDevice()
const [seed, step, batch] = [2 ** 40 + 5, 77, 6]

const nothing = {
  ...{ spareHeight: 0, spareWidth: 0, flipHorizontal: 0, flipVertical: 0, shift: 0, rotation: 0, zoom: 0 },
  ...{ contrast: 0, brightness: 0, cutout: 0, mixup: 0, seed },
}

/** Images of numbers in [0, 1], and their class numbers. */
function examples(shape: readonly [number, number, number]): { x: Array64; labels: number[] } {
  const size = batch * shape[0] * shape[1] * shape[2]
  const values = Float32Array.from({ length: size }, (_, i) => (((i + 3) * 7919) % 257) / 256)
  return { x: array64([batch, ...shape], values), labels: [3, 1, 2, 0, 3, 2] }
}

const asTensor = ({ data, shape }: Array64): Tensor => tensor(Float32Array.from(data), shape)

/** The changed batch of one step. */
async function augmented(
  { x, labels }: ReturnType<typeof examples>,
  options: AugmentOptions,
  to: readonly [number, number],
  counter = step,
): Promise<readonly HostNumbers[]> {
  device()
  const changed = nn
    .augment(options)
    .apply(
      { x: asTensor(x), target: tensor(labels, [batch], 'u32') },
      { seed, counter: tensor([counter], [1], 'u32'), inputShape: [...to, x.shape[3] ?? 1], outputShape: [4] },
    )
  return await evaluate([changed.x, changed.target])
}

function expectClose(actual: ArrayLike<number> | undefined, expected: ArrayLike<number>, tolerance: number): void {
  expect(actual).toHaveLength(expected.length)
  let largest = 0
  for (let i = 0; i < expected.length; i++)
    largest = Math.max(largest, Math.abs((actual?.[i] ?? Number.NaN) - (expected[i] ?? 0)))
  expect(largest).toBeLessThan(tolerance)
}

describe('the draws', () => {
  it('come from known words: the test vectors of Random123', () => {
    expect(reference.threefry4x32([0, 0, 0, 0], [0, 0, 0, 0])).toEqual([0x9c6ca96a, 0xe17eae66, 0xfc10ecd4, 0x5256a7d8])
    const ones = 0xffffffff
    expect(reference.threefry4x32([ones, ones, ones, ones], [ones, ones, ones, ones])).toEqual([
      ...[0x2a881696, 0x57012287, 0xf6c7446e, 0xa16a6732],
    ])
  })

  it('are those of the reference, row by row', async () => {
    device()
    const rows = 300
    const settings = {
      ...{ ...nothing, outHeight: 20, outWidth: 30, spareHeight: 5, spareWidth: 9, flipHorizontal: 0.5 },
      ...{
        flipVertical: 0.5,
        shift: 3,
        rotation: 40,
        zoom: 0.3,
        contrast: 0.4,
        brightness: 0.2,
        cutout: 7,
        mixup: 0.4,
      },
    }
    const [draws] = await evaluate([augmentDraws(tensor([step], [1], 'u32'), { batch: rows, ...settings })])
    const expected = Array.from({ length: rows }, (_, row) => reference.drawsOf(settings, step, row, rows))
    expectClose(draws, expected.flat(), 1e-4)
  })

  it('have the distributions that they promise', async () => {
    device()
    const rows = 4000
    const settings = { ...nothing, outHeight: 20, outWidth: 30, flipHorizontal: 0.5, contrast: 0.5, mixup: 0.2 }
    const [draws = []] = await evaluate([augmentDraws(tensor([step], [1], 'u32'), { batch: rows, ...settings })])
    const column = (at: number): number[] =>
      Array.from({ length: rows }, (_, row) => draws[row * 12 + at] ?? Number.NaN)
    const meanOf = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b) / rows
    // Five standard deviations.
    expect(Math.abs(meanOf(column(0)))).toBeLessThan(5 / Math.sqrt(rows))
    expect(Math.abs(meanOf(column(6)) - 1)).toBeLessThan((5 * 0.5) / Math.sqrt(3 * rows))
    const shares = column(10)
    // The variance of beta(a, a) is 1 / (4 (2a + 1)).
    const variance = 1 / (4 * 1.4)
    expect(Math.abs(meanOf(shares) - 0.5)).toBeLessThan(5 * Math.sqrt(variance / rows))
    expect(meanOf(shares.map((share) => (share - 0.5) ** 2))).toBeCloseTo(variance, 1)
    // Every row is mixed in once, and none with itself.
    expect(new Set(column(11)).size).toBe(rows)
    expect(column(11).some((other, row) => other === row)).toBe(false)
  })
})

describe('each change agrees with float64', () => {
  const cases: Readonly<Record<string, [options: AugmentOptions, settings: Partial<reference.DrawSettings>]>> = {
    'random flips': [{ flip: 'horizontal' }, { flipHorizontal: 0.5 }],
    'all flipped': [{ flip: 'always' }, { flipHorizontal: 1 }],
    'vertical flips': [{ flip: 'vertical' }, { flipVertical: 0.5 }],
    'flips both ways': [{ flip: 'both' }, { flipHorizontal: 0.5, flipVertical: 0.5 }],
    shifts: [{ shift: 3 }, { shift: 3 }],
    rotation: [{ rotation: 60 }, { rotation: 60 }],
    zoom: [{ zoom: 0.4 }, { zoom: 0.4 }],
    contrast: [{ contrast: 0.9 }, { contrast: 0.9 }],
    brightness: [{ brightness: 0.8 }, { brightness: 0.8 }],
    cutout: [{ cutout: 4 }, { cutout: 4 }],
    mixup: [{ mixup: 0.5 }, { mixup: 0.5 }],
    'all of them': [
      { flip: 'both', shift: 2, rotation: 20, zoom: 0.2, contrast: 0.5, brightness: 0.3, cutout: 5, mixup: 1 },
      {
        ...{
          flipHorizontal: 0.5,
          flipVertical: 0.5,
          shift: 2,
          rotation: 20,
          zoom: 0.2,
          contrast: 0.5,
          brightness: 0.3,
        },
        ...{ cutout: 5, mixup: 1 },
      },
    ],
  }
  const all = Object.entries(cases).flatMap(([name, [options, settings]]) =>
    [
      [name, options, settings, [9, 12, 1], [9, 12]] as const,
      [`${name}, cropped, three channels`, options, settings, [14, 11, 3], [10, 10]] as const,
    ].map((one) => one),
  )
  it.each(all)('%s', async (_name, options, settings, shape, to) => {
    const batchOf = examples(shape)
    const [outHeight, outWidth] = to
    const own = {
      ...{ ...nothing, ...settings, outHeight, outWidth },
      ...{ spareHeight: shape[0] - outHeight, spareWidth: shape[1] - outWidth },
    }
    const draws = Array.from({ length: batch }, (_, row) => reference.drawsOf(own, step, row, batch))
    const moved = reference.affineTransform(batchOf.x, array64([batch, 12], draws.flat()), to, 0.25)
    const expected = reference.mixedRows(reference.augmentedColors(moved, draws, own, 0.25), draws)
    const [x, target] = await augmented(batchOf, { ...options, fillValue: 0.25 }, to)
    // Exact moves copy pixels, so that nothing but rounding of positions and colours differs.
    const isExact = own.rotation + own.zoom + own.contrast + own.brightness + own.mixup === 0
    expectClose(x, expected.data, isExact ? 1e-30 : 2e-5)
    const oneHot = array64(
      [batch, 4],
      batchOf.labels.flatMap((label) => [0, 1, 2, 3].map((c) => (c === label ? 1 : 0))),
    )
    if (own.mixup === 0) expect([...(target ?? [])]).toEqual(batchOf.labels)
    else expectClose(target, reference.mixedRows(oneHot, draws).data, 1e-5)
  })

  it('and another step draws other numbers, the same step the same', async () => {
    const batchOf = examples([9, 12, 1])
    const options = { shift: 2, rotation: 10, cutout: 3, mixup: 0.2 }
    const [first, again, other] = await Promise.all([5, 5, 6].map((at) => augmented(batchOf, options, [9, 12], at)))
    expect(again).toEqual(first)
    expect(other).not.toEqual(first)
  })
})

describe('training with it', () => {
  const training = { optimizer: nn.adam(), epochs: 2, batchSize: 16, seed: 5 } as const
  const model = () => nn.lenet5({ units: [8, 8] }, { seed: 2 })
  const mixing = {
    loss: nn.categoricalCrossentropy(),
    metrics: [nn.accuracy()],
    augmentation: nn.augment({ flip: 'horizontal', rotation: 10, zoom: 0.1, contrast: 0.2, cutout: 6, mixup: 0.4 }),
  }

  it('leaves validation images and their class numbers as they are', async () => {
    using data = residentImages(device(), noiseImages(60))
    const validation = data.subset(Array.from({ length: 20 }, (_, i) => i))
    using own = model()
    const { epochs } = await nn.fit(own, data, { ...training, ...mixing, validation })
    const tested = await nn.evaluate(own, validation)
    const last = epochs.at(-1)
    expect(last?.validationAccuracy).toBe(tested.accuracy)
    expect(last?.validationLoss).toBeCloseTo(tested.loss, 5)
    expect(last?.accuracy).toBeGreaterThan(0)
  })

  it('is reproducible, and resumes within an epoch bit for bit; another augmentation rejects the checkpoint', async () => {
    using data = residentImages(device(), noiseImages(80))
    using whole = model()
    await nn.fit(whole, data, { ...training, ...mixing })
    const controller = new AbortController()
    let checkpoint: TrainingCheckpoint | undefined
    using stopped = model()
    const callbacks = {
      onProgress: () => controller.abort(),
      onCheckpoint: (one: TrainingCheckpoint) => {
        checkpoint = one
      },
    }
    await nn.fit(stopped, data, { ...training, ...mixing, signal: controller.signal, callbacks }).catch(() => undefined)
    if (checkpoint === undefined) throw new Error('no checkpoint was handed out')
    expect(checkpoint.step).toBeGreaterThan(0)
    using resumed = model()
    await nn.fit(resumed, data, { ...training, ...mixing, resume: checkpoint })
    expect(await resumed.weightNumbers()).toEqual(await whole.weightNumbers())
    using other = model()
    const augmentation = nn.augment({
      flip: 'horizontal',
      rotation: 11,
      zoom: 0.1,
      contrast: 0.2,
      cutout: 6,
      mixup: 0.4,
    })
    await expect(
      nn.fit(other, data, { ...training, ...mixing, augmentation, resume: checkpoint }),
    ).rejects.toMatchObject({
      code: 'mismatch',
      message: expect.stringContaining('augmentation'),
    })
  })

  it('crops images that are larger than the model, if validation images are not', async () => {
    const large = { images: new Uint8Array(24 * 36 * 40).fill(9), height: 36, width: 40, channels: 1, classes: 10 }
    using data = residentImages(device(), { ...large, labels: new Uint8Array(24) })
    using small = residentImages(device(), noiseImages(8))
    const augmentation = nn.augment({ crop: { height: 36, width: 40 } })
    using own = model()
    const { epochs } = await nn.fit(own, data, { ...training, augmentation, validation: small })
    expect(epochs).toHaveLength(2)
    await expect(nn.fit(own, data, { ...training, augmentation, validationSplit: 0.5 })).rejects.toMatchObject({
      code: 'shape',
    })
  })

  it('refuses features, a crop below the input, and mixup with class numbers', async () => {
    using features = FeatureDataset.allocate(device(), { width: 4, labels: Uint8Array.of(0, 1), classes: 2 })
    using head = nn.sequential('head', [4], [nn.dense('logits', 2)])
    using data = residentImages(device(), noiseImages(16))
    using own = model()
    const refused = async (fitted: Promise<unknown>, code: string, message: RegExp) =>
      await expect(fitted).rejects.toMatchObject({ code, message: expect.stringMatching(message) })
    const fitting = (options: Partial<FitOptions>) => nn.fit(own, data, { ...training, ...options })
    await refused(
      nn.fit(head, features, { ...training, augmentation: nn.augment({ rotation: 5 }) }),
      ...(['argument', /changes images .*; the data set gives/] as const),
    )
    await refused(
      fitting({ augmentation: nn.augment({ crop: { height: 30, width: 32 } }) }),
      'shape',
      /at least .*30x32/,
    )
    await refused(fitting({ augmentation: nn.augment({ mixup: 0.2 }) }), 'argument', /nn.categoricalCrossentropy\(\)/)
  })

  it.each([
    [{ flip: 'diagonal' }, /flip must be one of horizontal, vertical, both, random, always/],
    [{ shift: 1.5 }, /shift must be a whole number of pixels from 0 to 1000/],
    [{ rotation: 181 }, /rotation must be degrees from 0 to 180/],
    [{ zoom: 1 }, /zoom must be a number in \[0, 1\)/],
    [{ contrast: -0.1 }, /contrast must be a number from 0 to 1/],
    [{ cutout: 2000 }, /cutout must be a whole number of pixels/],
    [{ crop: { height: 8 } }, /width must be a whole number of pixels from 1/],
    [{ mixup: 0 }, /mixup must be a number above 0 and up to 1/],
    [{ rotate: 5 }, /no option rotate/],
  ])('refuses %j', (options, message) => {
    expect(() => nn.augment(options as AugmentOptions)).toThrow(expect.objectContaining({ code: 'argument' }))
    expect(() => nn.augment(options as AugmentOptions)).toThrow(message)
  })
})
