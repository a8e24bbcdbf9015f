/** Options from settings tables, and options that several commands share. Errors name the option. */
import type { Command } from 'commander'
import { WeftgradError } from '../errors.ts'
import type { SettingsTable } from '../runs/settings.ts'
import type { Task } from '../tasks/task.ts'

/** Adds an option for each setting of the table. */
export function addSettings<Settings extends object>(command: Command, table: SettingsTable<Settings>): Command {
  for (const name of table.names) {
    const { flag, value, helpOff } = table.of(name)
    const help = table.helpOf(name)
    if (value !== undefined) command.option(`${flag} ${value}`, help, (text) => table.parse(name, text))
    else command.option(flag, help)
    if (helpOff !== undefined) command.option(flag.replace(/^--/, '--no-'), helpOff)
  }
  return command
}

/**
 * The options that were given on the command line. Commander makes `--no-x` true when it is not given; a resumed run
 * must know the difference.
 */
export function givenOptions(command: Command): Record<string, unknown> {
  const options = command.opts()
  return Object.fromEntries(Object.entries(options).filter(([name]) => command.getOptionValueSource(name) === 'cli'))
}

/** A parser for the name of a folder or file; an empty one, such as from an unset shell variable, is rejected. */
export function pathOption(flag: string): (text: string) => string {
  return (text) => {
    if (text.trim() !== '') return text
    throw new WeftgradError('argument', `${flag} must name a folder, but its value is empty.`, { flag })
  }
}

export function addDataDir(command: Command, { data }: Task): Command {
  return command.option('--data-dir <dir>', `folder with ${data.title}: ${data.forms}`, pathOption('--data-dir'))
}

export function addJson(command: Command): Command {
  return command.option('--json', 'print one JSON object on standard output, everything else on standard error')
}

/** Adds the options that every job has besides its settings. */
export function addJobOptions(command: Command, task: Task): Command {
  addDataDir(command, task)
  command.option('--out <dir>', 'folder for the run (default: runs/<time>)', pathOption('--out'))
  command.option('--resume <dir>', 'resume the run in this folder, with its settings', pathOption('--resume'))
  return addJson(command)
}
