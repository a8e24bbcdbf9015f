/** `weftgrad features NETWORK`: computes the features of the images, or reads them from the cache. */
import type { Task } from '../tasks/task.ts'
import { extractFeatures, type FeatureJobOptions, type FeatureReport } from '../transfer/features.node.ts'
import { areWeightsMissing } from '../transfer/pretrained-base.node.ts'
import { zooNameOf } from '../weights/zoo.ts'
import { exitCodeAfter } from './failure.ts'
import { FeatureLines, featuresText, meaninglessText } from './feature-text.ts'
import { interruptible } from './interrupt.ts'
import { type OpenRemote, openRemote, type QueueOptions } from './queue-options.ts'
import { openTerminal } from './terminal.ts'
import { fact } from './training-text.ts'

export type FeaturesCommandOptions = Omit<FeatureJobOptions, 'model' | 'signal' | 'remote'> &
  QueueOptions & { readonly json?: boolean }

/** Sets the exit code: 0, 1, 2 for bad arguments and missing weights, 130 or 143 after a signal. */
export async function featuresCommand(
  task: Task,
  name: string,
  { json, queue, store, ...options }: FeaturesCommandOptions,
): Promise<void> {
  const model = zooNameOf(name)
  const terminal = openTerminal({ json })
  const lines = new FeatureLines(terminal, task)
  const interrupt = interruptible(
    () => {
      lines.close()
      terminal.note('Stopping: finished features are kept.')
    },
    () => lines.close(),
  )
  let remote: OpenRemote | undefined
  try {
    remote = await openRemote({ queue, store }, lines)
    const report = await extractFeatures(task, { ...options, model, signal: interrupt.signal, remote }, lines)
    lines.clear()
    fact(terminal, 'Features', featuresText(report))
    if (report.isMeaningless) fact(terminal, '', terminal.colors.yellow(meaninglessText))
    if (json) terminal.json(summaryOf(report))
  } catch (error) {
    lines.close()
    const code = exitCodeAfter(error, interrupt, terminal.note)
    process.exitCode = areWeightsMissing(error) ? 2 : code
  } finally {
    await remote?.close()
    interrupt.release()
  }
}

/** The fields `--json` prints, in their order. */
function summaryOf(report: FeatureReport) {
  const { model, settings, weights, isMeaningless, adapter, folder, ...features } = report
  const { size, layers, pool } = settings
  return { model, size, layers, pool, features, folder, weights, meaningless: isMeaningless, adapter }
}
