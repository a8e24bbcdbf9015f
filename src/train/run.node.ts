/**
 * The training job: trains the task's network on the task's data into a run folder, or resumes a stopped run. Prints
 * nothing; a reporter receives its events.
 *
 * Promises: options, data and the folder are checked before training starts; if training stops for any reason, the
 * folder holds the last checkpoint, and the resumed run's model equals an uninterrupted one's bit for bit on the same
 * adapter.
 */
import { join } from 'node:path'
import { residentImages } from '../data/dataset.ts'
import { WeftgradError } from '../errors.ts'
import { isRecord } from '../format/json.ts'
import type { EpochResult, FitOptions, History, Progress, TrainingCheckpoint, TrainingFacts } from '../nn/contract.ts'
import { fit } from '../nn/fit.ts'
import type { Model } from '../nn/model.ts'
import { adam, adamw } from '../nn/optimizers.ts'
import { counted } from '../numbers.ts'
import { splitImages } from '../runs/images.ts'
import { type JobKind, type JobOptions, type JobReporter, type Run, runJob } from '../runs/job.node.ts'
import { checkpointIn, keepCheckpoint } from '../runs/resumable-fit.node.ts'
import {
  type AnyConfig,
  appendRunLine,
  readAnyConfig,
  requireSpace,
  runFiles,
  shown,
  writeHistory,
} from '../runs/run-folder.node.ts'
import { compilingText, tunedForTraining } from '../runs/tuned-kernels.node.ts'
import { noAugmentation } from '../tasks/recipe.ts'
import { buildNetwork, type Task } from '../tasks/task.ts'
import { reportOf } from './report.node.ts'
import { isTrainReport, type TrainReport } from './result.ts'
import { augmentationOf, recipeOf, scheduleOf, settingsWith, type TrainingSettings, trainSettings } from './settings.ts'

export interface TrainOptions extends Partial<TrainingSettings>, JobOptions {}

/** Receives events in this order; `onNote` at any time. */
export interface TrainReporter extends JobReporter {
  onModel?(model: Model): void
  /** Training begins; `resumed` is the checkpoint that it continues from. */
  onBegin?(facts: TrainingFacts, settings: TrainingSettings, resumed: TrainingCheckpoint | undefined): void
  onProgress?(progress: Progress): void
  onEpochEnd?(logs: EpochResult): void
  /** A checkpoint is on disk. */
  onSaved?(runDir: string): void
  /** Training is done and the test begins. */
  onTest?(): void
}

function kindOf(task: Task): JobKind<TrainingSettings, Partial<TrainingSettings>, TrainReport> {
  const table = trainSettings(task)
  return {
    job: task.network.name,
    noun: 'training',
    resolve: (given) => settingsWith(task, given),
    // Runs from before there were recipes used the first one, and all runs once made only flips and shifts.
    read: ({ settings, recipe = task.recipes.seed.recipe }, path) =>
      table.read(
        { ...(isRecord(settings) ? settings : {}), ...(isRecord(recipe) ? { ...noAugmentation, ...recipe } : {}) },
        path,
      ),
    contradiction: (run, given) => table.contradiction(run, given),
    written(settings) {
      const { train, recipe } = recipeOf(task, settings)
      return { settings: train, recipe }
    },
    isResult: isTrainReport,
  }
}

/**
 * Trains, tests and writes the run's folder. A finished run is not trained again: its report is returned.
 * @throws WeftgradError 'argument', 'mismatch' (resuming with other settings or data), 'file', 'data', 'fetch',
 * 'no-adapter', 'device-lost', 'not-finite'; 'aborted' when the signal fired, with a checkpoint written if training had begun.
 */
export async function train(task: Task, options: TrainOptions, reporter: TrainReporter = {}): Promise<TrainReport> {
  return await runJob(kindOf(task), options, reporter, (run) => trainRun(task, run, reporter))
}

/** A training's configuration with checked settings. */
export interface TrainConfig extends AnyConfig {
  readonly settings: TrainingSettings
}

/**
 * Reads a training's configuration. Throws WeftgradError 'file' if `folder` holds no run, 'format' if its config.json
 * is damaged or belongs to another job.
 */
export async function readTrainConfig(task: Task, folder: string): Promise<TrainConfig> {
  const kind = kindOf(task)
  const config = await readAnyConfig(folder)
  const path = join(folder, runFiles.config)
  if (config.job !== kind.job)
    throw new WeftgradError(
      'format',
      `${path} is not the configuration of a ${task.network.title} run. Name the folder of such a run.`,
      { path },
    )
  return { ...config, settings: kind.read(config, path, {}) }
}

async function trainRun(task: Task, run: Run<TrainingSettings>, reporter: TrainReporter): Promise<TrainReport> {
  const { runDir, settings, earlier, signal } = run
  const checkpoint = earlier === undefined ? undefined : await checkpointIn(runDir)
  if (earlier !== undefined && checkpoint === undefined)
    run.note(`${shown(runDir)} has no checkpoint yet: training starts from the beginning.`)
  using ground = await run.open(task)
  const { device } = ground
  const images = splitImages(ground.data, settings)
  const { split, limit, seed } = settings
  const { duplicates } = images
  ground.choose({ train: images.train.labels.length, test: images.test.labels.length, duplicates, split, limit })
  using model = buildNetwork(task, settings, seed)
  reporter.onModel?.(model)
  // Two checkpoints (weights, two moments, best weights), since a new one is written beside the old; the model; the
  // rest.
  await requireSpace(runDir, model.parameterCount * 4 * 9 + 4e6)
  run.stopIfAsked()

  let kernels = ground.keptKernels()
  await ground.writeConfig(kernels)
  await writeHistory(runDir, checkpoint?.history ?? [])
  const reach = ({ epoch, step }: TrainingCheckpoint): void => {
    const steps = step > 0 ? ` and ${counted(step, 'step')}` : ''
    run.reached = ` after ${epoch} of ${counted(settings.epochs, 'epoch')}${steps}`
    run.markResumable()
  }
  if (checkpoint !== undefined) reach(checkpoint)

  using trainSet = residentImages(device, images.train)
  const training = { ...fitOptions(settings, trainSet.count), ...(signal === undefined ? {} : { signal }) }
  const isNew = checkpoint === undefined && Object.keys(kernels).length === 0
  if (isNew) kernels = await tunedForTraining(model, trainSet, training, run)
  let configWritten: Promise<void> = Promise.resolve()
  let parameters = model.parameterCount
  const history: History = await fit(model, trainSet, {
    ...training,
    variants: kernels,
    ...(checkpoint === undefined ? {} : { resume: checkpoint }),
    callbacks: {
      onBegin(facts) {
        parameters = facts.parameters
        kernels = facts.variants
        configWritten = ground.writeConfig(kernels)
        configWritten.catch(() => undefined) // awaited before the first checkpoint and at the end
        reporter.onBegin?.(facts, settings, checkpoint)
        run.wait(compilingText(facts))
      },
      onProgress: (progress) => reporter.onProgress?.(progress),
      async onEpochEnd(logs) {
        await appendRunLine(join(runDir, runFiles.history), JSON.stringify(logs))
        reporter.onEpochEnd?.(logs)
      },
      async onCheckpoint(next) {
        await configWritten
        await keepCheckpoint(runDir, next)
        reach(next)
        reporter.onSaved?.(runDir)
      },
    },
  })
  await configWritten
  reporter.onTest?.()
  return await reportOf({ task, device, model, images, settings, history, runDir, parameters, variants: kernels })
}

/** The options of `fit`; `count` is the number of training images, validation included. */
function fitOptions(settings: TrainingSettings, count: number): FitOptions {
  const { validation, weightDecay, epochs, batchSize, seed, restoreBest } = settings
  const augmentation = augmentationOf(settings)
  const learningRate = scheduleOf(settings, Math.ceil((count - Math.round(count * validation)) / batchSize))
  return {
    ...{ epochs, batchSize, seed, restoreBest },
    optimizer: weightDecay > 0 ? adamw({ learningRate, weightDecay }) : adam({ learningRate }),
    validationSplit: validation,
    ...(augmentation && { augmentation }),
  }
}
