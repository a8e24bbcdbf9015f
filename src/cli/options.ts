/** Options from settings tables, and options that several commands share. Errors name the option. */
import { Command } from 'commander'
import { WeftgradError } from '../errors.ts'
import { oneWord, type Setting, type SettingsTable, wholeNumber } from '../runs/settings.ts'
import type { PictureChoice } from '../tasks/choice.node.ts'
import type { Task } from '../tasks/task.ts'
import { writeUsageError } from './terminal.ts'

/** Adds an option for each setting of the table. */
export function addSettings<Settings extends object>(command: Command, table: SettingsTable<Settings>): Command {
  command.optionsGroup('Settings:')
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

/** The settings of pictures. The task holds them, found before the other options are read. */
const pictureTable = {
  size: wholeNumber('--size', 'height and width of the images', 'a whole number of pixels from 8 to 1,024', 8, 1024),
  channels: oneWord('--channels', '1 for grey, 3 for colour', ['1', '3'], '1 or 3'),
}

/**
 * What a command line says about its pictures and about the run to resume; the rest of it is for the command.
 * @throws WeftgradError 'argument' for a size or channels that are not what they must be.
 */
export function pictureChoice(args: readonly string[]): PictureChoice & { readonly resume?: string } {
  const scan = new Command()
    .exitOverride()
    .helpOption(false)
    .allowUnknownOption()
    .allowExcessArguments()
    .configureOutput({ outputError: writeUsageError })
  for (const name of ['images', 'resume']) scan.option(`--${name} <dir>`, '', pathOption(`--${name}`))
  for (const name of ['size', 'channels']) scan.option(`--${name} <n>`)
  const { images, resume, size, channels } = scan.parse(args, { from: 'user' }).opts<Record<string, string>>()
  const given = { ...(images === undefined ? {} : { images }), ...(resume === undefined ? {} : { resume }) }
  if (images === undefined && resume === undefined) return given
  return {
    // Every pixel is correlated with every other.
    ...(args[0] === 'eda' ? { size: 32, channels: 1 } : {}),
    ...given,
    ...(size === undefined ? {} : { size: checked(pictureTable.size, size) }),
    ...(channels === undefined ? {} : { channels: checked(pictureTable.channels, channels) === 1 ? 1 : 3 }),
  }
}

function checked({ flag, what, parse, accepts }: Setting, text: string): number {
  const value = parse(text)
  if (accepts(value)) return Number(value)
  throw new WeftgradError('argument', `${flag} must be ${what}, not '${text}'.`, { flag, value: text })
}

export function addDataDir(command: Command, { data }: Task): Command {
  return command.option('--data-dir <dir>', `folder with ${data.title}: ${data.forms}`, pathOption('--data-dir'))
}

/**
 * Adds the options that name the data: the published ones or, with `--images`, a folder of pictures. With a task of pictures,
 * also their size, if the command has none yet, and their channels.
 */
export function addData(command: Command, task: Task): Command {
  const isPictures = task.data.option === '--images'
  command.optionsGroup('Data:')
  if (!isPictures) addDataDir(command, task)
  command.option(
    '--images <dir>',
    isPictures
      ? `folder with ${task.data.forms}`
      : 'your own pictures instead: a folder for each class (with --help: the options for them)',
    pathOption('--images'),
  )
  if (!isPictures) return command
  const { size, channels } = pictureTable
  if (command.options.every(({ long }) => long !== size.flag))
    command.option('--size <n>', `${size.help} (here: ${task.data.image.height})`, Number)
  return command.option('--channels <n>', `${channels.help} (here: ${task.data.image.channels})`, Number)
}

/** Shows a command line below the command's help. */
export function addExample(command: Command, line: string): Command {
  return command.addHelpText('after', `\nExample:\n  npx weftgrad ${line}`)
}

export function addJson(command: Command): Command {
  return command.option('--json', 'print one JSON object on standard output, everything else on standard error')
}

/** Adds `--json`, and how much a job prints besides its result. */
export function addOutput(command: Command): Command {
  command.optionsGroup('Output:')
  addJson(command)
  command.option('--quiet', 'print the result, warnings and errors only')
  return command.option('--verbose', 'print details too: the kernels chosen, what a step takes')
}

/** Adds the options that every job has besides its settings. */
export function addJobOptions(command: Command, task: Task): Command {
  addData(command, task)
  command.optionsGroup('Run:')
  command.option('--out <dir>', 'folder for the run (default: runs/<time>)', pathOption('--out'))
  command.option('--resume <dir>', 'resume the run in this folder, with its settings', pathOption('--resume'))
  return addOutput(command)
}
