/**
 * The commands and their options. Options that are settings come from the jobs' tables, with help, defaults and range
 * checks. Commands on data work on the given task; the study, `setup` and `doctor` on the one with published results.
 */
import type { Command } from 'commander'
import { crossValidationSettings } from '../crossval/settings.ts'
import { searchSettings } from '../search/settings.ts'
import { partsNamed, planSettings } from '../study/plan.ts'
import { taskOfRun } from '../tasks/choice.node.ts'
import { fashionMnistLenet5 as publishedTask } from '../tasks/fashion-mnist-lenet5.node.ts'
import type { Task } from '../tasks/task.ts'
import { trainSettings } from '../train/settings.ts'
import { featureSettings, transferSettings } from '../transfer/settings.ts'
import { zooNames } from '../weights/zoo.ts'
import {
  addData,
  addDataDir,
  addExample,
  addJobOptions,
  addJson,
  addOutput,
  addSettings,
  givenOptions,
  pathOption,
} from './options.ts'
import { addQueue } from './queue-commands.ts'
import { addQueueOptions } from './queue-options.ts'

const networks = `one of ${zooNames.join(', ')}`
const bases = `${networks}; or a model's file: .keras, .h5, model.json or .safetensors`

export function addCommands(program: Command, task: Task): void {
  program.description(
    `A small tensor engine on WebGPU: trains ${task.network.title} on ${task.data.title}, and heads on pretrained networks.`,
  )
  program.commandsGroup('Train and use networks:')
  addTraining(program, task)
  addTransfer(program, task)
  addUse(program)
  addPretrained(program)
  addNew(program)
  program.commandsGroup('Study:')
  addStudies(program, task)
  program.commandsGroup('Weights:')
  addWeights(program)
  program.commandsGroup('More than one machine:')
  addQueue(program)
  program.commandsGroup('This machine:')
  addMachine(program)
}

function addTraining(program: Command, task: Task): void {
  const train = program.command('train')
  const { title, command: words } = task.network
  const [, word] = words.split(' ')
  const network = word === undefined ? train : train.command(word)
  if (network !== train)
    train
      .description('train a network; `weftgrad train --images DIR`: a small one on your own pictures')
      .action(() => train.help())
  network.description(`train ${title} on ${task.data.title} and test it`)
  addExample(
    network,
    word === undefined ? 'train --images pictures --epochs 30' : `train ${word} --epochs 5 --out runs/first`,
  )
  addJobOptions(addSettings(network, trainSettings(task)), task).action(async (_, command: Command) => {
    const { trainCommand } = await import('./train.ts')
    await trainCommand(task, givenOptions(command))
  })
}

function addUse(program: Command): void {
  const evaluate = program
    .command('evaluate')
    .description('evaluate a finished run on the test images')
    .argument('<run>', "the run's folder")
  addExample(evaluate, 'evaluate runs/first')
  addDataDir(evaluate, publishedTask).option(
    '--images <dir>',
    "where a run's pictures are now, if not where they were",
    pathOption('--images'),
  )
  addJson(evaluate).action(async (run: string, options) => {
    const { evaluateCommand } = await import('./evaluate.ts')
    await evaluateCommand(await taskOfRun(run, options), run, options)
  })

  const predict = program
    .command('predict')
    .description('classify pictures with a finished run: the three most probable classes of each')
    .argument('<run>', "the run's folder")
    .argument('<pictures...>', "PNG, JPEG, WebP or GIF files; prepared as the run's own images were")
    .option('--invert', `for dark objects on a light background, with a run on ${publishedTask.data.title}`)
  addExample(predict, 'predict runs/first photo.jpg')
  addJson(predict).action(async (run: string, images: string[], options) => {
    const { predictCommand } = await import('./predict.ts')
    await predictCommand(await taskOfRun(run), run, images, options)
  })
}

function addPretrained(program: Command): void {
  const classify = program
    .command('classify')
    .description("name ImageNet's five most probable classes for pictures")
    .argument('<pictures...>', 'PNG, JPEG, WebP or GIF files')
    .option('--model <network>', networks, 'vgg16')
    .option(
      '--weights <file>',
      "the network's weights with its classifier, or 'hashed' for made-up ones (default: looked for, not downloaded)",
      pathOption('--weights'),
    )
  addExample(classify, 'classify photo.jpg --weights vgg16.h5')
  addJson(classify).action(async (pictures: string[], options) => {
    const { classifyCommand } = await import('./classify.ts')
    await classifyCommand(pictures, options)
  })
}

function addNew(program: Command): void {
  const create = program
    .command('new')
    .description('write a project that trains on your own pictures: a short program, and a folder to fill')
    .argument('<name>', 'the new folder')
  addExample(create, 'new flowers')
  addJson(create).action(async (name: string, options) => {
    const { newCommand } = await import('./new.ts')
    await newCommand(name, options)
  })
}

function addStudies(program: Command, task: Task): void {
  const { title: dataTitle } = task.data
  const { title: networkTitle } = task.network
  const tune = program
    .command('tune')
    .description(`search for ${networkTitle}'s hyperparameters on ${dataTitle}, by validation accuracy`)
  addExample(tune, 'tune --max-epochs 5')
  addQueueOptions(addJobOptions(addSettings(tune, searchSettings(task)), task)).action(async (_, command: Command) => {
    const { tuneCommand } = await import('./tune.ts')
    await tuneCommand(task, givenOptions(command))
  })

  const crossval = program
    .command('crossval')
    .description(`cross-validate ${networkTitle} on ${dataTitle}, stratified by class`)
  addExample(crossval, 'crossval --folds 5')
  addQueueOptions(addJobOptions(addSettings(crossval, crossValidationSettings(task)), task)).action(
    async (_, command: Command) => {
      const { crossvalCommand } = await import('./crossval.ts')
      await crossvalCommand(task, givenOptions(command))
    },
  )

  const eda = program
    .command('eda')
    .description('explore the data: counts, duplicates, classes, pixel correlations')
    .option('--csv <file>', 'explore one CSV file instead, plain or .gz', pathOption('--csv'))
    .option('--drop-missing', 'skip rows of a CSV with missing cells, instead of rejecting the file')
    .option('--out <dir>', 'folder for the pictures and eda.json (default: runs/eda)', pathOption('--out'))
  addExample(eda, 'eda --out runs/eda')
  addJson(addData(eda, task)).action(async (options) => {
    const { edaCommand } = await import('./eda.ts')
    await edaCommand(task, options)
  })

  const study = program
    .command('study')
    .description(
      `run the whole study and write its report: data, tuning, cross-validation, ${publishedTask.network.title}, pretrained networks`,
    )
    .option('--skip <parts>', 'skip parts, such as eda,transfer', (text) => partsNamed(publishedTask, text))
  addExample(study, 'study --quick')
  addQueueOptions(addJobOptions(addSettings(study, planSettings), publishedTask)).action(
    async (_, command: Command) => {
      const { studyCommand } = await import('./study.ts')
      await studyCommand(publishedTask, givenOptions(command))
    },
  )
}

function addTransfer(program: Command, task: Task): void {
  const { title: dataTitle } = task.data
  const features = program
    .command('features')
    .description(`compute a network's features of ${dataTitle}, and keep them in the cache`)
    .argument('<network>', bases)
  addExample(features, 'features vgg16 --size 32')
  addQueueOptions(addOutput(addData(addSettings(features, featureSettings), task))).action(
    async (network: string, _, command: Command) => {
      const { featuresCommand } = await import('./features.ts')
      await featuresCommand(task, network, givenOptions(command))
    },
  )

  const transfer = program
    .command('transfer')
    .description(`train a head on a network's features of ${dataTitle}, and test it`)
    .argument('[network]', `${bases}; not needed with --resume`)
    .option('--search', 'search for the best layers, pooling, size and head by validation; --layers: those to try')
  addExample(transfer, 'transfer vgg16 --images pictures --size 96')
  addQueueOptions(addJobOptions(addSettings(transfer, transferSettings(task)), task)).action(
    async (network: string | undefined, _, command: Command) => {
      const { search, ...options } = givenOptions(command)
      if (search === true) {
        const { transferSearchCommand } = await import('./transfer-search.ts')
        await transferSearchCommand(task, network, options)
      } else {
        const { transferCommand } = await import('./transfer.ts')
        await transferCommand(task, network, options)
      }
    },
  )
}

function addWeights(program: Command): void {
  const weights = program
    .command('weights')
    .description('list the weights that Keras publishes: address, checksum, whether downloaded')
    .option('--json', 'print one JSON object on standard output')
    .action(async (options) => {
      const { weightsCommand } = await import('./weights.ts')
      await weightsCommand(options)
    })
  addJson(
    weights
      .command('get')
      .description('download the weights of a network, verify and load them; resumes a partial download')
      .argument('<network>', `${networks}, or another that \`weftgrad weights\` lists`)
      .option('--top', 'include the classifier for the 1000 classes of ImageNet'),
  ).action(async (network: string, _, command: Command) => {
    const { getWeightsCommand } = await import('./weights.ts')
    await getWeightsCommand(network, command.optsWithGlobals())
  })

  addJson(
    program
      .command('convert')
      .description('convert a model, or weights alone, to another format')
      .argument('<in>', "Keras' .h5, .weights.h5 or .keras, a TensorFlow.js model.json or its folder, or safetensors")
      .argument('<out>', 'a .keras, .h5, .onnx or .safetensors file, or a folder for TensorFlow.js')
      .option('--force', 'overwrite an existing file'),
  ).action(async (from: string, to: string, options) => {
    const { convertCommand } = await import('./convert.ts')
    await convertCommand(from, to, options)
  })
}

function addMachine(program: Command): void {
  const doctor = program
    .command('doctor')
    .description('show the GPU, driver and data found, and how to speed things up (downloads nothing)')
  addDataDir(doctor, publishedTask)
    .option('--json', 'print one JSON object on standard output')
    .action(async (options) => {
      const { doctorCommand } = await import('./doctor.ts')
      await doctorCommand(publishedTask, options)
    })

  const setup = program
    .command('setup')
    .description(`download what is missing (software Vulkan driver, ${publishedTask.data.title}); no root needed`)
  addDataDir(setup, publishedTask).action(async (options) => {
    const { setupCommand } = await import('./setup.ts')
    await setupCommand(publishedTask, options)
  })

  const completion = program
    .command('completion')
    .description('print a script that completes commands and options in a shell')
    .argument('<shell>', 'bash, zsh or fish')
  addExample(completion, 'completion bash >> ~/.bashrc').action(async (shell: string) => {
    const { completionScript } = await import('./completion.ts')
    process.stdout.write(completionScript(program, shell))
  })

  program.command('time-vectors', { hidden: true }).action(async () => {
    const { timeVectorsCommand } = await import('./time-vectors.ts')
    await timeVectorsCommand()
  })

  program
    .command('bench')
    .description('benchmark kernels and training steps; see `weftgrad bench --help`')
    .argument('[args...]')
    .allowUnknownOption()
    .helpOption(false)
    .action(async (args: string[]) => {
      const { benchCommand } = await import('./bench.ts')
      await benchCommand(args)
    })
}
