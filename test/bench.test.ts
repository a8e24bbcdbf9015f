/**
 * The benchmarks' method: statistics, sampling, verification, the report, the comparison. No assertion depends on
 * speed.
 */
import { existsSync } from 'node:fs'
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import type { CaseData } from '../bench/case-data.ts'
import { compareReports } from '../bench/compare.ts'
import { main, runBench } from '../bench/main.ts'
import type { Sampling, Subject } from '../bench/measure.ts'
import { measureInTurn, summarize } from '../bench/measure.ts'
import { PytorchSide } from '../bench/pytorch.ts'
import type { BenchReport, BenchRow } from '../bench/report.ts'
import { verifyByDefinition, WrongResult } from '../bench/verify.ts'
import { checkOut, pairRounds } from '../bench/versus.ts'

describe('measuring', () => {
  it('gives median, quartiles and minimum of unsorted samples', () => {
    expect(summarize([5, 1, 4, 2, 3])).toEqual({
      median: 3,
      spread: { minimum: 1, lowerQuartile: 2, upperQuartile: 4 },
    })
    expect(summarize([40, 10, 20, 30])).toEqual({
      median: 25,
      spread: { minimum: 10, lowerQuartile: 17.5, upperQuartile: 32.5 },
    })
    expect(() => summarize([])).toThrow(/no samples/)
  })

  /** Subjects that take made-up time on a made-up clock, and record which of them ran. */
  function subjects(costs: Readonly<Record<string, number>>): {
    subjects: Subject[]
    calls: { name: string; repeats: number }[]
    now: () => number
  } {
    let clock = 0
    const calls: { name: string; repeats: number }[] = []
    const made = Object.entries(costs).map(
      ([name, cost]): Subject => ({
        maxRepeats: 1000,
        run: async (repeats) => {
          calls.push({ name, repeats })
          clock += cost * repeats
        },
      }),
    )
    return { subjects: made, calls, now: () => clock }
  }

  const sampling: Sampling = { samples: 20, sampleMilliseconds: 20, budgetMilliseconds: 2000, fewestSamples: 5 }

  it('repeats the work until a sample is long enough, and reports the time of one repeat', async () => {
    const { subjects: all, calls, now } = subjects({ short: 0.05, long: 70 })
    const [short, long] = await measureInTurn(all, { ...sampling, now })
    expect(short?.milliseconds).toBeCloseTo(0.05, 10)
    expect((short?.repeats ?? 0) * 0.05).toBeGreaterThanOrEqual(20)
    expect(short?.samples).toBe(20)
    expect(long).toMatchObject({ milliseconds: 70, repeats: 1, samples: 20 })
    expect(calls[0]).toEqual({ name: 'short', repeats: 1 }) // the first run compiles and is not timed
  })

  it('samples its subjects in turn', async () => {
    const { subjects: all, calls, now } = subjects({ a: 30, b: 30 })
    await measureInTurn(all, { ...sampling, now })
    const sampled = calls.slice(-40).map(({ name }) => name)
    expect(sampled).toEqual(Array.from({ length: 40 }, (_, i) => (i % 2 === 0 ? 'a' : 'b')))
  })

  it('takes fewer samples of slow subjects, but never fewer than the minimum', async () => {
    const { subjects: all, now } = subjects({ slow: 450, verySlow: 5000, fast: 30 })
    const measured = await measureInTurn(all, { ...sampling, now })
    expect(measured.map(({ samples }) => samples)).toEqual([5, 5, 20])
  })
})

describe('verification', () => {
  const data: CaseData = {
    inputs: [],
    outputs: [{ dtype: 'f32', length: 10_000, expected: (i) => i / 7 }],
    tolerance: { rtol: 1e-6, atol: 0 },
    tensorflow: () => {
      throw new Error('not asked for')
    },
  }

  it('accepts results that agree with their definition, and throws for others', () => {
    const right = Float32Array.from({ length: 10_000 }, (_, i) => i / 7)
    expect(() => verifyByDefinition('a kernel', data, [right])).not.toThrow()
    const wrong = right.map((x, i) => (i % 10 === 3 ? x + 1 : x))
    expect(() => verifyByDefinition('a kernel', data, [wrong])).toThrow(WrongResult)
    expect(() => verifyByDefinition('a kernel', data, [right.fill(Number.NaN)])).toThrow(/NaN where/)
  })
})

describe('a run', () => {
  let folder = ''
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'weftgrad-bench-'))
  })
  afterAll(() => rm(folder, { recursive: true, force: true }))

  it('gives a well-formed report, as a value, as a table and as a file', async () => {
    const lines: string[] = []
    const json = join(folder, 'report.json')
    const report = await runBench({ filter: 'cross-entropy loss', quick: true, json }, (line) => lines.push(line))
    expect(JSON.parse(await readFile(json, 'utf8'))).toEqual(report)
    expect(report.adapter).not.toBe('')
    expect(Number.isNaN(Date.parse(report.date))).toBe(false)
    expect(report.peak.gflops).toBeGreaterThan(0)
    expect(report.peak.gbps).toBeGreaterThan(0)
    expect(report.rows).toHaveLength(1)
    const [row] = report.rows
    expect(row).toMatchObject({ case: 'cross-entropy loss 128x10', variant: 'plain', bound: 'memory', samples: 5 })
    expect(row?.milliseconds).toBeGreaterThan(0)
    expect(row?.fractionOfPeak).toBeCloseTo((row?.gbps ?? 0) / report.peak.gbps, 4)
    expect(row?.ceiling).toBeGreaterThan(0)
    expect(row?.spread.minimum).toBeLessThanOrEqual(row?.milliseconds ?? 0)
    expect(lines.some((line) => line.startsWith('cross-entropy loss 128x10'))).toBe(true)
  }, 120_000)

  it('refuses a filter that fits no case, and an unknown library to compare with', async () => {
    await expect(runBench({ filter: ['matmul', 'softmax'] })).rejects.toThrow(/No case's name contains/)
    await expect(runBench({ against: 'numpy' })).rejects.toThrow(/takes tfjs/)
  })
})

describe('PyTorch as the other library', () => {
  let folder: string
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'weftgrad-bench-'))
  })
  afterAll(async () => {
    await rm(folder, { recursive: true })
  })

  /** A stand-in for Python: a program of Node.js. */
  async function python(name: string, text: string): Promise<string> {
    const path = join(folder, name)
    await writeFile(path, `#!${process.execPath}\n${text}\n`)
    await chmod(path, 0o700)
    return path
  }

  it('is asked to prepare work, and to repeat it', async () => {
    const log = join(folder, 'log')
    const server = await python(
      'server',
      `const fs = require('node:fs')
       fs.appendFileSync('${log}', process.argv.slice(2).map((arg) => require('node:path').basename(arg)).join(' ') + '\\n')
       console.log(JSON.stringify({ torch: '9.9', device: 'an abacus' }))
       require('node:readline').createInterface({ input: process.stdin }).on('line', (line) => {
         fs.appendFileSync('${log}', line + '\\n')
         console.log(JSON.stringify(line.includes('999') ? { error: 'too large' } : { done: true }))
       })`,
    )
    const side = await PytorchSide.open(server)
    try {
      expect(side.title).toBe('PyTorch 9.9 on an abacus')
      const subject = await side.subjectFor({ kind: 'lenet', batch: 32 })
      await subject.run(7)
      await expect(side.subjectFor({ kind: 'lenet', batch: 999 })).rejects.toThrow('too large')
      await expect(side.subjectFor(undefined)).rejects.toThrow(/no such work/)
    } finally {
      side.dispose()
    }
    expect((await readFile(log, 'utf8')).trim().split('\n')).toEqual([
      'pytorch.py --serve',
      '{"open":{"kind":"lenet","batch":32}}',
      '{"run":7}',
      '{"open":{"kind":"lenet","batch":999}}',
    ])
  })

  it('is named as missing, with the reason', async () => {
    await expect(PytorchSide.open(join(folder, 'no-python'))).rejects.toMatchObject({
      code: 'file',
      message: expect.stringMatching(/ENOENT.*pip install torch/),
    })
    const bare = await python('bare', `console.error("No module named 'torch'"); process.exit(1)`)
    await expect(PytorchSide.open(bare)).rejects.toThrow(/cannot run PyTorch \(No module named 'torch'\)/)
  })
})

describe('a comparison', () => {
  function row(name: string, milliseconds: number, more: Partial<BenchRow> = {}): BenchRow {
    return {
      case: name,
      variant: 'plain',
      bound: 'arithmetic',
      milliseconds,
      spread: {
        minimum: 0.9 * milliseconds,
        lowerQuartile: 0.95 * milliseconds,
        upperQuartile: 1.05 * milliseconds,
      },
      samples: 20,
      repeats: 1,
      gflops: 1,
      gbps: 1,
      fractionOfPeak: 0.1,
      ceiling: 100,
      ...more,
    }
  }
  function report(rows: readonly BenchRow[], gflops = 100): BenchReport {
    return {
      adapter: 'made up',
      hardware: false,
      date: '2026-01-01T00:00:00Z',
      quick: false,
      peak: { gflops, gbps: 10, shapes: { gflops: '', gbps: '' } },
      rows,
    }
  }
  const before = report([row('steady', 10), row('regressed', 10), row('improved', 10), row('gone', 10)])
  const after = report([row('steady', 10.4), row('regressed', 14), row('improved', 5), row('new', 10)])

  it('separates regressions and improvements from noise', () => {
    const { changes, failures, removed, added } = compareReports(before, after)
    expect(changes.map(({ case: name, verdict }) => [name, verdict])).toEqual([
      ['steady', 'same'],
      ['regressed', 'slower'],
      ['improved', 'faster'],
    ])
    expect(failures.map(({ case: name }) => name)).toEqual(['regressed'])
    expect(compareReports(before, after, { threshold: 0.5 }).failures).toEqual([])
    expect([removed, added]).toEqual([['gone (plain)'], ['new (plain)']])
  })

  it('does not call a large difference a change where the samples overlap', () => {
    const spread = { minimum: 5, lowerQuartile: 8, upperQuartile: 25 }
    const { changes } = compareReports(report([row('a', 10, { spread })]), report([row('a', 20, { spread })]))
    expect(changes[0]?.verdict).toBe('same')
  })

  it('matches a case whose preferred variant has changed', () => {
    const { changes } = compareReports(report([row('a', 10)]), report([row('a', 5, { variant: 'tiled' })]))
    expect(changes[0]).toMatchObject({ verdict: 'faster', after: { variant: 'tiled' } })
  })

  it('can scale by the ceilings, so that a slower machine does not count as a regression', () => {
    const slowMachine = report([row('a', 20, { ceiling: 50 })], 50)
    const fastMachine = report([row('a', 10)], 100)
    expect(compareReports(fastMachine, slowMachine).failures).toHaveLength(1)
    expect(compareReports(fastMachine, slowMachine, { relative: true }).changes[0]?.verdict).toBe('same')
  })

  it('pairs two commits round by round: a machine that slows down between rounds changes no ratio', () => {
    const rounds = [1, 3, 2].map((slowness) => ({
      before: report([row('steady', 10 * slowness), row('faster', 10 * slowness), row('noisy', 10), row('gone', 1)]),
      after: report([row('steady', 10.1 * slowness), row('faster', 5 * slowness), row('noisy', 4 * slowness)]),
    }))
    const { cases, removed, added } = pairRounds(rounds)
    expect(cases.map(({ case: name, verdict }) => [name, verdict])).toEqual([
      ['steady', 'same'],
      ['faster', 'faster'],
      ['noisy', 'same'],
    ])
    expect(cases[1]).toMatchObject({
      milliseconds: { before: 20, after: 10 },
      speedup: { median: 2, least: 2, most: 2 },
    })
    expect([removed, added]).toEqual([['gone'], []])
    expect(() => pairRounds([])).toThrow(/without a round/)
  })

  it('checks a commit out beside the packages, and refuses one that git does not know', async () => {
    const repository = resolve(import.meta.dirname, '..')
    const { folder, commit, dispose } = await checkOut(repository, 'HEAD')
    try {
      expect(commit).toMatch(/^[0-9a-f]{12}$/)
      expect(existsSync(join(folder, 'bench', 'main.ts'))).toBe(true)
      expect(existsSync(join(folder, 'node_modules', 'webgpu'))).toBe(true)
    } finally {
      await dispose()
    }
    expect(existsSync(folder)).toBe(false)
    await expect(checkOut(repository, '--all')).rejects.toMatchObject({ code: 'argument' })
    expect(existsSync(join(repository, 'node_modules', 'webgpu'))).toBe(true)
  })

  it('exits with 1 if strict, and reads only reports', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'weftgrad-bench-'))
    const written = vi.spyOn(process.stdout, 'write').mockReturnValue(true)
    try {
      const [a, b, c] = ['a.json', 'b.json', 'c.json'].map((name) => join(folder, name)) as [string, string, string]
      await writeFile(a, JSON.stringify(before))
      await writeFile(b, JSON.stringify(after))
      await writeFile(c, '{"rows": 3}')
      expect(await main(['compare', a, b])).toBe(0)
      expect(await main(['compare', a, b, '--strict'])).toBe(1)
      expect(await main(['compare', a, b, '--strict', '--threshold', '0.5'])).toBe(0)
      expect(written.mock.calls.flat().join('')).toMatch(/Slower:\n {2}regressed/)
      await expect(main(['compare', a, c])).rejects.toMatchObject({ code: 'format' })
      await expect(main(['compare', a, join(folder, 'none.json')])).rejects.toMatchObject({ code: 'file' })
    } finally {
      written.mockRestore()
      await rm(folder, { recursive: true, force: true })
    }
  })

  it('exits with 2 for wrong arguments, which it quotes without controls', async () => {
    const written = vi.spyOn(process.stderr, 'write').mockReturnValue(true)
    try {
      for (const args of [['--\u001b[2J'], ['compare', 'a.json'], ['compare', 'a', 'b', '--threshold', '\u001b[2J']])
        expect(await main(args)).toBe(2)
      expect(written).toHaveBeenCalledTimes(3)
      for (const [text] of written.mock.calls) expect(text).toMatch(/^weftgrad: \P{Cc}+\n$/u)
    } finally {
      written.mockRestore()
    }
  })
})
