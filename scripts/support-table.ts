/**
 * Generates the support table of docs/support.md from the table of cases, so that it lists exactly what is tested.
 *
 *     node --import ./scripts/tsx.mjs scripts/support-table.ts            writes it between the markers of that page
 *     node --import ./scripts/tsx.mjs scripts/support-table.ts --check    fails if the page has another one
 *
 * Every function of src/operators/index.ts must have a case or be explained in `withoutCases`; otherwise this fails.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import * as operators from '../src/operators/index.ts'
import type { Case } from '../test/cases.ts'
import { cases } from '../test/cases.ts'

const page = new URL('../docs/support.md', import.meta.url)
const begin = '<!-- support table: begin (npm run support) -->'
const end = '<!-- support table: end -->'

/** Titles of the groups of cases that are not named after a function. */
const titles: Readonly<Record<string, string>> = {
  fused: 'chains of elementwise operators, in one kernel',
  network: 'several operators together, as networks use them',
}

interface Row {
  readonly operator: string
  readonly forward: string
  readonly gradient: string
  readonly tensorFlow: string
  readonly note: string
}

/** Operators without a case, and how they are tested instead. */
const withoutCases: Readonly<Record<string, Omit<Row, 'operator'>>> = {
  dropout: {
    forward: 'yes',
    gradient: 'yes',
    tensorFlow: 'no',
    note: 'random: its share of zeros, its masks and its gradient are tested in test/operators-dropout.test.ts',
  },
  toF32: {
    forward: 'yes',
    gradient: 'none',
    tensorFlow: 'no',
    note: 'from whole numbers, which have no gradient; tested in test/kernels-elementwise.test.ts',
  },
  custom: {
    forward: 'yours',
    gradient: 'yours',
    tensorFlow: 'no',
    note: 'runs a kernel of your own; examples/custom-op.ts is tested in test/examples.test.ts',
  },
}

/** Operators whose results are whole numbers, or that change inputs only. */
const withoutDerivative: ReadonlySet<string> = new Set(['argmax', 'affineTransform'])

/** Functions that are not operators: they make constants, or are another operator by a second name. */
const notOperators: ReadonlySet<string> = new Set(['apply', 'applyAll', 'constant', 'fill', 'zeros', 'ones', 'flatten'])

function casesByOperator(): Map<string, Case[]> {
  const groups = new Map<string, Case[]>()
  for (const one of cases) groups.set(one.operator, [...(groups.get(one.operator) ?? []), one])
  return groups
}

function gradientOf(operator: string, differentiated: number): string {
  if (differentiated > 0) return `${differentiated} ${differentiated === 1 ? 'case' : 'cases'}`
  return withoutDerivative.has(operator) ? 'none' : '0 everywhere'
}

function rowOf(operator: string, own: readonly Case[]): Row {
  const compared = own.filter((one) => typeof one.tfjs !== 'string')
  const differentiated = own.filter((one) => one.differentiable.length > 0)
  const gradients = differentiated.filter((one) => typeof one.tfjs !== 'string' && one.tfjsGradient === true)
  // A case without any comparison has one reason, not two.
  const reasons = own.flatMap((one) => {
    if (typeof one.tfjs === 'string') return [one.tfjs]
    return one.differentiable.length > 0 && one.tfjsGradient !== true ? [one.tfjsGradient] : []
  })
  return {
    operator: titles[operator] ?? `\`${operator}\``,
    forward: `${own.length} ${own.length === 1 ? 'case' : 'cases'}`,
    gradient: gradientOf(operator, differentiated.length),
    tensorFlow: [
      `forward ${compared.length} of ${own.length}`,
      ...(differentiated.length > 0 ? [`gradient ${gradients.length} of ${differentiated.length}`] : []),
    ].join(', '),
    note: [...new Set(reasons)].join('; '),
  }
}

/** The table as Markdown. Throws for an operator without a case or an explanation. */
function supportTable(): string {
  const groups = casesByOperator()
  const functions = Object.entries(operators).flatMap(([name, value]) => (typeof value === 'function' ? [name] : []))
  const unknown = functions.filter((name) => !groups.has(name) && !(name in withoutCases) && !notOperators.has(name))
  if (unknown.length > 0) {
    throw new Error(`${unknown.join(', ')}: write a case in test/cases/, or explain it in scripts/support-table.ts.`)
  }
  const rows = [
    ...[...groups].map(([operator, own]) => rowOf(operator, own)),
    ...Object.entries(withoutCases).map(([operator, row]) => ({ operator: `\`${operator}\``, ...row })),
  ]
  const header: Row = {
    operator: 'operator',
    forward: 'forward',
    gradient: 'gradient',
    tensorFlow: 'checked against TensorFlow.js',
    note: 'note',
  }
  const line = (row: Row): string =>
    `| ${[row.operator, row.forward, row.gradient, row.tensorFlow, row.note].map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`
  return [
    `${cases.length} cases, ${cases.filter((one) => one.differentiable.length > 0).length} of them with gradients.`,
    '',
    line(header),
    '|---|---|---|---|---|',
    ...rows.map(line),
  ].join('\n')
}

function main(): void {
  const text = readFileSync(page, 'utf8')
  const [from, to] = [text.indexOf(begin), text.indexOf(end)]
  if (from < 0 || to < from) throw new Error(`docs/support.md lacks the lines ${begin} and ${end}.`)
  const renewed = `${text.slice(0, from + begin.length)}\n${supportTable()}\n${text.slice(to)}`
  if (renewed === text) return
  if (process.argv.includes('--check')) {
    process.stderr.write('docs/support.md is out of date: run `npm run support`.\n')
    process.exitCode = 1
    return
  }
  writeFileSync(page, renewed)
}

main()
