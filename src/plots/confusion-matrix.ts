/** A confusion matrix: correct predictions in blue, errors in orange, stronger when more frequent. */
import { blue, orange } from './colors.ts'
import { figure, Plot, svgText } from './figure.ts'

interface Cell {
  readonly truth: string
  readonly predicted: string
  readonly count: number
  /** Share of the true class's examples. */
  readonly share: number
}

/** @param confusion rows are the true classes, columns the predicted ones. */
export function confusionMatrix(confusion: readonly (readonly number[])[], classNames: readonly string[]): string {
  const nameOf = (k: number): string => classNames[k] ?? String(k)
  const cells = confusion.flatMap((row, truth) => {
    const total = row.reduce((sum, count) => sum + count, 0)
    return row.map(
      (count, predicted): Cell => ({
        truth: nameOf(truth),
        predicted: nameOf(predicted),
        count,
        share: total === 0 ? 0 : count / total,
      }),
    )
  })
  const names = confusion.map((_, k) => nameOf(k))
  const right = cells.filter((cell) => cell.truth === cell.predicted).reduce((sum, { count }) => sum + count, 0)
  const total = cells.reduce((sum, { count }) => sum + count, 0)
  const drawn = figure({
    label: `confusion matrix of ${names.length} classes: ${right} of ${total} on the diagonal`,
    // Narrow, so that letters are legible on a phone.
    width: 400,
    height: 400,
    marginLeft: 84,
    marginTop: 24,
    marginBottom: 92,
    marginRight: 12,
    padding: 0.05,
    x: { label: 'predicted class', domain: names, tickRotate: -40, tickSize: 0, labelArrow: 'none', labelOffset: 86 },
    y: { label: 'true class', labelArrow: 'none', domain: names, tickSize: 0 },
    marks: [
      Plot.cell(cells, {
        ...{ x: 'predicted', y: 'truth' },
        fill: ({ truth, predicted }: Cell) => (truth === predicted ? blue : orange),
        // The square root makes rare errors visible; 0.75 at most keeps the numbers legible on light and dark pages.
        fillOpacity: ({ share }: Cell) => 0.75 * Math.sqrt(share),
        title: ({ truth, predicted, count, share }: Cell) =>
          `${truth} taken for ${predicted}: ${count} (${(100 * share).toFixed(1)} %)`,
      }),
      Plot.text(
        cells.filter(({ count }) => count > 0),
        { x: 'predicted', y: 'truth', text: ({ count }: Cell) => String(count), fontSize: 11 },
      ),
    ],
    // Colours and opacities are final values, not data to scale.
    color: { type: 'identity' },
    opacity: { type: 'identity' },
  })
  return svgText(drawn)
}
