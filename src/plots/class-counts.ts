/** Bars of the number of examples of each class in the parts of a data set. */
import { seriesColor } from './colors.ts'
import { figure, figureWidth, Plot, svgText } from './figure.ts'

export interface ClassCounts {
  /** The part's name, such as `train`. */
  readonly name: string
  /** One number per class. */
  readonly counts: readonly number[]
}

interface Bar {
  readonly set: string
  readonly class: string
  readonly count: number
}

export function classCounts(sets: readonly ClassCounts[], classNames: readonly string[]): string {
  const bars = sets.flatMap(({ name, counts }) =>
    classNames.map((one, k): Bar => ({ set: name, class: one, count: counts[k] ?? 0 })),
  )
  const names = sets.map(({ name }) => name)
  const drawn = figure({
    label: `images of each class: ${bars.map((bar) => `${bar.set}, ${bar.class}: ${bar.count}`).join('; ')}`,
    width: figureWidth,
    height: 70 + classNames.length * (10 + 13 * sets.length),
    marginLeft: 96,
    marginTop: 8,
    marginRight: 56,
    marginBottom: 40,
    legend: names.map((text, i) => ({ text, color: seriesColor(i), kind: 'dot' })),
    x: {
      label: 'images',
      grid: true,
      ticks: 5,
      domain: [0, Math.max(1, ...bars.map(({ count }) => count))],
      nice: true,
    },
    y: { axis: null, domain: names },
    fy: { label: null, domain: [...classNames], padding: 0.2 },
    color: { domain: names, range: names.map((_, i) => seriesColor(i)), type: 'categorical' },
    marks: [
      Plot.barX(bars, { x: 'count', y: 'set', fy: 'class', fill: 'set' }),
      Plot.text(bars, {
        ...{ x: 'count', y: 'set', fy: 'class', textAnchor: 'start', dx: 4, fontSize: 10 },
        text: ({ count }: Bar) => count.toLocaleString('en-US'),
      }),
    ],
  })
  return svgText(drawn)
}
