/**
 * Puts the guide into the documentation site: every Markdown file of docs/ and of its folders, and every program of
 * examples/, is a page. A page's name is its first heading. docs/README.md, the contents page, gives the sections and the
 * order; a page that is missing there is a warning. Pages of a folder stand below the folder's README.md.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { basename, dirname, join, relative, resolve } from 'node:path'
import {
  Application,
  Converter,
  DocumentReflection,
  IndexEvent,
  KindRouter,
  MinimalSourceFile,
  normalizePath,
  ReferenceReflection,
} from 'typedoc'

const root = resolve(import.meta.dirname, '..')
const contentsPage = 'docs/README.md'
const examplesPage = 'docs/examples.md'

/** @param {Application} app */
export function load(app) {
  const sections = readSections()
  app.renderer.defineRouter('pages', PageRouter)
  app.on(Application.EVENT_BOOTSTRAP_END, () => {
    const titles = sections.map(({ title }) => title)
    app.options.setValue('categoryOrder', [...titles, ...app.options.getValue('categoryOrder')])
  })
  app.converter.on(Converter.EVENT_BEGIN, ({ project }) => addPages(app, project, sections))
  // A name that `weftgrad/node` exports again is found once.
  app.renderer.on(IndexEvent.PREPARE_INDEX, (event) => {
    for (const reflection of [...event.searchResults])
      if (reflection instanceof ReferenceReflection) event.removeResult(event.searchResults.indexOf(reflection))
  })
}

/** Addresses follow paths: docs/train-lenet.md is guide/train-lenet.html, CHANGELOG.md is guide/changelog.html. */
class PageRouter extends KindRouter {
  getIdealBaseName(reflection) {
    if (!reflection.isDocument()) return super.getIdealBaseName(reflection)
    const path = relative(root, reflection.project.files.getReflectionPath(reflection)).replace(/\.\w+$/, '')
    if (path.startsWith('examples/')) return path
    return path.startsWith('docs/') ? path.replace('docs/', 'guide/') : `guide/${path.toLowerCase()}`
  }
}

/** The sections of the contents page, each with the paths of its pages. */
function readSections() {
  const [, ...parts] = readFileSync(join(root, contentsPage), 'utf8').split(/^## /m)
  return parts.map((part) => ({
    title: part.slice(0, part.indexOf('\n')),
    paths: [...part.matchAll(/\]\(([^)#]+\.md)\)/g)].map(([, target]) => join('docs', target)),
  }))
}

function addPages(app, project, sections) {
  const missing = new Set(pagesOfDocs(app))
  const add = (parent, path, text, category) => {
    const file = new MinimalSourceFile(text, normalizePath(join(root, path)))
    const { content } = app.converter.parseRawComment(file, project.files)
    const page = new DocumentReflection(
      titleOf(path, text),
      parent,
      content,
      category === undefined ? {} : { category },
    )
    parent.addChild(page)
    project.registerReflection(page, undefined, file.fileName)
    missing.delete(path)
    return page
  }

  // A category named "none" stands above the others, without a heading.
  add(project, contentsPage, readPage(contentsPage), 'none')
  for (const { title, paths } of sections)
    for (const path of paths) {
      const page = add(project, path, readPage(path), title)
      for (const child of pagesBelow(path)) add(page, child, readPage(child))
      if (path === examplesPage) for (const example of examples()) add(page, example, exampleText(example))
    }

  for (const path of missing)
    app.logger.warn(`${path} is not in the site: ${contentsPage} lists neither it nor the README.md of its folder.`)
}

/** All Markdown files below docs/, but for what TypeDoc writes there. */
function pagesOfDocs(app) {
  const written = relative(root, app.options.getValue('out'))
  const paths = readdirSync(join(root, 'docs'), { recursive: true }).map((path) => join('docs', path))
  return paths.filter((path) => path.endsWith('.md') && !path.startsWith(written))
}

const readPage = (path) => readFileSync(join(root, path), 'utf8')
const examples = () => foundIn('examples', '.ts')

/** The files of a folder, by name: docs/tutorial/1-... before docs/tutorial/2-... */
function foundIn(folder, extension) {
  const names = readdirSync(join(root, folder)).filter((name) => name.endsWith(extension))
  return names.sort().map((name) => join(folder, name))
}

/** The other pages of a folder, if the page is the folder's README.md. */
function pagesBelow(path) {
  if (basename(path) !== 'README.md') return []
  return foundIn(dirname(path), '.md').filter((other) => other !== path)
}

function titleOf(path, text) {
  const [, title] = /^# (.+)$/m.exec(text) ?? []
  if (title === undefined) throw new Error(`${path} has no title: a line that starts with "# ".`)
  return title.replaceAll('`', '')
}

/** A program as a page: its header comment as text, then its code, then its twin in Keras. */
function exampleText(path) {
  const name = basename(path, '.ts')
  const [, header, code] = /^\/\*\*(.*?)\*\/\n(.*)$/s.exec(readPage(path)) ?? []
  if (header === undefined) throw new Error(`${path} does not start with a comment that says what it does.`)
  const about = header.replace(/^ \* ?/gm, '').trim()
  const twin = `examples/keras/${name}.py`
  const inKeras = existsSync(join(root, twin))
    ? `\n## The same in Keras\n\n\`\`\`python\n${readPage(twin)}\`\`\`\n`
    : ''
  return `# ${name}.ts\n\n${about}\n\n\`\`\`ts\n${code.trim()}\n\`\`\`\n${inKeras}`
}
