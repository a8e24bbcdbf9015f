/**
 * The `weftgrad` command: its commands and options. Each command's work is in a file of its own, loaded when it is asked
 * for, so that `--help` and mistakes answer at once.
 */
import { Command } from 'commander'
import { WeftgradError } from '../errors.ts'
import { nearNames } from '../near-names.ts'
import { crossValidationSettings } from '../study/crossval-settings.ts'
import { recipeSettings } from '../study/recipes.ts'
import { searchSettings } from '../study/search-settings.ts'
import { partsNamed, studySettings } from '../study/study-plan.ts'
import { trainSettings } from '../study/train-options.ts'
import { transferSettings } from '../study/transfer-settings.ts'
import { weftgradVersion } from '../study/versions.node.ts'
import { watchOutputs } from './closed-output.ts'
import { reportFailure } from './failure.ts'
import { listSetting, numberSetting, pathOption, unitsSetting, wordSetting } from './options.ts'
import { colorsFor, shownLines } from './terminal.ts'

/** Runs the command and sets the process' exit code; the process ends by itself. */
export async function main(args: readonly string[]): Promise<void> {
  watchOutputs()
  try {
    const program = commandLine()
    program.hook('preAction', async () => {
      const { sweepCache } = await import('../gpu/node/leftovers.ts')
      await sweepCache().catch(() => undefined)
    })
    refuseUnknownCommand(program, args)
    await program.parseAsync([...args], { from: 'user' })
  } catch (error) {
    process.exitCode = reportFailure(error)
  }
}

/**
 * Commands that hold others take no other words: Commander would call a mistyped one an argument too many.
 * @throws WeftgradError 'argument' for a word that is no command, with the one that was meant.
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

/** The words that name a command, without the program's own. */
function pathOf(command: Command): string[] {
  return command.parent === null ? [] : [...pathOf(command.parent), command.name()]
}

function commandLine(): Command {
  const program = new Command('weftgrad')
    .description('A small tensor engine on WebGPU: trains LeNet-5 on Fashion-MNIST, and heads on pretrained networks.')
    .version(weftgradVersion())
    .showSuggestionAfterError()
    .helpCommand(true)
    .exitOverride()
    .configureOutput({
      outputError(text, write) {
        const colors = colorsFor(process.stderr)
        write(shownLines(text.replace(/^error:/, colors.red('weftgrad:')), colors))
      },
    })
    .action(() => program.help())

  const train = program
    .command('train')
    .description('train a network')
    .action(() => train.help())
  train
    .command('lenet')
    .description('train LeNet-5 on Fashion-MNIST and test it')
    .option(
      '--recipe <name>',
      "'seed': plain Adam; 'best': flips, shifts, dropout, AdamW, a cosine and all images; other options change it (default: seed)",
      wordSetting(recipeSettings, 'recipe'),
    )
    .option(
      '--epochs <n>',
      'passes over the training images (default: 15; best: 50)',
      numberSetting(trainSettings, 'epochs'),
    )
    .option('--batch-size <n>', 'images a step (default: 32; best: 128)', numberSetting(trainSettings, 'batchSize'))
    .option(
      '--learning-rate <x>',
      "Adam's learning rate, the highest of a cosine (default: 1e-3; best: 2e-3)",
      numberSetting(trainSettings, 'learningRate'),
    )
    .option('--units <a,b>', 'sizes of the two hidden dense layers (default: 256,32)', unitsSetting)
    .option(
      '--seed <n>',
      'draws weights, splits and the order of images (default: 1)',
      numberSetting(trainSettings, 'seed'),
    )
    .option(
      '--split <kind>',
      "'official': the published 60,000 and 10,000 images; 'seed': a tenth of the 60,000, without duplicates, is the test set (default: official)",
      wordSetting(trainSettings, 'split'),
    )
    .option(
      '--limit <n>',
      'only the first n training images, and at most n test images',
      numberSetting(trainSettings, 'limit'),
    )
    .option('--no-restore-best', 'test the last weights, not those of the best validation epoch')
    .option(
      '--validation <share>',
      'share of the training images that validates; 0 trains on all (default: 0.1; best: 0)',
      numberSetting(recipeSettings, 'validation'),
    )
    .option('--flips', 'mirror training images by chance')
    .option('--no-flips', 'do not')
    .option('--shift <n>', 'move training images by up to n pixels by chance', numberSetting(recipeSettings, 'shift'))
    .option(
      '--dropout <x>',
      "share of the first dense layer's units that a step leaves out",
      numberSetting(recipeSettings, 'dropout'),
    )
    .option('--weight-decay <x>', "AdamW's; 0 is Adam", numberSetting(recipeSettings, 'weightDecay'))
    .option('--schedule <kind>', "the learning rate's: constant or cosine", wordSetting(recipeSettings, 'schedule'))
    .option(
      '--warmup-epochs <n>',
      "in which a cosine's learning rate rises",
      numberSetting(recipeSettings, 'warmupEpochs'),
    )
    .option('--flip-average', 'test by the mean of the probabilities of an image and its mirror')
    .option('--no-flip-average', 'do not')
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
    .command('tune')
    .description("search for LeNet-5's hyperparameters on Fashion-MNIST, by validation accuracy")
    .option('--method <name>', 'hyperband, random or grid (default: hyperband)', wordSetting(searchSettings, 'method'))
    .option('--max-epochs <n>', 'epochs a trial gets at most (default: 10)', numberSetting(searchSettings, 'maxEpochs'))
    .option('--factor <n>', 'Hyperband: one trial in n goes on (default: 3)', numberSetting(searchSettings, 'factor'))
    .option(
      '--sizes <rule>',
      "Hyperband: how many trials, 'keras' as KerasTuner or 'paper' as the paper's algorithm 1 (default: keras)",
      wordSetting(searchSettings, 'sizes'),
    )
    .option(
      '--trials <n>',
      'random and grid search: at most n trials (default: 12 drawn ones, the whole grid)',
      numberSetting(searchSettings, 'trials'),
    )
    .option(
      '--seed <n>',
      'draws trials, their weights and orders, and the validation images (default: 1)',
      numberSetting(searchSettings, 'seed'),
    )
    .option('--batch-size <n>', 'images a step (default: 32)', numberSetting(searchSettings, 'batchSize'))
    .option(
      '--split <kind>',
      "'official', or 'seed': without the test images that `train lenet --split seed` would draw (default: official)",
      wordSetting(searchSettings, 'split'),
    )
    .option('--limit <n>', 'only the first n training images', numberSetting(searchSettings, 'limit'))
    .option('--data-dir <dir>', 'where Fashion-MNIST is', pathOption('--data-dir'))
    .option('--out <dir>', "the run's folder (default: runs/<time>)", pathOption('--out'))
    .option('--resume <dir>', 'go on with the search in this folder, by its own settings', pathOption('--resume'))
    .option('--json', 'print one JSON object on standard output, everything else on standard error')
    .action(async (options) => {
      const { tuneCommand } = await import('./tune.ts')
      await tuneCommand(options)
    })

  program
    .command('crossval')
    .description('cross-validate LeNet-5 on Fashion-MNIST, stratified by class')
    .option(
      '--folds <n>',
      'parts that each validate once (default: 5)',
      numberSetting(crossValidationSettings, 'folds'),
    )
    .option(
      '--epochs <n>',
      'passes over the training images of a fold (default: 10)',
      numberSetting(trainSettings, 'epochs'),
    )
    .option('--batch-size <n>', 'images a step (default: 32)', numberSetting(trainSettings, 'batchSize'))
    .option('--learning-rate <x>', "Adam's learning rate (default: 1e-3)", numberSetting(trainSettings, 'learningRate'))
    .option('--units <a,b>', 'sizes of the two hidden dense layers (default: 256,32)', unitsSetting)
    .option(
      '--seed <n>',
      'draws folds, weights and the orders of images (default: 1)',
      numberSetting(trainSettings, 'seed'),
    )
    .option('--carry-over', 'also take one model from fold to fold, and show how that inflates the figures')
    .option(
      '--split <kind>',
      "'official', or 'seed': without the test images that `train lenet --split seed` would draw (default: official)",
      wordSetting(trainSettings, 'split'),
    )
    .option('--limit <n>', 'only the first n training images', numberSetting(trainSettings, 'limit'))
    .option('--data-dir <dir>', 'where Fashion-MNIST is', pathOption('--data-dir'))
    .option('--out <dir>', "the run's folder (default: runs/<time>)", pathOption('--out'))
    .option('--resume <dir>', 'go on with the run in this folder, by its own settings', pathOption('--resume'))
    .option('--json', 'print one JSON object on standard output, everything else on standard error')
    .action(async (options) => {
      const { crossvalCommand } = await import('./crossval.ts')
      await crossvalCommand(options)
    })

  program
    .command('features')
    .description("compute a pretrained network's features of Fashion-MNIST, and keep them in the cache")
    .argument('<network>', 'vgg16, xception or resnet152v2')
    .option('--size <n>', 'height and width of the images for the network', numberSetting(transferSettings, 'size'))
    .option('--layers <a,b>', 'the layers whose outputs are features', listSetting(transferSettings, 'layers'))
    .option('--pool <kind>', 'avg, avg2 (2x2 means), max or none', wordSetting(transferSettings, 'pool'))
    .option(
      '--limit <n>',
      'only the first n training images, and at most n test images',
      numberSetting(transferSettings, 'limitTrain'),
    )
    .option('--weights <file>', "the network's weights, or 'hashed' for made-up ones", pathOption('--weights'))
    .option('--data-dir <dir>', 'where Fashion-MNIST is', pathOption('--data-dir'))
    .option('--json', 'print one JSON object on standard output, everything else on standard error')
    .action(async (network: string, options) => {
      const { featuresCommand } = await import('./features.ts')
      await featuresCommand(network, options)
    })

  program
    .command('transfer')
    .description("train a head on a pretrained network's features of Fashion-MNIST, and test it")
    .argument('<network>', 'vgg16, xception or resnet152v2')
    .option(
      '--head <kind>',
      'linear, or mlp: with a hidden layer (default: mlp)',
      wordSetting(transferSettings, 'head'),
    )
    .option('--size <n>', 'height and width of the images for the network', numberSetting(transferSettings, 'size'))
    .option('--layers <a,b>', 'the layers whose outputs are features', listSetting(transferSettings, 'layers'))
    .option('--pool <kind>', 'avg, avg2 (2x2 means), max or none', wordSetting(transferSettings, 'pool'))
    .option('--epochs <n>', 'passes over the training images at most', numberSetting(transferSettings, 'epochs'))
    .option(
      '--patience <n>',
      'epochs without a better one until training stops',
      numberSetting(transferSettings, 'patience'),
    )
    .option('--batch-size <n>', 'rows of features a step', numberSetting(transferSettings, 'batchSize'))
    .option('--learning-rate <x>', 'at the first step', numberSetting(transferSettings, 'learningRate'))
    .option('--weight-decay <x>', "AdamW's", numberSetting(transferSettings, 'weightDecay'))
    .option('--dropout <x>', 'share of hidden units that a step leaves out', numberSetting(transferSettings, 'dropout'))
    .option(
      '--seed <n>',
      'draws weights, validation images and their order (default: 1)',
      numberSetting(transferSettings, 'seed'),
    )
    .option('--limit-train <n>', 'only the first n training images', numberSetting(transferSettings, 'limitTrain'))
    .option('--limit-test <n>', 'only the first n test images', numberSetting(transferSettings, 'limitTest'))
    .option(
      '--unfreeze <layer>',
      'then train the network, too, from this layer on',
      wordSetting(transferSettings, 'unfreeze'),
    )
    .option('--fine-tune-epochs <n>', 'passes of that at most', numberSetting(transferSettings, 'fineTuneEpochs'))
    .option('--fine-tune-rate <x>', "that one's learning rate", numberSetting(transferSettings, 'fineTuneRate'))
    .option('--weights <file>', "the network's weights, or 'hashed' for made-up ones", pathOption('--weights'))
    .option('--data-dir <dir>', 'where Fashion-MNIST is', pathOption('--data-dir'))
    .option('--out <dir>', "the run's folder (default: runs/<time>)", pathOption('--out'))
    .option('--json', 'print one JSON object on standard output, everything else on standard error')
    .action(async (network: string, options) => {
      const { transferCommand } = await import('./transfer.ts')
      await transferCommand(network, options)
    })

  program
    .command('eda')
    .description('look at the data: counts, duplicates, classes, correlation of the pixels')
    .option(
      '--data-dir <dir>',
      'where Fashion-MNIST is: IDX files, plain or .gz, or the Kaggle CSV',
      pathOption('--data-dir'),
    )
    .option('--csv <file>', 'look at one CSV file, plain or .gz, instead', pathOption('--csv'))
    .option('--drop-missing', 'leave out rows of a CSV with missing cells, instead of refusing the file')
    .option('--out <dir>', 'where the pictures and eda.json go (default: runs/eda)', pathOption('--out'))
    .option('--json', 'print one JSON object on standard output, everything else on standard error')
    .action(async (options) => {
      const { edaCommand } = await import('./eda.ts')
      await edaCommand(options)
    })

  program
    .command('study')
    .description('the whole study: data, tuning, cross-validation, LeNet-5, pretrained networks; writes a report')
    .option('--quick', 'a tenth of the data and few epochs, to see whether everything works here')
    .option('--skip <parts>', 'leave parts out, such as eda,transfer', partsNamed)
    .option('--seed <n>', 'of all parts (default: 1)', numberSetting(studySettings, 'seed'))
    .option(
      '--transfer-limit <n>',
      'only the first n training images for the pretrained networks',
      numberSetting(studySettings, 'transferLimit'),
    )
    .option('--data-dir <dir>', 'where Fashion-MNIST is', pathOption('--data-dir'))
    .option('--out <dir>', "the study's folder (default: runs/<time>)", pathOption('--out'))
    .option('--resume <dir>', 'go on with the study in this folder, by its own settings', pathOption('--resume'))
    .option('--json', 'print one JSON object on standard output, everything else on standard error')
    .action(async (options) => {
      const { studyCommand } = await import('./study.ts')
      await studyCommand(options)
    })

  const weights = program
    .command('weights')
    .description('list the published weights: size, checksum, whether they are here')
    .option('--json', 'print one JSON object on standard output')
    .action(async (options) => {
      const { weightsCommand } = await import('./weights.ts')
      await weightsCommand(options)
    })
  weights
    .command('get')
    .description('download the weights of a network, going on with a broken download')
    .argument('<network>', 'vgg16, xception or resnet152v2')
    .option('--top', 'with the 1000 classes of ImageNet')
    .option('--json', 'print one JSON object on standard output, everything else on standard error')
    .action(async (network: string, _, command: Command) => {
      const { getWeightsCommand } = await import('./weights.ts')
      await getWeightsCommand(network, command.optsWithGlobals())
    })

  program
    .command('convert')
    .description('write any file of weights as safetensors')
    .argument('<in>', "Keras' .h5, .weights.h5 or .keras, a TensorFlow.js model.json or its folder, or safetensors")
    .argument('<out>', 'the .safetensors file to write')
    .option('--force', 'replace a file that is there')
    .option('--json', 'print one JSON object on standard output, everything else on standard error')
    .action(async (from: string, to: string, options) => {
      const { convertCommand } = await import('./convert.ts')
      await convertCommand(from, to, options)
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
