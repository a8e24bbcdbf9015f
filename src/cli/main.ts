/**
 * The `weftgrad` command: parses arguments and sets the exit code. The commands are declared in commands.ts; each is
 * implemented in its own file, loaded when it runs, so that `--help` and mistakes answer at once.
 */
import { Command } from 'commander'
import { WeftgradError } from '../errors.ts'
import { nearNames } from '../near-names.ts'
import { weftgradVersion } from '../runs/versions.node.ts'
import { chosenTask } from '../tasks/choice.node.ts'
import type { Task } from '../tasks/task.ts'
import { watchOutputs } from './closed-output.ts'
import { addCommands } from './commands.ts'
import { reportFailure } from './failure.ts'
import { pictureChoice } from './options.ts'
import { writeUsageError } from './terminal.ts'

/** Runs the command and sets the process' exit code; the process ends by itself. */
export async function main(args: readonly string[]): Promise<void> {
  watchOutputs()
  try {
    const program = commandLine(await chosenTask(pictureChoice(args)))
    program.hook('preAction', async () => {
      const [{ sweepCache }, { filterLimitWarnings }] = await Promise.all([
        import('../gpu/node/leftovers.ts'),
        import('../gpu/node/dawn-warnings.ts'),
      ])
      filterLimitWarnings()
      await sweepCache().catch(() => undefined)
    })
    refuseUnknownCommand(program, args)
    await program.parseAsync([...args], { from: 'user' })
  } catch (error) {
    process.exitCode = reportFailure(error)
  }
}

/**
 * Rejects unknown commands: Commander would report a mistyped one as an excess argument.
 * @throws WeftgradError 'argument' for an unknown command, with the likely one.
 */
function refuseUnknownCommand(program: Command, args: readonly string[]): void {
  let group = program
  for (const word of args) {
    if (group.commands.length === 0 || word.startsWith('-')) return
    if (group === program && word === 'help') continue
    const next = group.commands.find((command) => command.name() === word)
    if (next === undefined) {
      const path = [...pathOf(group), word].join(' ')
      const [near] = nearNames(
        word,
        group.commands.map((command) => command.name()),
      )
      const whatNow =
        near === undefined
          ? `\`${['weftgrad', ...pathOf(group)].join(' ')} --help\` lists the commands.`
          : `Did you mean '${near}'?`
      throw new WeftgradError('argument', `unknown command '${path}'. ${whatNow}`, { command: path })
    }
    group = next
  }
}

/** The words that name a command, without the program's name. */
function pathOf(command: Command): string[] {
  return command.parent === null ? [] : [...pathOf(command.parent), command.name()]
}

/** The command line of a task. */
export function commandLine(task: Task): Command {
  const program = new Command('weftgrad')
    .version(weftgradVersion())
    .showSuggestionAfterError()
    .helpCommand(true)
    // Names alone: with their arguments there would be no room for what they do.
    .configureHelp({ subcommandTerm: (command) => command.name() })
    .exitOverride()
    .configureOutput({ outputError: writeUsageError })
    .action(() => program.help())
  addCommands(program, task)
  return program
}
