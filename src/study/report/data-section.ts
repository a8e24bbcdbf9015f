/** The report on the look at the data. */
import { decodePng } from '../../format/png.ts'
import { duplicatesText, type Eda, type EdaPixel, type EdaResult, edaSamples, type PixelPair } from '../eda.ts'
import { classCounts } from '../plots/class-counts.ts'
import { correlationHeatmap, pictureGrid } from '../plots/labelled-picture.ts'
import { beside, paragraphs, plot, subtitle, type TableRow, table } from './blocks.ts'
import { type Html, html } from './html.ts'
import { count, decimal, duration, listed } from './numbers.ts'

export function dataSection({ result, pictures }: Eda): Html {
  const { sets, classNames, correlation, height, width } = result
  const grid = decodePng(pictures.classes)
  const samples = Array.from({ length: edaSamples }, (_, i) => (i === 4 ? 'examples' : ''))
  return html`${paragraphs([rowsText(result), duplicatesText(result), ...missingText(result)])}
${beside(
  plot(
    classCounts(
      sets.map(({ name, classCounts: counts }) => ({ name, counts })),
      classNames,
    ),
    'Images of each class.',
  ),
  plot(
    pictureGrid({
      label: 'of each class: the mean image, the variance of each pixel, and the first examples',
      png: pictures.classes,
      width: grid.width,
      height: grid.height,
      rows: classNames,
      columns: ['mean', 'var.', ...samples],
    }),
    `Of each class: its mean image, the variance of each pixel (white is the largest of all), and its first ${edaSamples} images.`,
  ),
)}
${subtitle('Which pixels say the same')}
${paragraphs([
  `The correlation of each of ${count(height * width)} pixels with every other over the ${count(correlation.rows)} images of ${correlation.set}, computed on the adapter as a product of matrices in ${duration(correlation.seconds)}. ${constantText(correlation.constant)} On average |r| is ${decimal(correlation.meanAbsolute, 3)}.`,
])}
${beside(
  plot(
    correlationHeatmap({ png: pictures.correlation, height, width }),
    'Correlations of all pairs of pixels. Both axes run through the image row by row, so that squares along the diagonal are rows of the image.',
  ),
  table(
    'Pairs of pixels, by their correlation r',
    [{ title: 'Pair' }, { title: 'First pixel' }, { title: 'Second pixel' }, { title: 'r', numeric: true }],
    [
      ...pairRows('strongest, together', correlation.strongestPositive),
      ...pairRows('strongest, opposed', correlation.strongestNegative),
      ...pairRows('weakest', correlation.weakest),
    ],
  ),
)}
`
}

function rowsText({ source, sets, height, width, classNames }: EdaResult): string {
  const kind =
    source.kind === 'csv'
      ? 'a CSV file'
      : source.published
        ? 'the published files, checked to the bit'
        : 'files other than the published ones'
  const parts = sets.map(({ name, rows }) => `${count(rows)} in ${name}`)
  return `The data are ${kind}: grey images of ${height}x${width} pixels in ${classNames.length} classes, ${listed(parts)}.`
}

function missingText({ source, sets }: EdaResult): string[] {
  const missing = sets.filter((set) => set.missing.length > 0)
  if (missing.length > 0)
    return missing.map((set) => `${set.missing.length} rows of ${set.name} were left out because cells were missing.`)
  return source.kind === 'csv'
    ? ['No cell is missing.']
    : ['Files of this kind cannot miss a value, and their lengths are right.']
}

function constantText(constant: readonly EdaPixel[]): string {
  if (constant.length === 0) return 'No pixel is the same in all images.'
  return `${count(constant.length)} ${constant.length === 1 ? 'pixel is' : 'pixels are'} the same in all images and have no correlation (grey).`
}

function pairRows(title: string, pairs: readonly PixelPair[]): TableRow[] {
  const place = ({ row, column }: EdaPixel): string => `row ${row}, column ${column}`
  return pairs.slice(0, 3).map(({ a, b, r }) => ({ cells: [title, place(a), place(b), decimal(r)] }))
}
