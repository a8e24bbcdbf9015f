/** The search for the settings of a head on features: what it asks, how it chooses, and that it resumes. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { pretrained } from '../src/nn/models/pretrained.ts'
import { fashionMnistLenet5 as task } from '../src/tasks/fashion-mnist-lenet5.node.ts'
import { likelyTaps } from '../src/transfer/features.ts'
import { type SearchTrial, searchTransfer, type TransferSearchReport } from '../src/transfer/search.node.ts'
import { questions, type SearchState } from '../src/transfer/search.ts'
import { builtCommand } from './support/built-package.ts'
import { runCommand } from './support/command.ts'
import { failure } from './support/failure.ts'
import { barImages, writeBars, writeHalf } from './support/fashion-files.ts'

const lenet = fileURLToPath(new URL('fixtures/models/lenet5.keras', import.meta.url))
let place = ''
let dataDir = ''
beforeAll(async () => {
  place = await mkdtemp(join(tmpdir(), 'weftgrad-transfer-search-'))
  dataDir = await writeBars(join(place, 'data'), 120, 20)
})
afterAll(() => rm(place, { recursive: true, force: true }))

describe('the questions of a search', () => {
  const ask = (title: string, state: SearchState) =>
    questions.find((question) => question.title === title)?.answers(state) ?? []

  it('for VGG16 are those that its settings were chosen by', () => {
    const taps = likelyTaps(pretrained.vgg16.build({ size: 32 }))
    const first: SearchState = { best: { ...task.transfer.vgg16, layers: [] }, taps, size: 32 }
    const pools = [2, 3, 4, 5].map((n) => ({ layers: [`block${n}_pool`] }))
    expect(ask('Layer', first)).toEqual(expect.arrayContaining(pools))
    const third: SearchState = { ...first, best: { ...first.best, layers: ['block3_pool'] } }
    expect(ask('With its neighbours', third)).toEqual([
      { layers: ['block2_pool', 'block3_pool'] },
      { layers: ['block3_pool', 'block4_pool'] },
      { layers: ['block2_pool', 'block3_pool', 'block4_pool'] },
    ])
    const both: SearchState = { ...third, best: task.transfer.vgg16 }
    expect(ask('Pooling', both)).toEqual([{ pool: 'avg' }, { pool: 'max' }])
    expect(ask('Size', both)).toEqual([{ size: 48 }])
    expect(ask('Larger', both)).toEqual([])
    expect(ask('Larger', { ...both, best: { ...both.best, size: 48 } })).toEqual([{ size: 64 }])
    expect(ask('Head', both)).toEqual([
      ...[{ head: 'linear' }, { dropout: 0.3 }, { dropout: 0.7 }],
      ...[{ learningRate: 1e-3 / 3 }, { weightDecay: 0.2 }],
    ])
  })

  it('name no size for a model with a size of its own, and no neighbour beyond the ends', () => {
    const state: SearchState = {
      best: { ...task.transfer.vgg16, size: null, layers: ['a'] },
      taps: ['a', 'b'],
      size: null,
    }
    for (const title of ['Size', 'Larger']) expect(ask(title, state)).toEqual([])
    expect(ask('With its neighbours', state)).toEqual([{ layers: ['a', 'b'] }])
  })
})

describe('a search', () => {
  const search = async (out: string, more: object = {}, onTrial?: (trial: SearchTrial, isNew: boolean) => void) =>
    await searchTransfer(
      task,
      { model: lenet, epochs: 2, dataDir, featureDir: join(place, 'features'), out: join(place, out), ...more },
      onTrial === undefined ? {} : { onTrial },
    )
  const figures = ({ trials }: TransferSearchReport) => trials.map(({ seconds: _, ...trial }) => trial)
  let whole: TransferSearchReport
  beforeAll(async () => {
    whole = await search('whole')
  }, 120_000)

  it('keeps the best answer to each question, and writes it to its folder', async () => {
    const { trials, chosen, validation } = whole
    expect(trials.slice(0, 4).map(({ change }) => change.layers)).toEqual([['conv1'], ['pool1'], ['conv2'], ['pool2']])
    const best = Math.max(...trials.map(({ validationAccuracy }) => validationAccuracy))
    expect(validation.accuracy).toBe(best)
    expect(trials.findLast(({ isBest }) => isBest)?.settings).toEqual(chosen)
    // Each trial changes the best settings before it by its change alone.
    let before = { ...trials[0]?.settings }
    let next = before
    for (const [i, { question, change, settings, isBest }] of trials.entries()) {
      if (i === 0 || question !== trials[i - 1]?.question) before = next
      expect(settings).toEqual({ ...before, ...change })
      if (isBest) next = settings
    }
    expect(whole.images).toEqual({ train: 108, validation: 12 })
    const written = JSON.parse(await readFile(join(whole.runDir, 'settings.json'), 'utf8'))
    expect(written).toEqual({ model: lenet, ...chosen })
  })

  it('resumes after its last trial, with the same result', async () => {
    const log = join(whole.runDir, 'trials.jsonl')
    const lines = (await readFile(log, 'utf8')).split('\n')
    await writeFile(log, `${lines.slice(0, 3).join('\n')}\n${lines[3]?.slice(0, 40)}\n`)
    await rm(join(whole.runDir, 'report.json'))
    const told: boolean[] = []
    const options = { out: undefined, model: undefined, epochs: undefined, resume: whole.runDir }
    const again = await search('', options, (_, isNew) => told.push(isNew))
    expect(told).toEqual(whole.trials.map((_, i) => i >= 3))
    expect(figures(again)).toEqual(figures(whole))
    expect(again.chosen).toEqual(whole.chosen)
  }, 120_000)

  it('does not use the test images', async () => {
    const other = await writeBars(join(place, 'other'), 120, 20)
    const { pixels, labels } = barImages(50, 'others')
    await writeHalf(
      other,
      'test',
      pixels.map((pixel) => 255 - pixel),
      labels.map(() => 0),
    )
    expect(figures(await search('other-test', { dataDir: other }))).toEqual(figures(whole))
  }, 120_000)

  it('tries the layers that are given, and refuses unknown ones before it begins', async () => {
    const { trials } = await search('given', { layers: ['pool1', 'pool2'] })
    expect(trials.slice(0, 3).map(({ change }) => change.layers)).toEqual([['pool1'], ['pool2'], ['pool1', 'pool2']])
    const error = await failure(search('unknown', { layers: ['pool3'] }))
    expect(error).toMatchObject({ code: 'argument', message: expect.stringContaining('did you mean pool') })
    await expect(readFile(join(place, 'unknown', 'config.json'))).rejects.toThrow()
    expect(await failure(search('unfrozen', { unfreeze: 'pool2' }))).toMatchObject({ code: 'argument' })
  }, 120_000)

  it('is a command, whose options the training takes', async () => {
    await builtCommand()
    const env = { WEFTGRAD_NO_SETUP: '1' }
    const data = ['--data-dir', dataDir, '--epochs', '1', '--layers', 'pool1,pool2']
    const args = ['transfer', lenet, '--search', ...data, '--out', join(place, 'command'), '--json']
    const { code, stdout, stderr } = await runCommand(args, { cwd: place, env })
    expect({ code, stderr }).toMatchObject({ code: 0 })
    for (const words of ['With its neighbours', '* pool1', 'validation accuracy']) expect(stderr).toContain(words)
    const { options, chosen } = JSON.parse(stdout)
    const trained = await runCommand(
      [
        'transfer',
        lenet,
        ...options.split(' '),
        '--data-dir',
        dataDir,
        '--epochs',
        '1',
        '--out',
        join(place, 'trained'),
        '--json',
      ],
      { cwd: place, env },
    )
    expect({ code: trained.code, stderr: trained.stderr }).toMatchObject({ code: 0 })
    expect(JSON.parse(trained.stdout)).toMatchObject({ layers: chosen.layers, pool: chosen.pool, head: chosen.head })
    const wrong = await runCommand(['transfer', '--resume', join(place, 'command')], { cwd: place, env })
    expect(wrong).toMatchObject({ code: 1, stderr: expect.stringContaining('another kind of job') })
  }, 300_000)
})

it('does not take a queue: it says so, and starts nothing', async () => {
  const { code, stderr } = await runCommand(['transfer', 'vgg16', '--search', '--queue', 'redis://127.0.0.1:1'])
  expect({ code, stderr }).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/--search runs in this process alone/),
  })
})
