/** `weights.open`: data in memory and, in Node.js, paths. */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import * as portable from 'weftgrad'
import * as inNode from 'weftgrad/node'

const path = fileURLToPath(new URL('fixtures/models/lenet5.h5', import.meta.url))
const layers = ['conv1', 'conv2', 'dense1', 'dense2', 'probabilities']

async function layersOf(opening: Promise<portable.weights.WeightFile>): Promise<(string | number)[]> {
  const file = await opening
  const names = file.groups.map(({ name }) => name)
  const [first] = file.groups[0]?.weights ?? []
  if (first === undefined) throw new Error('the file has no tensors')
  expect((await file.read(first)).length).toBe(150)
  file.close()
  return names
}

describe('weights are opened', () => {
  it.each([
    ['from bytes', () => readFileSync(path)],
    ['from a blob', () => new Blob([readFileSync(path)])],
  ])('%s, from either entry point', async (_, held) => {
    expect(await layersOf(portable.weights.open(held()))).toEqual(layers)
    expect(await layersOf(inNode.weights.open(held()))).toEqual(layers)
  })

  it('by their path in Node.js', async () => {
    expect(await layersOf(inNode.weights.open(path))).toEqual(layers)
  })

  it('with the shards of a model.json, which are requested by name', async () => {
    const folder = fileURLToPath(new URL('fixtures/models/tfjs-layers-float32/', import.meta.url))
    const openShard = async (name: string) => readFileSync(`${folder}${name}`)
    const modelJson = readFileSync(`${folder}model.json`)
    expect(await layersOf(portable.weights.open(modelJson, { openShard }))).toEqual(layers)
    await expect(portable.weights.open(modelJson)).rejects.toMatchObject({ code: 'format' })
  })

  it('and are named in messages as the caller named them', async () => {
    const nonsense = new Uint8Array(100)
    const message = (name: string) => ({
      code: 'format',
      message: expect.stringContaining(`${name} is not a supported weights file`),
    })
    await expect(portable.weights.open(nonsense, { name: 'mine.h5' })).rejects.toMatchObject(message('mine.h5'))
    await expect(portable.weights.open(new File([nonsense], 'dropped.h5'))).rejects.toMatchObject(message('dropped.h5'))
  })
})
