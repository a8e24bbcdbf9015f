/**
 * The study's work through a queue with two workers, on a real server and a real adapter: the same numbers, bit for bit, as
 * in this process.
 */
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { foldKind } from '../src/crossval/fold.node.ts'
import { crossValidate } from '../src/crossval/run.node.ts'
import { readSafetensors } from '../src/format/safetensors.ts'
import { Coordinator } from '../src/queue/coordinator.ts'
import { FolderStore } from '../src/queue/folder-store.ts'
import { Results } from '../src/queue/store.ts'
import { UnitWorker } from '../src/queue/worker.ts'
import { searchHyperparameters } from '../src/search/run.node.ts'
import { trialKind } from '../src/search/trial.node.ts'
import { fashionMnistLenet5 as task } from '../src/tasks/fashion-mnist-lenet5.node.ts'
import { extractFeatures } from '../src/transfer/features.node.ts'
import { featuresKind } from '../src/transfer/features-unit.node.ts'
import type { Remote } from '../src/units/executor.node.ts'
import type { UnitKind } from '../src/units/unit.ts'
import { writeBars } from './support/fashion-files.ts'
import { TestServer, whyNoServer } from './support/queue-server.ts'

const reason = await whyNoServer()
if (reason !== undefined) console.warn(`The tests of the study's work on a queue are skipped. ${reason}`)

let place = ''
let dataDir = ''
let server: TestServer
let results: Results
let remote: Coordinator
const workers: UnitWorker[] = []
const notes: string[] = []

beforeAll(async () => {
  if (reason !== undefined) return
  place = await mkdtemp(join(tmpdir(), 'weftgrad-queued-'))
  dataDir = await writeBars(join(place, 'data'), 220, 20)
  server = await TestServer.start()
  results = new Results(new FolderStore(join(place, 'store')))
  const kinds = [trialKind, foldKind, featuresKind] as readonly UnitKind[]
  for (let i = 0; i < 2; i++) workers.push(await UnitWorker.start({ queue: server.url, results, kinds, dataDir }))
  remote = await Coordinator.open({ queue: server.url, results, onNote: (line) => notes.push(line) })
})
afterAll(async () => {
  if (reason !== undefined) return
  await remote.close()
  for (const worker of workers) await worker.close()
  await server.end()
  await rm(place, { recursive: true, force: true })
})

/** A result without times and paths. */
function figures(result: object): unknown {
  return JSON.parse(
    JSON.stringify(result, (key, value) => (['seconds', 'runDir', 'computeSeconds'].includes(key) ? undefined : value)),
  )
}

/** Runs a job in this process and on the queue, and compares. */
async function same<Result extends object>(
  run: (remote: Remote | undefined, out: string) => Promise<Result>,
): Promise<Result> {
  const queued = await run(remote, 'queued')
  expect(figures(queued)).toEqual(figures(await run(undefined, 'local')))
  expect(notes).toEqual([])
  return queued
}

describe.skipIf(reason !== undefined)('on a queue', { timeout: 120_000 }, () => {
  it('a search has the same trials, promotions and numbers, and records how each was made', async () => {
    const small = { maxEpochs: 3, batchSize: 25, seed: 2 }
    await same((remote, out) =>
      searchHyperparameters(task, { ...small, dataDir, out: join(place, `tune-${out}`), remote }),
    )
    const [first] = await results.store.list('results')
    const unit = /[0-9a-f]{64}/.exec(first?.name ?? '')?.[0] ?? ''
    const { record } = (await results.result(unit)) ?? {}
    expect(record).toMatchObject({ isSamePlan: true, versions: { node: process.version } })
    expect(workers.map(({ id }) => id)).toContain(record?.worker)
  })

  it('a cross-validation has the same folds, also of a reused model, and resumes in this process', async () => {
    const small = { folds: 3, epochs: 2, batchSize: 25, seed: 2, carryOver: true }
    await same((remote, out) => crossValidate(task, { ...small, dataDir, out: join(place, `folds-${out}`), remote }))
    // Answered before, so nothing is trained again.
    const stored = (await results.store.list('results')).length
    await crossValidate(task, { ...small, dataDir, out: join(place, 'again'), remote })
    expect(await results.store.list('results')).toHaveLength(stored)
  })

  it('features are the same rows, in whatever order their shards arrive', async () => {
    const identity = { weights: 'hashed', size: 32, layers: ['block1_pool'], pool: 'avg' } as const
    const rows: unknown[] = []
    for (const [out, own] of [
      ['queued', remote],
      ['local', undefined],
    ] as const) {
      const featureDir = join(place, `features-${out}`)
      const report = await extractFeatures(task, { model: 'vgg16', ...identity, dataDir, featureDir, remote: own })
      expect(report).toMatchObject({ count: 240, computed: 240, width: 64 })
      rows.push(await rowsIn(featureDir))
    }
    expect(rows[0]).toMatchObject({ dtype: 'F32', shape: [220, 64] })
    expect(rows[0]).toEqual(rows[1])
  })
})

/** The cached training rows of an extraction. */
async function rowsIn(root: string): Promise<unknown> {
  const [folder = ''] = await readdir(root)
  const file = readSafetensors(await readFile(join(root, folder, 'train-00000.safetensors')))
  return file.tensors.get('features')
}
