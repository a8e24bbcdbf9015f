/** How a model's weights get their numbers: created when first needed, or streamed to the device, all or none. */

import { describe, expect, it } from 'vitest'
import { planValues } from '../src/graph/run/evaluate.ts'
import { Program } from '../src/graph/run/program.ts'
import { glorotUniform, zerosInitializer } from '../src/nn/initializers.ts'
import { batchNormalization, dense } from '../src/nn/layers.ts'
import type { Model, ModelOptions } from '../src/nn/model.ts'
import { sequential } from '../src/nn/model.ts'
import type { LoadProgress, ModelWeight } from '../src/nn/model-weights.ts'
import { tensor } from '../src/operators/tensor.ts'
import { Random } from '../src/random.ts'
import { hashedReader } from '../src/weights/hashed.ts'
import { useDevice } from './support/device.ts'

const device = useDevice()

const small = (options: ModelOptions = {}): Model =>
  sequential('small', [3], [dense('a', 4), batchNormalization('norm'), dense('b', 2)], options)

const fill =
  (value: number) =>
  async ({ shape }: ModelWeight) =>
    new Float32Array(shape.reduce((product, extent) => product * extent, 1)).fill(value)

const failsWith = (code: string, part: string): unknown =>
  expect.objectContaining({ code, message: expect.stringContaining(part) })

describe('initial numbers', () => {
  it('are made when they are needed, one weight at a time', async () => {
    const made: string[] = []
    const noting = (name: string) => (shape: readonly number[], random: Random) => {
      made.push(name)
      return glorotUniform(shape, random)
    }
    const layers = ['a', 'b'].map((name) => dense(name, 3, { kernelInitializer: noting(name), useBias: false }))
    using model = sequential('lazy', [3], layers)
    expect(made).toEqual([])
    const [, b] = model.weights
    if (b === undefined) throw new Error('b has a kernel')
    await model.read(b)
    expect(made).toEqual(['b'])
    model.to(device())
    expect(made).toEqual(['b', 'a', 'b'])
    await model.weightNumbers()
    expect(made).toHaveLength(3)
  })

  it('depend only on seed and name, on the host and on a device', async () => {
    const expected = glorotUniform([4, 2], new Random(7, 'b/kernel'))
    const onHost = await small({ seed: 7 }).weightNumbers()
    using placed = small({ seed: 7 }).to(device())
    expect(onHost.get('b/kernel')?.data).toEqual(expected)
    expect(await placed.weightNumbers()).toEqual(onHost)
    expect(onHost.get('a/bias')?.data).toEqual(zerosInitializer([4], new Random(7)))
  })
})

describe('loading', () => {
  it('reads one weight at a time, in order, and reports progress', async () => {
    using model = small()
    let open = 0
    const asked: string[] = []
    const progress: LoadProgress[] = []
    const read = async (weight: ModelWeight): Promise<Float32Array> => {
      expect(++open).toBe(1)
      asked.push(weight.name)
      await new Promise((resolve) => setTimeout(resolve))
      open--
      return hashedReader(1)(weight)
    }
    expect(await model.load(device(), read, (step) => progress.push(step))).toBe(model)
    expect(model.device).toBe(device())
    expect(asked).toEqual(model.weights.map(({ name }) => name))
    expect(progress.map(({ weight }) => weight)).toEqual(model.weights)
    expect(progress.at(-1)).toMatchObject({ bytes: 4 * model.parameterCount, totalBytes: 4 * model.parameterCount })
    for (const weight of model.weights) expect(await model.read(weight)).toEqual(await hashedReader(1)(weight))
  })

  it('accepts numbers that are part of a larger array', async () => {
    using model = sequential('plain', [2], [dense('a', 2, { useBias: false })])
    await model.load(device(), async () => Float32Array.of(9, 1, 2, 3, 4, 9).subarray(1, 5))
    expect([...(await model.call(tensor([[1, 10]])).data())]).toEqual([31, 42])
  })

  it.each([
    ['a read that fails', 'file', 'gone', () => Promise.reject(Object.assign(new Error('gone'), { code: 'file' }))],
    ['numbers too few', 'mismatch', 'b/kernel is [4, 2], but 7', async () => new Float32Array(7)],
    ['numbers too many', 'mismatch', 'b/kernel', async () => new Float32Array(9)],
    ['NaN', 'data', 'number 5 of b/kernel is NaN', async () => new Float32Array(8).fill(Number.NaN, 5)],
    [
      'an infinity',
      'data',
      'number 7 of b/kernel is -Infinity',
      async () => Float32Array.of(1, 2, 3, 4, 5, 6, 7, -1 / 0),
    ],
  ])('leaves everything as it was after %s', async (_, code, part, bad) => {
    const before = device().memory().liveBytes
    const read = (weight: ModelWeight): Promise<Float32Array> => (weight.name === 'b/kernel' ? bad() : fill(5)(weight))
    using onHost = small()
    const initial = await onHost.weightNumbers()
    await expect(onHost.load(device(), read)).rejects.toThrow(failsWith(code, part))
    expect(onHost.device).toBeUndefined()
    expect(await onHost.weightNumbers()).toEqual(initial)

    using placed = small().to(device())
    const live = device().memory().liveBytes
    await expect(placed.load(device(), read)).rejects.toThrow(failsWith(code, part))
    expect(await placed.weightNumbers()).toEqual(initial)
    expect(device().memory().liveBytes).toBe(live)
    placed.dispose()
    expect(device().memory().liveBytes).toBe(before)
  })

  it('updates a model on a device, and the programs bound to it', async () => {
    using model = small().to(device())
    const y = model.call(tensor([[1, 1, 1]]))
    using program = await Program.create(device(), planValues([y.value]), 'bound')
    const result = async (): Promise<number[]> => {
      program.runNow()
      return [...new Float32Array((await device().readAll(program.results))[0] ?? new ArrayBuffer(0))]
    }
    await model.load(device(), fill(0))
    expect(await result()).toEqual([0, 0])
    const live = device().memory().liveBytes
    await model.load(device(), async (weight) => fill(weight.name === 'b/bias' ? 3 : 0)(weight))
    expect(await result()).toEqual([3, 3])
    expect(device().memory().liveBytes).toBe(live)
  })

  it('refuses a disposed model, even while loading', async () => {
    const before = device().memory().liveBytes
    const model = small()
    const loading = model.load(device(), async (weight) => {
      model.dispose()
      return fill(1)(weight)
    })
    await expect(loading).rejects.toThrow(failsWith('disposed', 'small'))
    expect(device().memory().liveBytes).toBe(before)
    await expect(model.load(device(), fill(1))).rejects.toThrow(failsWith('disposed', 'small'))
    await expect(model.weightNumbers()).rejects.toThrow(failsWith('disposed', 'small'))
  })
})

describe('frozen layers', () => {
  const half = (): Model => small({ trainable: ({ name }) => name === 'b' })

  it('have their weights outside the buffer that an optimizer updates', async () => {
    using model = half().to(device())
    expect(model.trainableWeights.map(({ name }) => name)).toEqual(['b/kernel', 'b/bias'])
    expect(model.trainableBuffer.bytes).toBe(512)
    expect(await model.weightNumbers()).toEqual(await small().weightNumbers())
  })

  it('normalise by their moving statistics in training, too', async () => {
    const x = tensor([1, 2, 3, 4, 5, 60], [2, 3])
    const updates = (model: Model): number => {
      let count = 0
      model.call(x, { training: true, update: () => count++ })
      return count
    }
    expect(updates(small())).toBe(2)
    expect(updates(half())).toBe(0)
    using model = half().to(device())
    expect(await model.call(x, { training: true }).data()).toEqual(await model.call(x).data())
  })
})
