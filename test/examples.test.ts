/** The example programs run as their first comments say, and print the expected output. */
import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { writeIdx } from '../src/format/idx.ts'
import { lenet5 } from '../src/nn/models/lenet5.ts'
import { saveModel } from '../src/runs/trained-model.node.ts'
import { randomStream } from './cases/case.ts'

const root = fileURLToPath(new URL('..', import.meta.url))

describe('the example', () => {
  let folder = ''
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'weftgrad-examples-'))
    await writeDataSet(join(folder, 'data'), 240, 60)
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
    const { stdout } = await promisify(execFile)(
      process.execPath,
      ['--import', './scripts/tsx.mjs', `examples/${example}`, ...args],
      {
        cwd: root,
        env: { ...process.env, WEFTGRAD_DATA_DIR: join(folder, 'data') },
      },
    )
    return stdout
  }

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
})

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
