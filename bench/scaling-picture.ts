/** The curves of `bench scaling` as a picture: panels below each other, so that a phone shows them at a readable size. */

import { blue, grey, orange } from '../src/plots/colors.ts'
import { type Figure, figure, figureWidth, Plot, svgFile } from '../src/plots/figure.ts'
import { short } from './report.ts'
import type { ScalingCurve, ScalingReport } from './scaling-report.ts'

/** Draws the curves, and the memory of those that have it, as a standalone SVG file. */
export function scalingPicture({ curves, clock }: ScalingReport): string {
  const panels = curves.flatMap((curve) => [
    timePanel(curve, clock),
    ...(curve.points.every(({ memory }) => memory !== undefined) ? [memoryPanel(curve)] : []),
  ])
  return svgFile('Cost against size', panels, 1)
}

const panel = { width: figureWidth, height: 250, marginLeft: 82, marginTop: 34, marginBottom: 40 } as const

/** Sizes by their logarithms: on a logarithmic scale, Plot leaves out the labels of some ticks. */
function sizeAxis({ unit, points }: ScalingCurve): Plot.ScaleOptions {
  const ticks = points.map(({ size }) => Math.log2(size))
  return {
    label: unit,
    domain: [Math.min(...ticks), Math.max(...ticks)],
    ticks,
    tickFormat: (power: number) => {
      const size = Math.round(2 ** power)
      return size >= 10_000 ? `${size / 1000}k` : String(size)
    },
  }
}

/** The logarithms of 1, 2, 5, 10, 20, ... in a range of milliseconds. */
function timeTicks(milliseconds: readonly number[]): number[] {
  const [low, high] = [Math.min(...milliseconds), Math.max(...milliseconds)]
  const ticks: number[] = []
  for (let decade = 10 ** Math.floor(Math.log10(low)); decade <= high; decade *= 10)
    for (const step of [1, 2, 5]) if (step * decade >= low && step * decade <= high) ticks.push(step * decade)
  return ticks.map(Math.log10)
}

/** Both axes are logarithmic: equal relative errors look equal. */
function timePanel(curve: ScalingCurve, clock: ScalingReport['clock']): Figure {
  const { name, power, line, points } = curve
  const placed = points.map(({ size, milliseconds }) => ({
    title: `${size}: ${short(milliseconds)} ms`,
    x: Math.log2(size),
    y: Math.log10(milliseconds),
  }))
  const fitted = points.slice(points.findIndex(({ size }) => size === curve.fittedFrom)).map(({ size }) => ({
    x: Math.log2(size),
    y: Math.log10(line.fixed + line.perWork * size ** power),
  }))
  return figure({
    ...panel,
    label: `${name}: time against size`,
    legend: [
      { text: name, color: blue, kind: 'dot' },
      { text: 'line', color: grey, kind: 'dashes' },
    ],
    x: sizeAxis(curve),
    y: {
      label: clock === 'processor' ? 'ms of processor time' : 'ms',
      labelArrow: 'none',
      labelAnchor: 'center',
      grid: true,
      ticks: timeTicks(points.map(({ milliseconds }) => milliseconds)),
      tickFormat: (power: number) => Math.round(10 ** power).toLocaleString('en'),
    },
    marks: [
      Plot.line(fitted, { x: 'x', y: 'y', stroke: grey, strokeWidth: 1.5, strokeDasharray: '4 3' }),
      Plot.dot(placed, { x: 'x', y: 'y', r: 3.5, fill: blue, title: 'title' }),
    ],
  })
}

function memoryPanel(curve: ScalingCurve): Figure {
  const held = curve.points.flatMap(({ size, memory }) =>
    memory === undefined
      ? []
      : [
          { x: Math.log2(size), color: blue, megabytes: memory.process / 1e6 },
          { x: Math.log2(size), color: orange, megabytes: memory.device / 1e6 },
        ],
  )
  return figure({
    ...panel,
    label: `${curve.name}: memory against size`,
    legend: [
      { text: 'memory of the process', color: blue },
      { text: 'of the device', color: orange },
    ],
    x: sizeAxis(curve),
    y: { label: 'MB', labelArrow: 'none', labelAnchor: 'center', grid: true, ticks: 5, zero: true },
    marks: [
      Plot.line(held, { x: 'x', y: 'megabytes', stroke: 'color', strokeWidth: 2.25 }),
      Plot.dot(held, { x: 'x', y: 'megabytes', fill: 'color', r: 3 }),
    ],
  })
}
