/** A check's report as a Markdown page, to read or to attach to an issue. */

import { short } from '../report.ts'
import { isGood } from './conduct.ts'
import type { Part } from './part.ts'
import type { PytorchReport } from './pytorch-report.ts'
import type { AdapterReport, CheckReport, PartReport } from './report.ts'

/** The most items listed in a section. The JSON has all of them. */
const mostListed = 40

export function pageOf(report: CheckReport, parts: readonly Part[], pytorch?: PytorchReport): string {
  const { adapter, versions, machine, quick, seconds } = report
  const lines = [
    `# weftgrad on ${adapter?.device || adapter?.description || 'an unknown adapter'}`,
    '',
    verdict(report),
    '',
    '| | |',
    '|---|---|',
    ...(adapter === undefined ? ['| adapter | none could be opened |'] : adapterRows(adapter)),
    `| machine | ${machine.platform}, ${machine.processor}, ${machine.threads} threads |`,
    `| versions | weftgrad ${versions.weftgrad}, commit ${report.commit ?? 'unknown'}; webgpu ${versions.webgpu}; Node.js ${versions.node} |`,
    ...(pytorch === undefined ? [] : [`| compared with | PyTorch ${pytorch.torch} on ${pytorch.device} |`]),
    `| run | ${report.date.slice(0, 16).replace('T', ' ')} UTC, ${seconds.toFixed(0)} s${quick ? ', quick: few samples' : ''} |`,
    '',
    '| part | | s | peak MB | skipped |',
    '|---|---|---:|---:|---:|',
    ...report.parts.map(summaryRow),
    ...report.parts.flatMap((part) => section(part, parts, pytorch)),
    ...(pytorch === undefined || pytorch.left.length === 0
      ? []
      : ['', '## Not measured by PyTorch', '', ...listed(pytorch.left)]),
  ]
  return `${lines.join('\n')}\n`
}

function verdict(report: CheckReport): string {
  const bad = report.parts.filter(({ ok }) => !ok).map(({ name }) => name)
  if (!report.complete) return '**The check did not finish.**'
  if (!isGood(report)) return `**Problems found: ${bad.join(', ') || 'no part was run'}.**`
  const left = report.parts.reduce((sum, part) => sum + part.left.length, 0)
  return `Everything checked is right.${left > 0 ? ` ${left} items were skipped; each section says which, and why.` : ''}`
}

function adapterRows({ description, vendor, architecture, limits, features, subgroupSizes, ...rest }: AdapterReport) {
  const subgroups =
    subgroupSizes === undefined ? 'no subgroups' : `subgroups of ${subgroupSizes.min} to ${subgroupSizes.max}`
  const limit = (name: string): string => String(limits[name] ?? 'unknown')
  return [
    `| adapter | ${description} |`,
    `| vendor | ${[vendor, architecture].filter((text) => text !== '').join(', ') || 'unnamed'} |`,
    `| driver | ${rest.driver}; ${rest.hardware ? 'hardware' : 'software'}; kernels for a ${rest.class.toUpperCase()} |`,
    `| limits | ${limit('maxComputeInvocationsPerWorkgroup')} lanes and ${limit('maxComputeWorkgroupStorageSize')} bytes a workgroup, bindings of ${short((limits.maxStorageBufferBindingSize ?? 0) / 2 ** 20)} MiB; ${subgroups} |`,
    `| features | ${features.join(', ')} |`,
  ]
}

function summaryRow({ name, ok, seconds, peakBytes, left }: PartReport): string {
  const cells = [name, ok ? 'ok' : '**failed**', seconds.toFixed(1), short(peakBytes / 1e6), left.length || '']
  return `| ${cells.join(' | ')} |`
}

function section(report: PartReport, parts: readonly Part[], pytorch: PytorchReport | undefined): string[] {
  const part = parts.find(({ name }) => name === report.name)
  const { problems, left } = report
  return [
    '',
    `## ${part?.title ?? report.name}`,
    ...(problems.length > 0 ? ['', '**Problems**', '', ...listed(problems)] : []),
    ...figures(report, part, pytorch),
    ...(left.length > 0 ? ['', 'Skipped:', '', ...listed(left)] : []),
  ]
}

/** The part's own section. Empty for a part that failed before it reported anything. */
function figures(report: PartReport, part: Part | undefined, pytorch: PytorchReport | undefined): string[] {
  const { name, ok, seconds, problems, left, peakBytes, ...own } = report
  if (part === undefined || Object.keys(own).length === 0) return []
  return ['', ...part.page(own, pytorch)]
}

function listed(sentences: readonly string[]): string[] {
  const rest = sentences.length - mostListed
  return [
    ...sentences.slice(0, mostListed).map((sentence) => `- ${sentence.replaceAll('|', '\\|')}`),
    ...(rest > 0 ? [`- ... and ${rest} more`] : []),
  ]
}
