/**
 * Compares networks of Keras Applications with Keras itself: a Python with Keras writes whole models with made-up weights and
 * their outputs, `weights.loadModel` reads them, and a table says how far the outputs are apart.
 *
 *     npm run keras -- [--stored] [NETWORK ...]
 *
 * Python is `WEFTGRAD_PYTHON`, else `python3`. `WEFTGRAD_KERAS=tf_keras` takes Keras 2, and with the package tensorflowjs also
 * writes TensorFlow.js layers models. `--stored` needs no Python: it takes the descriptions and outputs in `test/fixtures`.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { open } from '../src/node.ts'
import { hashedReader } from '../src/weights/hashed.ts'
import { kerasModel } from '../src/weights/keras-model.ts'
import {
  errorOf,
  errorOfFile,
  storedNetworks,
  whyNoKeras,
  writeFiles,
  writtenFiles,
} from '../test/support/keras-networks.ts'

const isStored = process.argv.includes('--stored')
const why = isStored ? undefined : whyNoKeras()
if (why !== undefined) {
  console.error(why)
  process.exit(1)
}
const given = process.argv.slice(2).filter((argument) => argument !== '--stored')
const stored = storedNetworks()
const device = await open()
console.log('| network | file | largest relative error |\n|---|---|---:|')
let worst = 0
const report = (name: string, format: string, error: number): void => {
  worst = Math.max(worst, Number.isNaN(error) ? Number.POSITIVE_INFINITY : error)
  console.log(`| ${name} | ${format} | ${error.toExponential(1)} |`)
}
for (const name of given.length > 0 ? given : stored.keys()) {
  const network = stored.get(name)
  if (isStored && network !== undefined) {
    using model = kerasModel(network.architecture, name)
    await model.load(device, hashedReader(network.gain))
    report(name, `Keras ${network.keras}, description`, await errorOf(model, device, network))
    continue
  }
  const folder = await mkdtemp(join(tmpdir(), 'weftgrad-keras-'))
  try {
    await writeFiles(folder, [name])
    for (const { path, format, expected } of await writtenFiles(folder))
      try {
        report(name, format, await errorOfFile(path, device, expected))
      } catch (error) {
        // TensorFlow.js' converter loses weights of layers with `/` in their names.
        worst = Number.POSITIVE_INFINITY
        console.log(`| ${name} | ${format} | ${String(error)} |`)
      }
  } finally {
    await rm(folder, { recursive: true })
  }
}
device.dispose()
if (worst > 2e-5) process.exitCode = 1
