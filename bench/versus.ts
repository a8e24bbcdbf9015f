/**
 * Compares this working tree with an earlier commit on a machine whose speed varies: both are timed by their own
 * benchmarks, each run in a process of its own, in turn, round by round. The ratio of a case is taken in each round, so
 * that a machine that slows down for a minute slows both sides; reported are the median of the ratios and their range.
 */

import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { WeftgradError } from '../src/errors.ts'
import { writeFileAtomic } from '../src/format/atomic-write.node.ts'
import { git } from './commit.ts'
import { leastDifference, readReport } from './compare.ts'
import { summarize } from './measure.ts'
import type { BenchReport } from './report.ts'
import { rounded, short } from './report.ts'

export interface VersusOptions {
  /** How often each side is timed. */
  readonly rounds: number
  /** True takes all samples of a case in every run, not a few. */
  readonly thorough?: boolean | undefined
  /** A file that the comparison is also written to. */
  readonly json?: string | undefined
}

/** A case that both sides have. */
export interface PairedCase {
  readonly case: string
  readonly variants: { readonly before: string; readonly after: string }
  /** Medians over the rounds. */
  readonly milliseconds: { readonly before: number; readonly after: number }
  /** The time before, divided by the time after: above 1 is faster. The median over the rounds, and their extremes. */
  readonly speedup: { readonly median: number; readonly least: number; readonly most: number }
  readonly verdict: 'slower' | 'faster' | 'same'
}

export interface PairedComparison {
  readonly cases: readonly PairedCase[]
  /** Cases that only one side has. */
  readonly removed: readonly string[]
  readonly added: readonly string[]
}

/** The reports of both sides in one round. */
export interface Round {
  readonly before: BenchReport
  readonly after: BenchReport
}

/**
 * Times a commit and this working tree in turn and prints the comparison.
 * @throws WeftgradError 'argument' if git does not know the commit, or no round is asked for; 'file' if a benchmark fails.
 */
export async function benchVersus(
  revision: string,
  filter: readonly string[],
  options: VersusOptions,
  log: (line: string) => void,
): Promise<PairedComparison> {
  const here = resolve(import.meta.dirname, '..')
  const before = await checkOut(here, revision)
  try {
    const sides = { before: before.folder, after: here }
    const rounds: Round[] = []
    for (let i = 0; i < options.rounds; i++) {
      log(`round ${i + 1} of ${options.rounds}`)
      // The side that begins changes, so that neither profits from being second.
      const order = i % 2 === 0 ? (['before', 'after'] as const) : (['after', 'before'] as const)
      const reports: Partial<Record<keyof Round, BenchReport>> = {}
      for (const side of order) {
        reports[side] = await timeTree(sides[side], filter, join(before.scratch, `${side}.json`), options)
      }
      rounds.push(reports as Round)
    }
    const comparison = pairRounds(rounds)
    const [first] = rounds
    log(`${first?.after.adapter ?? ''}, ${short(first?.after.peak.gflops ?? Number.NaN)} GFLOP/s`)
    log(`before: ${before.commit}; after: ${first?.after.commit ?? 'this tree'}`)
    for (const line of pairedLines(comparison)) log(line)
    if (options.json !== undefined) {
      await writeFileAtomic(options.json, `${JSON.stringify({ before: before.commit, ...comparison }, null, 2)}\n`)
      log(`Comparison: ${options.json}`)
    }
    return comparison
  } finally {
    await before.dispose()
  }
}

/** Pairs the cases of all rounds. A case that is missing in a round is left out. */
export function pairRounds(rounds: readonly Round[]): PairedComparison {
  const [first] = rounds
  if (first === undefined) throw new WeftgradError('argument', 'There is nothing to compare without a round.')
  const cases = first.before.rows.flatMap((row): PairedCase[] => {
    const pairs = rounds.flatMap(({ before, after }) => {
      const a = before.rows.find((one) => one.case === row.case)
      const b = after.rows.find((one) => one.case === row.case)
      return a === undefined || b === undefined ? [] : [{ a, b }]
    })
    const [pair] = pairs
    if (pair === undefined || pairs.length < rounds.length) return []
    const ratios = pairs.map(({ a, b }) => a.milliseconds / b.milliseconds)
    const { median } = summarize(ratios)
    const [least, most] = [Math.min(...ratios), Math.max(...ratios)]
    return [
      {
        case: row.case,
        variants: { before: pair.a.variant, after: pair.b.variant },
        milliseconds: {
          before: rounded(summarize(pairs.map(({ a }) => a.milliseconds)).median),
          after: rounded(summarize(pairs.map(({ b }) => b.milliseconds)).median),
        },
        speedup: { median: rounded(median), least: rounded(least), most: rounded(most) },
        verdict: verdictOf(median, least, most),
      },
    ]
  })
  const paired = new Set(cases.map((one) => one.case))
  const unpaired = ({ rows }: BenchReport): string[] => rows.map((row) => row.case).filter((name) => !paired.has(name))
  return { cases, removed: unpaired(first.before), added: unpaired(first.after) }
}

/** A case has changed if every round says so, and the median by more than the least difference. */
function verdictOf(median: number, least: number, most: number): PairedCase['verdict'] {
  if (Math.abs(median - 1) < leastDifference) return 'same'
  if (least > 1) return 'faster'
  return most < 1 ? 'slower' : 'same'
}

export function pairedLines({ cases, removed, added }: PairedComparison): string[] {
  const width = Math.max(4, ...cases.map((one) => one.case.length))
  const count = (verdict: PairedCase['verdict']): number => cases.filter((one) => one.verdict === verdict).length
  return [
    `${'case'.padEnd(width)}  ${'before ms'.padStart(10)}  ${'after ms'.padStart(10)}  ${'speed-up'.padStart(8)}  range`,
    ...cases.map(
      ({ case: name, milliseconds, speedup, verdict }) =>
        `${name.padEnd(width)}  ${short(milliseconds.before).padStart(10)}  ${short(milliseconds.after).padStart(10)}  ${`${short(speedup.median)}x`.padStart(8)}  ${short(speedup.least)}-${short(speedup.most)} ${verdict}`,
    ),
    ...removed.map((name) => `only before: ${name}`),
    ...added.map((name) => `only after: ${name}`),
    `${count('faster')} faster, ${count('slower')} slower, ${count('same')} the same within noise.`,
  ]
}

interface CheckedOut {
  readonly folder: string
  /** A folder for reports, removed with the checkout. */
  readonly scratch: string
  /** The commit's short name. */
  readonly commit: string
  dispose(): Promise<void>
}

/**
 * Puts a commit's files into a temporary folder, beside this tree's packages. Throws WeftgradError 'argument' if git
 * does not know it.
 */
export async function checkOut(repository: string, revision: string): Promise<CheckedOut> {
  let commit: string
  try {
    commit = await git(repository, 'rev-parse', '--verify', '--short=12', '--end-of-options', `${revision}^{commit}`)
  } catch (cause) {
    throw new WeftgradError(
      'argument',
      `git knows no commit ${revision} here. Name a commit, a branch or a tag of this clone.`,
      { revision },
      cause,
    )
  }
  const scratch = await mkdtemp(join(tmpdir(), 'weftgrad-versus-'))
  const dispose = (): Promise<void> => rm(scratch, { recursive: true, force: true })
  try {
    const archive = join(scratch, 'tree.tar')
    const folder = join(scratch, 'tree')
    await git(repository, 'archive', '--format=tar', '--prefix=tree/', `--output=${archive}`, commit)
    await promisify(execFile)('tar', ['-xf', archive, '-C', scratch])
    await symlink(join(repository, 'node_modules'), join(folder, 'node_modules'))
    return { folder, scratch, commit, dispose }
  } catch (error) {
    await dispose()
    throw error
  }
}

/** Runs a tree's own benchmark. Its table goes to standard error, so that a long run is seen to move. */
async function timeTree(
  folder: string,
  filter: readonly string[],
  json: string,
  { thorough }: VersusOptions,
): Promise<BenchReport> {
  const args = [join('bin', 'weftgrad.mjs'), 'bench', ...filter, ...(thorough ? [] : ['--quick']), '--json', json]
  const child = spawn(process.execPath, args, { cwd: folder, stdio: ['ignore', process.stderr, process.stderr] })
  const [code, signal] = await once(child, 'close')
  if (code !== 0)
    throw new WeftgradError(
      'file',
      `The benchmark in ${folder} failed (${signal ?? `exit code ${code}`}); its reason is above.`,
      { folder, code },
    )
  return await readReport(json)
}
