/** The commands about queues: `weftgrad worker` and `weftgrad queue ...`. */
import { type Command, Option } from 'commander'
import { WeftgradError } from '../errors.ts'
import { wholeNumber } from '../runs/settings.ts'
import { addJson, pathOption } from './options.ts'
import { addOwnQueue, addStore } from './queue-options.ts'

const defaultPort = 6379

/** An option with a whole number. */
function numberOption(flag: string, help: string, most: number, fallback: number): Option {
  const { value, what, parse, accepts } = wholeNumber(flag, help, `a whole number from 1 to ${most}`, 1, most)
  return new Option(`${flag} ${value}`, help).default(fallback).argParser((text) => {
    const number = parse(text)
    if (accepts(number)) return Number(number)
    throw new WeftgradError('argument', `${flag} must be ${what}, not '${text}'.`, { flag, value: text })
  })
}

export function addQueue(program: Command): void {
  const worker = program
    .command('worker')
    .description('do the work of a queue on this machine until stopped (see docs/scale-out.md)')
  addStore(addOwnQueue(worker))
    .addOption(numberOption('--concurrency', 'units of work at a time', 64, 1))
    .option('--data-dir <dir>', 'folder with the data, if not in the usual places', pathOption('--data-dir'))
    .option('--images <dir>', "folder of pictures, for runs on one's own", pathOption('--images'))
    .action(async (options) => {
      const { workerCommand } = await import('./worker.ts')
      await workerCommand(options)
    })

  const queue = program.command('queue').description('serve a queue on this machine, look at one, or change it')
  queue.action(() => queue.help())
  queue
    .command('serve')
    .description(
      'run a Redis or Valkey server for this machine only; downloads one if none is installed (Debian, Ubuntu)',
    )
    .addOption(numberOption('--port', 'port on 127.0.0.1', 65_535, defaultPort))
    .option('--no-persist', 'keep jobs in memory only')
    .action(async (options) => {
      const { serveCommand } = await import('./queue.ts')
      await serveCommand(options)
    })
  addJson(
    addOwnQueue(queue.command('status').description('show workers, jobs, throughput, and what was set aside')).option(
      '--watch',
      'redraw every second',
    ),
  ).action(async (options) => {
    const { statusCommand } = await import('./queue.ts')
    await statusCommand(options)
  })
  const actions = [
    ['pause', 'let no worker take another unit'],
    ['resume', 'let workers take units again'],
    ['retry', 'queue again what was set aside'],
    ['drain', 'remove all units that are not under way'],
  ] as const
  for (const [name, help] of actions)
    addOwnQueue(queue.command(name).description(help)).action(async (options) => {
      const commands = await import('./queue.ts')
      await commands[`${name}Command`](options)
    })
  addStore(queue.command('collect').description('delete old results from a store, and content that no result names'))
    .addOption(numberOption('--days', 'age of results to delete, in days', 36_500, 30))
    .action(async (options) => {
      const { collectCommand } = await import('./queue.ts')
      await collectCommand(options)
    })
}
