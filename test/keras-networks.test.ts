/**
 * Published networks as Keras describes them: `loadModel` builds them, and with the same made-up weights they compute what Keras
 * computes. `npm run test:full` takes all networks, and whole files if a Python with Keras is there.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { hashedReader } from '../src/weights/hashed.ts'
import { kerasModel } from '../src/weights/keras-model.ts'
import { useDevice } from './support/device.ts'
import { errorOf, errorOfFile, storedNetworks, whyNoKeras, writeFiles, writtenFiles } from './support/keras-networks.ts'

const device = useDevice()
const networks = storedNetworks()
const isFull = process.env.WEFTGRAD_TEST_FULL === '1'

describe('from its description, with hashed weights', () => {
  it.each([...networks.keys()].filter((name) => isFull || ['MobileNet', 'MobileNetV3Small'].includes(name)))(
    '%s',
    async (name) => {
      const network = networks.get(name)
      if (network === undefined) throw new Error(`there is no ${name}`)
      using model = kerasModel(network.architecture, name)
      await model.load(device(), hashedReader(network.gain))
      expect(await errorOf(model, device(), network)).toBeLessThan(2e-5)
    },
  )
})

const why = isFull ? whyNoKeras() : 'It takes minutes; `npm run test:full` runs it.'
const skipped = why === undefined ? '' : ` (skipped: ${why})`

it.skipIf(why !== undefined)(
  `from whole files that this machine's Keras writes${skipped}`,
  { timeout: 600_000 },
  async () => {
    const folder = await mkdtemp(join(tmpdir(), 'weftgrad-keras-'))
    try {
      await writeFiles(folder, ['MobileNetV2', 'EfficientNetV2B0', 'ConvNeXtTiny'])
      const files = await writtenFiles(folder)
      expect(files.length).toBeGreaterThanOrEqual(6)
      for (const { path, expected } of files)
        expect(await errorOfFile(path, device(), expected), path).toBeLessThan(2e-5)
    } finally {
      await rm(folder, { recursive: true })
    }
  },
)
