/**
 * The `weftgrad` command: its commands and options. Each command's work is in a file of its own, loaded when it is asked
 * for, so that `--help` and mistakes answer at once.
 */
import { Command } from 'commander'
import { weftgradVersion } from '../study/versions.node.ts'
import { reportFailure } from './failure.ts'
import { numberSetting, pathOption, splitSetting, unitsSetting } from './options.ts'
import { colorsFor } from './terminal.ts'

/** Runs the command and sets the process' exit code; the process ends by itself. */
export async function main(args: readonly string[]): Promise<void> {
  // `weftgrad doctor | head -1`: nobody reads on, and that is no failure.
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EPIPE') process.exit()
      throw error
    })
  }
  try {
    await commandLine().parseAsync([...args], { from: 'user' })
  } catch (error) {
    process.exitCode = reportFailure(error)
  }
}

function commandLine(): Command {
  const program = new Command('weftgrad')
    .description('A small tensor engine on WebGPU: trains LeNet-5 on Fashion-MNIST and uses what it trained.')
    .version(weftgradVersion())
    .showSuggestionAfterError()
    .exitOverride()
    .configureOutput({
      outputError: (text, write) => write(text.replace(/^error:/, colorsFor(process.stderr).red('weftgrad:'))),
    })
    .action(() => program.help())

  const train = program
    .command('train')
    .description('train a network')
    .action(() => train.help())
  train
    .command('lenet')
    .description('train LeNet-5 on Fashion-MNIST and test it')
    .option('--epochs <n>', 'passes over the training images (default: 15)', numberSetting('epochs'))
    .option('--batch-size <n>', 'images a step (default: 32)', numberSetting('batchSize'))
    .option('--learning-rate <x>', "Adam's learning rate (default: 1e-3)", numberSetting('learningRate'))
    .option('--units <a,b>', 'sizes of the two hidden dense layers (default: 256,32)', unitsSetting)
    .option('--seed <n>', 'draws weights, splits and the order of images (default: 1)', numberSetting('seed'))
    .option(
      '--split <kind>',
      "'official': the published 60,000 and 10,000 images; 'seed': a tenth of the 60,000, without duplicates, is the test set (default: official)",
      splitSetting,
    )
    .option('--limit <n>', 'only the first n training images, and at most n test images', numberSetting('limit'))
    .option('--no-restore-best', 'test the last weights, not those of the best validation epoch')
    .option(
      '--data-dir <dir>',
      'where Fashion-MNIST is: IDX files, plain or .gz, or the Kaggle CSV',
      pathOption('--data-dir'),
    )
    .option('--out <dir>', "the run's folder (default: runs/<time>)", pathOption('--out'))
    .option('--resume <dir>', 'go on with the run in this folder, by its own settings', pathOption('--resume'))
    .option('--json', 'print one JSON object on standard output, everything else on standard error')
    .action(async (options, command: Command) => {
      const { trainLenetCommand } = await import('./train-lenet.ts')
      const { restoreBest, ...given } = options
      // Commander makes `--no-x` true when it is not given; a resumed run has to tell the two apart.
      const chosen = command.getOptionValueSource('restoreBest') === 'cli' ? { restoreBest } : {}
      await trainLenetCommand({ ...given, ...chosen })
    })

  program
    .command('evaluate')
    .description('test the model of a run again')
    .argument('<run>', "the run's folder")
    .option('--data-dir <dir>', 'where Fashion-MNIST is', pathOption('--data-dir'))
    .option('--json', 'print one JSON object on standard output, everything else on standard error')
    .action(async (run: string, options) => {
      const { evaluateCommand } = await import('./evaluate.ts')
      await evaluateCommand(run, options)
    })

  program
    .command('predict')
    .description('say what pictures show, by the model of a run')
    .argument('<run>', "the run's folder")
    .argument('<images...>', 'PNG files; made grey and scaled to 28x28, padded if not square')
    .option('--invert', 'the pictures are dark on light; Fashion-MNIST is light on dark')
    .option('--json', 'print one JSON object on standard output, everything else on standard error')
    .action(async (run: string, images: string[], options) => {
      const { predictCommand } = await import('./predict.ts')
      await predictCommand(run, images, options)
    })

  program
    .command('doctor')
    .description('say which adapter, driver and data there are, and what would be faster; fetches nothing')
    .option('--data-dir <dir>', 'where Fashion-MNIST is', pathOption('--data-dir'))
    .option('--json', 'print one JSON object on standard output')
    .action(async (options) => {
      const { doctorCommand } = await import('./doctor.ts')
      await doctorCommand(options)
    })

  program
    .command('setup')
    .description('fetch what is missing, a software driver and Fashion-MNIST, without root')
    .option('--data-dir <dir>', 'where Fashion-MNIST is', pathOption('--data-dir'))
    .action(async (options) => {
      const { setupCommand } = await import('./setup.ts')
      await setupCommand(options)
    })

  program
    .command('bench')
    .description('measure kernels and training steps; see `weftgrad bench --help`')
    .argument('[args...]')
    .allowUnknownOption()
    .helpOption(false)
    .action(async (args: string[]) => {
      const { benchCommand } = await import('./bench.ts')
      await benchCommand(args)
    })
  return program
}
