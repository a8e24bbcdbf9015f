/**
 * Generates the tables of docs/performance.md from the results that `npm run bench -- --json bench/results/NAME.json` wrote,
 * so that the page shows exactly what was measured.
 *
 *     node --import ./scripts/tsx.mjs scripts/performance-page.ts            writes them between the markers
 *     node --import ./scripts/tsx.mjs scripts/performance-page.ts --check    fails if the page has others
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import type { BenchReport, BenchRow } from '../bench/report.ts'

const page = new URL('../docs/performance.md', import.meta.url)
const results = new URL('../bench/results/', import.meta.url)
const begin = '<!-- tables: begin (npm run performance) -->'
const end = '<!-- tables: end -->'

const percent = (fraction: number): string => `${Math.round(100 * fraction)} %`

function tableRow(row: BenchRow): string {
  const rate = row.bound === 'arithmetic' ? `${row.gflops.toFixed(1)} GFLOP/s` : `${row.gbps.toFixed(1)} GB/s`
  const achieved = row.bound === 'arithmetic' ? row.gflops : row.gbps
  const rival = row.tfjs
  const tfjs = rival === undefined ? '' : 'skipped' in rival ? 'not measured' : rival.milliseconds.toFixed(2)
  const ratio = rival === undefined || 'skipped' in rival ? '' : rival.ratio.toFixed(1)
  const images = row.imagesPerSecond?.toFixed(row.imagesPerSecond < 10 ? 2 : 1) ?? ''
  const share = percent(achieved / row.ceiling)
  const cells = [row.case, row.variant, row.milliseconds.toFixed(2), rate, share, tfjs, ratio, images]
  return `| ${cells.join(' | ')} |`
}

function section(report: BenchReport): string {
  const { adapter, date, commit = 'unknown', quick, peak, rows } = report
  const isOfNetworks = rows.every((row) => row.case.includes(' features '))
  const ceiling = `${peak.gflops.toFixed(0)} GFLOP/s and ${peak.gbps.toFixed(1)} GB/s`
  return [
    `## ${isOfNetworks ? 'Features of pretrained networks' : 'Kernels and training steps'}`,
    '',
    `${date.slice(0, 10)}, commit ${commit}${quick ? ', few samples' : ''}, on ${adapter}. Ceiling in the same run: ${ceiling}.`,
    '',
    '| case | variant | ms | rate | of ceiling | TensorFlow.js ms | ratio | images/s |',
    '|---|---|---:|---:|---:|---:|---:|---:|',
    ...rows.map(tableRow),
    '',
    ...rows.flatMap((row) => (row.notes ?? []).map((note) => `- ${row.case}, ${row.variant}: ${note}.`)),
  ]
    .join('\n')
    .trimEnd()
}

const reports = readdirSync(results)
  .filter((name) => name.endsWith('.json'))
  .sort()
  .map((name) => JSON.parse(readFileSync(new URL(name, results), 'utf8')) as BenchReport)
  // `npm run check:gpu` also writes its reports there, each with a page of its own.
  .filter(({ rows }) => rows !== undefined)
const text = readFileSync(page, 'utf8')
const [before, rest] = text.split(begin)
const after = rest?.split(end)[1]
if (before === undefined || after === undefined)
  throw new Error(`docs/performance.md lacks the markers ${begin} and ${end}`)
const wanted = `${before}${begin}\n\n${reports.map(section).join('\n\n')}\n\n${end}${after}`
if (!process.argv.includes('--check')) writeFileSync(page, wanted)
else if (wanted !== text) {
  console.error('docs/performance.md is out of date: run `npm run performance`.')
  process.exitCode = 1
}
