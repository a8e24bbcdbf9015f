/** Draws one learning curve with Observable Plot, as wide as its container. Imported on demand: the library is large. */
import { dot, line, plot, ruleX, text } from '@observablehq/plot'

export interface ChartLine {
  readonly points: readonly { readonly at: number; readonly value: number; readonly epoch: number }[]
  readonly color: string
  readonly width: number
  readonly opacity: number
  readonly dots: boolean
}

export interface Chart {
  readonly label: string
  readonly quantity: 'loss' | 'accuracy'
  readonly epochs: number
  /** Where the learning rate changed. */
  readonly marks: readonly { readonly at: number; readonly rate: number }[]
  readonly lines: readonly ChartLine[]
}

const height = 190
/** More dots than this would hide the line. */
const mostDots = 40

export function drawChart(place: HTMLElement, { label, quantity, epochs, marks, lines }: Chart): void {
  const isEmpty = lines.every(({ points }) => points.length === 0)
  const values = lines.flatMap(({ points }) => points.map(({ value }) => value))
  // ln(10) is the loss of a random guess among ten classes; single batches far above it would flatten the rest.
  const top = quantity === 'accuracy' ? 1 : Math.min(6, Math.max(...(isEmpty ? [Math.log(10)] : values)))
  const drawn = plot({
    width: Math.max(240, place.clientWidth),
    height,
    marginTop: 12,
    marginLeft: quantity === 'accuracy' ? 46 : 36,
    marginBottom: 34,
    marginRight: 12,
    style: { fontSize: '12px' },
    ariaLabel: label,
    x: { domain: [0, epochs], label: 'epoch', labelArrow: 'none', ticks: epochTicks(epochs), tickFormat: String },
    y: {
      domain: [0, top],
      nice: true,
      grid: true,
      label: null,
      ticks: 4,
      ...(quantity === 'accuracy' ? { tickFormat: (value: number) => `${Math.round(100 * value)} %` } : {}),
    },
    marks: [
      ruleX(marks, { x: 'at', stroke: 'currentColor', strokeOpacity: 0.5, strokeDasharray: '3 4' }),
      text(marks, {
        x: 'at',
        frameAnchor: quantity === 'loss' ? 'top' : 'bottom',
        dy: quantity === 'loss' ? 2 : -4,
        dx: 4,
        textAnchor: 'start',
        text: ({ rate }: { rate: number }) => `rate ${rate}`,
      }),
      ...lines.flatMap(({ points, color, width, opacity, dots }) => [
        line(points, {
          x: 'at',
          y: 'value',
          z: 'epoch',
          stroke: color,
          strokeWidth: width,
          strokeOpacity: opacity,
          clip: true,
        }),
        ...(dots && points.length <= mostDots ? [dot(points, { x: 'at', y: 'value', r: 3, fill: color })] : []),
      ]),
    ],
  })
  drawn.setAttribute('role', 'img')
  // The label of the whole chart describes it.
  for (const part of drawn.querySelectorAll('[aria-label]')) part.removeAttribute('aria-label')
  place.replaceChildren(drawn)
}

/** Whole epochs, at most seven, always with the last. */
function epochTicks(epochs: number): number[] {
  const step = Math.max(1, Math.ceil(epochs / 6))
  const ticks = []
  for (let epoch = 0; epoch <= epochs - step / 2; epoch += step) ticks.push(epoch)
  return [...ticks, epochs]
}
