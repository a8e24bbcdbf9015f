/**
 * TypeDoc's default theme, with what it lacks to be usable by keyboard and screen reader: a main landmark, headings in
 * order, tables and diagrams that scroll inside their page, and a navigation whose folders hold no links. Diagrams in
 * Mermaid become pictures.
 */
import { renderMermaidSVG } from 'beautiful-mermaid'
import { Application, DefaultTheme } from 'typedoc'

/** @param {Application} app */
export function load(app) {
  app.renderer.defineTheme('pages', PageTheme)
  app.on(Application.EVENT_BOOTSTRAP_END, () => app.options.setValue('markdownItLoader', adaptMarkdown))
}

class PageTheme extends DefaultTheme {
  buildNavigation(project) {
    return super.buildNavigation(project).map(unlinkFolder)
  }

  render(page) {
    const html = markLandmarks(super.render(page))
    return nameIndex(orderHeadings(unlinkSummaries(html)))
  }
}

/** A link inside of what opens a folder cannot be told to screen readers: it becomes the folder's first entry. */
function unlinkFolder(element) {
  if (!element.children) return element
  const { path, kind, icon, children, ...folder } = element
  const overview = path === undefined ? [] : [{ ...element, text: 'Overview', children: undefined }]
  return { ...folder, children: [...overview, ...children.map(unlinkFolder)] }
}

/** The same in the page: what opens and closes a section holds a permalink. */
function unlinkSummaries(html) {
  const permalink = /<a [^>]*class="tsd-anchor-icon".*?<\/a>/gs
  return html.replace(/<summary .*?<\/summary>/gs, (summary) => summary.replace(permalink, ''))
}

function markLandmarks(html) {
  const content = addRole(html, '<div class="col-content">', 'role="main"')
  return addRole(content, '<div class="page-menu">', 'role="complementary" aria-label="This page"')
}

function addRole(html, tag, role) {
  if (html.split(tag).length !== 2) throw new Error(`A page of TypeDoc has no ${tag}, or several.`)
  return html.replace(tag, `${tag.slice(0, -1)} ${role}>`)
}

/** TypeDoc skips levels for the looks. To screen readers, such a heading is one below the last. */
function orderHeadings(html) {
  let last = 0
  return html.replace(/<h([1-6])(?=[ >])/g, (tag, digit) => {
    const level = Number(digit)
    const right = Math.min(level, last + 1)
    last = right
    return right === level ? tag : `${tag} aria-level="${right}"`
  })
}

/** Links to the front page name its file, so that they also work in a folder that no server serves. */
function nameIndex(html) {
  return html.replace(/href="(\.\/|(?:\.\.\/)+)"/g, 'href="$1index.html"')
}

function adaptMarkdown(parser) {
  const { rules } = parser.renderer
  const { fence } = rules
  rules.table_open = () => '<div class="wide"><table>\n'
  rules.table_close = () => '</table></div>\n'
  // An empty header is no header.
  rules.th_open = (tokens, index, options, _environment, self) => {
    if (tokens[index + 1].content === '') tokens[index].tag = tokens[index + 2].tag = 'td'
    return self.renderToken(tokens, index, options)
  }
  rules.fence = (tokens, index, ...rest) => {
    const { info, content } = tokens[index]
    return info.trim() === 'mermaid' ? diagram(content) : fence(tokens, index, ...rest)
  }
}

/** In the page's colours and font, light and dark. */
function diagram(code) {
  const svg = renderMermaidSVG(code, { bg: 'var(--color-background)', fg: 'var(--color-text)' })
  const offline = svg.replace(/^\s*@import .*$/m, '').replaceAll("'Inter', ", '')
  return `<div class="wide diagram" role="img" aria-label="Diagram">${offline}</div>\n`
}
