import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { builtCommand } from './support/built-package.ts'
import { type CommandOptions, type Outcome, runCommand } from './support/command.ts'
import { writeBars } from './support/fashion-files.ts'

let place = ''
let data: readonly string[] = []
/** In the user's cache, with the driver: features of data that nobody else has. */
const folders = new Set<string>()

beforeAll(async () => {
  place = await mkdtemp(join(tmpdir(), 'weftgrad-transfer-cli-'))
  await builtCommand()
  data = ['--data-dir', await writeBars(join(place, 'data'), 120, 40, basename(place))]
})
afterAll(async () => {
  for (const folder of [place, ...folders]) await rm(folder, { recursive: true, force: true })
})

async function weftgrad(args: readonly string[], during?: CommandOptions['during']): Promise<Outcome> {
  const outcome = await runCommand(args, {
    env: { WEFTGRAD_WEIGHTS_DIR: '', KERAS_HOME: join(place, 'keras'), WEFTGRAD_NO_SETUP: '1' },
    cwd: place,
    ...(during === undefined ? {} : { during }),
  })
  for (const [folder] of outcome.stdout.matchAll(/[^" (]*\/features\/vgg16-32-[0-9a-f]+/g)) folders.add(folder)
  return outcome
}

const hashed = ['--weights', 'hashed', '--layers', 'block1_pool']

describe('features and a head on them, with the command', () => {
  it('are computed once, with only JSON on standard output', async () => {
    const first = await weftgrad(['features', 'vgg16', ...hashed, '--pool', 'avg', ...data, '--json'])
    expect({ code: first.code, stderr: first.stderr }).toMatchObject({ code: 0 })
    const report = JSON.parse(first.stdout)
    expect(report).toMatchObject({
      ...{ model: 'vgg16', size: 32, layers: ['block1_pool'], pool: 'avg', weights: 'hashed', meaningless: true },
      features: { count: 160, computed: 160, cached: false, width: 64 },
    })
    expect(report.features.imagesPerSecond).toBeGreaterThan(0)
    for (const words of ['VGG16 at 32x32', 'made-up weights', 'say nothing about the network', '120 images to train'])
      expect(first.stderr).toContain(words)
    const again = await weftgrad(['features', 'vgg16', ...hashed, '--pool', 'avg', ...data])
    expect(again.stdout).toContain('160 images, 64 numbers each; all from the cache')
    expect(folders.size).toBe(1)
  }, 120_000)

  it('give the promised JSON and a run that can be evaluated again, and say that the figures mean nothing', async () => {
    const out = join(place, 'run')
    const args = ['--epochs', '2', '--head', 'linear', '--limit-train', '60', '--limit-test', '20', '--out', out]
    const trained = await weftgrad(['transfer', 'vgg16', ...hashed, ...args, ...data, '--json'])
    expect({ code: trained.code, stderr: trained.stderr }).toMatchObject({ code: 0 })
    const report = JSON.parse(trained.stdout)
    expect(Object.keys(report).slice(0, 8)).toEqual([
      ...['model', 'size', 'head', 'features', 'test', 'history', 'runDir', 'adapter'],
    ])
    expect(report).toMatchObject({
      ...{ model: 'vgg16', size: 32, head: 'linear', runDir: out, weights: 'hashed', meaningless: true },
      ...{ features: { count: 80, cached: false }, images: { train: 54, validation: 6, test: 20 } },
    })
    expect(Object.keys(report.test)).toEqual(['loss', 'accuracy'])
    expect(report.history).toHaveLength(2)
    for (const words of [
      'normalization (Normalization)',
      'say nothing about the network',
      'Confusion',
      '* best validation accuracy so far',
    ])
      expect(trained.stderr).toContain(words)

    const tested = await weftgrad(['evaluate', out, ...data, '--json'])
    expect({ code: tested.code, stderr: tested.stderr }).toMatchObject({ code: 0 })
    expect(JSON.parse(tested.stdout).test).toEqual(report.test)
  }, 120_000)

  it('stop by SIGINT with its exit code, and resume with what is finished', async () => {
    let sent = false
    const args = ['transfer', 'vgg16', ...hashed, '--epochs', '500', '--patience', '500', ...data]
    const stopped = await weftgrad([...args, '--json'], (text, child) => {
      if (sent || !text.includes('  *')) return
      sent = true
      child.kill('SIGINT')
    })
    expect({ code: stopped.code, stdout: stopped.stdout }).toEqual({ code: 130, stdout: '' })
    expect(stopped.stderr).toContain('Stopping: saving a checkpoint')
    const [, folder = ''] = /Resume with: .*transfer --resume (\S+)/.exec(stopped.stderr) ?? []
    expect(await readdir(join(place, folder))).toEqual(
      expect.arrayContaining(['config.json', 'history.jsonl', 'stages']),
    )
    const other = await weftgrad(['transfer', 'xception', '--resume', folder, ...data])
    expect({ code: other.code, stderr: other.stderr }).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('vgg16'),
    })
    const again = await weftgrad(['transfer', 'vgg16', ...hashed, '--epochs', '1', ...data, '--json'])
    expect(JSON.parse(again.stdout).features.cached).toBe(true)
  }, 120_000)
})

describe('missing or wrong input', () => {
  it('weights: says how to get them, exits 2, and leaves nothing', async () => {
    for (const args of [
      ['transfer', 'resnet152v2'],
      ['features', 'resnet152v2'],
      ['transfer', 'vgg16', '--weights', join(place, 'absent.h5')],
    ]) {
      const { code, stdout, stderr } = await weftgrad([...args, ...data, '--json'])
      expect({ args, code, stdout, stderr }).toMatchObject({ args, code: 2, stdout: '' })
      expect(stderr).toContain('--weights names a file')
      if (args.length === 2) {
        expect(stderr).toContain('WEFTGRAD_WEIGHTS_DIR')
        expect(stderr).toContain('resnet152v2_weights_tf_dim_ordering_tf_kernels_notop.h5')
      }
      expect(stderr).not.toMatch(/^ +at /m)
    }
  }, 60_000)

  it('arguments: refused by name, with exit code 2 and no stack trace', async () => {
    const cases: [string[], string][] = [
      [['vgg19'], "Unknown network 'vgg19'. Known are vgg16, xception, resnet152v2"],
      [['vgg16', '--head', 'deep'], "--head must be linear or mlp, not 'deep'"],
      [['vgg16', '--pool', 'avg3'], "--pool must be one of avg, avg2, max, none, not 'avg3'"],
      [['vgg16', '--layers', ''], '--layers must be names'],
      [['vgg16', '--size', '0'], '--size must be a whole number of pixels'],
      [['xception', '--size', '70', '--weights', 'hashed'], '71x71 and larger'],
      [['vgg16', '--layers', 'block1_poll', '--weights', 'hashed'], 'did you mean block1_pool'],
      [['vgg16', '--limit-train', '9'], '--limit-train must be a whole number of images, at least 10'],
      [['vgg16', '--unfreeze', 'block5_conv1', '--weights', 'hashed'], 'nothing would be trained'],
      [['vgg16', '--limit', '5'], 'unknown option'],
      [[], 'missing required argument'],
    ]
    for (const [args, words] of cases) {
      const { code, stdout, stderr } = await weftgrad(['transfer', ...args, '--json'])
      expect({ args, code, stdout, stderr }).toMatchObject({
        args,
        code: 2,
        stdout: '',
        stderr: expect.stringContaining(words),
      })
      expect(stderr).not.toMatch(/^ +at /m)
    }
  }, 120_000)
})
