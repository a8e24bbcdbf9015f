/** The report on the data exploration. */

import {
  duplicatesText,
  type Eda,
  type EdaPixel,
  type EdaResult,
  edaSamples,
  type PixelPair,
} from '../explore/explore.ts'
import { decodePng } from '../format/png.ts'
import { count, decimal, duration, listed } from '../numbers.ts'
import { classCounts } from '../plots/class-counts.ts'
import { correlationHeatmap, pictureGrid } from '../plots/labelled-picture.ts'
import type { PublishedTask } from '../tasks/task.ts'
import { beside, paragraphs, plot, subtitle, type TableRow, table } from './blocks.ts'
import { type Html, html } from './html.ts'
import { readings } from './readings.ts'

export function dataSection({ result, pictures }: Eda, { data }: PublishedTask): Html {
  const { sets, classNames, correlation, height, width } = result
  const grid = decodePng(pictures.classes)
  const samples = Array.from({ length: edaSamples }, (_, i) => (i === 4 ? 'examples' : ''))
  return html`${paragraphs([rowsText(result), duplicatesText(result, data), ...missingText(result)])}
${beside(
  plot(
    classCounts(
      sets.map(({ name, classCounts: counts }) => ({ name, counts })),
      classNames,
    ),
    `Images of each class. ${readings.classes}`,
  ),
  plot(
    pictureGrid({
      label: 'for each class: the mean image, the variance of each pixel, and the first examples',
      png: pictures.classes,
      width: grid.width,
      height: grid.height,
      rows: classNames,
      columns: ['mean', 'var.', ...samples],
    }),
    `For each class: its mean image, the variance of each pixel, and its first ${edaSamples} images. ${readings.grid}`,
  ),
)}
${subtitle('Pixel correlations')}
${paragraphs([
  `Correlations between all ${count(height * width)} pixels over the ${count(correlation.rows)} images in ${correlation.set}, computed as a matrix product in ${duration(correlation.seconds)}. ${constantText(correlation.constant)} The mean |r| is ${decimal(correlation.meanAbsolute, 3)}.`,
])}
${beside(
  plot(
    correlationHeatmap({ png: pictures.correlation, height, width }),
    `Correlations of all pairs of pixels. ${readings.correlation}`,
  ),
  table(
    'Pairs of pixels by correlation r',
    [{ title: 'Pair' }, { title: 'First pixel' }, { title: 'Second pixel' }, { title: 'r', numeric: true }],
    [
      ...pairRows('strongest positive', correlation.strongestPositive),
      ...pairRows('strongest negative', correlation.strongestNegative),
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
        ? 'the published files, verified by checksum'
        : 'files other than the published ones'
  const parts = sets.map(({ name, rows }) => `${count(rows)} in ${name}`)
  return `The data are ${kind}: grey images of ${height}x${width} pixels in ${classNames.length} classes, ${listed(parts)}.`
}

function missingText({ source, sets }: EdaResult): string[] {
  const missing = sets.filter((set) => set.missing.length > 0)
  if (missing.length > 0)
    return missing.map((set) => `${set.missing.length} rows of ${set.name} were left out because of missing cells.`)
  return source.kind === 'csv'
    ? ['There are no missing values.']
    : ['The files are complete; this format has no missing values.']
}

function constantText(constant: readonly EdaPixel[]): string {
  if (constant.length === 0) return 'No pixel is constant over all images.'
  return `${count(constant.length)} ${constant.length === 1 ? 'pixel is' : 'pixels are'} constant over all images and therefore without correlation (grey).`
}

function pairRows(title: string, pairs: readonly PixelPair[]): TableRow[] {
  const place = ({ row, column }: EdaPixel): string => `row ${row}, column ${column}`
  return pairs.slice(0, 3).map(({ a, b, r }) => ({ cells: [title, place(a), place(b), decimal(r)] }))
}
