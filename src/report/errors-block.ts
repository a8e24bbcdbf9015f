/** A model's errors: the most confused pairs of classes, and the worst errors, with pictures. */
import { count, percent } from '../numbers.ts'
import type { ClassificationError } from '../runs/error-analysis.ts'
import { paragraphs, picture, subtitle } from './blocks.ts'
import { type Html, html, nothing } from './html.ts'
import type { TestedModel } from './tested-model.ts'

/** The blocks, with headings of `level`; nothing for a model without errors, or without an analysis of them. */
export function errorsBlock({ report, pictures }: TestedModel, level: 3 | 4): Html {
  const { errors, perClass } = report
  if (errors === undefined || errors.errors === 0) return nothing
  const name = (k: number): string => perClass[k]?.class ?? String(k)
  const shown = ({ position, label, predicted, top }: ClassificationError, size: number): Html => {
    const found = pictures.find((one) => one.position === position)
    const what = `${name(label)} taken for ${name(predicted)}, ${percent(top[0]?.probability, 1)} sure`
    return found === undefined ? nothing : picture(found.png, what, size)
  }
  const pairs = errors.pairs.map(({ classes: [a, b], count: times, firstAsSecond, secondAsFirst, examples }) => {
    const images = examples.map((one) => shown(one, stripPixels)).filter((one) => one !== nothing)
    const strip = images.length === 0 ? nothing : html`<p class="strip">${images}</p>\n`
    return html`<div class="pair"><p><strong>${name(a)} and ${name(b)}</strong>: ${count(times)} errors, ${count(firstAsSecond)} of the first taken for the second, ${count(secondAsFirst)} the other way round.</p>
${strip}</div>
`
  })
  const worst = errors.worst.map((error) => {
    const { position, label, labelProbability, top } = error
    const guesses = top.map((one) => html`${name(one.class)} ${percent(one.probability, 1)}<br>`)
    const index = pictures.find((one) => one.position === position)?.index
    const place = index === undefined ? nothing : html`<br>${error.name ?? `test image ${count(index)}`}`
    return html`<li>${shown(error, worstPixels)}${guesses}<span class="quiet">true class: ${name(label)} ${percent(labelProbability, 1)}${place}</span></li>
`
  })
  return html`${subtitle('Most confused classes', level)}
${paragraphs(['The pairs of classes with the most errors, and the errors that the model was surest of.'])}
${pairs}
${subtitle('Worst errors', level)}
${paragraphs(['The test images whose true class got the lowest probability, with the three likeliest classes.'])}
<ul class="images">${worst}</ul>
`
}

/** Sizes of pictures on a page. */
const stripPixels = 56
const worstPixels = 84
