/**
 * Learning curves as an SVG picture: loss and accuracy against the epoch, training beside validation, in two panels.
 * Follows the viewer's light or dark colour scheme. Pure; the same history gives the same text.
 */
import { WeftgradError } from '../errors.ts'
import type { EpochLogs } from '../nn/contract.ts'

export interface CurvesOptions {
  /** Stands above the panels. */
  readonly title?: string
  /** The epoch whose weights were kept; marked by a dashed line. */
  readonly bestEpoch?: number | undefined
}

const width = 960
const height = 400
const panelTop = 84
const panelHeight = 246
const panelWidth = 388
const panelLefts = [64, 548] as const

interface Curve {
  readonly name: 'train' | 'validation'
  /** (epoch, value), finite. */
  readonly points: readonly (readonly [number, number])[]
}

interface Panel {
  readonly title: string
  readonly left: number
  readonly curves: readonly Curve[]
  readonly format: (value: number, step: number) => string
  /** The axis never leaves these. */
  readonly bounds: readonly [number, number]
}

/** Throws WeftgradError 'argument' for an empty history. */
export function curvesSvg(history: readonly EpochLogs[], options: CurvesOptions = {}): string {
  const firstEpoch = history[0]?.epoch
  if (firstEpoch === undefined) throw new WeftgradError('argument', 'There are no curves of a history without epochs.')
  const lastEpoch = Math.max(firstEpoch, ...history.map((logs) => logs.epoch))
  const panels: Panel[] = [
    {
      title: 'Loss',
      left: panelLefts[0],
      curves: curvesOf(history, 'loss', 'validationLoss'),
      format: (value, step) => value.toFixed(decimals(step)),
      bounds: [0, Number.POSITIVE_INFINITY],
    },
    {
      title: 'Accuracy',
      left: panelLefts[1],
      curves: curvesOf(history, 'accuracy', 'validationAccuracy'),
      format: (value, step) => `${(100 * value).toFixed(decimals(100 * step))} %`,
      bounds: [0, 1],
    },
  ]
  const names = panels.flatMap((panel) => panel.curves.filter((curve) => curve.points.length > 0).map((c) => c.name))
  const title = options.title ?? 'Training'
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="${escaped(title)}">`,
    style,
    `<rect class="paper" width="${width}" height="${height}" rx="8"/>`,
    `<text class="title" x="${panelLefts[0]}" y="36">${escaped(title)}</text>`,
    legend([...new Set(names)]),
    ...panels.map((panel) => drawPanel(panel, firstEpoch, lastEpoch, options.bestEpoch)),
    '</svg>',
    '',
  ].join('\n')
}

/** Blue and orange stay apart for the common kinds of colour blindness, on white and on black. */
const style = `<style>
  text { font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "DejaVu Sans", sans-serif; font-size: 12px; fill: #57606a; }
  .title { font-size: 17px; font-weight: 600; fill: #1f2328; }
  .heading { font-size: 13px; font-weight: 600; fill: #1f2328; }
  .paper { fill: #ffffff; }
  .grid { stroke: #e4e8ec; stroke-width: 1; }
  .axis { stroke: #8c959f; stroke-width: 1; }
  .best { stroke: #8c959f; stroke-width: 1; stroke-dasharray: 3 4; }
  .curve { fill: none; stroke-width: 2.25; stroke-linejoin: round; stroke-linecap: round; }
  .train { stroke: #1f6fc5; }
  .validation { stroke: #d9660b; }
  circle.train { fill: #1f6fc5; stroke: #ffffff; stroke-width: 1.25; }
  circle.validation { fill: #d9660b; stroke: #ffffff; stroke-width: 1.25; }
  @media (prefers-color-scheme: dark) {
    text { fill: #9aa4af; }
    .title, .heading { fill: #e6edf3; }
    .paper { fill: #0d1117; }
    .grid { stroke: #21262d; }
    .axis, .best { stroke: #6e7681; }
    .train { stroke: #58a6ff; }
    .validation { stroke: #f0883e; }
    circle.train { fill: #58a6ff; stroke: #0d1117; }
    circle.validation { fill: #f0883e; stroke: #0d1117; }
  }
</style>`

function curvesOf(
  history: readonly EpochLogs[],
  train: 'loss' | 'accuracy',
  validation: 'validationLoss' | 'validationAccuracy',
): Curve[] {
  const points = (pick: (logs: EpochLogs) => number | undefined) =>
    history.flatMap((logs) => {
      const value = pick(logs)
      return value !== undefined && Number.isFinite(value) ? [[logs.epoch, value] as const] : []
    })
  return [
    { name: 'train', points: points((logs) => logs[train]) },
    { name: 'validation', points: points((logs) => logs[validation]) },
  ]
}

function legend(names: readonly Curve['name'][]): string {
  // From the right edge of the right panel, 100 units an entry.
  const right = panelLefts[1] + panelWidth
  return names
    .map((name, i) => {
      const x = right - 100 * (names.length - i) + (name === 'validation' ? 12 : 30)
      return `<line class="curve ${name}" x1="${x}" y1="31.5" x2="${x + 20}" y2="31.5"/><text x="${x + 27}" y="36">${name}</text>`
    })
    .join('\n')
}

function drawPanel(panel: Panel, firstEpoch: number, lastEpoch: number, bestEpoch: number | undefined): string {
  const { left, curves, format } = panel
  const bottom = panelTop + panelHeight
  const values = curves.flatMap((curve) => curve.points.map(([, value]) => value))
  const axis = niceAxis(values, panel.bounds)
  // A single epoch stands in the middle.
  const x = (epoch: number): number =>
    lastEpoch === firstEpoch
      ? left + panelWidth / 2
      : left + 10 + ((panelWidth - 20) * (epoch - firstEpoch)) / (lastEpoch - firstEpoch)
  const y = (value: number): number => bottom - (panelHeight * (value - axis.low)) / (axis.high - axis.low)
  const lines = [`<text class="heading" x="${left}" y="${panelTop - 14}">${panel.title}</text>`]
  for (const tick of axis.ticks) {
    const at = round(y(tick))
    lines.push(`<line class="grid" x1="${left}" y1="${at}" x2="${left + panelWidth}" y2="${at}"/>`)
    lines.push(`<text x="${left - 9}" y="${round(at + 4)}" text-anchor="end">${format(tick, axis.step)}</text>`)
  }
  if (bestEpoch !== undefined && bestEpoch >= firstEpoch && bestEpoch <= lastEpoch) {
    const at = round(x(bestEpoch))
    const anchor = at > left + panelWidth - 60 ? 'end' : at < left + 60 ? 'start' : 'middle'
    lines.push(`<line class="best" x1="${at}" y1="${panelTop}" x2="${at}" y2="${bottom}"/>`)
    lines.push(`<text x="${at}" y="${panelTop - 14}" text-anchor="${anchor}">best epoch: ${bestEpoch}</text>`)
  }
  lines.push(`<line class="axis" x1="${left}" y1="${bottom}" x2="${left + panelWidth}" y2="${bottom}"/>`)
  for (const epoch of epochTicks(firstEpoch, lastEpoch)) {
    const at = round(x(epoch))
    lines.push(`<line class="axis" x1="${at}" y1="${bottom}" x2="${at}" y2="${bottom + 5}"/>`)
    lines.push(`<text x="${at}" y="${bottom + 20}" text-anchor="middle">${epoch}</text>`)
  }
  lines.push(`<text x="${left + panelWidth / 2}" y="${bottom + 42}" text-anchor="middle">epoch</text>`)
  // Many epochs: the dots would hide the line.
  const dots = lastEpoch - firstEpoch < 40
  for (const { name, points } of curves) {
    if (points.length === 0) continue
    const path = points
      .map(([epoch, value], i) => `${i === 0 ? 'M' : 'L'}${round(x(epoch))} ${round(y(value))}`)
      .join('')
    if (points.length > 1) lines.push(`<path class="curve ${name}" d="${path}"/>`)
    if (dots || points.length === 1) {
      for (const [epoch, value] of points) {
        const told = `${name}, epoch ${epoch}: ${panel.title.toLowerCase()} ${value.toFixed(4)}`
        lines.push(
          `<circle class="${name}" cx="${round(x(epoch))}" cy="${round(y(value))}" r="3.5"><title>${told}</title></circle>`,
        )
      }
    }
  }
  return `<g>\n${lines.join('\n')}\n</g>`
}

interface Axis {
  readonly low: number
  readonly high: number
  readonly step: number
  readonly ticks: readonly number[]
}

/** About five round ticks that enclose the values. */
function niceAxis(values: readonly number[], [least, most]: readonly [number, number]): Axis {
  const low = values.length === 0 ? 0 : Math.min(...values)
  const high = values.length === 0 ? 1 : Math.max(...values)
  const span = high - low || Math.max(Math.abs(high), 1) / 10
  const step = roundStep(span / 4)
  const from = Math.max(Math.floor((low - span * 0.02) / step), Math.ceil(least / step))
  // A bound that is no multiple of the step (there is none for 0 and 1) would cut the axis short.
  const to = Math.min(Math.ceil((high + span * 0.02) / step), Math.floor(most / step + 1e-9))
  const last = to > from ? to : from + 1
  const ticks = Array.from({ length: last - from + 1 }, (_, i) => (from + i) * step)
  return { low: from * step, high: last * step, step, ticks }
}

/** 1, 2 or 5 times a power of ten, at or above `rough`. */
function roundStep(rough: number): number {
  const power = 10 ** Math.floor(Math.log10(rough))
  const factor = [1, 2, 5].find((candidate) => candidate * power >= rough * 0.999) ?? 10
  return factor * power
}

function epochTicks(first: number, last: number): number[] {
  const step = Math.max(1, roundStep((last - first) / 15))
  const ticks = [first]
  for (let epoch = Math.ceil((first + step * 0.75) / step) * step; epoch <= last; epoch += step) ticks.push(epoch)
  return ticks
}

/** Digits after the point that tell multiples of `step` apart. */
function decimals(step: number): number {
  return Math.max(0, -Math.floor(Math.log10(step) + 1e-9))
}

function round(value: number): number {
  return Math.round(value * 100) / 100
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;')
}
