/** Written models, opened by the tools they are for: Keras 3 and ONNX Runtime. Needs a Python that has them. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { tensor } from '../src/index.ts'
import type { Model } from '../src/nn/model.ts'
import { pretrained } from '../src/nn/models/pretrained.ts'
import { encodeKeras, encodeKerasH5 } from '../src/weights/encode-keras.ts'
import { encodeOnnx } from '../src/weights/encode-onnx.ts'
import { hashedGains, hashedWeight } from '../src/weights/hashed.ts'
import { loadModel } from '../src/weights/load-model.ts'
import { transposed } from '../src/weights/onnx-export/graph.ts'
import { openAnywhere } from '../src/weights/open.node.ts'
import { disagreement } from './support/compare.ts'
import { useDevice } from './support/device.ts'
import { type ExportCase, inputOf, isReadBack, layerCases, networkCases, notInKeras } from './support/export-cases.ts'
import { outputsIn, type PythonCase, type PythonOutput, type PythonTool, whyNoPython } from './support/python.ts'

const device = useDevice()
const batch = 2

function vgg16(): Model {
  const model = pretrained.vgg16.build({ size: 32 })
  const numbers = model.weights.map(
    ({ name, shape }) => [name, { shape, data: hashedWeight(name, shape, hashedGains.vgg16) }] as const,
  )
  model.setWeights(new Map(numbers))
  return model
}
const everyCase: readonly ExportCase[] = [...layerCases, ...networkCases, { name: 'VGG16', build: vgg16 }]

/** Images with their channels first, or back: other batches stay as they are. */
const orders = { first: [0, 3, 1, 2], last: [0, 2, 3, 1] }
function turned(shape: readonly number[], data: Float32Array, to: 'first' | 'last') {
  return shape.length === 4 ? transposed(shape, data, orders[to]) : { shape, data }
}

interface Format {
  readonly extension: string
  readonly tool: PythonTool
  readonly encode: (model: Model) => Promise<Uint8Array>
}
const formats: readonly Format[] = [
  { extension: 'keras', tool: 'keras', encode: encodeKeras },
  { extension: 'h5', tool: 'keras', encode: encodeKerasH5 },
  { extension: 'onnx', tool: 'onnx', encode: encodeOnnx },
]

for (const { extension, tool, encode } of formats) {
  const reason = await whyNoPython(tool)
  const cases = everyCase.filter(({ name }) => tool !== 'keras' || !notInKeras.test(name))
  if (reason !== undefined) console.warn(reason)

  describe.skipIf(reason !== undefined)(`.${extension} files in Python`, () => {
    let folder = ''
    const own = new Map<string, { readonly shape: readonly number[]; readonly data: Float32Array }>()
    let theirs: ReadonlyMap<string, PythonOutput | string> = new Map()

    beforeAll(async () => {
      folder = await mkdtemp(join(tmpdir(), 'weftgrad-python-'))
      const listed: PythonCase[] = []
      for (const [i, { name, build }] of cases.entries()) {
        using model = build()
        const given = { shape: [batch, ...model.inputShape], data: inputOf(model, batch) }
        await writeFile(join(folder, `${i}.${extension}`), await encode(model))
        const { shape, data: input } = extension === 'onnx' ? turned(given.shape, given.data, 'first') : given
        const save = tool === 'keras' ? { save: `saved-${i}.keras` } : {}
        listed.push({ model: `${i}.${extension}`, input, shape, ...save })
        const y = model.to(device()).call(tensor(given.data, given.shape))
        own.set(name, { shape: y.shape, data: Float32Array.from(await y.data()) })
      }
      theirs = await outputsIn(tool, folder, listed)
    })
    afterAll(() => rm(folder, { recursive: true }))

    it.each(cases.map(({ name }, i) => [name, i] as const))('%s: the same outputs', (name, i) => {
      const wanted = own.get(name) ?? expect.fail()
      const output = theirs.get(`${i}.${extension}`)
      if (output === undefined || typeof output === 'string') expect.fail(output)
      const { shape, data } = extension === 'onnx' ? turned(output.shape, output.data, 'last') : output
      expect(shape).toEqual(wanted.shape)
      expect(disagreement(data, wanted.data, { rtol: 1e-5, atol: 1e-5 }, shape)).toBeUndefined()
    })

    it.runIf(tool === 'keras').each(cases.map((one, i) => [one.name, one, i] as const))(
      '%s: the same weights after Keras has read and written them',
      async (name, { build }, i) => {
        using model = build()
        if (!isReadBack(name)) return
        const file = await openAnywhere(join(folder, `saved-${i}.keras`))
        try {
          using back = await loadModel(file, { device: device() })
          expect(await back.weightNumbers()).toEqual(await model.weightNumbers())
        } finally {
          file.close()
        }
      },
    )
  })
}
