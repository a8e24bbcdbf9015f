/**
 * Compares two benchmark reports: what got slower or faster, beyond noise. A case has changed if the middle halves of
 * its samples (from quartile to quartile) do not overlap, and the medians differ by more than 2 %.
 */

import { WeftgradError } from '../src/errors.ts'
import { readHostText } from '../src/format/host-file.node.ts'
import type { BenchReport, BenchRow } from './report.ts'
import { short } from './report.ts'

export interface CompareOptions {
  /** How much slower a case may get before it counts as a failure: 0.1 is 10 %. */
  readonly threshold?: number
  /** True scales times by the ceilings sampled in turn with them, for machines that differ or vary. */
  readonly relative?: boolean
}

export interface Change {
  readonly case: string
  readonly before: BenchRow
  readonly after: BenchRow
  /** The time after, divided by the time before. */
  readonly ratio: number
  readonly verdict: 'slower' | 'faster' | 'same'
}

export interface Comparison {
  readonly changes: readonly Change[]
  /** Cases that only one of the reports has. */
  readonly removed: readonly string[]
  readonly added: readonly string[]
  /** Cases that got slower by more than the threshold. */
  readonly failures: readonly Change[]
  /** The peak after, divided by the peak before. */
  readonly peakRatio: { readonly gflops: number; readonly gbps: number }
}

/** Medians closer than this count as equal, however close together the samples are. */
export const leastDifference = 0.02

export function compareReports(before: BenchReport, after: BenchReport, options: CompareOptions = {}): Comparison {
  const { threshold = 0.1, relative = false } = options
  const peakRatio = {
    gflops: after.peak.gflops / before.peak.gflops,
    gbps: after.peak.gbps / before.peak.gbps,
  }
  const changes: Change[] = []
  const matched = new Set<BenchRow>()
  for (const row of before.rows) {
    const partner = partnerOf(row, before.rows, after.rows)
    if (partner === undefined) continue
    matched.add(row).add(partner)
    const scale = relative ? partner.ceiling / row.ceiling : 1
    const ratio = (partner.milliseconds * scale) / row.milliseconds
    changes.push({ case: row.case, before: row, after: partner, ratio, verdict: verdictOf(row, partner, scale) })
  }
  const unmatched = (rows: readonly BenchRow[]): string[] =>
    rows.filter((row) => !matched.has(row)).map((row) => `${row.case} (${row.variant})`)
  return {
    changes,
    removed: unmatched(before.rows),
    added: unmatched(after.rows),
    failures: changes.filter(({ verdict, ratio }) => verdict === 'slower' && ratio > 1 + threshold),
    peakRatio,
  }
}

/**
 * The row of the same case and variant; else the case's only row on both sides, since its preferred variant may change.
 */
function partnerOf(row: BenchRow, own: readonly BenchRow[], others: readonly BenchRow[]): BenchRow | undefined {
  const sameCase = others.filter((other) => other.case === row.case)
  const exact = sameCase.find((other) => other.variant === row.variant)
  if (exact !== undefined) return exact
  const alone = sameCase.length === 1 && own.filter((other) => other.case === row.case).length === 1
  return alone ? sameCase[0] : undefined
}

function verdictOf(before: BenchRow, after: BenchRow, scale: number): Change['verdict'] {
  const ratio = (after.milliseconds * scale) / before.milliseconds
  if (Math.abs(ratio - 1) < leastDifference) return 'same'
  if (after.spread.lowerQuartile * scale > before.spread.upperQuartile) return 'slower'
  return after.spread.upperQuartile * scale < before.spread.lowerQuartile ? 'faster' : 'same'
}

/** The comparison as text, the largest changes first. */
export function comparisonLines(comparison: Comparison, options: CompareOptions = {}): string[] {
  const { changes, removed, added, failures, peakRatio } = comparison
  const describe = ({ before, after, ratio, ...change }: Change): string => {
    const variants = before.variant === after.variant ? after.variant : `${before.variant} -> ${after.variant}`
    return `  ${change.case} (${variants}): ${short(before.milliseconds)} -> ${short(after.milliseconds)} ms, ${short(ratio)} times`
  }
  const section = (title: string, lines: readonly string[]): string[] => (lines.length > 0 ? [title, ...lines] : [])
  const moved = (verdict: Change['verdict'], order: number): string[] =>
    changes
      .filter((change) => change.verdict === verdict)
      .toSorted((a, b) => order * (a.ratio - b.ratio))
      .map(describe)
  const same = changes.filter(({ verdict }) => verdict === 'same').length
  const how = options.relative
    ? 'ratios are corrected for the ceilings sampled in turn'
    : 'ratios are not corrected for that (use --relative)'
  return [
    `The ceiling changed by a factor of ${short(peakRatio.gflops)} (GFLOP/s) and ${short(peakRatio.gbps)} (GB/s); ${how}.`,
    ...section('Slower:', moved('slower', -1)),
    ...section('Faster:', moved('faster', 1)),
    ...section(
      'Only before:',
      removed.map((name) => `  ${name}`),
    ),
    ...section(
      'Only after:',
      added.map((name) => `  ${name}`),
    ),
    `${same} of ${changes.length} cases are the same within noise; ${failures.length} got slower by more than ${short(100 * (options.threshold ?? 0.1))} %.`,
  ]
}

/** Compares two report files and prints the result. Throws 'file' or 'format'. */
export async function compareFiles(
  before: string,
  after: string,
  options: CompareOptions,
  log: (line: string) => void,
): Promise<Comparison> {
  const comparison = compareReports(await readReport(before), await readReport(after), options)
  for (const line of comparisonLines(comparison, options)) log(line)
  return comparison
}

/** Reads a report written by `--json`. Throws 'file' or 'format'. */
export async function readReport(path: string): Promise<BenchReport> {
  let text: string
  try {
    text = readHostText(path)
  } catch (cause) {
    throw new WeftgradError('file', `${path} could not be read. Give a file that bench --json wrote.`, { path }, cause)
  }
  let report: unknown
  try {
    report = JSON.parse(text)
  } catch (cause) {
    throw new WeftgradError('format', `${path} is not JSON. Give a file that bench --json wrote.`, { path }, cause)
  }
  if (!isReport(report)) throw new WeftgradError('format', `${path} is not a weftgrad benchmark report.`, { path })
  return report
}

function isReport(value: unknown): value is BenchReport {
  return isRecord(value) && isRecord(value.peak) && Array.isArray(value.rows) && value.rows.every(isRow)
}

function isRow(value: unknown): boolean {
  return (
    isRecord(value) &&
    typeof value.case === 'string' &&
    typeof value.variant === 'string' &&
    typeof value.milliseconds === 'number' &&
    typeof value.ceiling === 'number' &&
    isRecord(value.spread) &&
    typeof value.spread.lowerQuartile === 'number' &&
    typeof value.spread.upperQuartile === 'number'
  )
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null
}
