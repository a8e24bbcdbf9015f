/** `weftgrad predict RUN IMAGE.png...`: classifies each picture and prints the probability of each class. */

import { percent } from '../numbers.ts'
import { printable } from '../printable.ts'
import { largest } from '../statistics.ts'
import { type Prediction, predictPictures } from '../study/use-run.node.ts'
import type { Task } from '../tasks/task.ts'
import { openTerminal, type Terminal } from './terminal.ts'

export interface PredictOptions {
  readonly invert?: boolean
  readonly json?: boolean
}

export async function predictCommand(
  task: Task,
  run: string,
  images: readonly string[],
  { invert, json }: PredictOptions,
): Promise<void> {
  const terminal = openTerminal({ json })
  const predictions = await predictPictures(task, run, images, { invert, onNote: terminal.note })
  terminal.say(predictions.map((prediction) => predictionText(prediction, terminal)).join('\n\n'))
  if (json) terminal.json({ predictions })
}

const barCells = 24

/** All classes, the most probable first. */
function predictionText(prediction: Prediction, { colors }: Terminal): string {
  const { bold, cyan, dim } = colors
  const ranked = Object.entries(prediction.probabilities)
    .map(([name, probability]) => [printable(name), probability] as const)
    .sort(([, a], [, b]) => b - a)
  const width = largest(ranked.map(([name]) => name.length))
  const rows = ranked.map(([name, probability], rank) => {
    const text = `${name.padEnd(width)}  ${percent(probability).padStart(8)}`
    const bar = '━'.repeat(Math.round(probability * barCells))
    return `  ${rank === 0 ? bold(text) : dim(text)}  ${cyan(bar)}`.trimEnd()
  })
  return [`${printable(prediction.image)}: ${bold(printable(prediction.class))}`, ...rows].join('\n')
}
