/**
 * Live learning curves: a thin line within an epoch, where each point is the mean over the epoch so far, and a thick one
 * from epoch to epoch. A change of the learning rate is marked.
 */

import { percent } from '../../../src/numbers.ts'
import { blue, orange } from '../../../src/plots/colors.ts'
import type { EpochResult, TrainingProgress } from '../session.ts'
import { findAny } from './elements.ts'
import { throttled } from './frames.ts'

type Quantity = 'loss' | 'accuracy'

interface Point {
  /** In epochs since the beginning. */
  readonly at: number
  readonly value: number
  /** Points of different epochs are not joined into one line. */
  readonly epoch: number
}

interface Series {
  live: Point[]
  readonly training: Point[]
  readonly validation: Point[]
}

/** About twice the pixels of a narrow screen. At this many points, every other one is dropped. */
const mostPoints = 600
/** Milliseconds between two drawings of one chart: twice a second looks live and takes at most a tenth of a core. */
const interval = 500

export class Curves {
  readonly #series: Record<Quantity, Series> = { loss: emptySeries(), accuracy: emptySeries() }
  readonly #redraw: readonly (() => void)[]
  #epochs = 1
  #last: TrainingProgress | undefined
  #marks: { readonly at: number; readonly rate: number }[] = []

  constructor() {
    const places = { loss: findAny('#loss-curve'), accuracy: findAny('#accuracy-curve') }
    const charts = import('./chart.ts')
    this.#redraw = (['loss', 'accuracy'] as const).map((quantity) => {
      const draw = throttled(() => {
        void charts.then(({ drawChart }) =>
          drawChart(places[quantity], {
            label: this.#label(quantity),
            quantity,
            epochs: this.#epochs,
            marks: this.#marks,
            lines: [
              { points: this.#series[quantity].live, color: blue, width: 1, opacity: 0.6, dots: false },
              { points: this.#series[quantity].training, color: blue, width: 2.25, opacity: 1, dots: true },
              { points: this.#series[quantity].validation, color: orange, width: 2.25, opacity: 1, dots: true },
            ],
          }),
        )
      }, interval)
      new ResizeObserver(draw).observe(places[quantity])
      return draw
    })
  }

  reset(epochs: number): void {
    this.#epochs = epochs
    this.#last = undefined
    this.#marks = []
    for (const quantity of ['loss', 'accuracy'] as const) this.#series[quantity] = emptySeries()
    this.#draw()
  }

  progress(progress: TrainingProgress): void {
    this.#last = progress
    this.#epochs = progress.epochs
    const at = progress.epoch - 1 + progress.step / progress.steps
    for (const quantity of ['loss', 'accuracy'] as const) {
      const value = progress[quantity]
      const series = this.#series[quantity]
      const before = series.live.at(-1)
      // Means are read once a second and reported more often: a repeated one says nothing about later steps.
      const isNew = before?.epoch !== progress.epoch || before.value !== value
      if (value !== undefined && Number.isFinite(value) && isNew) {
        series.live.push({ at, value, epoch: progress.epoch })
        if (series.live.length >= mostPoints) series.live = halved(series.live)
      }
    }
    this.#draw()
  }

  epoch(result: EpochResult): void {
    const at = result.epoch
    this.#series.loss.training.push({ at, value: result.loss, epoch: 0 })
    this.#series.loss.validation.push({ at, value: result.validationLoss, epoch: 0 })
    this.#series.accuracy.training.push({ at, value: result.accuracy, epoch: 0 })
    this.#series.accuracy.validation.push({ at, value: result.validationAccuracy, epoch: 0 })
    this.#draw()
  }

  rateChanged(rate: number): void {
    const last = this.#last
    if (last === undefined) return
    const at = last.epoch - 1 + last.step / last.steps
    this.#marks = [...this.#marks.filter((mark) => mark.at !== at), { at, rate }]
    this.#draw()
  }

  #draw(): void {
    for (const redraw of this.#redraw) redraw()
  }

  #label(quantity: Quantity): string {
    const { training, validation } = this.#series[quantity]
    const [own, other] = [training.at(-1), validation.at(-1)]
    if (own === undefined || other === undefined) return `${quantity} by epoch: no epoch finished yet`
    const text = (value: number): string => (quantity === 'loss' ? value.toFixed(3) : percent(value, 1))
    return `${quantity} by epoch: after epoch ${own.at} training ${text(own.value)}, validation ${text(other.value)}`
  }
}

const emptySeries = (): Series => ({ live: [], training: [], validation: [] })

/** Every second point, and the last. */
function halved(points: readonly Point[]): Point[] {
  return points.filter((_, i) => i % 2 === 0 || i === points.length - 1)
}
