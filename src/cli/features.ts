/** `weftgrad features NETWORK`: computes a network's features of the images, or reads them from the cache. */
import type { Task } from '../tasks/task.ts'
import { extractFeatures, type FeatureJobOptions, type FeatureReport } from '../transfer/features.node.ts'
import { areWeightsMissing, baseNamed } from '../transfer/pretrained-base.node.ts'
import { exitCodeAfter } from './failure.ts'
import { FeatureLines, featuresText, meaninglessText } from './feature-text.ts'
import { interruptible } from './interrupt.ts'
import { type OpenRemote, openRemote, type QueueOptions } from './queue-options.ts'
import { type OutputOptions, openTerminal } from './terminal.ts'
import { fact } from './training-text.ts'

export type FeaturesCommandOptions = Omit<FeatureJobOptions, 'model' | 'signal' | 'remote'> &
  QueueOptions &
  OutputOptions

/** Sets the exit code: 0, 1, 2 for bad arguments and missing weights, 130 or 143 after a signal. */
export async function featuresCommand(
  task: Task,
  name: string,
  { json, quiet, verbose, queue, store, ...options }: FeaturesCommandOptions,
): Promise<void> {
  const model = baseNamed(name)
  const terminal = openTerminal({ json, quiet, verbose })
  const lines = new FeatureLines(terminal, task)
  const interrupt = interruptible(
    () => {
      lines.close()
      terminal.interrupted('Stopping: finished features are kept.')
    },
    () => lines.close(),
  )
  let remote: OpenRemote | undefined
  try {
    remote = await openRemote({ queue, store }, lines)
    const report = await extractFeatures(task, { ...options, model, signal: interrupt.signal, remote }, lines)
    lines.clear()
    terminal.results()
    fact(terminal, 'Features', featuresText(report))
    if (report.isMeaningless) fact(terminal, '', terminal.colors.yellow(meaninglessText))
    if (json) terminal.json(summaryOf(report))
  } catch (error) {
    lines.close()
    const code = exitCodeAfter(error, interrupt, terminal.warn)
    process.exitCode = areWeightsMissing(error) ? 2 : code
  } finally {
    await remote?.close()
    interrupt.release()
  }
}

/** The fields `--json` prints, in their order. */
function summaryOf(report: FeatureReport) {
  const { model, settings, size, weights, isMeaningless, adapter, folder, ...features } = report
  const { layers, pool } = settings
  return { model, size, layers, pool, features, folder, weights, meaningless: isMeaningless, adapter }
}
