/** `weftgrad weights` and `weftgrad convert` as users see them: child processes. */
import { copyFile, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { readSafetensors } from '../src/format/safetensors.ts'
import { elementCount } from '../src/kernels/kernel.ts'
import { pretrained } from '../src/nn/models/pretrained.ts'
import { publishedNetworks } from '../src/weights/published.ts'
import { zoo, zooNames } from '../src/weights/zoo.ts'
import { builtCommand } from './support/built-package.ts'
import { type Outcome, runCommand } from './support/command.ts'
import { writeKerasH5 } from './support/keras-h5-writer.ts'

const models = fileURLToPath(new URL('fixtures/models', import.meta.url))
let folder = ''
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'weftgrad-weights-cli-'))
  await builtCommand()
})
afterAll(() => rm(folder, { recursive: true }))

/** Runs the command with only those weights that the test has provided. */
const weftgrad = (...args: readonly string[]): Promise<Outcome> =>
  runCommand(args, {
    env: {
      WEFTGRAD_WEIGHTS_DIR: folder,
      WEFTGRAD_CACHE_DIR: join(folder, 'cache'),
      KERAS_HOME: join(folder, 'keras'),
    },
  })

describe('weftgrad weights', () => {
  it('lists every file of the zoo, and its location', async () => {
    const { name } = zoo.vgg16.files.base
    await writeFile(join(folder, name), 'weights')
    const { code, stdout } = await weftgrad('weights')
    expect(code).toBe(0)
    for (const network of zooNames) {
      for (const { url, checksum } of Object.values(zoo[network].files)) {
        expect(stdout).toContain(url)
        expect(stdout).toContain(checksum)
      }
    }
    expect(stdout).toMatch(/vgg16 +no +58\.9 MB +yes, WEFTGRAD_WEIGHTS_DIR\n/)
    expect(stdout).toMatch(/xception +no +83\.7 MB +no\n/)

    const json = await weftgrad('weights', '--json')
    const { weights } = JSON.parse(json.stdout)
    expect(weights).toHaveLength(2 * publishedNetworks.size)
    const { url, checksum } = zoo.vgg16.files.base
    expect(weights[0]).toEqual({
      ...{ model: 'vgg16', top: false, built: true, file: name, url, checksum, bytes: 58_889_256 },
      ...{ cached: true, path: join(folder, name), place: 'WEFTGRAD_WEIGHTS_DIR' },
    })
    expect(weights[1]).toMatchObject({ model: 'vgg16', top: true, cached: false, path: null })
    const other = weights.find((one: { model: string }) => one.model === 'efficientnetb0')
    expect(other).toMatchObject({ built: false, file: 'efficientnetb0_notop.h5', bytes: null, cached: false })
    expect(stdout).toContain(`${other.checksum}  ${other.url}`)
    await rm(join(folder, name))
  })

  it('refuses an unknown network with similar names', async () => {
    expect(await weftgrad('weights', 'get', 'vgg17')).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("no weights of 'vgg17'; did you mean vgg16, vgg19?"),
    })
  })

  it('loads weights that are there: into the network, or by themselves, and refuses a damaged file', async () => {
    const file = join(folder, zoo.vgg16.files.base.name)
    const shapes = pretrained.vgg16.build().layers.filter(({ weights }) => weights.length > 0)
    await writeKerasH5(
      file,
      shapes.map(({ layer, weights }) => ({
        name: layer.name,
        weights: weights.map(({ name, shape }) => ({
          name: `${name}:0`,
          shape,
          data: () => new Float32Array(elementCount(shape)),
        })),
      })),
    )
    const { code, stdout, stderr } = await weftgrad('weights', 'get', 'vgg16', '--json')
    expect({ code, stderr }).toMatchObject({ code: 0 })
    expect(JSON.parse(stdout)).toEqual({
      ...{ model: 'vgg16', top: false, path: file, place: 'WEFTGRAD_WEIGHTS_DIR' },
      ...{ verified: false, loaded: true, parameters: 14_714_688 },
    })
    const other = publishedNetworks.get('vgg19')?.files.base.name ?? ''
    await copyFile(join(models, 'lenet5.h5'), join(folder, other))
    const told = await weftgrad('weights', 'get', 'VGG19')
    expect(told).toMatchObject({ code: 0, stdout: expect.stringContaining('weftgrad does not build this network') })
    expect(told.stdout).toContain('not the published bytes')

    await writeFile(join(folder, zoo.xception.files.withTop.name), 'weights')
    expect(await weftgrad('weights', 'get', 'xception', '--top')).toMatchObject({ code: 1, stdout: '' })
    await rm(file)
  }, 120_000)
})

describe('weftgrad convert', () => {
  it('writes safetensors and a table of the tensors', async () => {
    const out = join(folder, 'lenet.safetensors')
    const { code, stdout } = await weftgrad('convert', join(models, 'tfjs-layers-uint8'), out)
    expect(code).toBe(0)
    expect(stdout).toMatch(
      /^Tensor +Shape +Stored as +Minimum +Maximum\nconv1\/kernel +\[5, 5, 1, 6\] +uint8 +-0\.\d+ +0\.\d+\n/,
    )
    expect(stdout).toContain('10 tensors, 113,782 numbers')
    expect(stdout).toContain('It looks like the weights of a LeNet-5.')
    const { tensors } = readSafetensors(await readFile(out))
    expect([...tensors.values()].map(({ dtype }) => dtype)).toEqual(Array(10).fill('F32'))
    expect(tensors.get('dense1/kernel')?.shape).toEqual([400, 256])
  })

  it('replaces a file only if told to', async () => {
    const out = join(folder, 'there.safetensors')
    await writeFile(out, 'mine')
    const lenet = join(models, 'lenet5.keras')
    expect(await weftgrad('convert', lenet, out)).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('there.safetensors already exists'),
    })
    expect(await readFile(out, 'utf8')).toBe('mine')
    const { code, stdout } = await weftgrad('convert', lenet, out, '--force', '--json')
    expect(code).toBe(0)
    const report = JSON.parse(stdout)
    expect(report).toMatchObject({ to: out, format: 'keras-archive', parameters: 113_782 })
    expect(report.tensors[1]).toMatchObject({ name: 'conv1/bias', shape: [6], storedAs: 'float32', notFinite: 0 })
  })

  it('refuses files that are not weights, and other extensions, and leaves nothing behind', async () => {
    const empty = join(folder, 'empty')
    await writeFile(`${empty}.h5`, 'not HDF5')
    const before = await readdir(folder)
    const wrong = await weftgrad('convert', `${empty}.h5`, join(folder, 'out.safetensors'))
    expect(wrong.code).toBe(1)
    expect(wrong.stderr).toContain('empty.h5')
    expect(await weftgrad('convert', join(models, 'lenet5.h5'), join(folder, 'out.h5'))).toMatchObject({ code: 2 })
    expect(await readdir(folder)).toEqual(before)
  })
})
