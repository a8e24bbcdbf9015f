/** The curves of `bench scaling` as a picture: panels below each other, so that a phone shows them at a readable size. */

import { blue, grey, orange } from '../src/plots/colors.ts'
import { type Figure, figure, figureWidth, Plot, svgFile } from '../src/plots/figure.ts'
import { short } from './report.ts'
import type { ScalingCurve, ScalingReport } from './scaling.ts'

/** Draws the curves, and the memory of those that have it, as a standalone SVG file. */
export function scalingPicture({ curves, clock }: ScalingReport): string {
  const panels = curves.flatMap((curve) => [
    timePanel(curve, clock),
    ...(curve.points.every(({ memory }) => memory !== undefined) ? [memoryPanel(curve)] : []),
  ])
  return svgFile('Cost against size', panels, 1)
}

const panel = { width: figureWidth, height: 250, marginLeft: 58, marginTop: 34, marginBottom: 40 } as const

function sizeAxis({ unit, points }: ScalingCurve): Plot.ScaleOptions {
  const sizes = points.map(({ size }) => size)
  return {
    label: unit,
    type: 'log',
    domain: [Math.min(...sizes), Math.max(...sizes)],
    ticks: sizes,
    tickFormat: (size: number) => (size >= 10_000 ? `${size / 1000}k` : String(size)),
  }
}

/** Both axes are logarithmic: equal relative errors look equal. */
function timePanel(curve: ScalingCurve, clock: ScalingReport['clock']): Figure {
  const { name, power, line, points } = curve
  const fitted = points.map(({ size }) => ({ size, milliseconds: line.fixed + line.perWork * size ** power }))
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
      type: 'log',
      grid: true,
      ticks: 4,
      tickFormat: (milliseconds: number) => milliseconds.toLocaleString('en'),
    },
    marks: [
      Plot.line(
        fitted.filter(({ milliseconds }) => milliseconds > 0),
        { x: 'size', y: 'milliseconds', stroke: grey, strokeWidth: 1.5, strokeDasharray: '4 3' },
      ),
      Plot.dot(points, {
        ...{ x: 'size', y: 'milliseconds', r: 3.5, fill: blue },
        title: ({ size, milliseconds }: { size: number; milliseconds: number }) => `${size}: ${short(milliseconds)} ms`,
      }),
    ],
  })
}

function memoryPanel(curve: ScalingCurve): Figure {
  const held = curve.points.flatMap(({ size, memory }) =>
    memory === undefined
      ? []
      : [
          { size, color: blue, megabytes: memory.process / 1e6 },
          { size, color: orange, megabytes: memory.device / 1e6 },
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
    y: { label: 'MB', labelArrow: 'none', grid: true, ticks: 5, zero: true },
    marks: [
      Plot.line(held, { x: 'size', y: 'megabytes', stroke: 'color', strokeWidth: 2.25 }),
      Plot.dot(held, { x: 'size', y: 'megabytes', fill: 'color', r: 3 }),
    ],
  })
}
