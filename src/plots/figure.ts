/**
 * Turns an Observable Plot into SVG text. The only file that uses the library and the DOM (linkedom's) that it draws
 * into.
 *
 * The text is well-formed XML without ids, scripts or addresses: it can be put into an HTML page any number of times,
 * or into its own file. Coordinates are rounded; the same plot gives the same text. Its parts carry Plot's names as
 * `data-mark` ("dot", "y-axis tick label"); to a screen reader the plot is one image with a label.
 */
import * as Plot from '@observablehq/plot'
import { parseHTML } from 'linkedom'

export { Plot }

export interface LegendEntry {
  readonly text: string
  readonly color: string
  /** The kind of symbol; a line by default. */
  readonly kind?: 'line' | 'dashes' | 'dot' | 'ring'
}

/** A drawn plot; `svgText` or `svgFile` turns it into text. */
export interface Figure {
  /** A description for screen readers. */
  readonly label: string
  readonly width: number
  readonly height: number
  /** The SVG elements as text. */
  readonly content: string
}

export interface FigureOptions extends Plot.PlotOptions {
  readonly label: string
  readonly width: number
  readonly height: number
  /** The legend above the frame, in as many lines as needed. */
  readonly legend?: readonly LegendEntry[]
}

/** The width of plots: on a phone, 360 points wide, letters are still 10 points. */
export const figureWidth = 440

export function figure({ label, legend = [], ...options }: FigureOptions): Figure {
  const { width, height, marginTop = 24, marginLeft = 40 } = options
  const rows = legendRows(legend, width - marginLeft)
  const { document } = parseHTML('<!doctype html><html></html>')
  const legendHeight = 18 * rows.length
  const drawn = Plot.plot({ ...options, height: height + legendHeight, marginTop: marginTop + legendHeight, document })
  const content =
    [...drawn.childNodes].map(markup).join('') + rows.map((row, i) => drawRow(row, i, marginLeft)).join('')
  return { label, width, height: height + legendHeight, content }
}

const font = 'font-family="system-ui, sans-serif" font-size="12" text-anchor="middle" fill="currentColor"'

/** The SVG for an HTML page: in the page's text colour, as wide as the page allows. */
export function svgText({ label, width, height, content }: Figure): string {
  return `<svg xmlns="http://www.w3.org/2000/svg" class="plot" role="img" aria-label="${xmlText(label)}" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" style="max-width:100%;height:auto" ${font}>${content}</svg>`
}

/**
 * A standalone SVG file: figures in rows of `columns` below a title, on a background that follows the viewer's light or
 * dark scheme. Side by side by default; on a phone only one column keeps its letters readable.
 */
export function svgFile(title: string, figures: readonly Figure[], columns = figures.length): string {
  const margin = 20
  let [width, height] = [0, 52]
  const placed: string[] = []
  for (let first = 0; first < figures.length; first += columns) {
    const row = figures.slice(first, first + columns)
    let x = margin
    for (const one of row) {
      placed.push(`<svg x="${x}" y="${height}" width="${one.width}" height="${one.height}">${one.content}</svg>`)
      x += one.width + margin
    }
    width = Math.max(width, x)
    height += Math.max(...row.map((one) => one.height)) + margin
  }
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="${xmlText(title)}" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" ${font}>`,
    '<style>svg { color: #1f2328 } .paper { fill: #ffffff } @media (prefers-color-scheme: dark) { svg { color: #e6edf3 } .paper { fill: #0d1117 } }</style>',
    `<rect class="paper" width="${width}" height="${height}" rx="8"/>`,
    `<text x="${margin}" y="32" text-anchor="start" font-size="17" font-weight="600">${xmlText(title)}</text>`,
    ...placed,
    '</svg>',
    '',
  ].join('\n')
}

const swatch = 18
/** Average letter width in this font, slightly overestimated. */
const letterWidth = 6.6

function entryWidth({ text }: LegendEntry): number {
  return swatch + 6 + letterWidth * text.length + 14
}

function legendRows(entries: readonly LegendEntry[], width: number): LegendEntry[][] {
  const rows: LegendEntry[][] = []
  let used = Number.POSITIVE_INFINITY
  for (const entry of entries) {
    if (used + entryWidth(entry) > width) {
      rows.push([])
      used = 0
    }
    rows.at(-1)?.push(entry)
    used += entryWidth(entry)
  }
  return rows
}

function drawRow(row: readonly LegendEntry[], index: number, left: number): string {
  let x = left
  const y = 12 + 18 * index
  return row
    .map((entry) => {
      const { text, color, kind = 'line' } = entry
      const dashes = kind === 'dashes' ? ' stroke-dasharray="4 3"' : ''
      const paint = kind === 'dot' ? `fill="${color}"` : `fill="none" stroke="${color}" stroke-width="2"`
      const mark =
        kind === 'dot' || kind === 'ring'
          ? `<circle cx="${x + swatch / 2}" cy="${y - 4}" r="4.5" ${paint}/>`
          : `<line x1="${x}" x2="${x + swatch}" y1="${y - 4}" y2="${y - 4}" stroke="${color}" stroke-width="2.25"${dashes}/>`
      const words = `<text x="${x + swatch + 6}" y="${y}" text-anchor="start">${xmlText(text)}</text>`
      x = Math.round(x + entryWidth(entry))
      return `<g data-mark="legend">${mark}${words}</g>`
    })
    .join('')
}

/** Serialises a node as XML. linkedom's own serialisation is HTML: a `<` in an attribute would not be valid XML. */
function markup(node: Node): string {
  if (node.nodeType === 3) return xmlText(node.textContent ?? '')
  const { localName, attributes, childNodes } = node as Element
  // Drops Plot's style sheet, which lays it out in an HTML page; svgText does that itself.
  if (localName === 'style') return ''
  const own = [...attributes].map(attribute).join('')
  const inner = [...childNodes].map(markup).join('')
  return inner === '' ? `<${localName}${own}/>` : `<${localName}${own}>${inner}</${localName}>`
}

function attribute({ name, value }: Attr): string {
  // Screen readers read nothing inside an image.
  if (name === 'aria-hidden') return ''
  const own = name === 'aria-label' ? 'data-mark' : name
  return ` ${own}="${xmlText(/^(d|transform|width|height|r|[cd]?[xy][12]?)$/.test(name) ? rounded(value) : value)}"`
}

function rounded(coordinates: string): string {
  return coordinates.replace(/-?\d*\.\d{3,}(e-?\d+)?/g, (number) => String(Number(Number(number).toFixed(2))))
}

/** Text for XML, and for attributes in double quotes. */
export function xmlText(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;')
}
