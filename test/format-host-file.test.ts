/** Files on the host: all readers open them in one way, only regular files, of bounded size. */

import { execFileSync } from 'node:child_process'
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { readReport } from '../bench/compare.ts'
import { loadFashionMnist, readFashionMnistCsv } from '../src/data/fashion-mnist.node.ts'
import { readEda } from '../src/explore/explore.node.ts'
import { readHostFile, readHostText } from '../src/format/host-file.node.ts'
import { openWeightFile } from '../src/format/open-weights.node.ts'
import { checkpointIn } from '../src/runs/resumable-fit.node.ts'
import { readAnyConfig, runFiles } from '../src/runs/run-folder.node.ts'
import { loadTrainedModel } from '../src/runs/trained-model.node.ts'
import { readPredictions } from '../src/study/folder.node.ts'
import { evaluateRun } from '../src/study/use-run.node.ts'
import { fashionMnistLenet5 as task } from '../src/tasks/fashion-mnist-lenet5.node.ts'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'weftgrad-host-file-'))
})
afterAll(async () => {
  await rm(folder, { recursive: true, force: true })
})

const refusal = { code: 'file', message: expect.stringContaining('it is not a regular file') }

// Windows has neither mkfifo nor /dev.
describe.skipIf(process.platform === 'win32')('anything but a regular file', () => {
  /** Opens the file at `path`, which is in the given folder. */
  const readers: Readonly<Record<string, { readonly name: string; read(path: string, folder: string): unknown }>> = {
    'a file of bytes': { name: 'bytes', read: async (path) => readHostFile(path, 2 ** 20) },
    'a text': { name: 'text', read: async (path) => readHostText(path) },
    'a CSV file': { name: 'data.csv', read: (path) => readFashionMnistCsv(path) },
    'a file of weights': { name: 'weights.h5', read: (path) => openWeightFile(path) },
    'a checkpoint': { name: runFiles.checkpoint, read: (_, within) => checkpointIn(within) },
    'the configuration of a run': { name: 'config.json', read: (_, within) => readAnyConfig(within) },
    'the run to evaluate': { name: 'config.json', read: (_, within) => evaluateRun(task, within) },
    "a run's model": { name: 'model.safetensors', read: (_, within) => loadTrainedModel(within) },
    "a run's predictions": { name: 'predictions.csv', read: (_, within) => readPredictions(within) },
    'the results of eda': { name: 'eda.json', read: (_, within) => readEda(within) },
    'a benchmark report': { name: 'report.json', read: (path) => readReport(path) },
  }

  for (const [what, { name, read }] of Object.entries(readers)) {
    test(`is refused at once as ${what}`, async () => {
      const within = join(folder, what.replaceAll(/\W+/g, '-'))
      await mkdir(within)
      execFileSync('mkfifo', [join(within, name)])
      await expect(read(join(within, name), within)).rejects.toMatchObject({ code: 'file' })
    })
  }

  test('is refused as Fashion-MNIST', async () => {
    const within = join(folder, 'fashion')
    await mkdir(within)
    for (const name of ['train-images-idx3', 'train-labels-idx1', 't10k-images-idx3', 't10k-labels-idx1'])
      execFileSync('mkfifo', [join(within, `${name}-ubyte`)])
    await expect(loadFashionMnist({ dataDir: within })).rejects.toMatchObject(refusal)
  })

  test('is refused if it never ends, or is a folder', () => {
    expect(() => readHostFile('/dev/zero', 2 ** 20)).toThrow(expect.objectContaining(refusal))
    expect(() => readHostFile(folder, 2 ** 20)).toThrow(expect.objectContaining(refusal))
  })
})

test('a file larger than its reader can use is refused before it is read', async () => {
  const path = join(folder, 'large')
  await writeFile(path, 'five!')
  expect(readHostFile(path, 5)).toEqual(new TextEncoder().encode('five!'))
  expect(() => readHostFile(path, 4)).toThrow(/it has 5 bytes, more than the 4 allowed/)
})

test('no other source file reads files directly', async () => {
  const sources = fileURLToPath(new URL('../src', import.meta.url))
  /**
   * The system's own descriptions, the driver in the cache (which has its own checks), this package's version, and the files
   * that the HDF5 library keeps in memory.
   */
  const allowed =
    /^gpu\/node\/|^format\/(host-file|atomic-write)\.node\.ts$|^runs\/versions\.node\.ts$|^format\/hdf5-writer\.ts$/
  const readsFiles = /\b(readFile|readFileSync|createReadStream|openSync|openAsBlob)\b/
  const names = (await readdir(sources, { recursive: true })).filter((name) => name.endsWith('.ts'))
  const texts = await Promise.all(
    names.map(async (name) => ({ name, text: await readFile(join(sources, name), 'utf8') })),
  )
  const reading = texts.filter(({ name, text }) => readsFiles.test(text) && !allowed.test(name.replaceAll('\\', '/')))
  // The partial download is this process' own file, opened for writing.
  expect(reading.map(({ name }) => name)).toEqual(['weights/download.node.ts'])
  expect(readsFiles.test("import { readFile } from 'node:fs/promises'")).toBe(true)
})
