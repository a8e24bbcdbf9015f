/** Options of commands on a queue, and opening what they name. The queue's code is loaded only if one is named. */
import type { Command } from 'commander'
import type { JobReporter } from '../runs/job.node.ts'
import type { Remote } from '../units/executor.node.ts'
import { pathOption } from './options.ts'

export interface QueueOptions {
  /** The address of the queue's server; without it, work is done in this process. */
  readonly queue?: string | undefined
  /** Where results travel: a folder, or an address. */
  readonly store?: string | undefined
}

const storeHelp =
  'where results travel: a folder that all machines share, or s3+https://host/bucket (default: a folder here)'

/** Adds the options of commands that can give their work to a queue. */
export function addQueueOptions(command: Command): Command {
  return addStore(
    command.option(
      '--queue <url>',
      'let the workers of this queue do the work, such as redis://host:6379',
      pathOption('--queue'),
    ),
  )
}

/** Adds the options of commands that are about a queue. */
export function addOwnQueue(command: Command): Command {
  return command.requiredOption('--queue <url>', 'the queue, such as redis://host:6379', pathOption('--queue'))
}

export function addStore(command: Command): Command {
  return command.option('--store <place>', storeHelp, pathOption('--store'))
}

/** A queue to give work to. `close()` it. */
export interface OpenRemote extends Remote {
  close(): Promise<void>
}

/**
 * Connects to the queue, if one is named.
 * @throws WeftgradError 'argument' for a store without a queue, 'queue' if it cannot be used.
 */
export async function openRemote(
  { queue, store }: QueueOptions,
  { onNote }: Pick<JobReporter, 'onNote'>,
): Promise<OpenRemote | undefined> {
  if (queue === undefined) {
    if (store === undefined) return undefined
    const { WeftgradError } = await import('../errors.ts')
    throw new WeftgradError(
      'argument',
      '--store is where the workers of a queue leave results. Name the queue with --queue.',
    )
  }
  const [{ Coordinator }, { openResults }] = await Promise.all([
    import('../queue/coordinator.ts'),
    import('../queue/open-store.ts'),
  ])
  return await Coordinator.open({ queue, results: await openResults(store), onNote })
}
