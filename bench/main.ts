/** The command line of the benchmarks: `npm run bench -- ...`, `weftgrad bench ...`. */

import { Command, CommanderError, InvalidArgumentError, Option } from 'commander'
import { compareFiles } from './compare.ts'
import type { BenchOptions } from './run.ts'
import { listCases, print, runBench } from './run.ts'
import { benchTuning } from './tune.ts'

export type { BenchReport, BenchRow } from './report.ts'
export type { BenchOptions } from './run.ts'
export { listCases, runBench } from './run.ts'

function share(text: string): number {
  const value = Number(text)
  if (text.trim() === '' || !(value >= 0)) throw new InvalidArgumentError('It must be a number from 0, as 0.1.')
  return value
}

/** Runs what the arguments ask for and gives the exit code. Throws WeftgradError and WrongResult. */
export async function main(args: readonly string[]): Promise<number> {
  let code = 0
  const program = new Command('bench')
    .description('measure kernels and training steps, verify their results, compare with TensorFlow.js')
    .argument('[filter...]', "words that a case's name must contain, all of them")
    .option('--quick', 'few samples')
    .addOption(new Option('--variant <N|name>', 'the variant to use where a case has it').conflicts('allVariants'))
    .option('--all-variants', 'every variant of every case')
    .addOption(new Option('--against <library>', "TensorFlow.js' WebGPU backend, sampled in turn").choices(['tfjs']))
    .option('--json <file>', 'write the report into a file as well')
    .option('--list', 'name cases and variants, measure nothing')
    .action(async (filter: string[], { list, ...options }: Omit<BenchOptions, 'filter'> & { list?: boolean }) => {
      if (list) await listCases(filter, print)
      else await runBench({ ...options, filter }, print)
    })
    .exitOverride()
  program
    .command('compare')
    .description('say what got slower or faster from one report to another, beyond noise')
    .argument('<before>', 'a report written by --json')
    .argument('<after>', 'another one')
    .option('--strict', 'exit with 1 where a case got slower by more than the threshold')
    .option('--threshold <share>', 'how much slower is too much', share, 0.1)
    .option('--relative', 'scale times by the measured ceilings: for machines that differ or swing')
    .action(
      async (before: string, after: string, options: { strict?: boolean; threshold: number; relative?: boolean }) => {
        const { failures } = await compareFiles(before, after, options, print)
        if (options.strict && failures.length > 0) code = 1
      },
    )
    .exitOverride()
  program
    .command('tune')
    .description(
      'measure every candidate for the kernels of a LeNet-5 step and of the benchmark, and say which one wins',
    )
    .argument('[filter...]', "words that a kernel's name or shapes must contain, all of them")
    .action((filter: string[]) => benchTuning(filter, print))
    .exitOverride()
  try {
    await program.parseAsync([...args], { from: 'user' })
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode // it has said why
    throw error
  }
  return code
}
