/** The command line of the benchmarks: `npm run bench -- ...`, `weftgrad bench ...`. */

import { Command, CommanderError, InvalidArgumentError, Option } from 'commander'
import { writeUsageError } from '../src/cli/terminal.ts'
import { compareFiles } from './compare.ts'
import { rivals } from './report.ts'
import type { BenchOptions } from './run.ts'
import { listCases, print, runBench } from './run.ts'
import { benchScaling, type ScalingOptions } from './scaling.ts'
import { benchTuning } from './tune.ts'
import { benchVersus, type VersusOptions } from './versus.ts'

export type { BenchReport, BenchRow } from './report.ts'
export type { BenchOptions } from './run.ts'
export { listCases, runBench } from './run.ts'

function share(text: string): number {
  const value = Number(text)
  if (text.trim() === '' || !(value >= 0))
    throw new InvalidArgumentError('It must be a number of at least 0, such as 0.1.')
  return value
}

function rounds(text: string): number {
  if (!/^[1-9]\d{0,2}$/.test(text)) throw new InvalidArgumentError('It must be a whole number from 1 to 999.')
  return Number(text)
}

/** Runs a command line and returns the exit code. Throws WeftgradError and WrongResult. */
export async function main(args: readonly string[]): Promise<number> {
  let code = 0
  // Before the commands below, which inherit the last two. An option behind a command's name is that command's.
  const program = new Command('bench')
    .enablePositionalOptions()
    .exitOverride()
    .configureOutput({ outputError: writeUsageError })
  program
    .description('time kernels, training steps and networks, and verify their results')
    .argument('[filter...]', "words that a case's name must contain (all of them; a comma separates alternatives)")
    .option('--quick', 'take fewer samples')
    .addOption(
      new Option('--variant <N|name>', 'use this variant; leave out cases without it').conflicts('allVariants'),
    )
    .option('--all-variants', 'time every variant of every case')
    .addOption(
      new Option('--against <library>', 'also time another library doing the same, in turn').choices(
        Object.keys(rivals),
      ),
    )
    .option('--json <file>', 'also write the report to this file')
    .option('--list', 'list cases and variants without timing them')
    .action(async (filter: string[], { list, ...options }: Omit<BenchOptions, 'filter'> & { list?: boolean }) => {
      if (list) await listCases(filter, print)
      else await runBench({ ...options, filter }, print)
    })
  program
    .command('compare')
    .description('show what got slower or faster between two reports, beyond noise')
    .argument('<before>', 'a report written by --json')
    .argument('<after>', 'a later report')
    .option('--strict', 'exit with code 1 if a case got slower by more than the threshold')
    .option('--threshold <share>', 'how much slower is too much (0.1 is 10 %)', share, 0.1)
    .option('--relative', 'scale times by the measured ceilings, for machines that differ or vary')
    .action(
      async (before: string, after: string, options: { strict?: boolean; threshold: number; relative?: boolean }) => {
        const { failures } = await compareFiles(before, after, options, print)
        if (options.strict && failures.length > 0) code = 1
      },
    )
  program
    .command('versus')
    .description('time an earlier commit and this tree in turn, and show what got slower or faster')
    .argument('<revision>', 'a commit, branch or tag')
    .argument('[filter...]', "words that a case's name must contain (all of them; a comma separates alternatives)")
    .option('--rounds <N>', 'how often each side is timed', rounds, 3)
    .option('--thorough', 'take all samples in every round')
    .option('--json <file>', 'also write the comparison to this file')
    .action(async (revision: string, filter: string[], options: VersusOptions) => {
      await benchVersus(revision, filter, options, print)
    })
  program
    .command('scaling')
    .description('time training steps, features and epochs against their size, and show how far from linear they are')
    .option('--quick', 'stop at smaller sizes, and take fewer samples')
    .option('--json <file>', 'also write the report to this file')
    .option('--picture <file>', 'also draw the curves to this SVG file')
    .action(async (options: ScalingOptions) => {
      await benchScaling(options, print)
    })
  program
    .command('tune')
    .description('time every variant of the kernels of a LeNet-5 step and of the benchmark, and show which one wins')
    .argument('[filter...]', "words that a kernel's name or shapes must contain (all of them)")
    .action((filter: string[]) => benchTuning(filter, print))
  try {
    await program.parseAsync([...args], { from: 'user' })
  } catch (error) {
    // Commander has printed the reason. 1 is for what got slower.
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2
    throw error
  }
  return code
}
