/**
 * Compares models by accuracy and confidence interval: a dot and a bar from the lower to the upper bound, with optional
 * reference results. The axis need not start at 0, because the bars show intervals: an interval of one percent would be
 * invisible then.
 */
import { WeftgradError } from '../errors.ts'
import { blue, orange } from './colors.ts'
import { figure, Plot, svgText } from './figure.ts'

/** Accuracies in [0, 1]. */
export interface ModelScore {
  readonly name: string
  readonly accuracy: number
  /** Lower bound of the confidence interval. */
  readonly low: number
  readonly high: number
  /** The accuracy that others reported for this model. */
  readonly reference?: number | undefined
}

export interface ModelComparison {
  /** The models in this order, from the top. */
  readonly models: readonly ModelScore[]
  /** The source of the references, for the legend; `reference` by default. */
  readonly referenceName?: string
  /** The name of the intervals in the legend; `95 % interval` by default. */
  readonly intervalName?: string
}

/** Draws the comparison. Throws 'argument' without models, or for one without finite numbers. */
export function modelComparison({
  models,
  referenceName = 'reference',
  intervalName = '95 % interval',
}: ModelComparison): string {
  const bad = models.find(({ accuracy, low, high }) => ![accuracy, low, high].every(Number.isFinite))
  if (models.length === 0 || bad !== undefined)
    throw new WeftgradError(
      'argument',
      bad === undefined
        ? 'There are no models to compare.'
        : `${bad.name} has no accuracy with an interval: ${bad.accuracy}, ${bad.low} to ${bad.high}.`,
    )
  const references = models.filter(({ reference }) => reference !== undefined && Number.isFinite(reference))
  const rows = models.map((model) => ({
    ...model,
    text: `${(100 * model.accuracy).toFixed(2)} %`,
    told: `${model.name}: ${(100 * model.accuracy).toFixed(2)} %, ${intervalName} ${(100 * model.low).toFixed(2)} to ${(100 * model.high).toFixed(2)} %`,
  }))
  const percent = (pick: (model: ModelScore) => number | undefined) => (model: ModelScore) => 100 * (pick(model) ?? 0)
  const all = [...models.flatMap(({ low, high }) => [low, high]), ...references.map(({ reference = 0 }) => reference)]
  const [least, greatest] = [100 * Math.min(...all), 100 * Math.max(...all)]
  const room = Math.max(0.5, (greatest - least) / 12)
  const drawn = figure({
    label: `test accuracy: ${rows.map(({ told }) => told).join('; ')}`,
    width: 480,
    height: 64 + 42 * models.length,
    // Names are above their bars: beside them they would take a third of the width from the short intervals.
    marginLeft: 8,
    marginRight: 64,
    marginTop: 8,
    marginBottom: 40,
    legend: [
      { text: intervalName, color: blue },
      ...(references.length === 0 ? [] : [{ text: referenceName, color: orange, kind: 'ring' as const }]),
    ],
    x: {
      label: 'test accuracy (%)',
      domain: [Math.max(0, least - room), Math.min(100, greatest + room)],
      grid: true,
      ticks: 5,
    },
    y: { type: 'point', axis: null, domain: models.map(({ name }) => name), padding: 0.6 },
    marks: [
      Plot.link(rows, {
        ...{ x1: percent(({ low }) => low), x2: percent(({ high }) => high), y: 'name' },
        ...{ stroke: blue, strokeWidth: 6, strokeOpacity: 0.5, strokeLinecap: 'butt' },
      }),
      Plot.dot(rows, { x: percent(({ accuracy }) => accuracy), y: 'name', r: 3.5, fill: blue, title: 'told' }),
      Plot.dot(references, {
        ...{ x: percent(({ reference }) => reference), y: 'name', r: 4, stroke: orange, strokeWidth: 2 },
        title: ({ name, reference = 0 }: ModelScore) => `${referenceName}, ${name}: ${(100 * reference).toFixed(2)} %`,
      }),
      Plot.text(rows, { y: 'name', text: 'name', frameAnchor: 'left', textAnchor: 'start', dy: -15 }),
      Plot.text(rows, { y: 'name', text: 'text', frameAnchor: 'right', textAnchor: 'start', dx: 8, fontWeight: 600 }),
    ],
  })
  return svgText(drawn)
}
