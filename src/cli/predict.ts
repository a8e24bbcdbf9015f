/** `weftgrad predict RUN PICTURE...`: classifies each picture and prints its most probable classes. */

import { percent } from '../numbers.ts'
import { printable } from '../printable.ts'
import type { ClassShare, FailedPicture } from '../runs/read-pictures.node.ts'
import { largest } from '../statistics.ts'
import { predictPictures } from '../study/use-run.node.ts'
import type { Task } from '../tasks/task.ts'
import { openTerminal, type Terminal } from './terminal.ts'

export interface PredictOptions {
  readonly invert?: boolean
  readonly json?: boolean
}

/** Sets exit code 1 if a picture cannot be read; the others are classified. */
export async function predictCommand(
  task: Task,
  run: string,
  images: readonly string[],
  { invert, json }: PredictOptions,
): Promise<void> {
  const terminal = openTerminal({ json })
  const { predictions, failed } = await predictPictures(task, run, images, { invert, onNote: terminal.note })
  sayPredictions(predictions, failed, terminal)
  if (json) terminal.json({ predictions, failed })
}

/** Prints what pictures show, and which could not be read: then the exit code is 1. */
export function sayPredictions(
  predictions: readonly { readonly image: string; readonly top: readonly ClassShare[] }[],
  failed: readonly FailedPicture[],
  terminal: Terminal,
): void {
  if (predictions.length > 0) terminal.say(predictions.map((one) => predictionText(one, terminal)).join('\n\n'))
  for (const { problem } of failed) terminal.note(`${terminal.noteColors.red('weftgrad:')} ${problem}`)
  if (failed.length > 0) process.exitCode = 1
}

const barCells = 24

/** The most probable classes, in order. */
function predictionText(
  { image, top }: { readonly image: string; readonly top: readonly ClassShare[] },
  { colors }: Terminal,
): string {
  const { bold, cyan, dim } = colors
  const ranked = top.map(({ class: name, probability }) => ({ name: printable(name), probability }))
  const width = largest(ranked.map(({ name }) => name.length))
  const rows = ranked.map(({ name, probability }, rank) => {
    const text = `${name.padEnd(width)}  ${percent(probability).padStart(8)}`
    const bar = '━'.repeat(Math.round(probability * barCells))
    return `  ${rank === 0 ? bold(text) : dim(text)}  ${cyan(bar)}`.trimEnd()
  })
  return [`${printable(image)}: ${bold(ranked[0]?.name ?? '')}`, ...rows].join('\n')
}
