/**
 * Trials of a search in parallel coordinates: an axis for each hyperparameter and one for the objective, a line for
 * each trial. The values of a hyperparameter are evenly spaced, whatever their scale; trials that share a value are
 * spread a little, so that each is visible.
 */
import { WeftgradError } from '../errors.ts'
import { blue, grey, orange, paper } from './colors.ts'
import { figure, Plot, svgText } from './figure.ts'

export interface TrialLine {
  /** The trial's name in the tooltip. */
  readonly name: string
  /** The hyperparameters, the same for every trial, in the order of the axes. */
  readonly hyperparameters: Readonly<Record<string, number | string | boolean>>
  /** The objective; null if the trial has none. */
  readonly objective: number | null
  /** Whether the trial was stopped before the last round. */
  readonly stopped: boolean
}

export interface ParallelCoordinates {
  readonly trials: readonly TrialLine[]
  /** The label of the last axis. */
  readonly objective: string
  /** The name of the trial to draw on top of the others, if any. */
  readonly best?: string | undefined
}

interface Point {
  readonly trial: string
  readonly axis: string
  /** Position from 0, the bottom, to 1. */
  readonly at: number
}

/** Draws the trials. Throws 'argument' without trials, or if their hyperparameters differ. */
export function parallelCoordinates({ trials, objective, best }: ParallelCoordinates): string {
  const names = Object.keys(trials[0]?.hyperparameters ?? {})
  if (trials.length === 0 || trials.some((one) => Object.keys(one.hyperparameters).join() !== names.join()))
    throw new WeftgradError('argument', 'Parallel coordinates need trials that all have the same hyperparameters.')
  const values = names.map((name) => distinct(trials.map(({ hyperparameters }) => hyperparameters[name] ?? '')))
  const objectives = trials.flatMap((trial) => (isNumber(trial.objective) ? [trial.objective] : []))
  const [low, high] = [Math.min(...objectives), Math.max(...objectives)]
  const place = (value: number): number => (high > low ? (value - low) / (high - low) : 0.5)

  const points = (trial: TrialLine, index: number): Point[] => [
    ...names.map((name, k) => {
      const own = values[k] ?? []
      const slot = (own.indexOf(trial.hyperparameters[name] ?? '') + 0.5) / own.length
      const spread = trials.length > 1 ? (index / (trials.length - 1) - 0.5) / own.length / 2 : 0
      return { trial: trial.name, axis: name, at: slot + spread }
    }),
    ...(isNumber(trial.objective) ? [{ trial: trial.name, axis: objective, at: place(trial.objective) }] : []),
  ]
  const drawn = trials.map((trial, i) => ({ trial, points: points(trial, i) }))
  const isBest = ({ trial }: { trial: TrialLine }): boolean => trial.name === best
  const groups = [
    { of: drawn.filter((one) => !isBest(one) && one.trial.stopped), color: grey, width: 1, dash: '4 3' },
    { of: drawn.filter((one) => !isBest(one) && !one.trial.stopped), color: blue, width: 1.5, dash: undefined },
    { of: drawn.filter(isBest), color: orange, width: 3, dash: undefined },
  ]
  const ticks = names.flatMap((axis, k) =>
    (values[k] ?? []).map((value, i, all) => ({ axis, at: (i + 0.5) / all.length, text: valueText(value) })),
  )
  const measures = objectives.length === 0 ? [] : high > low ? [low, (low + high) / 2, high] : [low]
  const axes = [...names, objective]
  const result = figure({
    label: `${trials.length} trials by ${names.join(', ')} and ${objective}; ${trials.filter(({ stopped }) => stopped).length} stopped early`,
    width: 480,
    height: 304,
    marginLeft: 48,
    marginRight: 64,
    marginTop: 34,
    marginBottom: 12,
    legend: [
      ...(best === undefined ? [] : [{ text: 'best trial', color: orange }]),
      { text: 'completed', color: blue },
      { text: 'stopped early', color: grey, kind: 'dashes' },
    ],
    x: { type: 'point', domain: axes, axis: null, padding: 0 },
    y: { domain: [0, 1], axis: null },
    marks: [
      Plot.ruleX(axes, { stroke: 'currentColor', strokeOpacity: 0.35 }),
      ...groups.flatMap(({ of, color, width, dash }) =>
        of.map((one) =>
          Plot.line(one.points, {
            ...{ x: 'axis', y: 'at', stroke: color, strokeWidth: width, strokeOpacity: 0.85 },
            ...(dash === undefined ? {} : { strokeDasharray: dash }),
            title: () => trialText(one.trial, objective),
            z: null,
          }),
        ),
      ),
      Plot.text(axes, { x: (axis: string) => axis, text: (axis: string) => axis, frameAnchor: 'top', dy: -16 }),
      Plot.text(
        [...ticks, ...measures.map((value) => ({ axis: objective, at: place(value), text: value.toFixed(4) }))],
        {
          ...{ x: 'axis', y: 'at', text: 'text', textAnchor: 'start', dx: 6, fontSize: 11, fontWeight: 600 },
          ...{ fill: 'currentColor', stroke: paper, strokeWidth: 4 },
        },
      ),
    ],
  })
  return svgText(result)
}

function trialText({ name, hyperparameters, objective: value, stopped }: TrialLine, objective: string): string {
  const settings = Object.entries(hyperparameters).map(([key, one]) => `${key} ${valueText(one)}`)
  const came = isNumber(value) ? `${objective} ${value.toFixed(4)}` : `no ${objective}`
  return `trial ${name}: ${settings.join(', ')}; ${came}${stopped ? '; stopped early' : ''}`
}

function isNumber(value: number | null): value is number {
  return value !== null && Number.isFinite(value)
}

/** Distinct values: numbers by size, then words alphabetically. */
function distinct(values: readonly (number | string | boolean)[]): (number | string | boolean)[] {
  const rank = (value: number | string | boolean): number =>
    typeof value === 'number' ? value : Number.POSITIVE_INFINITY
  return [...new Set(values)].sort((a, b) => (rank(a) < rank(b) ? -1 : rank(a) > rank(b) ? 1 : a < b ? -1 : 1))
}

/** A value as text; 0.001 as 1e-3. */
function valueText(value: number | string | boolean): string {
  return typeof value === 'number' && value !== 0 && Math.abs(value) < 0.1 ? value.toExponential() : String(value)
}
