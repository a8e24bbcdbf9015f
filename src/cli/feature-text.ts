/** Shows the features that a command needs: their source, the rate, and what made-up weights mean. */
import { clock, count, speed, timeLeft } from '../numbers.ts'
import { shown } from '../runs/run-folder.node.ts'
import type { Task } from '../tasks/task.ts'
import type { FeatureProgress, FeatureReporter } from '../transfer/features.node.ts'
import type { FeatureFacts } from '../transfer/result.ts'
import { BarLine, BytesBar } from './bar.ts'
import type { Drawing } from './job-command.ts'
import { ProgressLine } from './progress.ts'
import type { Terminal } from './terminal.ts'
import { adapterText, dataText, fact } from './training-text.ts'

/** A warning about results with made-up weights. */
export const meaninglessText =
  'These weights are made up: the results say nothing about the network. This run only shows that everything works.'

/** Shows the work on features; `clear()` before printing anything else. */
export class FeatureLines implements FeatureReporter {
  readonly #terminal: Terminal
  readonly #data: Task['data']
  readonly #bar: BarLine
  #download: BytesBar | undefined

  constructor(terminal: Terminal, { data }: Task) {
    this.#terminal = terminal
    this.#data = data
    this.#bar = new BarLine(terminal)
  }

  readonly onNote = (line: string): void => {
    this.clear()
    this.#terminal.note(this.#terminal.noteColors.dim(line))
  }

  readonly onWait = (what: string): void => this.#terminal.wait(what)

  readonly onDetail = (line: string): void => this.#terminal.detail(line)

  readonly onDownload = (bytes: number, totalBytes: number | undefined): void => {
    this.#download ??= new BytesBar(this.#terminal, 'Weights')
    this.#download.update(bytes, totalBytes)
  }

  readonly onAdapter: NonNullable<FeatureReporter['onAdapter']> = ({ facts }) => {
    this.clear()
    fact(this.#terminal, 'Adapter', adapterText(facts.driver, facts.hardware))
  }

  readonly onBase: NonNullable<FeatureReporter['onBase']> = ({ title, model, weights, isMeaningless }) => {
    const [height, width] = model.inputShape
    const parameters = `${count(model.parameterCount)} parameters in total`
    const from = isMeaningless ? 'made-up weights' : `weights from ${shown(weights)}`
    fact(this.#terminal, 'Network', `${title} at ${height}x${width}, ${parameters}, ${from}`)
    if (isMeaningless) fact(this.#terminal, '', this.#terminal.colors.yellow(meaninglessText))
  }

  readonly onData: NonNullable<FeatureReporter['onData']> = (facts) => {
    fact(this.#terminal, 'Data', dataText(this.#data, facts))
  }

  readonly onExtract = (batch: number): void => {
    fact(this.#terminal, 'Features', `computing, ${batch} images at a time`)
  }

  readonly onFeatures = ({ done, total, imagesPerSecond, etaSeconds }: FeatureProgress): void => {
    const told = [...speed(imagesPerSecond), ...timeLeft(etaSeconds)]
    const after = `${count(done)} of ${count(total)}`
    this.#bar.show({
      share: done / total,
      before: 'Features',
      after,
      told,
      plain: `features: ${[after, ...told].join(', ')}`,
    })
  }

  clear(): void {
    this.#bar.clear()
    this.#download?.close()
  }

  close(): void {
    this.#bar.close()
    this.#download?.close()
  }
}

/** What commands draw that compute features and train on them. */
export function featuresAndTraining(terminal: Terminal, task: Task) {
  const progress = new ProgressLine(terminal)
  const features = new FeatureLines(terminal, task)
  const drawing: Drawing = {
    clear() {
      progress.clear()
      features.clear()
    },
    close() {
      progress.close()
      features.close()
    },
  }
  return { progress, features, drawing }
}

/** `70,000 images, 1,536 numbers each; computed 70,000 in 12:03, 96.8 images/s (folder)`. */
export function featuresText(facts: FeatureFacts): string {
  const { computed, seconds, imagesPerSecond, width, folder } = facts
  const size = `${count(facts.count)} images, ${count(width)} numbers each`
  const work =
    computed === 0
      ? `all from the cache, in ${seconds.toFixed(1)} s`
      : `${computed < facts.count ? `${count(computed)} of them ` : ''}computed in ${clock(seconds)}, ${imagesPerSecond.toFixed(1)} images/s`
  return `${size}; ${work} (${shown(folder)})`
}
