/** The search on a real adapter with small data: the files it leaves, and how a stopped one resumes. */

import { type ChildProcess, spawn } from 'node:child_process'
import { appendFile, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Random } from '../src/random.ts'
import { checkpointIn, keepCheckpoint } from '../src/runs/resumable-fit.node.ts'
import type { SearchResult } from '../src/search/result.ts'
import { type SearchJobOptions, searchHyperparameters } from '../src/search/run.node.ts'
import { fashionMnistLenet5 as task } from '../src/tasks/fashion-mnist-lenet5.node.ts'
import { builtCommand } from './support/built-package.ts'
import { throughCrashes } from './support/crashes.ts'
import { writeBars } from './support/fashion-files.ts'

let place = ''
let dataDir = ''
let whole: SearchResult
/** Three trials train for one epoch, one of them for three; two or three run at once. */
const small = { maxEpochs: 3, batchSize: 25, seed: 2 } as const

beforeAll(async () => {
  place = await mkdtemp(join(tmpdir(), 'weftgrad-search-'))
  await builtCommand()
  dataDir = await writeBars(join(place, 'data'), 220, 20)
  whole = await searchHyperparameters(task, { ...small, dataDir, out: join(place, 'whole') })
}, 300_000)
afterAll(() => rm(place, { recursive: true, force: true }))

/** The result without times and paths. */
function figures({ runDir: _, seconds: __, ...result }: SearchResult): unknown {
  return JSON.parse(JSON.stringify(result, (key, value) => (key === 'seconds' ? undefined : value)))
}

async function linesOf(run: string): Promise<Record<string, unknown>[]> {
  const text = await readFile(join(place, run, 'trials.jsonl'), 'utf8')
  return text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
}

describe('a finished search', () => {
  it('has trained what its schedule says, and kept nothing else', async () => {
    expect(whole.brackets).toEqual([
      {
        bracket: 1,
        rounds: [
          { size: 3, epochs: 1 },
          { size: 1, epochs: 3 },
        ],
      },
      { bracket: 0, rounds: [{ size: 2, epochs: 3 }] },
    ])
    expect(whole.trials.map(({ state }) => state).sort()).toEqual([
      ...['finished', 'finished', 'finished', 'stopped', 'stopped'],
    ])
    expect(whole.epochs).toBe(2 + 3 + 3 + 3)
    expect(whole.images).toEqual({ train: 198, validation: 22, duplicates: 0 })
    expect(whole.seconds).toBeGreaterThan(0)
    expect((await readdir(join(place, 'whole'))).sort()).toEqual(['config.json', 'report.json', 'trials.jsonl'])
    expect(JSON.parse(await readFile(join(place, 'whole', 'report.json'), 'utf8'))).toEqual(whole)
  })

  it('names the trial with the best validation accuracy, with its bracket, round and epochs', () => {
    const best = Math.max(...whole.trials.map(({ score }) => score?.accuracy ?? 0))
    expect(whole.best.score.accuracy).toBe(best)
    expect(whole.trials.find(({ id }) => id === whole.best.id)).toEqual(whole.best)
    const { score, history, bracket, round, epochs } = whole.best
    expect(history[score.epoch - 1]).toMatchObject({ validationAccuracy: score.accuracy, validationLoss: score.loss })
    expect(whole.brackets.find((one) => one.bracket === bracket)?.rounds[round - 1]?.epochs).toBe(epochs)
    expect(whole.bestInterval.low).toBeLessThan(best)
  })

  it('has a line for each round of each trial, the histories of promoted ones growing', async () => {
    const lines = await linesOf('whole')
    expect(lines).toHaveLength(6)
    const promoted = whole.trials.find(({ bracket, round }) => bracket === 1 && round === 2)
    const [first, second] = lines.filter(({ trial }) => trial === promoted?.id)
    expect(second?.history).toEqual([first?.history, promoted?.history.slice(1)].flat())
    expect(promoted?.history.map(({ epoch }) => epoch)).toEqual([1, 2, 3])
    // A rate is a dimension of the space: the trial was trained with it.
    for (const { hyperparameters, history } of whole.trials)
      expect(history.every(({ learningRate }) => learningRate === hyperparameters.learning_rate)).toBe(true)
  })

  it('is not run again when it is resumed', async () => {
    const notes: string[] = []
    const reporter = { onNote: (line: string) => notes.push(line), onPlan: () => expect.fail('it was run again') }
    expect(await searchHyperparameters(task, { resume: join(place, 'whole') }, reporter)).toEqual(whole)
    expect(notes).toEqual([expect.stringContaining('is finished')])
  })
})

describe('a stopped search', () => {
  it('at any moment resumes to the same trials, bit for bit', async () => {
    const run = join(place, 'crashed')
    const { result, crashes } = await throughCrashes(
      new Random(5, 'crashes'),
      (reporter, attempt) =>
        searchHyperparameters(
          task,
          attempt === 0 ? { ...small, dataDir, out: run } : { resume: run, dataDir },
          reporter,
        ),
      // Like a crash in the middle of a write.
      () => appendFile(join(run, 'trials.jsonl'), '{"trial":1,"round":1,"epo'),
    )
    expect(crashes).toBeGreaterThan(2)
    expect(figures(result)).toEqual(figures(whole))
    const keys = (lines: Record<string, unknown>[]) => lines.map(({ trial, round }) => `${trial}/${round}`).sort()
    expect(keys(await linesOf('crashed'))).toEqual(keys(await linesOf('whole')))
  }, 300_000)

  it('by killing its process resumes to the same trials, bit for bit', async () => {
    const run = join(place, 'killed')
    const args = ['tune', '--max-epochs', '3', '--batch-size', '25', '--seed', '2', '--data-dir', dataDir, '--out', run]
    await killedOnce(args, 'trial 2')
    expect(await readdir(run)).not.toContain('report.json')
    expect(figures(await searchHyperparameters(task, { resume: run, dataDir }))).toEqual(figures(whole))
  }, 300_000)

  it('by its signal writes checkpoints, and resumes after the completed steps', async () => {
    const run = join(place, 'aborted')
    const controller = new AbortController()
    const reporter = { onEpochEnd: () => controller.abort() }
    const stopping = searchHyperparameters(task, { ...small, dataDir, out: run, signal: controller.signal }, reporter)
    await expect(stopping).rejects.toMatchObject({ code: 'aborted', details: { runDir: run, resumable: true } })
    expect(await readdir(join(run, 'trials'))).not.toEqual([])
    expect(figures(await searchHyperparameters(task, { resume: run, dataDir }))).toEqual(figures(whole))
  }, 300_000)

  it('before its first training leaves no folder behind', async () => {
    const out = join(place, 'never')
    const stopped = searchHyperparameters(task, { ...small, dataDir, out, signal: AbortSignal.abort() })
    await expect(stopped).rejects.toMatchObject({ code: 'aborted', details: { resumable: false } })
    expect(await readdir(place)).not.toContain('never')
  })

  it('refuses other settings, other data and a log of another search', async () => {
    const run = join(place, 'kept')
    const crash = { onOutcome: () => expect.fail('stop here') }
    await expect(searchHyperparameters(task, { ...small, dataDir, out: run }, crash)).rejects.toThrow('stop here')
    const refused = (options: SearchJobOptions) =>
      expect(searchHyperparameters(task, { resume: run, dataDir, ...options })).rejects
    await refused({ seed: 3 }).toMatchObject({
      code: 'mismatch',
      message: expect.stringContaining('--seed 2, not 3'),
    })
    await refused({ maxEpochs: 4 }).toMatchObject({ code: 'mismatch' })
    await refused({ out: join(place, 'elsewhere') }).toMatchObject({ code: 'argument' })
    await refused({ dataDir: await writeBars(join(place, 'other'), 230, 20) }).toMatchObject({
      code: 'mismatch',
      message: expect.stringContaining('holds other data'),
    })
    const log = join(run, 'trials.jsonl')
    const text = await readFile(log, 'utf8')
    for (const wrong of [
      '[]',
      '{"trial":99}',
      text.replace(/"accuracy":[\d.]+/, '"accuracy":2'),
      text.replace(/"seed":\d+/, '"seed":1'),
      text.replace(/"units_1":\d+/, '"units_1":7'),
      text.replace('"history":[', '"history":[1,'),
    ]) {
      await writeFile(log, `${wrong.trim()}\n`)
      await refused({}).toMatchObject({ code: 'format', message: expect.stringContaining('trials.jsonl, line 1') })
    }
  }, 300_000)
})

describe('random and grid search', () => {
  it('train each of their trials once', async () => {
    const out = join(place, 'random')
    const result = await searchHyperparameters(task, {
      method: 'random',
      trials: 2,
      maxEpochs: 1,
      batchSize: 50,
      dataDir,
      out,
    })
    expect(result.trials.map(({ state, epochs }) => [state, epochs])).toEqual([
      ['finished', 1],
      ['finished', 1],
    ])
  }, 120_000)
})

describe('a trial whose numbers become non-finite', () => {
  it('fails with the reason, and the search continues without it', async () => {
    const run = join(place, 'poisoned')
    const controller = new AbortController()
    const reporter = { onEpochEnd: () => controller.abort() }
    const stopping = searchHyperparameters(task, { ...small, dataDir, out: run, signal: controller.signal }, reporter)
    await expect(stopping).rejects.toMatchObject({ code: 'aborted' })
    const trial = join(run, 'trials', '1')
    const checkpoint = await checkpointIn(trial)
    if (checkpoint === undefined) throw new Error('the trial has no checkpoint')
    for (const { data } of checkpoint.weights.values()) data.fill(Number.NaN)
    // One step before the end of its only epoch in the round, so that one step remains to go bad.
    await keepCheckpoint(trial, { ...checkpoint, epoch: 0, globalStep: 0, history: [] })
    const result = await searchHyperparameters(task, { resume: run, dataDir })
    const [first] = result.trials
    expect(first).toMatchObject({ id: 1, state: 'failed', score: null, problem: expect.stringContaining('not finite') })
    const others = ({ trials }: SearchResult) => trials.filter(({ bracket, id }) => bracket === 0 && id !== 1)
    expect(figures({ ...result, trials: others(result) })).toMatchObject({
      trials: (figures({ ...whole, trials: others(whole) }) as SearchResult).trials,
    })
  }, 120_000)
})

/** Runs the command until its output contains `text`, and kills it without warning. */
async function killedOnce(args: readonly string[], text: string): Promise<void> {
  const env = { ...process.env, WEFTGRAD_TUNE: '0', NO_COLOR: '1' }
  const child: ChildProcess = spawn(process.execPath, [await builtCommand(), ...args], {
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let told = ''
  child.stdout?.setEncoding('utf8').on('data', (words: string) => {
    told += words
    if (told.includes(text)) child.kill('SIGKILL')
  })
  return new Promise((done, fail) => {
    child.on('error', fail)
    child.on('close', (code, signal) => {
      if (signal === 'SIGKILL') done()
      else fail(new Error(`it ended on its own with ${code}: ${told}`))
    })
  })
}
