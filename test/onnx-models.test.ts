/**
 * Whole networks of torchvision with random weights, exported by torch: within 2e-5 of the largest magnitude of ONNX Runtime's
 * outputs. Runs in `npm run test:full`, with a Python that has torch, torchvision, onnx, onnxscript and onnxruntime: `python3`, or
 * the one that WEFTGRAD_PYTHON names. ONNX_MODELS names some of the networks.
 */
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { tensor } from '../src/index.ts'
import { loadModel } from '../src/weights/load-model.ts'
import { openAnywhere } from '../src/weights/open.node.ts'
import { useDevice } from './support/device.ts'
import { onnxPython, pythonText } from './support/onnx-python.ts'

const names = (
  process.env.ONNX_MODELS ??
  'resnet18,mobilenet_v2,mobilenet_v3_small,efficientnet_b0,squeezenet1_1,densenet121,shufflenet_v2,convnext_tiny,vit_b_16'
).split(',')
const python = onnxPython('torch, torchvision, onnx, onnxscript, onnxruntime')

describe.skipIf(python === undefined)('a network of torchvision', () => {
  const device = useDevice()

  it.each(names)(
    '%s',
    async (name) => {
      const folder = await mkdtemp(join(tmpdir(), 'onnx-models-'))
      try {
        const printed = await pythonText(python ?? '', ['test/onnx/write-models.py', folder, name])
        const { input, output }: { input: number[]; output: number[] } = JSON.parse(printed)
        const floats = async (kind: string): Promise<Float32Array> => {
          const bytes = await readFile(join(folder, `${name}.${kind}`))
          return new Float32Array(Uint8Array.from(bytes).buffer)
        }
        const [n = 1, channels = 3, height = 1, width = 1] = input
        const numbers = await floats('input')
        const pixels = height * width
        const images = Float32Array.from(numbers, (_, i) => {
          const one = Math.floor(i / (pixels * channels))
          return numbers[(one * channels + (i % channels)) * pixels + (Math.floor(i / channels) % pixels)] ?? Number.NaN
        })
        const file = await openAnywhere(join(folder, `${name}.onnx`))
        using model = await loadModel(file, { device: device() })
        file.close()
        const found = await model.call(tensor(images, [n, height, width, channels])).data()
        const expected = await floats('output')
        expect(found).toHaveLength(output.reduce((product, extent) => product * extent, 1))
        const most = Math.max(...expected.map(Math.abs))
        const worst = Math.max(...expected.map((y, i) => Math.abs(y - (found[i] ?? Number.NaN))))
        console.log(`${name}: error ${(worst / most).toExponential(1)} of the largest magnitude`)
        expect(worst).toBeLessThan(2e-5 * most)
      } finally {
        await rm(folder, { recursive: true, force: true })
      }
    },
    1_800_000,
  )
})
