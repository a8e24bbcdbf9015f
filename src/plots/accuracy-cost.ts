/** Accuracy against what it costs, on a logarithmic axis: a dot per model with its confidence interval. */
import { WeftgradError } from '../errors.ts'
import { blue, paper } from './colors.ts'
import { figure, figureWidth, Plot, svgText } from './figure.ts'

/** Accuracies in [0, 1]. */
export interface CostedModel {
  readonly name: string
  readonly accuracy: number
  /** Lower bound of the confidence interval. */
  readonly low: number
  readonly high: number
  /** The cost, above 0. */
  readonly cost: number
}

/** Draws the models; `costName` names the cost. Throws 'argument' without models, or for a cost that is not above 0. */
export function accuracyCost(models: readonly CostedModel[], costName: string): string {
  const bad = models.find(({ cost }) => !(cost > 0 && Number.isFinite(cost)))
  if (models.length === 0 || bad !== undefined)
    throw new WeftgradError(
      'argument',
      bad === undefined ? 'There are no models to draw.' : `${bad.name} has no cost above 0: ${bad.cost}.`,
    )
  const rows = models.map(({ accuracy, low, high, ...model }) => ({
    ...model,
    ...{ y: 100 * accuracy, low: 100 * low, high: 100 * high },
  }))
  const costs = rows.map(({ cost }) => Math.log10(cost))
  const powers = [Math.floor(Math.min(...costs) - 0.1), Math.ceil(Math.max(...costs) + 0.1)] as const
  const [least, most] = [10 ** powers[0], 10 ** powers[1]]
  const ticks = Array.from({ length: powers[1] - powers[0] + 1 }, (_, i) => 10 ** (powers[0] + i))
  const room = (Math.max(...rows.map(({ high }) => high)) - Math.min(...rows.map(({ low }) => low)) + 0.5) / 8
  const isRight = ({ cost }: { cost: number }): boolean => 2 * Math.log10(cost) > powers[0] + powers[1]
  const label = (some: typeof rows, textAnchor: 'start' | 'end'): Plot.Markish =>
    Plot.text(some, {
      ...{ x: 'cost', y: 'y', text: 'name', textAnchor, dx: textAnchor === 'start' ? 8 : -8, dy: -9 },
      ...{ fill: 'currentColor', stroke: paper, strokeWidth: 4 },
    })
  const told = ({ name, cost, y }: (typeof rows)[number]): string =>
    `${name}: ${y.toFixed(2)} % with ${Math.round(cost).toLocaleString('en-US')} ${costName}`
  const drawn = figure({
    label: `test accuracy against ${costName}: ${rows.map(told).join('; ')}`,
    width: figureWidth,
    height: 300,
    marginLeft: 52,
    marginRight: 20,
    marginTop: 16,
    marginBottom: 40,
    x: { type: 'log', domain: [least, most], ticks, tickFormat: powerText, label: costName },
    y: {
      label: 'test accuracy (%)',
      labelAnchor: 'center',
      labelArrow: 'none',
      grid: true,
      ticks: 6,
      domain: [
        Math.max(0, Math.min(...rows.map(({ low }) => low)) - room),
        Math.min(100, Math.max(...rows.map(({ high }) => high)) + room),
      ],
    },
    marks: [
      Plot.ruleX(rows, {
        ...{ x: 'cost', y1: 'low', y2: 'high', stroke: blue, strokeWidth: 4, strokeOpacity: 0.5 },
      }),
      Plot.dot(rows, { x: 'cost', y: 'y', r: 4, fill: blue, title: told }),
      label(
        rows.filter((row) => !isRight(row)),
        'start',
      ),
      label(rows.filter(isRight), 'end'),
    ],
  })
  return svgText(drawn)
}

/** 1000000 as 1 M. */
function powerText(value: number): string {
  const [scale, unit] = value >= 1e9 ? [1e9, ' G'] : value >= 1e6 ? [1e6, ' M'] : value >= 1e3 ? [1e3, ' k'] : [1, '']
  return `${value / scale}${unit}`
}
