/**
 * The job: LeNet-5 on Fashion-MNIST, from nothing to a run folder, or on from where a run was stopped. Prints nothing;
 * a reporter is told what happens.
 *
 * Promises: options, data and the folder are checked before training starts; whatever stops it later, the folder holds
 * the last checkpoint, and the resumed run's model equals the uninterrupted one's bit for bit on the same adapter.
 */
import { createHash } from 'node:crypto'
import { join, resolve } from 'node:path'
import { residentImages } from '../data/dataset.ts'
import { type LoadedFashionMnist, loadFashionMnist } from '../data/fashion-mnist.node.ts'
import { fashionMnistClasses } from '../data/fashion-mnist.ts'
import { WeftgradError } from '../errors.ts'
import type { Device } from '../gpu/device.ts'
import { open } from '../gpu/node/open.ts'
import type { VariantTable } from '../graph/plan/choice.ts'
import type { EpochLogs, FitOptions, History, Progress, TrainingCheckpoint, TrainingFacts } from '../nn/contract.ts'
import { fit } from '../nn/fit.ts'
import type { Model } from '../nn/model.ts'
import { lenet5 } from '../nn/models/lenet5.ts'
import { adam, adamw } from '../nn/optimizers.ts'
import { type LenetImages, lenetImages } from './lenet-data.ts'
import { type Recipe, type RecipeSettings, recipeSettings, recipeWith, scheduleOf } from './recipes.ts'
import { checkpointIn, keepCheckpoint } from './resumable-fit.node.ts'
import {
  appendRunLine,
  finishedReport,
  inNewRunFolder,
  type JobConfig,
  type RunConfig,
  readConfig,
  requireSpace,
  runFiles,
  shown,
  whileAlone,
  writeConfig,
  writeHistory,
} from './run-folder.node.ts'
import { type SettingsTable, textOf } from './settings.ts'
import { type TrainSettings, trainSettings } from './train-options.ts'
import { isTrainReport, type TrainReport, writeResults } from './train-report.node.ts'
import { tunedForTraining } from './tuned-kernels.node.ts'
import { versions } from './versions.node.ts'

export interface TrainLenetOptions extends Partial<TrainSettings>, Partial<RecipeSettings> {
  /** Where to look for Fashion-MNIST; see `loadFashionMnist`. */
  readonly dataDir?: string | undefined
  /** The run's folder; `runs/<time>` unless given. */
  readonly out?: string | undefined
  /** The folder of a run to go on with; its settings stand. */
  readonly resume?: string | undefined
  readonly signal?: AbortSignal | undefined
}

export interface DataFacts {
  readonly folder: string
  readonly published: boolean
  readonly split: TrainSettings['split']
  readonly limit: number | null
  /** Images to train, validation included. */
  readonly train: number
  readonly test: number
  readonly duplicates: number
}

/** Told what happens, in this order; `onNote` at any time. */
export interface TrainReporter {
  /** Something is fetched, passed over, or other than usual. */
  onNote?(line: string): void
  onAdapter?(device: Device): void
  onData?(facts: DataFacts): void
  onModel?(model: Model): void
  /** `resumed`: where training goes on from. */
  onBegin?(facts: TrainingFacts, settings: TrainSettings, resumed: TrainingCheckpoint | undefined): void
  onProgress?(progress: Progress): void
  onEpochEnd?(logs: EpochLogs): void
  /** A checkpoint is on the disk: from now on the run can be resumed. */
  onSaved?(runDir: string): void
  /** Training is done and the test begins. */
  onTest?(): void
}

/**
 * Trains, tests and writes the run's folder. A run that was finished before is not trained again: its report comes back.
 * @throws WeftgradError 'argument', 'mismatch' (resuming with other settings or data), 'file', 'data', 'fetch',
 * 'no-adapter', 'device-lost', 'not-finite'; 'aborted' when the signal fired, with a checkpoint written if training had begun.
 */
export async function trainLenet(options: TrainLenetOptions, reporter: TrainReporter = {}): Promise<TrainReport> {
  if (options.resume !== undefined) return await resumeRun(options.resume, options, reporter)
  const chosen = recipeWith(options)
  return await inNewRunFolder(options.out, (runDir) =>
    train({ runDir, settings: chosen.train, recipe: chosen.recipe, earlier: undefined }, options, reporter),
  )
}

async function resumeRun(folder: string, options: TrainLenetOptions, reporter: TrainReporter): Promise<TrainReport> {
  const runDir = resolve(folder)
  if (options.out !== undefined && resolve(options.out) !== runDir) {
    throw new WeftgradError('argument', '--out cannot be combined with --resume: a resumed run stays in its folder.', {
      out: options.out,
      resume: folder,
    })
  }
  const config = await readConfig(runDir)
  const { settings, recipe } = config
  refuseOtherSettings(runDir, trainSettings, settings, options)
  refuseOtherSettings(runDir, recipeSettings, recipe, options)
  const ifFinished = () => finishedReport(runDir, 'run', isTrainReport, (line) => reporter.onNote?.(line))
  const finished = await ifFinished()
  if (finished !== undefined) return finished
  return await whileAlone(runDir, async () => {
    // Only now nobody else changes them: another process may have finished the run meanwhile.
    const theirs = await ifFinished()
    if (theirs !== undefined) return theirs
    const checkpoint = await checkpointIn(runDir)
    if (checkpoint === undefined)
      reporter.onNote?.(`${shown(runDir)} has no checkpoint yet: training starts from the beginning.`)
    return await train({ runDir, settings, recipe, earlier: { config, checkpoint } }, options, reporter)
  })
}

function refuseOtherSettings<Settings extends object>(
  runDir: string,
  table: SettingsTable<Settings>,
  run: Settings,
  given: Partial<Settings>,
): void {
  const other = table.contradiction(run, given)
  if (other === undefined) return
  throw new WeftgradError(
    'mismatch',
    `The run in ${shown(runDir)} has ${table.flagOf(other)} ${textOf(run[other])}, not ${textOf(given[other])}. A resumed run keeps its settings: leave the option out, or start a new run.`,
    { setting: other, run: run[other], given: given[other] },
  )
}

interface Run {
  readonly runDir: string
  readonly settings: TrainSettings
  readonly recipe: RecipeSettings
  readonly earlier: { readonly config: RunConfig; readonly checkpoint: TrainingCheckpoint | undefined } | undefined
}

async function train(run: Run, options: TrainLenetOptions, reporter: TrainReporter): Promise<TrainReport> {
  const { runDir, settings, recipe, earlier } = run
  const log = (line: string): void => reporter.onNote?.(line)
  const device = await open({ log })
  try {
    reporter.onAdapter?.(device)
    const loaded = await loadFashionMnist({ dataDir: options.dataDir, signal: options.signal, log })
    const fingerprint = fingerprintOf(loaded)
    if (earlier !== undefined && earlier.config.data.fingerprint !== fingerprint) {
      throw new WeftgradError(
        'mismatch',
        `${loaded.folder} holds other data than the run in ${shown(runDir)} was started with (those were in ${earlier.config.data.folder}). Name the folder that has them with --data-dir.`,
        { folder: loaded.folder, run: earlier.config.data },
      )
    }
    const images = lenetImages(loaded, settings)
    const { duplicates } = images
    const counts = { train: images.train.labels.length, test: images.test.labels.length, duplicates }
    reporter.onData?.({
      ...counts,
      folder: loaded.folder,
      published: loaded.published,
      split: settings.split,
      limit: settings.limit,
    })
    const adapter = { driver: device.facts.driver, name: device.info.device, hardware: device.facts.hardware }
    const config: RunConfig = {
      job: 'lenet5',
      startedAt: earlier?.config.startedAt ?? new Date().toISOString(),
      settings,
      recipe,
      data: { folder: loaded.folder, fingerprint, ...counts },
      adapter,
      kernels: {},
      versions: versions(),
    }
    return await trainOn(device, images, config, run, options, reporter)
  } finally {
    device.dispose()
  }
}

async function trainOn(
  device: Device,
  images: LenetImages,
  config: RunConfig,
  { runDir, settings, recipe, earlier }: Run,
  { signal }: TrainLenetOptions,
  reporter: TrainReporter,
): Promise<TrainReport> {
  const { units, seed } = settings
  using model = lenet5({ units, classes: fashionMnistClasses.length, dropout: recipe.dropout }, { seed })
  reporter.onModel?.(model)
  // Weights, two moments and the best weights in a checkpoint, which is written beside the one before; the model; the rest.
  await requireSpace(runDir, model.parameterCount * 4 * 9 + 4e6)
  if (signal?.aborted) throw stopped(runDir, undefined)

  const checkpoint = earlier?.checkpoint
  let kernels = earlier === undefined ? {} : kernelsToKeep(earlier.config, config, reporter)
  await writeConfig(runDir, { ...config, kernels })
  await writeHistory(runDir, checkpoint?.history ?? [])

  using trainSet = residentImages(device, images.train)
  const training = {
    ...byRecipe({ train: settings, recipe }, trainSet.count),
    epochs: settings.epochs,
    batchSize: settings.batchSize,
    seed,
    restoreBest: settings.restoreBest,
    ...(signal === undefined ? {} : { signal }),
  }
  const isNew = checkpoint === undefined && Object.keys(kernels).length === 0
  if (isNew) kernels = await tunedForTraining(model, trainSet, training, (line) => reporter.onNote?.(line))
  let saved = checkpoint
  let configWritten: Promise<void> = Promise.resolve()
  let history: History
  let parameters = model.parameterCount
  try {
    history = await fit(model, trainSet, {
      ...training,
      variants: kernels,
      ...(checkpoint === undefined ? {} : { resume: checkpoint }),
      callbacks: {
        onBegin(facts) {
          parameters = facts.parameters
          kernels = facts.variants
          configWritten = writeConfig(runDir, { ...config, kernels })
          configWritten.catch(() => undefined) // awaited before the first checkpoint and at the end
          reporter.onBegin?.(facts, settings, checkpoint)
        },
        onProgress: (progress) => reporter.onProgress?.(progress),
        async onEpochEnd(logs) {
          await appendRunLine(join(runDir, runFiles.history), JSON.stringify(logs))
          reporter.onEpochEnd?.(logs)
        },
        async onCheckpoint(next) {
          await configWritten
          await keepCheckpoint(runDir, next)
          saved = next
          reporter.onSaved?.(runDir)
        },
      },
    })
    await configWritten
  } catch (error) {
    if (error instanceof WeftgradError && error.code === 'aborted') throw stopped(runDir, saved)
    throw error
  }
  reporter.onTest?.()
  return await writeResults({ device, model, images, settings, recipe, history, runDir, parameters, variants: kernels })
}

/** `count`: images to train, validation included. */
function byRecipe(chosen: Recipe, count: number): Pick<FitOptions, 'optimizer' | 'validationSplit' | 'augmentation'> {
  const { train, recipe } = chosen
  const { validation, flips, shift, weightDecay } = recipe
  const learningRate = scheduleOf(chosen, Math.ceil((count - Math.round(count * validation)) / train.batchSize))
  return {
    optimizer: weightDecay > 0 ? adamw({ learningRate, weightDecay }) : adam({ learningRate }),
    validationSplit: validation,
    ...(flips || shift > 0 ? { augmentation: { ...(flips ? { flip: 'random' } : {}), shift } } : {}),
  }
}

function stopped(runDir: string, checkpoint: TrainingCheckpoint | undefined): WeftgradError {
  const where =
    checkpoint === undefined
      ? 'before it began'
      : `after ${checkpoint.epoch} of ${checkpoint.settings.epochs} epochs${checkpoint.step > 0 ? ` and ${checkpoint.step} steps` : ''}; its checkpoint is in ${shown(runDir)}`
  return new WeftgradError('aborted', `Training was stopped ${where}.`, {
    runDir,
    resumable: checkpoint !== undefined,
  })
}

/** The run's own kernels, on its own adapter; on another one they may not exist, and bits differ anyway. */
export function kernelsToKeep(
  run: JobConfig<string, unknown>,
  now: Pick<JobConfig<string, unknown>, 'adapter' | 'versions'>,
  reporter: Pick<TrainReporter, 'onNote'>,
): VariantTable {
  if (run.adapter.driver !== now.adapter.driver) {
    reporter.onNote?.(
      `The run was started on ${run.adapter.driver}; on ${now.adapter.driver} it goes on, but not bit for bit as it would have there.`,
    )
    return {}
  }
  if (run.versions.weftgrad !== now.versions.weftgrad) {
    reporter.onNote?.(`The run was started with weftgrad ${run.versions.weftgrad}; this is ${now.versions.weftgrad}.`)
  }
  return run.kernels
}

/** The published data are known to the bit; others are told apart by their SHA-256. */
export function fingerprintOf({ published, train, test }: LoadedFashionMnist): string {
  if (published) return 'published'
  const hash = createHash('sha256')
  for (const part of [train.images, train.labels, test.images, test.labels]) hash.update(`${part.length}:`).update(part)
  return `sha256:${hash.digest('hex')}`
}
