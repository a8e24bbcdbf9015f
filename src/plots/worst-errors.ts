/** A file of the pictures that a classifier got most wrong, with what it took them for. */
import { percent } from '../numbers.ts'
import { printable } from '../printable.ts'
import { type Figure, svgFile, xmlText } from './figure.ts'
import { pngDataUri } from './pictures.ts'

export interface WrongPicture {
  readonly png: Uint8Array
  /** Lines below the picture; the first is bold. */
  readonly label: string
  readonly predicted: string
  /** The probability of the predicted class. */
  readonly probability: number
  readonly name: string
}

const columns = 4
const cell = { width: 190, height: 214, picture: 140 }
/** Letters that fit below a picture. */
const letters = 26

/** An SVG file, without scripts or addresses. */
export function worstErrorsFile(title: string, pictures: readonly WrongPicture[]): string {
  const rows = Math.ceil(pictures.length / columns)
  const size = { width: columns * cell.width, height: rows * cell.height }
  const content = pictures.map((one, i) =>
    drawn(one, (i % columns) * cell.width, Math.floor(i / columns) * cell.height),
  )
  const drawing: Figure = { label: title, ...size, content: content.join('') }
  return svgFile(title, [drawing])
}

function drawn({ png, label, predicted, probability, name }: WrongPicture, x: number, y: number): string {
  const middle = x + cell.width / 2
  const line = (text: string, row: number, more = ''): string =>
    `<text x="${middle}" y="${y + cell.picture + 18 * row}" ${more}>${xmlText(shortened(printable(text)))}</text>`
  return [
    `<image x="${middle - cell.picture / 2}" y="${y}" width="${cell.picture}" height="${cell.picture}" href="${pngDataUri(png)}"/>`,
    line(label, 1, 'font-weight="600"'),
    line(`not ${predicted} (${percent(probability, 1)})`.replaceAll('\u00a0', ' '), 2),
    line(name, 3, 'opacity="0.7"'),
  ].join('')
}

/** The end of a long text: that of a path is its name. */
function shortened(text: string): string {
  return text.length <= letters ? text : `…${text.slice(1 - letters)}`
}
