/** Whole models that Keras 1 saved: `loadModel` builds them, and they compute what it computed. See `fixtures/keras-1/write.py`. */
import { readFileSync } from 'node:fs'
import { unzipSync } from 'fflate'
import { expect, it } from 'vitest'
import { memorySource } from '../src/format/byte-source.ts'
import { freshHdf5 } from '../src/format/hdf5-instance.node.ts'
import { openWeights } from '../src/format/open-weights.ts'
import { elementCount } from '../src/kernels/kernel.ts'
import { tensor } from '../src/operators/tensor.ts'
import { loadModel } from '../src/weights/load-model.ts'
import { useDevice } from './support/device.ts'

const device = useDevice()
const archive = unzipSync(new Uint8Array(readFileSync(new URL('fixtures/keras-1/models.zip', import.meta.url))))
const { 'outputs.json': json = new Uint8Array(), ...files } = archive
const outputs: Readonly<Record<string, readonly number[]>> = JSON.parse(new TextDecoder().decode(json))

it.each(Object.keys(files))('%s', async (name) => {
  const file = await openWeights(memorySource(files[name] ?? new Uint8Array(), name), { hdf5: freshHdf5 })
  try {
    expect(file.kerasVersion).toBe(1)
    using model = await loadModel(file, { device: device() })
    const numbers = Float32Array.from({ length: 2 * elementCount(model.inputShape) }, (_, i) => Math.sin(i + 1))
    const found = await model.call(tensor(numbers, [2, ...model.inputShape])).data()
    const wanted = outputs[name.replace('.h5', '')] ?? []
    expect(found).toHaveLength(wanted.length)
    const largest = Math.max(...wanted.map(Math.abs))
    for (const [i, value] of wanted.entries())
      expect(Math.abs((found[i] ?? Number.NaN) - value)).toBeLessThanOrEqual(2e-5 * largest)
    expect(model.penalty() === undefined).toBe(name !== 'sequential.h5')
  } finally {
    file.close()
  }
})
