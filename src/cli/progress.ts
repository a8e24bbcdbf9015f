/** Training progress on standard error: a bar on a terminal, an occasional plain line elsewhere. */

import type { Progress } from '../nn/contract.ts'
import { percent, speed, timeLeft } from '../numbers.ts'
import { BarLine } from './bar.ts'
import type { Terminal } from './terminal.ts'

export class ProgressLine {
  readonly #bar: BarLine

  constructor(terminal: Terminal) {
    this.#bar = new BarLine(terminal)
  }

  update(progress: Progress): void {
    const { epoch, epochs, step, steps } = progress
    const told = measures(progress)
    this.#bar.show({
      share: step / steps,
      before: `${String(epoch).padStart(String(epochs).length)}/${epochs}`,
      after: `${String(step).padStart(String(steps).length)}/${steps}`,
      told,
      plain: [`epoch ${epoch}/${epochs}`, `step ${step}/${steps}`, ...told].join(', '),
    })
  }

  /** Removes the bar and shows the cursor again, so that lines can be printed. */
  clear(): void {
    this.#bar.clear()
  }

  /** Clears the bar for good. */
  close(): void {
    this.#bar.close()
  }
}

function measures({ imagesPerSecond, etaSeconds, loss, accuracy }: Progress): string[] {
  const told = [...speed(imagesPerSecond), ...timeLeft(etaSeconds)]
  if (loss !== undefined) told.push(`loss ${loss.toFixed(4)}`)
  if (accuracy !== undefined) told.push(`accuracy ${percent(accuracy, 1)}`)
  return told
}
