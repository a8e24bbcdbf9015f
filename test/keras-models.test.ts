/**
 * A small model for each kind of layer, saved whole by Keras: `loadModel` builds it, and it computes what Keras computed.
 * `fixtures/keras-models/write.py` made the files.
 */
import { readFileSync } from 'node:fs'
import { unzipSync } from 'fflate'
import { describe, expect, it } from 'vitest'
import { memorySource } from '../src/format/byte-source.ts'
import { freshHdf5 } from '../src/format/hdf5-instance.node.ts'
import { openWeights } from '../src/format/open-weights.ts'
import { elementCount } from '../src/kernels/kernel.ts'
import { decodeModel, encodeModel } from '../src/nn/index.ts'
import { layerClasses } from '../src/nn/layers/registry.ts'
import { tensor } from '../src/operators/tensor.ts'
import { loadModel } from '../src/weights/load-model.ts'
import { useDevice } from './support/device.ts'

const device = useDevice()

const archive = unzipSync(new Uint8Array(readFileSync(new URL('fixtures/keras-models/models.zip', import.meta.url))))
const { 'outputs.json': json = new Uint8Array(), ...files } = archive
const outputs: Readonly<Record<string, readonly number[]>> = JSON.parse(new TextDecoder().decode(json))

describe('a model saved by Keras', () => {
  it.each(Object.keys(files).map((name) => name.replace('.keras', '')))('%s', async (name) => {
    const file = await openWeights(memorySource(files[`${name}.keras`] ?? new Uint8Array(), name), { hdf5: freshHdf5 })
    try {
      using model = await loadModel(file, { device: device() })
      const numbers = Float32Array.from({ length: 2 * elementCount(model.inputShape) }, (_, i) => Math.sin(i + 1))
      const x = tensor(numbers, [2, ...model.inputShape])
      const found = await model.call(x).data()
      const wanted = outputs[name] ?? []
      expect(found).toHaveLength(wanted.length)
      const largest = Math.max(...wanted.map(Math.abs))
      for (const [i, value] of wanted.entries())
        expect(Math.abs((found[i] ?? Number.NaN) - value)).toBeLessThanOrEqual(2e-5 * largest)
      using back = decodeModel(await encodeModel(model)).model
      expect(await back.call(x).data({ device: device() })).toEqual(found)
    } finally {
      file.close()
    }
  })

  it('is there for every class of layer, except LayerScale, which Keras has in its ConvNeXt only, and operations of ONNX', () => {
    const tried = new Set(Object.keys(files).map((name) => name.replace('.keras', '')))
    expect(layerClasses.filter((name) => !tried.has(name))).toEqual(['LayerScale', 'Operation'])
  })
})
