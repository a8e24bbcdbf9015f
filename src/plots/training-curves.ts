/** Learning curves: loss or accuracy by epoch, of one run or of several, such as the folds of a cross-validation. */
import { WeftgradError } from '../errors.ts'
import { blue, orange, seriesColor } from './colors.ts'
import { type Figure, figure, figureWidth, type LegendEntry, Plot, svgFile, svgText } from './figure.ts'

/**
 * The results of an epoch, as in `EpochResult`; accuracies in [0, 1]. Numbers that are not finite are left out of the
 * curve.
 */
export interface CurveEpoch {
  readonly epoch: number
  readonly loss: number
  readonly accuracy?: number | undefined
  readonly validationLoss?: number | undefined
  readonly validationAccuracy?: number | undefined
}

export interface CurveRun {
  /** The name in the legend, shown if there are several runs. */
  readonly name: string
  readonly epochs: readonly CurveEpoch[]
  /** The epoch to mark with a dashed line, if there is one run. */
  readonly bestEpoch?: number | undefined
}

export type CurveQuantity = 'loss' | 'accuracy'

interface Curve {
  readonly name: string
  readonly color: string
  readonly dashed: boolean
  readonly points: readonly { readonly epoch: number; readonly value: number }[]
}

/** Draws one panel for an HTML page. Throws 'argument' if no run has an epoch. */
export function trainingCurves(runs: readonly CurveRun[], quantity: CurveQuantity): string {
  return svgText(panel(runs, quantity))
}

/** Draws loss and accuracy of a run side by side, as a standalone file. Throws 'argument' for a run without epochs. */
export function trainingCurvesFile(run: CurveRun): string {
  return svgFile(run.name, [panel([run], 'loss'), panel([run], 'accuracy')])
}

/** The most epochs drawn with dots; more would hide the line. */
const mostDots = 40

function panel(runs: readonly CurveRun[], quantity: CurveQuantity): Figure {
  const epochs = runs.flatMap((run) => run.epochs.map(({ epoch }) => epoch))
  const first = least(epochs)
  const last = -least(epochs.map((epoch) => -epoch))
  if (epochs.length === 0) throw new WeftgradError('argument', 'A history without epochs has no curves.')
  const curves = curvesOf(runs, quantity).filter(({ points }) => points.length > 0)
  const unit = quantity === 'accuracy' ? 'accuracy (%)' : 'loss'
  const best = runs.length === 1 ? runs[0]?.bestEpoch : undefined
  const marked = best !== undefined && best >= first && best <= last ? [best] : []
  return figure({
    label: `${quantity} against the epoch: ${curves.map(({ name }) => name).join(', ')}`,
    width: figureWidth,
    height: 290,
    marginLeft: 52,
    marginTop: 30,
    marginBottom: 40,
    legend: legendOf(runs, curves),
    x: { label: 'epoch', domain: [first, last], ticks: epochTicks(first, last), tickFormat: String },
    y: {
      label: unit,
      labelAnchor: 'center',
      labelArrow: 'none',
      domain: valueRange(curves),
      nice: true,
      grid: true,
      ticks: 6,
    },
    marks: [
      Plot.ruleX(marked, { stroke: 'currentColor', strokeOpacity: 0.5, strokeDasharray: '3 4' }),
      Plot.text(marked, {
        x: (epoch: number) => epoch,
        frameAnchor: 'top',
        dy: -12,
        // The label points to the middle, so that it is not cut off at either side.
        textAnchor: marked.some((epoch) => 2 * epoch > first + last) ? 'end' : 'start',
        text: () => `best epoch: ${best}`,
      }),
      ...curves
        .filter(({ points }) => points.length > 1)
        .map(({ points, color, dashed }) =>
          Plot.line(points, {
            ...{ x: 'epoch', y: 'value', stroke: color, strokeWidth: dashed ? 1.25 : 2.25 },
            ...(dashed ? { strokeDasharray: '4 3' } : {}),
          }),
        ),
      ...curves
        .filter(({ points, dashed }) => points.length === 1 || (!dashed && last - first < mostDots))
        .map(({ points, color, name }) =>
          Plot.dot(points, {
            ...{ x: 'epoch', y: 'value', r: 3, fill: color },
            title: ({ epoch, value }: { epoch: number; value: number }) =>
              `${name}, epoch ${epoch}: ${unit} ${value.toFixed(quantity === 'loss' ? 4 : 2)}`,
          }),
        ),
    ],
  })
}

/**
 * The curves: one run has training and validation in two colours; with several runs each has its colour, and training
 * is dashed.
 */
function curvesOf(runs: readonly CurveRun[], quantity: CurveQuantity): Curve[] {
  const scale = quantity === 'accuracy' ? 100 : 1
  const pointsOf = (run: CurveRun, pick: (epoch: CurveEpoch) => number | undefined) =>
    run.epochs.flatMap((logs) => {
      const value = pick(logs)
      return value !== undefined && Number.isFinite(value) ? [{ epoch: logs.epoch, value: scale * value }] : []
    })
  return runs.flatMap((run, i) => {
    const alone = runs.length === 1
    const prefix = alone ? '' : `${run.name}, `
    const validation = pointsOf(run, (logs) => (quantity === 'loss' ? logs.validationLoss : logs.validationAccuracy))
    return [
      {
        name: `${prefix}training`,
        color: alone ? blue : seriesColor(i),
        dashed: !alone,
        points: pointsOf(run, (logs) => logs[quantity]),
      },
      { name: `${prefix}validation`, color: alone ? orange : seriesColor(i), dashed: false, points: validation },
    ]
  })
}

function legendOf(runs: readonly CurveRun[], curves: readonly Curve[]): LegendEntry[] {
  if (runs.length === 1) return curves.map(({ name, color }) => ({ text: name, color }))
  return [
    ...runs.map(({ name }, i) => ({ text: name, color: seriesColor(i) })),
    { text: 'training', color: 'currentColor', kind: 'dashes' },
    { text: 'validation', color: 'currentColor' },
  ]
}

/** The range of values, never empty: a single value gets room on either side. */
function valueRange(curves: readonly Curve[]): [number, number] {
  const values = curves.flatMap(({ points }) => points.map(({ value }) => value))
  if (values.length === 0) return [0, 1]
  const low = least(values)
  const high = -least(values.map((value) => -value))
  const room = high > low ? 0 : Math.max(Math.abs(high), 1) / 10
  return [low - room, high + room]
}

/** Epoch ticks: at most twelve, at round epochs and always at the first. */
function epochTicks(first: number, last: number): number[] {
  let step = 1
  for (let i = 0; (last - first) / step > 11; i++) step *= [2, 2.5, 2][i % 3] ?? 2
  const ticks = [first]
  for (let epoch = (Math.floor(first / step) + 1) * step; epoch <= last; epoch += step)
    if (epoch - first >= step / 2 || step === 1) ticks.push(epoch)
  return ticks
}

/** The minimum. `Math.min` with thousands of arguments would overflow the stack. */
function least(values: readonly number[]): number {
  return values.reduce((low, value) => Math.min(low, value), Number.POSITIVE_INFINITY)
}
