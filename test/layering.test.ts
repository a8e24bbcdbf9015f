/**
 * The rules about which folder may import which (the "rooms" of DESIGN.md), checked on the syntax tree of every source
 * file. Each check also gets a planted violation, so that a check that sees nothing is noticed.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { builtinModules } from 'node:module'
import { posix } from 'node:path'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'
import { describe, expect, it } from 'vitest'

const sourceFolder = fileURLToPath(new URL('../src', import.meta.url))
const benchFolder = fileURLToPath(new URL('../bench', import.meta.url))

/**
 * The rooms by floor, each floor above the previous ones. Rooms on the same floor do not know each other. Files in src/
 * itself are below all rooms or above them.
 */
const floors: readonly (readonly string[])[] = [
  ...[['gpu'], ['format'], ['kernels'], ['graph'], ['operators'], ['autograd'], ['data'], ['nn'], ['weights']],
  ...[
    ['plots'],
    ['runs'],
    ['tasks'],
    ['units'],
    ['train', 'search', 'crossval', 'transfer', 'explore'],
    ['report'],
    ['study'],
    ['queue'],
  ],
  ['cli'],
]
const groundFiles = [
  'classification-report.ts',
  'printable.ts',
  'errors.ts',
  'near-names.ts',
  'numbers.ts',
  'options.ts',
  'random.ts',
  'subgroup-size.ts',
  'statistics.ts',
]
const roofFiles = ['index.ts', 'node.ts']

/** Folders or files that a room must not know, although they are below it. */
const hidden: Readonly<Record<string, readonly string[]>> = {
  format: ['gpu'],
  kernels: ['gpu', 'format'],
  graph: ['format'],
  operators: ['format'],
  autograd: ['format'],
  // What a job computes.
  queue: ['kernels', 'train', 'search', 'crossval', 'transfer', 'explore', 'report', 'study'],
  weights: ['nn/fit.ts', 'nn/training-step.ts', 'nn/optimizers.ts'],
  ...Object.fromEntries(
    ['plots', 'tasks', 'runs', 'units', 'train', 'search', 'crossval', 'transfer', 'explore', 'report', 'study'].map(
      (room) => [room, ['kernels']],
    ),
  ),
}

/** Rooms that may use packages, and the one file that knows how plots are drawn; the engine is our own code. */
const packageUsers: readonly string[] = ['format', 'gpu/node', 'cli', 'queue', 'plots/figure.ts']

interface Import {
  /** A path below src/, or the name of a module. */
  readonly target: string
  readonly isRelative: boolean
  /** Types vanish at run time but count as imports; it only matters to the check of the node contract. */
  readonly isTypeOnly: boolean
  readonly line: number
}

interface SourceFile {
  /** Path below src/. */
  readonly path: string
  readonly text: string
  readonly imports: readonly Import[]
  /** Names of Node.js globals that the file uses. */
  readonly nodeGlobals: readonly string[]
}

function isTypeOnlyClause(node: ts.ImportDeclaration | ts.ExportDeclaration): boolean {
  const allTypes = (elements: readonly { readonly isTypeOnly: boolean }[]): boolean =>
    elements.length > 0 && elements.every((element) => element.isTypeOnly)
  if (ts.isExportDeclaration(node)) {
    const { exportClause } = node
    return (
      node.isTypeOnly ||
      (exportClause !== undefined && ts.isNamedExports(exportClause) && allTypes(exportClause.elements))
    )
  }
  const { importClause } = node
  if (importClause === undefined) return false
  const { namedBindings } = importClause
  const named = namedBindings !== undefined && ts.isNamedImports(namedBindings) ? namedBindings.elements : []
  return (
    importClause.phaseModifier === ts.SyntaxKind.TypeKeyword || (importClause.name === undefined && allTypes(named))
  )
}

/** The name of an imported module, and whether only types are imported; undefined for other nodes. */
function importOf(node: ts.Node): { readonly module: string; readonly isTypeOnly: boolean } | undefined {
  const textOf = (literal: ts.Node | undefined): string | undefined =>
    literal !== undefined && ts.isStringLiteralLike(literal) ? literal.text : undefined
  if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) {
    const module = textOf(node.moduleSpecifier)
    return module === undefined ? undefined : { module, isTypeOnly: isTypeOnlyClause(node) }
  }
  if (ts.isImportTypeNode(node)) {
    const module = ts.isLiteralTypeNode(node.argument) ? textOf(node.argument.literal) : undefined
    return module === undefined ? undefined : { module, isTypeOnly: true }
  }
  const isDynamic = ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword
  const module = isDynamic ? textOf(node.arguments[0]) : undefined
  return module === undefined ? undefined : { module, isTypeOnly: false }
}

const globalsOfNode = new Set(['Buffer', 'process', 'require', '__dirname', '__filename', 'global', 'setImmediate'])

/** Whether an identifier names a variable, not a property, a key or a member of a type. */
function isVariable(node: ts.Identifier): boolean {
  const { parent } = node
  const isName =
    (ts.isPropertyAccessExpression(parent) ||
      ts.isPropertyAssignment(parent) ||
      ts.isPropertySignature(parent) ||
      ts.isPropertyDeclaration(parent) ||
      ts.isMethodDeclaration(parent) ||
      ts.isMethodSignature(parent)) &&
    parent.name === node
  const isGlobalThis =
    ts.isPropertyAccessExpression(parent) &&
    ts.isIdentifier(parent.expression) &&
    parent.expression.text === 'globalThis'
  return !isName || isGlobalThis
}

function parse(path: string, text: string): SourceFile {
  const tree = ts.createSourceFile(path, text, ts.ScriptTarget.ES2022, true)
  const imports: Import[] = []
  const nodeGlobals = new Set<string>()
  const visit = (node: ts.Node): void => {
    const found = importOf(node)
    if (found !== undefined) {
      const isRelative = found.module.startsWith('.')
      const target = isRelative ? posix.join(posix.dirname(path), found.module) : found.module
      const { line } = tree.getLineAndCharacterOfPosition(node.getStart())
      imports.push({ target, isRelative, isTypeOnly: found.isTypeOnly, line: line + 1 })
    }
    if (ts.isIdentifier(node) && globalsOfNode.has(node.text) && isVariable(node)) nodeGlobals.add(node.text)
    ts.forEachChild(node, visit)
  }
  visit(tree)
  return { path, text, imports, nodeGlobals: [...nodeGlobals] }
}

const roomOf = (path: string): string => (path.includes('/') ? (path.split('/')[0] ?? '') : '')
const isNodeOnly = (path: string): boolean =>
  path.startsWith('gpu/node/') ||
  path.startsWith('queue/') ||
  path.startsWith('cli/') ||
  path.endsWith('.node.ts') ||
  path === 'node.ts'
const within = (path: string, place: string): boolean => path === place || path.startsWith(`${place}/`)
/**
 * The level of a path: 0 below every room, one more than the top room above them all; undefined for a folder that is
 * not a room.
 */
function levelOf(path: string): number | undefined {
  if (groundFiles.includes(path)) return 0
  if (roofFiles.includes(path)) return floors.length + 1 + roofFiles.indexOf(path)
  const index = floors.findIndex((rooms) => rooms.includes(roomOf(path)))
  return index < 0 ? undefined : index + 1
}

const told = (file: SourceFile, { line, target }: Import): string => `${file.path}:${line} imports ${target}`

function upwardImports(file: SourceFile): string[] {
  const own = levelOf(file.path) ?? -1
  const isUpward = ({ target }: Import): boolean => {
    const level = levelOf(target)
    if (level === undefined || level > own) return true
    const isSibling = level === own && level > 0 && roomOf(target) !== roomOf(file.path)
    if (isSibling && !roofFiles.includes(file.path)) return true
    return (hidden[roomOf(file.path)] ?? []).some((place) => within(target, place))
  }
  return file.imports.filter((one) => one.isRelative && isUpward(one)).map((one) => told(file, one))
}

function nodeUses(file: SourceFile): string[] {
  if (isNodeOnly(file.path)) return []
  const isNode = ({ target, isRelative }: Import): boolean =>
    isRelative ? isNodeOnly(target) : target.startsWith('node:') || builtinModules.includes(target)
  return [
    ...file.imports.filter(isNode).map((one) => told(file, one)),
    ...file.nodeGlobals.map((name) => `${file.path} uses ${name}`),
  ]
}

function foreignPackages(file: SourceFile): string[] {
  if (packageUsers.some((place) => within(file.path, place))) return []
  return file.imports
    .filter(({ target, isRelative }) => !isRelative && !target.startsWith('node:'))
    .map((one) => told(file, one))
}

/** For each group of files that import each other in a circle, also by types, one such circle. */
function cycles(files: readonly SourceFile[]): string[] {
  const byPath = new Map(files.map((file) => [file.path, file]))
  const done = new Set<string>()
  const found: string[] = []
  const walk = (path: string, trail: readonly string[]): void => {
    const seen = trail.indexOf(path)
    if (seen >= 0) found.push([...trail.slice(seen), path].join(' -> '))
    if (seen >= 0 || done.has(path)) return
    for (const one of byPath.get(path)?.imports ?? []) if (one.isRelative) walk(one.target, [...trail, path])
    done.add(path)
  }
  for (const { path } of files) walk(path, [])
  return [...new Set(found)]
}

/** Rooms that accept a task and must not know one by name. */
const taskFree = [
  ...[
    'runs',
    'units',
    'train',
    'search',
    'crossval',
    'transfer',
    'explore',
    'plots',
    'report',
    'study',
    'queue',
    'cli',
  ],
]

/** Identifiers, texts and imports that name this data set or this network; comments may. */
function taskNames({ path, text }: SourceFile): string[] {
  const isChooser = path === 'cli/commands.ts' || !taskFree.includes(roomOf(path))
  if (isChooser) return []
  const found: string[] = []
  const tree = ts.createSourceFile(path, text, ts.ScriptTarget.ES2022, true)
  const visit = (node: ts.Node): void => {
    const isNamed = ts.isIdentifier(node) || ts.isStringLiteralLike(node) || ts.isTemplateHead(node)
    const isTail = ts.isTemplateMiddleOrTemplateTail(node)
    if ((isNamed || isTail) && /le-?net|fashion|t-shirt|60[,_]?000/i.test(node.text))
      found.push(`${path}: ${node.text}`)
    if (ts.isNumericLiteral(node) && [28, 784, 60_000].includes(Number(node.text))) found.push(`${path}: ${node.text}`)
    ts.forEachChild(node, visit)
  }
  visit(tree)
  return found
}

/** Whether a file lacks a comment in words at its start, possibly below the line that names an interpreter. */
/** Generated files begin as their generator writes them. */
function lacksHeader({ path, text }: SourceFile): boolean {
  if (path.endsWith('_pb.ts')) return false
  const [first] = ts.getLeadingCommentRanges(text, ts.getShebang(text)?.length ?? 0) ?? []
  const comment = first === undefined ? '' : text.slice(first.pos, first.end)
  return !comment.startsWith('/**') || !/[a-z]{2,}/.test(comment)
}

function sourcesIn(folder: string): SourceFile[] {
  return readdirSync(folder, { recursive: true })
    .map(String)
    .filter((path) => path.endsWith('.ts'))
    .map((path) => path.split('\\').join('/'))
    .map((path) => parse(path, readFileSync(posix.join(folder, path), 'utf8')))
}

const sources = sourcesIn(sourceFolder)
const benches = sourcesIn(benchFolder)

describe('the source files', () => {
  it('were found, all in known rooms', () => {
    expect(sources.length).toBeGreaterThan(80)
    expect(sources.filter(({ path }) => levelOf(path) === undefined).map(({ path }) => path)).toEqual([])
    const used = new Set(sources.map(({ path }) => roomOf(path)))
    for (const room of ['gpu', 'format', 'kernels', 'graph', 'operators', 'autograd', 'data', 'nn'])
      expect(used).toContain(room)
  })

  it('import only downward, and nothing hidden from their room', () => {
    expect(sources.flatMap(upwardImports)).toEqual([])
  })

  it('use Node.js modules and globals only if the file or folder name says so', () => {
    expect(sources.flatMap(nodeUses)).toEqual([])
  })

  it('import packages only for file formats, the WebGPU binding, the terminal and plots', () => {
    expect(sources.flatMap(foreignPackages)).toEqual([])
  })

  it('do not import each other in circles, types included; neither do the benchmarks', () => {
    expect([...cycles(sources), ...cycles(benches)]).toEqual([])
  })

  it('name the data set and its network in one room only, apart from their own files', () => {
    expect(sources.flatMap(taskNames)).toEqual([])
  })

  it('begin with a comment about their subject', () => {
    expect(sources.filter(lacksHeader).map(({ path }) => path)).toEqual([])
  })

  it('keep graph/node.ts a contract: it imports nothing at run time but errors', () => {
    const node = sources.find(({ path }) => path === 'graph/node.ts')
    expect(node?.imports.map(({ target }) => roomOf(target))).toContain('kernels')
    const atRunTime = node?.imports.filter(({ isTypeOnly }) => !isTypeOnly)
    expect(atRunTime?.map(({ target }) => target)).toEqual(['errors.ts'])
  })
})

describe('the checks find', () => {
  const planted = (path: string, text: string): SourceFile => parse(path, text)

  it.each([
    ['kernels/a.ts', "import { planGraph } from '../graph/plan.ts'"],
    ['kernels/a.ts', "import type { Device } from '../gpu/device.ts'"],
    ['graph/a.ts', "export * from '../operators/tensor.ts'"],
    ['gpu/a.ts', "import { matmul } from '../kernels/matmul.ts'"],
    ['gpu/node/a.ts', "export type { Plan } from '../../graph/plan.ts'"],
    ['format/a.ts', "import { open } from '../gpu/node/open.ts'"],
    ['autograd/a.ts', "const later = () => import('../nn/model.ts')"],
    ['data/a.ts', "let model: import('../nn/model.ts').Model"],
    ['nn/a.ts', "import { zoo } from '../weights/zoo.ts'"],
    ['weights/a.ts', "import { fit } from '../nn/fit.ts'"],
    ['study/a.ts', "import { matmul } from '../kernels/matmul.ts'"],
    ['train/a.ts', "import { searchDefaults } from '../search/settings.ts'"],
    ['search/a.ts', "import type { TrainReport } from '../train/result.ts'"],
    ['crossval/a.ts', "import { scoreOf } from '../search/search.ts'"],
    ['transfer/a.ts', "import type { Eda } from '../explore/explore.ts'"],
    ['explore/a.ts', "import { Stages } from '../transfer/stages.node.ts'"],
    ['runs/a.ts', "import type { Task } from '../tasks/task.ts'"],
    ['tasks/a.ts', "import { settingsWith } from '../train/settings.ts'"],
    ['train/a.ts', "import { renderReport } from '../report/page.ts'"],
    ['report/a.ts', "import type { FinishedStudy } from '../study/report.node.ts'"],
    ['plots/a.ts', "import type { RunConfig } from '../runs/run-folder.node.ts'"],
    ['errors.ts', "import { Random } from './gpu/device.ts'"],
    ['nn/a.ts', "import { tensor } from '../index.ts'"],
    ['helpers/a.ts', "import { tensor } from '../helpers/b.ts'"],
  ])('that %s must not say %s', (path, text) => {
    expect(upwardImports(planted(path, text))).toHaveLength(1)
  })

  it.each([
    ['graph/a.ts', "import type { ElementwiseStep } from '../kernels/elementwise.ts'"],
    ['data/a.ts', "import { Tensor } from '../operators/tensor.ts'"],
    ['nn/a.ts', "import { WeftgradError } from '../errors.ts'"],
    ['nn/models/a.ts', "import { sequential } from '../model.ts'"],
    ['node.ts', "export * from './index.ts'"],
    ['train/a.ts', "import type { Task } from '../tasks/task.ts'"],
    ['report/a.ts', "import type { SearchResult } from '../search/result.ts'"],
  ])('that %s may say %s', (path, text) => {
    expect(upwardImports(planted(path, text))).toEqual([])
  })

  it.each([
    ['nn/a.ts', "import { readFile } from 'node:fs/promises'"],
    ['nn/a.ts', "import { readFile } from 'fs'"],
    ['nn/a.ts', "import { fileTuningStore } from './tuning-store.node.ts'"],
    ['report/a.ts', "import type { TransferReport } from '../transfer/run.node.ts'"],
    ['index.ts', "export { open } from './gpu/node/open.ts'"],
    ['gpu/a.ts', 'const bytes = Buffer.from([1])'],
    ['gpu/a.ts', 'const where = process.env.HOME'],
    ['gpu/a.ts', 'const where = globalThis.process'],
  ])('that %s must not need Node.js through %s', (path, text) => {
    expect(nodeUses(planted(path, text))).toHaveLength(1)
  })

  it.each([
    ['nn/checkpoint.node.ts', "import { readFile } from 'node:fs/promises'"],
    ['gpu/node/a.ts', 'const where = process.env.HOME'],
    ['gpu/a.ts', 'const state = { process: 1 }.process'],
  ])('that %s may say %s', (path, text) => {
    expect(nodeUses(planted(path, text))).toEqual([])
  })

  it('a package in the engine', () => {
    expect(foreignPackages(planted('nn/a.ts', "import pc from 'picocolors'"))).toHaveLength(1)
    expect(foreignPackages(planted('cli/a.ts', "import pc from 'picocolors'"))).toEqual([])
    expect(foreignPackages(planted('plots/a.ts', "import * as Plot from '@observablehq/plot'"))).toHaveLength(1)
  })

  it('a circle of files, also by types', () => {
    const circle = [
      planted('nn/a.ts', "import { b } from './b.ts'"),
      planted('nn/b.ts', "import { type c, d } from './c.ts'"),
      planted('nn/c.ts', "export { a } from './a.ts'"),
    ]
    expect(cycles(circle)).toEqual(['nn/a.ts -> nn/b.ts -> nn/c.ts -> nn/a.ts'])
    const types = [
      planted('nn/a.ts', "import { b } from './b.ts'"),
      planted('nn/b.ts', "import { type a } from './a.ts'\nimport type a2 from './a.ts'"),
    ]
    expect(cycles(types)).toEqual(['nn/a.ts -> nn/b.ts -> nn/a.ts'])
    expect(cycles([planted('nn/a.ts', "export const b = 1\nimport('./b.ts')"), planted('nn/b.ts', '')])).toEqual([])
  })

  it('a file that names the data set, its sizes or the network', () => {
    for (const text of [
      "const a = 'LeNet-5'",
      'const fashionMnist = 1',
      'const a = `the $' + '{b} lenet`',
      'const a = 28',
    ])
      expect(taskNames(planted('report/a.ts', text))).toHaveLength(1)
    expect(taskNames(planted('report/a.ts', '/** Of LeNet-5. */\nconst a = 27'))).toEqual([])
    expect(taskNames(planted('tasks/a.ts', "const a = 'LeNet-5'"))).toEqual([])
  })

  it('a missing header', () => {
    expect(lacksHeader(planted('a.ts', "import { b } from './b.ts'\n/** Later. */"))).toBe(true)
    expect(lacksHeader(planted('a.ts', '/** */\nconst a = 1'))).toBe(true)
    expect(lacksHeader(planted('a.ts', '/** One thing. */\nconst a = 1'))).toBe(false)
  })
})
