/** The report of `bench scaling`: each curve with its line, as JSON and as text. */

import type { Line } from './linearity.ts'
import { deviation, fitLine } from './linearity.ts'
import type { Spread } from './measure.ts'
import { rounded, short } from './report.ts'

export interface ScalingPoint {
  readonly size: number
  /** The median over the samples. */
  readonly milliseconds: number
  readonly spread: Spread
  readonly samples: number
  /** The share by which the time exceeds the curve's line; below 0 if it falls short. Only for points of the fit. */
  readonly deviation?: number
  readonly memory?: HeldMemory
}

/** Bytes held while training, after the last step. */
export interface HeldMemory {
  /** In buffers of the device. */
  readonly device: number
  /** By the process, resident. A software adapter's buffers are among them. */
  readonly process: number
}

export interface ScalingCurve {
  readonly name: string
  /** What `size` counts. */
  readonly unit: string
  /** The work is the size to this power: an image of n pixels a side has n^2. */
  readonly power: 1 | 2
  /** Fitted to the points from `fittedFrom` on. `perWork` is in ms. */
  readonly line: Line
  /** The least size that the line is fitted to. */
  readonly fittedFrom: number
  /** The greatest absolute deviation from `fittedFrom` on. */
  readonly largestDeviation: number
  readonly points: readonly ScalingPoint[]
}

export interface ScalingReport {
  readonly adapter: string
  readonly driver: string
  /** Bits of the subgroup's vectors, if kernels have subgroups. */
  readonly vectorBits?: number
  readonly hardware: boolean
  /** What milliseconds are of: 'processor' adds up the time on all cores. */
  readonly clock: 'wall' | 'processor'
  /** ISO 8601. */
  readonly date: string
  readonly commit?: string
  readonly quick: boolean
  readonly curves: readonly ScalingCurve[]
}

/** The smallest sizes of each curve, left out of the fit. */
const unfitted = 2

/** Fits the line to all points but the smallest two. */
export function curveOf(
  { name, unit, power }: Pick<ScalingCurve, 'name' | 'unit' | 'power'>,
  points: readonly Omit<ScalingPoint, 'deviation'>[],
): ScalingCurve {
  const costs = points.map(({ size, milliseconds }) => ({ work: size ** power, milliseconds }))
  const line = fitLine(costs.slice(unfitted))
  const deviations = costs.slice(unfitted).map((cost) => rounded(deviation(cost, line)))
  return {
    ...{ name, unit, power },
    line: { fixed: rounded(line.fixed), perWork: rounded(line.perWork) },
    fittedFrom: points[unfitted]?.size ?? Number.NaN,
    largestDeviation: Math.max(...deviations.map(Math.abs)),
    points: points.map((point, i) => {
      const own = deviations[i - unfitted]
      return own === undefined ? point : { ...point, deviation: own }
    }),
  }
}

/** The curve as lines of text. */
export function curveLines({ name, unit, power, line, fittedFrom, largestDeviation, points }: ScalingCurve): string[] {
  const percent = (share: number): string => `${share > 0 ? '+' : ''}${(100 * share).toFixed(1)} %`
  const work = power === 2 ? 'pixel' : 'image'
  return [
    `${name}: ${short(line.fixed)} ms + ${short(1000 * line.perWork)} us per ${work}; from ${fittedFrom} ${unit} on, within ${(100 * largestDeviation).toFixed(1)} %`,
    ...points.map(({ size, milliseconds, deviation, memory }) => {
      const held =
        memory === undefined
          ? ''
          : `  device ${(memory.device / 1e6).toFixed(1)} MB  process ${(memory.process / 1e6).toFixed(0)} MB`
      return `${String(size).padStart(8)} ${unit}  ${short(milliseconds).padStart(9)} ms  ${(deviation === undefined ? '' : percent(deviation)).padStart(8)}${held}`
    }),
  ]
}
