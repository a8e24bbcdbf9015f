/** The example programs run as their first comments say, and print the expected output. */
import { execFile } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { writeIdx } from '../src/format/idx.ts'
import { decodePng, encodePng } from '../src/format/png.ts'
import { lenet5 } from '../src/nn/models/lenet5.ts'
import { vgg16 } from '../src/nn/models/vgg16.ts'
import { nn } from '../src/node.ts'
import { saveModel } from '../src/runs/trained-model.node.ts'
import { randomStream } from './cases/case.ts'

const root = fileURLToPath(new URL('..', import.meta.url))

describe('the example', () => {
  let folder = ''
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'weftgrad-examples-'))
    await writeDataSet(join(folder, 'data'), 240, 60)
    await writePictures(join(folder, 'pictures'), 20)
    await mkdir(join(folder, 'run'))
    const classNames = ['zero', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine']
    using model = lenet5({ units: [8, 8], classes: 10 })
    await saveModel(join(folder, 'run'), model, { classNames })
  })
  afterAll(() => rm(folder, { recursive: true, force: true }))

  /**
   * Runs an example as the README says, with a small data set instead of Fashion-MNIST; returns its standard output.
   */
  async function run(example: string, ...args: string[]): Promise<string> {
    return await runFor({}, example, ...args)
  }

  /** The same, with environment variables that shorten it. */
  async function runFor(short: Readonly<Record<string, string>>, example: string, ...args: string[]): Promise<string> {
    const { stdout } = await promisify(execFile)(
      process.execPath,
      ['--import', './scripts/tsx.mjs', `examples/${example}`, ...args],
      { cwd: root, env: { ...process.env, WEFTGRAD_DATA_DIR: join(folder, 'data'), ...short } },
    )
    return stdout
  }

  /** The number that the output has after a text. */
  const numberAfter = (text: string, output: string): number =>
    Number(output.split(text)[1]?.match(/^\s*([\d.]+)/)?.[1] ?? Number.NaN)

  test('tensors.ts computes a loss and its gradients', async () => {
    const output = await run('tensors.ts')
    // ln(sum(exp(logits))) - logit of the label, by hand: logits are (-1.35, 0) and (0.4, -0.4).
    const expected = (Math.log(Math.exp(-1.35) + 1) + Math.log(1 + Math.exp(-0.8))) / 2
    const [, loss] = /Float32Array\(1\) \[ ([\d.]+) \]/.exec(output) ?? []
    expect(Number(loss)).toBeCloseTo(expected, 5)
    expect(output).toContain('Tensor(f32[3, 2])')
  })

  test('custom-op.ts computes its own operator, and the derivative is correct', async () => {
    const output = await run('custom-op.ts')
    const swish = (x: number): number => x / (1 + Math.exp(-x))
    const [, numbers = ''] = /swish Float32Array\(5\) \[([^\]]*)\]/.exec(output) ?? []
    numbers.split(',').forEach((text, i) => {
      expect(Number(text)).toBeCloseTo(swish(i - 2), 5)
    })
    const [, error] = /differences by ([\de.-]+)/.exec(output) ?? []
    expect(Number(error)).toBeLessThan(1e-3)
  })

  test('train-lenet.ts learns', async () => {
    const output = await run('train-lenet.ts')
    const [, accuracy] = /test loss [\d.]+, accuracy ([\d.]+) %/.exec(output) ?? []
    expect(Number(accuracy)).toBeGreaterThan(90)
  })

  test('predict.ts classifies test images', async () => {
    const lines = (await run('predict.ts', join(folder, 'run'))).trimEnd().split('\n')
    expect(lines).toHaveLength(10)
    for (const line of lines) expect(line).toMatch(/^[a-z]+ \([\d.]+ %\), actually: [\w\s/-]+$/)
  })

  test('arrays.ts tells two spirals apart', async () => {
    expect(numberAfter('test accuracy', await runFor({ EPOCHS: '100' }, 'arrays.ts'))).toBeGreaterThan(85)
  })

  test('regression.ts predicts better than the mean', async () => {
    // The patients' mean is wrong by 66 on average.
    expect(numberAfter('error', await runFor({ EPOCHS: '40' }, 'regression.ts'))).toBeLessThan(60)
  })

  test('autoencoder.ts restores images', async () => {
    const file = join(folder, 'autoencoder.png')
    // A grey of 0.5 everywhere is wrong by 0.12.
    expect(numberAfter('error', await runFor({ EPOCHS: '10' }, 'autoencoder.ts', file))).toBeLessThan(0.11)
    expect(decodePng(await readFile(file))).toMatchObject({ width: 280, height: 56, channels: 1 })
  })

  test('resnet20.ts trains on shapes that it makes, and on a folder', async () => {
    const short = { EPOCHS: '1', COUNT: '80' }
    const output = await runFor(short, 'resnet20.ts')
    expect(output).toContain('80 pictures in 10 classes')
    expect(numberAfter('accuracy', output)).toBeLessThanOrEqual(100)
    expect(await runFor(short, 'resnet20.ts', join(folder, 'pictures'))).toContain('32 pictures in 2 classes')
  })

  test('vision-transformer.ts learns', async () => {
    const output = await runFor({ EPOCHS: '25' }, 'vision-transformer.ts')
    expect(numberAfter('test accuracy', output)).toBeGreaterThan(50)
  })

  test('two-heads.ts makes both losses smaller', async () => {
    const output = await runFor({ STEPS: '100' }, 'two-heads.ts')
    expect(numberAfter('class accuracy', output)).toBeGreaterThan(20)
    // A guess in the middle of all sizes is wrong by 2.4 pixels.
    expect(numberAfter('of the size', output)).toBeLessThan(2.4)
  })

  test('picture-folder.ts learns from a folder, and names its pictures', async () => {
    const output = await runFor({ EPOCHS: '30' }, 'picture-folder.ts', join(folder, 'pictures'))
    expect(numberAfter('accuracy', output)).toBeGreaterThan(80)
    expect(output).toMatch(/^(dark|light)\/\d+\.png: (dark|light)$/m)
  })

  test('transfer.ts learns from features of VGG16, here with random weights', async () => {
    const weights = join(folder, 'vgg16.safetensors')
    using base = vgg16({ size: 32 })
    await nn.saveModel(base, weights, { architecture: false })
    const output = await runFor({ EPOCHS: '50' }, 'transfer.ts', join(folder, 'pictures'), weights)
    expect(numberAfter('accuracy', output)).toBeGreaterThan(50)
  })

  test('own-loop.ts learns', async () => {
    expect(numberAfter('test accuracy', await runFor({ EPOCHS: '40' }, 'own-loop.ts'))).toBeGreaterThan(80)
  })

  test('callbacks.ts stops early, and logs its epochs', async () => {
    const log = join(folder, 'training.csv')
    const output = await run('callbacks.ts', log)
    const count = numberAfter('stopped after', output)
    expect(count).toBeLessThan(100)
    expect((await readFile(log, 'utf8')).trimEnd().split('\n')).toHaveLength(1 + count)
    expect(numberAfter('recall of', output)).toBeGreaterThan(0.6)
  })

  test('save-model.ts restores its model', async () => {
    const output = await runFor({ EPOCHS: '50' }, 'save-model.ts', join(folder, 'model.safetensors'))
    expect(output).toContain('the same predictions: true')
    expect(Math.abs(numberAfter('is about', output) - 0.25)).toBeLessThan(0.1)
  })
})

describe('examples are about as long as their Keras twins', () => {
  const folder = join(root, 'examples')
  const withoutSpace = (code: string): number => code.replace(/\s/g, '').length
  /** The characters of code, without comments and white space. */
  const lengthOf = {
    ts: (text: string) => withoutSpace(text.replace(/\/\*.*?\*\//gs, '').replace(/(^|\s)\/\/.*$/gm, '')),
    py: (text: string) => withoutSpace(text.replace(/""".*?"""/gs, '').replace(/(^|\s)#.*$/gm, '')),
  }
  const jobs = readdirSync(join(folder, 'keras')).map((file) => file.replace(/\.py$/, ''))

  test('for eight jobs', () => expect(jobs).toHaveLength(8))

  test.each(jobs)('%s', async (job) => {
    const [own, twin] = [
      await readFile(join(folder, `${job}.ts`), 'utf8'),
      await readFile(join(folder, 'keras', `${job}.py`), 'utf8'),
    ]
    expect(lengthOf.ts(own) / lengthOf.py(twin)).toBeLessThanOrEqual(1.5)
  })
})

test('examples have at most 60 lines', () => {
  const files = readdirSync(join(root, 'examples')).filter((file) => file.endsWith('.ts'))
  const lines = files.map(
    (file) =>
      readFileSync(join(root, 'examples', file), 'utf8')
        .trimEnd()
        .split('\n').length,
  )
  expect(Math.max(...lines)).toBeLessThanOrEqual(60)
})

/** Writes two folders of noisy pictures: dark ones and light ones. */
async function writePictures(folder: string, count: number): Promise<void> {
  const random = randomStream(7)
  for (const [name, least] of [
    ['dark', 0],
    ['light', 120],
  ] as const) {
    await mkdir(join(folder, name), { recursive: true })
    for (let i = 0; i < count; i++) {
      const data = Uint8Array.from({ length: 16 * 16 * 3 }, () => least + Math.floor(130 * random()))
      await writeFile(join(folder, name, `${i}.png`), encodePng({ width: 16, height: 16, channels: 3, data }))
    }
  }
}

/**
 * Writes files like Fashion-MNIST's, with images that are easy to classify: each class is a bright band at a certain
 * height, in noise.
 */
async function writeDataSet(folder: string, trainCount: number, testCount: number): Promise<void> {
  await mkdir(folder)
  const random = randomStream(5)
  for (const [name, count] of [
    ['train', trainCount],
    ['t10k', testCount],
  ] as const) {
    const labels = Uint8Array.from({ length: count }, (_, i) => i % 10)
    const images = Uint8Array.from({ length: count * 28 * 28 }, (_, i) => {
      const row = Math.floor(i / 28) % 28
      const label = labels[Math.floor(i / (28 * 28))] ?? 0
      return Math.floor(random() * 100) + (Math.abs(row - 4 - 2 * label) < 3 ? 150 : 0)
    })
    await writeFile(join(folder, `${name}-images-idx3-ubyte`), writeIdx({ shape: [count, 28, 28], data: images }))
    await writeFile(join(folder, `${name}-labels-idx1-ubyte`), writeIdx({ shape: [count], data: labels }))
  }
}
