/** The report of a benchmark run: its results as JSON, and as a table for people. */

import type { Bound } from '../test/cases/case.ts'
import type { Spread } from './measure.ts'
import type { Peak } from './peak.ts'

export interface BenchRow {
  readonly case: string
  readonly variant: string
  readonly bound: Bound
  /** Wall-clock time of one repeat: the median over the samples. */
  readonly milliseconds: number
  /** Spread of the samples, in ms. */
  readonly spread: Spread
  readonly samples: number
  /** Runs per sample. */
  readonly repeats: number
  /** 0 for a kernel with hardly any arithmetic. */
  readonly gflops: number
  /** Counts the least bytes that must be moved; 0 if they are not counted. Exceeds the peak if caches hold them. */
  readonly gbps: number
  /** The share of the peak that bounds the case. */
  readonly fractionOfPeak: number
  /**
   * GFLOP/s or GB/s of the kernel that set the peak, sampled in turn with this case. Lower than the peak if the machine
   * was slow at the time.
   */
  readonly ceiling: number
  /** Only for cases that process images. */
  readonly imagesPerSecond?: number
  readonly notes?: readonly string[]
  /** One repeat by the device's own clock, if it has one: the median over a few samples. */
  readonly deviceMilliseconds?: number
  /** TensorFlow.js' WebGPU backend on the same adapter. */
  readonly tfjs?: RivalResult
  /** PyTorch on the same machine: its GPU, else its processor. */
  readonly pytorch?: RivalResult
}

/** The libraries that ours can be timed against, by the word that asks for them. */
export const rivals = { tfjs: 'TensorFlow.js', pytorch: 'PyTorch' } as const
export type RivalName = keyof typeof rivals

export type RivalResult =
  | {
      readonly milliseconds: number
      readonly spread: Spread
      readonly samples: number
      /** Their time divided by ours. */
      readonly ratio: number
    }
  | { readonly skipped: string }

export interface BenchReport {
  readonly adapter: string
  readonly hardware: boolean
  /** ISO 8601. */
  readonly date: string
  /** The commit of the working tree, with a `+` if it has changes. */
  readonly commit?: string
  /** True if few samples were taken: enough for a look, not for a comparison. */
  readonly quick: boolean
  readonly peak: Peak
  readonly rows: readonly BenchRow[]
}

/** `of peak`: share of the peak measured at the start. `in turn`: share of the same kernel's rate, sampled in turn. */
const columns = [
  { title: 'case', width: 59 },
  { title: 'variant', width: 14 },
  { title: 'ms', width: 9 },
  { title: 'quartiles', width: 17 },
  { title: 'rate', width: 13 },
  { title: 'of peak', width: 7 },
  { title: 'in turn', width: 7 },
  { title: 'device ms', width: 9 },
  { title: 'rival ms', width: 9 },
  { title: 'ratio', width: 6 },
  { title: 'images/s', width: 8 },
] as const

function line(cells: readonly string[]): string {
  return columns
    .map(({ width }, i) => (i < 2 ? (cells[i] ?? '').padEnd(width) : (cells[i] ?? '').padStart(width)))
    .join('  ')
    .trimEnd()
}

export const tableHeader: string = line(columns.map(({ title }) => title))

/** The lines printed below a case's row. */
export function notesOf(row: BenchRow): readonly string[] {
  const notes = [...(row.notes ?? [])]
  for (const name of Object.keys(rivals) as RivalName[]) {
    const rival = row[name]
    if (rival !== undefined && 'skipped' in rival) notes.push(`${rivals[name]}: not measured (${rival.skipped})`)
  }
  return notes
}

export function tableLine(row: BenchRow): string {
  const rate = row.bound === 'arithmetic' ? `${short(row.gflops)} GFLOP/s` : `${short(row.gbps)} GB/s`
  const rival = row.tfjs ?? row.pytorch
  const theirs =
    rival === undefined
      ? ['', '']
      : 'skipped' in rival
        ? ['-', '-']
        : [short(rival.milliseconds), `${short(rival.ratio)}x`]
  return line([
    row.case,
    row.variant,
    short(row.milliseconds),
    `${short(row.spread.lowerQuartile)}-${short(row.spread.upperQuartile)}`,
    rate,
    percent(row.fractionOfPeak),
    percent((row.bound === 'arithmetic' ? row.gflops : row.gbps) / row.ceiling),
    row.deviceMilliseconds === undefined ? '' : short(row.deviceMilliseconds),
    ...theirs,
    row.imagesPerSecond === undefined ? '' : short(row.imagesPerSecond),
  ])
}

function percent(share: number): string {
  return `${(100 * share).toFixed(share < 0.1 ? 1 : 0)}%`
}

/** Three significant digits: measurements are not more precise. */
export function short(value: number): string {
  if (value === 0 || !Number.isFinite(value)) return String(value)
  const magnitude = Math.floor(Math.log10(Math.abs(value)))
  return value.toFixed(Math.max(0, Math.min(5, 2 - magnitude)))
}

/** Six significant digits, for JSON. */
export function rounded(value: number): number {
  return Number(value.toPrecision(6))
}
