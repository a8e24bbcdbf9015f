/** Weight files in a page: Keras' formats and safetensors, intact, damaged, or too large. */
import { describe, expect, it } from 'vitest'
import { nn, weights } from 'weftgrad'
import { writeSafetensors } from '../../src/format/safetensors.ts'
import { disagreement } from '../support/compare.ts'
import { probabilitiesOf } from '../support/lenet-predictions.ts'
import { useBrowserDevice } from './browser-device.ts'
import { expectedPredictions, fixtureFile } from './fixture-files.ts'

const device = useBrowserDevice()

/** The same LeNet-5 as a .safetensors file. */
async function safetensorsFile(): Promise<File> {
  using model = nn.lenet5()
  const file = await weights.open(await fixtureFile('lenet5.h5'))
  await weights.loadWeights(model, device(), file)
  file.close()
  const tensors = new Map(
    [...(await model.weightNumbers())].map(([name, { shape, data }]) => [name, { dtype: 'F32' as const, shape, data }]),
  )
  return new File([writeSafetensors(tensors)], 'lenet5.safetensors')
}

const fileOf = async (name: string): Promise<File> =>
  name === 'lenet5.safetensors' ? await safetensorsFile() : await fixtureFile(name)

describe('a LeNet-5 from Keras, opened by a page from', () => {
  it.each([['lenet5.h5'], ['lenet5.weights.h5'], ['lenet5.keras'], ['lenet5.safetensors']])(
    '%s, gives its probabilities',
    async (name) => {
      const { images, probabilities } = await expectedPredictions()
      const own = await probabilitiesOf(device(), await weights.open(await fileOf(name)), images)
      expect(disagreement(own, probabilities, { rtol: 0, atol: 1e-5 })).toBeUndefined()
    },
  )

  it('a TensorFlow.js model.json with its shards, gives its probabilities', async () => {
    const { images, probabilities } = await expectedPredictions()
    const folder = 'tfjs-layers-float32'
    const file = await weights.open(await fixtureFile(`${folder}/model.json`), {
      openShard: (path) => fixtureFile(`${folder}/${path}`),
    })
    const own = await probabilitiesOf(device(), file, images)
    expect(disagreement(own, probabilities, { rtol: 0, atol: 1e-5 })).toBeUndefined()
  })
})

describe('a page refuses', () => {
  const refusal = (file: Blob) => expect(weights.open(file)).rejects

  it.each([['lenet5.h5'], ['lenet5.keras'], ['lenet5.safetensors']])('%s, truncated', async (name) => {
    const file = await fileOf(name)
    const cut = new File([file.slice(0, file.size - 1000)], file.name)
    await refusal(cut).toMatchObject({ code: 'format', message: expect.stringContaining(name) })
  })

  it.each([['lenet5.h5'], ['lenet5.safetensors']])('%s with a damaged table of contents', async (name) => {
    const file = await fileOf(name)
    const bytes = new Uint8Array(await file.arrayBuffer())
    bytes.fill(0xff, 9, 90)
    await refusal(new File([bytes], name)).toMatchObject({ code: 'format', message: expect.stringContaining(name) })
  })

  it('a file that is not a weights file, and says what it looks like', async () => {
    await refusal(new File(['<!doctype html>'], 'weights.h5')).toMatchObject({
      code: 'format',
      message: expect.stringMatching(/weights\.h5.*web page/s),
    })
  })

  it('a file too large to load whole, and suggests a worker', async () => {
    const huge = new File([], 'vgg19.h5')
    Object.defineProperty(huge, 'size', { value: 2 ** 29 })
    await refusal(huge).toMatchObject({ code: 'file', message: expect.stringMatching(/vgg19\.h5.*worker/s) })
  })

  it('a damaged file, and then reads the next one', async () => {
    const { images, probabilities } = await expectedPredictions()
    const own = await probabilitiesOf(device(), await weights.open(await fixtureFile('lenet5.h5')), images)
    expect(disagreement(own, probabilities, { rtol: 0, atol: 1e-5 })).toBeUndefined()
  })
})
