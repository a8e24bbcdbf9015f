/**
 * Runs the parts of a check in turn and keeps the report. Each part has its own process, so a driver that crashes or
 * hangs ends only one part. The report names it, and keeps what the part had found until then.
 */

import { arch, availableParallelism, cpus, platform } from 'node:os'
import { versions } from '../../src/runs/versions.node.ts'
import { workingCommit } from '../commit.ts'
import { rounded } from '../report.ts'
import type { Part, PartOutcome } from './part.ts'
import { messageOf } from './part.ts'
import type { AdapterReport, CheckReport, PartReport } from './report.ts'

/** The messages of a part's process: the adapter, once; then its outcome so far, again and again; then `done`. */
export type PartMessage =
  | { readonly kind: 'adapter'; readonly adapter: AdapterReport }
  | { readonly kind: 'outcome'; readonly outcome: PartOutcome }
  | { readonly kind: 'done' }

/**
 * Starts a part, which has about `seconds`. Resolves when its process has ended, to a sentence if it crashed or was
 * killed. Kills it when the signal fires.
 */
export type Launch = (
  part: string,
  seconds: number,
  onMessage: (message: PartMessage) => void,
  signal: AbortSignal,
) => Promise<string | undefined>

export interface ConductOptions {
  readonly quick: boolean
  /** Wall-clock time for all parts together. */
  readonly seconds: number
  readonly launch: Launch
  /** Gets the report after every part. */
  readonly onReport: (report: CheckReport) => Promise<void>
  /** Gets a line about the adapter and about each part. */
  readonly log: (line: string) => void
  /** Stops the check; the report keeps what was found so far. */
  readonly signal?: AbortSignal
  /** Seconds that a part may overrun before it is killed: compilers and long kernels cannot be interrupted. */
  readonly grace?: number
}

/** The most problems of a part that are printed. The report has all of them. */
const printedProblems = 8

export async function conduct(parts: readonly Part[], options: ConductOptions): Promise<CheckReport> {
  const begun = performance.now()
  const elapsed = (): number => (performance.now() - begun) / 1000
  const common = await commonFields(options.quick)
  let adapter: AdapterReport | undefined
  const reports: PartReport[] = []
  const reportNow = (): CheckReport => ({
    ...common,
    adapter,
    complete: reports.length === parts.length && !options.signal?.aborted,
    seconds: rounded(elapsed()),
    parts: [...reports],
  })
  const onAdapter = (found: AdapterReport): void => {
    if (adapter === undefined) options.log(`${found.description}, ${found.class} kernels`)
    adapter ??= found
  }
  const all = parts.reduce((sum, { seconds }) => sum + seconds, 0)
  let later = all
  for (const part of parts) {
    if (options.signal?.aborted) break
    later -= part.seconds
    // Time that a part does not use goes to the later parts; time that it overruns is taken from them.
    const scale = Math.min(1, options.seconds / all)
    const seconds = Math.max(scale * part.seconds * 0.25, options.seconds - elapsed() - scale * later)
    const report = await conductPart(part, seconds, options, onAdapter)
    reports.push(report)
    printPart(part, report, options.log)
    await options.onReport(reportNow())
  }
  return reportNow()
}

async function conductPart(
  { name }: Part,
  seconds: number,
  { launch, signal, grace = 20 }: ConductOptions,
  onAdapter: (adapter: AdapterReport) => void,
): Promise<PartReport> {
  const begun = performance.now()
  let outcome: PartOutcome = { problems: [], left: [], peakBytes: 0, figures: undefined }
  let isDone = false
  const onMessage = (message: PartMessage): void => {
    if (message.kind === 'adapter') onAdapter(message.adapter)
    else if (message.kind === 'outcome') outcome = message.outcome
    else isDone = true
  }
  const tooLong = AbortSignal.timeout(Math.ceil(1000 * (seconds + grace)))
  const problems: string[] = []
  try {
    const ended = await launch(name, seconds, onMessage, signal ? AbortSignal.any([signal, tooLong]) : tooLong)
    if (signal?.aborted) problems.push('The check was stopped.')
    else if (tooLong.aborted) problems.push(`It was stopped: it had ${seconds.toFixed(0)} s and overran by ${grace} s.`)
    else if (ended !== undefined) problems.push(ended)
    else if (!isDone) problems.push('Its process ended before it was done.')
  } catch (error) {
    problems.push(messageOf(error))
  }
  const { figures, left, peakBytes } = outcome
  const all = [...outcome.problems, ...problems]
  const took = rounded((performance.now() - begun) / 1000)
  return { ...figures, name, ok: all.length === 0, seconds: took, problems: all, left, peakBytes }
}

function printPart({ name }: Part, { ok, seconds, problems, left }: PartReport, log: (line: string) => void): void {
  const rest = left.length > 0 ? `, ${left.length} skipped` : ''
  const verdict = ok ? 'ok' : problems.length === 1 ? '1 PROBLEM' : `${problems.length} PROBLEMS`
  log(`${name.padEnd(14)}${seconds.toFixed(1).padStart(6)} s  ${verdict}${rest}`)
  for (const problem of problems.slice(0, printedProblems)) log(`  ${problem}`)
  if (problems.length > printedProblems) log(`  ... and ${problems.length - printedProblems} more, in the report`)
}

async function commonFields(quick: boolean) {
  const { weftgrad, webgpu, node } = versions()
  return {
    what: 'weftgrad check' as const,
    commit: await workingCommit(),
    date: new Date().toISOString(),
    versions: { weftgrad, webgpu, node },
    machine: {
      platform: `${platform()}-${arch()}`,
      processor: cpus()[0]?.model.trim() ?? 'unknown',
      threads: availableParallelism(),
    },
    quick,
  }
}

/** True if every part was run and found nothing wrong. Items skipped for lack of time or memory are not failures. */
export function isGood({ complete, parts }: CheckReport): boolean {
  return complete && parts.length > 0 && parts.every(({ ok }) => ok)
}
