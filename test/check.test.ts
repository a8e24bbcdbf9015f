/**
 * The check of an adapter: it finds wrong kernels, and a part that fails, however it fails, does not affect the others.
 */

import { spawn } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import type { Launch } from '../bench/check/conduct.ts'
import { conduct, isGood } from '../bench/check/conduct.ts'
import { pageOf } from '../bench/check/page.ts'
import type { Part } from '../bench/check/part.ts'
import { PartWork } from '../bench/check/part.ts'
import { matmulPart } from '../bench/check/parts/matmul.ts'
import { operatorsPart } from '../bench/check/parts/operators.ts'
import { allParts } from '../bench/check/parts.ts'
import type { AdapterReport, CheckReport } from '../bench/check/report.ts'
import { adapterSlug } from '../bench/check/report.ts'
import { timeOperators } from '../bench/check/timed-operator.ts'
import { WeftgradError } from '../src/errors.ts'
import { open } from '../src/gpu/node/open.ts'
import { matmul as matmulFamily } from '../src/kernels/matmul/matmul.ts'
import { matmul } from '../src/operators/index.ts'
import * as reference from './reference/matmul.ts'

afterEach(() => {
  vi.restoreAllMocks()
})

/** Breaks a variant of matmul: it runs no workgroup, so its result is never written. */
function spoil(name: string): void {
  const variant = matmulFamily.variants.find((one) => one.name === name)
  if (variant === undefined) throw new Error(`matmul has no variant ${name}`)
  const plan = variant.plan.bind(variant)
  vi.spyOn(variant, 'plan').mockImplementation((key, target) => {
    const right = plan(key, target)
    const dispatches = right.dispatches.map((one) => ({ ...one, workgroups: [0, 1, 1] as const }))
    return { ...right, dispatches }
  })
}

const openDevice = () => open()

describe('a part of the check', () => {
  it('finds no problem in correct kernels, and reports how much it checked', async () => {
    const outcome = await PartWork.run(operatorsPart, openDevice, { quick: false, cases: 'matmul: whole tiles' }, 100)
    const all = await PartWork.run(operatorsPart, openDevice, { quick: false, cases: 'matmul:' }, 0)
    expect(outcome.problems).toEqual([])
    expect(outcome.figures).toMatchObject({ failures: [] })
    expect((outcome.figures as { checked: number }).checked).toBeGreaterThan(0)
    // Without time nothing was checked, and that does not count as success.
    expect(all.problems).toContain('No case was checked.')
    expect(all.left.join()).toMatch(/cases: out of time/)
  })

  it('reports the cases of a wrong kernel, by its name, and continues with the other variants', async () => {
    spoil('plain')
    const outcome = await PartWork.run(operatorsPart, openDevice, { quick: false, cases: 'matmul: whole tiles' }, 100)
    expect(outcome.problems.length).toBeGreaterThan(0)
    for (const problem of outcome.problems) expect(problem).toMatch(/matmul.*matmul\/plain/)
    const { variants, failures } = outcome.figures as { variants: Record<string, number>; failures: object[] }
    expect(failures).toHaveLength(outcome.problems.length)
    expect(Object.keys(variants).length).toBeGreaterThan(1)
  })

  it('compares what it times with the reference', async () => {
    for (const { name } of matmulFamily.variants) spoil(name)
    const small: Part = {
      ...matmulPart,
      async run(work) {
        await timeOperators(
          work,
          [
            {
              name: 'a product',
              flops: 2 * 64 ** 3,
              shapes: [
                [64, 64],
                [64, 64],
              ],
              terms: 64,
              trace: matmul,
              reference: reference.matmul,
            },
          ],
          (row) => work.report({ products: [row] }),
        )
      },
    }
    const outcome = await PartWork.run(small, openDevice, { quick: true }, 60)
    expect(outcome.problems.join()).toMatch(/^a product: /)
  })

  it('lists items skipped for lack of memory or time, which are not problems', async () => {
    const part: Part = {
      ...bare('small'),
      async run(work) {
        await work.attempt('too large', 0, () => Promise.reject(new WeftgradError('limit', 'It takes more memory.')))
        await work.attempt('too long', 1e6, () => Promise.resolve())
        await work.attempt('wrong', 0, () => Promise.reject(new Error('It is 2, not 1.')))
        await work.attempt('right', 0, async () => work.report({ done: 1 }))
      },
    }
    const outcome = await PartWork.run(part, openDevice, { quick: true }, 60)
    expect(outcome.problems).toEqual(['wrong: It is 2, not 1.'])
    expect(outcome.left).toEqual([
      'too large: It takes more memory.',
      expect.stringMatching(/^too long: not enough time \(needs 1000000\.0 s, .* s left\)\.$/),
    ])
    expect(outcome.figures).toEqual({ done: 1 })
  })

  it('continues with a new device after a lost one, and reports memory that was not released', async () => {
    const part: Part = {
      ...bare('lossy'),
      async run(work) {
        await work.attempt('loses its device', 0, async (device) => {
          device.gpu.destroy()
          await device.idle()
          await device.read(device.allocate(4, 'gone').slice())
        })
        await work.attempt('leaks', 0, async (device) => {
          device.allocate(1024, 'forgotten')
          work.report({ usable: device.usable })
        })
      },
    }
    const outcome = await PartWork.run(part, openDevice, { quick: true }, 60)
    expect(outcome.figures).toEqual({ usable: true })
    expect(outcome.problems).toHaveLength(2)
    expect(outcome.problems[0]).toMatch(/^loses its device: /)
    expect(outcome.problems[1]).toMatch(/1 buffers with 1024 bytes were not released/)
  })
})

function bare(name: string): Part {
  return { name, title: name, seconds: 1, run: () => Promise.resolve(), page: () => [] }
}

const adapter: AdapterReport = {
  description: 'made up (for tests)',
  vendor: '',
  architecture: '',
  device: 'Made-up GPU / 80GB',
  driver: 'none',
  hardware: true,
  class: 'gpu',
  features: ['subgroups'],
  limits: {},
  subgroupSizes: undefined,
}

describe('conducting a check', () => {
  const sound = { problems: [], left: ['a thing: too large.'], peakBytes: 1, figures: { found: 7 } }
  const ways: Record<string, Launch> = {
    sound: async (_, __, tell) => {
      tell({ kind: 'adapter', adapter })
      tell({ kind: 'outcome', outcome: sound })
      tell({ kind: 'done' })
      return undefined
    },
    crashes: async (_, __, tell) => {
      tell({ kind: 'outcome', outcome: { ...sound, figures: { found: 3 } } })
      return 'Its process was ended by SIGSEGV.'
    },
    silent: async () => undefined,
    broken: () => Promise.reject(new Error('no such program')),
    hangs: (_, __, ___, signal) =>
      new Promise((ended) => signal.addEventListener('abort', () => ended('ended by SIGKILL'))),
  }
  const launch: Launch = (part, ...rest) => (ways[part] ?? ways.silent)?.(part, ...rest) ?? Promise.resolve(undefined)

  async function conducted(names: readonly string[], signal?: AbortSignal) {
    const reports: CheckReport[] = []
    const lines: string[] = []
    const report = await conduct(names.map(bare), {
      quick: false,
      seconds: 0.4,
      grace: 0.1,
      launch,
      onReport: async (one) => void reports.push(one),
      log: (line) => void lines.push(line),
      ...(signal === undefined ? {} : { signal }),
    })
    return { report, reports, lines }
  }

  it('continues after a failed part, keeps what it had reported, and says what happened', async () => {
    const { report, reports, lines } = await conducted(['crashes', 'silent', 'broken', 'hangs', 'sound'])
    expect(report.parts.map(({ name, ok, problems, found }) => [name, ok, problems[0], found])).toEqual([
      ['crashes', false, 'Its process was ended by SIGSEGV.', 3],
      ['silent', false, 'Its process ended before it was done.', undefined],
      ['broken', false, 'no such program', undefined],
      ['hangs', false, expect.stringMatching(/^It was stopped: it had \d s and overran by 0\.1 s\.$/), undefined],
      ['sound', true, undefined, 7],
    ])
    expect(isGood(report)).toBe(false)
    // The report is written after each part, and not called complete before it is.
    expect(reports.map(({ complete, parts }) => [complete, parts.length])).toEqual([
      [false, 1],
      [false, 2],
      [false, 3],
      [false, 4],
      [true, 5],
    ])
    expect(report.adapter).toEqual(adapter)
    expect(lines.join('\n')).toMatch(/crashes.*1 PROBLEM, 1 skipped\n {2}Its process was ended by SIGSEGV/)
    expect(lines.join('\n')).toMatch(/sound.*ok, 1 skipped/)
  })

  it('succeeds if all parts do, but not if none was run', async () => {
    const { report } = await conducted(['sound', 'sound'])
    expect(isGood(report)).toBe(true)
    expect(isGood((await conducted([])).report)).toBe(false)
  })

  it('stops on a signal, and reports that it did not finish', async () => {
    const stop = new AbortController()
    const ended = conducted(['hangs', 'sound'], stop.signal)
    stop.abort()
    const { report } = await ended
    expect(report.complete).toBe(false)
    expect(report.parts.map(({ name }) => name)).not.toContain('sound')
    expect(isGood(report)).toBe(false)
    expect(pageOf(report, [])).toMatch(/\*\*The check did not finish\.\*\*/)
  })

  it('makes a page that lists failures first, and still shows what was found', async () => {
    const { report } = await conducted(['crashes', 'sound'])
    const parts = ['crashes', 'sound'].map((name) => ({
      ...bare(name),
      page: (figures: object) => [`found ${(figures as { found: number }).found}`],
    }))
    const page = pageOf(report, parts)
    expect(page).toMatch(/^# weftgrad on Made-up GPU \/ 80GB\n\n\*\*Problems found: crashes\.\*\*/)
    expect(page).toMatch(/## crashes\n\n\*\*Problems\*\*\n\n- Its process was ended by SIGSEGV\.\n\nfound 3/)
    expect(page).toMatch(/## sound\n\nfound 7\n\nSkipped:\n\n- a thing: too large\./)
  })

  it('names files after the adapter', () => {
    expect(adapterSlug(adapter)).toBe('made-up-gpu-80gb')
    expect(adapterSlug({ ...adapter, device: '///', driver: '' })).toBe('unnamed-adapter')
    expect(adapterSlug(undefined)).toBe('no-adapter')
  })
})

describe('the command', () => {
  let folder = ''
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'weftgrad-check-'))
  })
  afterAll(() => rm(folder, { recursive: true, force: true }))

  function command(...args: string[]): Promise<{ code: number | null; text: string }> {
    const child = spawn(process.execPath, ['--import', './scripts/tsx.mjs', 'bench/check/main.ts', ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let text = ''
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (more) => (text += more))
    return new Promise((done, fail) => {
      child.on('error', fail)
      child.on('close', (code) => done({ code, text }))
    })
  }

  it('rejects unknown arguments with exit code 2', async () => {
    expect(await command('--only', 'speed')).toMatchObject({ code: 2, text: expect.stringMatching(/no part "speed"/) })
    expect(await command('--minutes', '-1')).toMatchObject({ code: 2 })
    expect(await command('--out', 'report.txt')).toMatchObject({ code: 2, text: expect.stringMatching(/\.json/) })
    expect((await command('--page', join(folder, 'none.json'))).code).toBe(1)
  })

  it('checks, writes report and page, and compares them with PyTorch', async () => {
    const out = join(folder, 'report.json')
    const { code, text } = await command(
      '--only',
      'adapter,operators',
      '--cases',
      'matmul: whole tiles',
      '--quick',
      '--out',
      out,
    )
    expect(text).toMatch(/operators .*ok/)
    expect(code).toBe(0)
    const report = JSON.parse(await readFile(out, 'utf8')) as CheckReport
    expect(report).toMatchObject({ what: 'weftgrad check', complete: true, quick: true })
    expect(report.parts.map(({ name, ok }) => [name, ok])).toEqual([
      ['adapter', true],
      ['operators', true],
    ])
    expect(report.adapter?.limits.maxBufferSize).toBeGreaterThan(0)
    const pytorch = {
      ...{ what: 'weftgrad check, PyTorch', device: 'a made-up GPU', torch: '9.9' },
      ...{ lenet: {}, matmul: {}, convolutions: {}, left: ['512, tf32: time was up.'] },
    }
    const pytorchFile = join(folder, 'pytorch.json')
    await writeFile(pytorchFile, JSON.stringify(pytorch))
    expect((await command('--page', out, '--pytorch', pytorchFile)).code).toBe(0)
    const page = await readFile(join(folder, 'report.md'), 'utf8')
    expect(page).toMatch(/PyTorch 9\.9 on a made-up GPU/)
    expect(page).toMatch(/Everything checked is right\./)
    // A report is not a PyTorch report.
    expect((await command('--page', out, '--pytorch', out)).code).not.toBe(0)
  })

  it('has parts with different names that fit into seven minutes', () => {
    expect(new Set(allParts.map(({ name }) => name)).size).toBe(allParts.length)
    expect(allParts.reduce((sum, { seconds }) => sum + seconds, 0)).toBeLessThanOrEqual(420)
  })
})
