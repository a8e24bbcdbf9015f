/** Uses a finished training: evaluates its model again and classifies pictures. Prints nothing. */
import { WeftgradError } from '../errors.ts'
import type { Model } from '../nn/model.ts'
import { predict } from '../nn/predict.ts'
import { openForCommand } from '../runs/device.node.ts'
import { splitImages } from '../runs/images.ts'
import { fingerprintOf } from '../runs/job.node.ts'
import { shown } from '../runs/run-folder.node.ts'
import { type RunEvaluation, testReport } from '../runs/test-report.ts'
import { loadTrainedModel } from '../runs/trained-model.node.ts'
import type { Task } from '../tasks/task.ts'
import { testModel } from './report.node.ts'
import { readTrainConfig } from './run.node.ts'

export interface UseRunOptions {
  readonly dataDir?: string | undefined
  readonly onNote?: ((line: string) => void) | undefined
}

/** A trained network with the description in its file. */
export interface TrainedNetwork {
  readonly model: Model
  /** Names by class number. */
  readonly classNames: readonly string[]
  /** Whether to average the probabilities of an image and its mirror image. */
  readonly flipAverage: boolean
}

/** Reads a run's network; `dispose()` its model. Throws as `loadTrainedModel`. */
export async function trainedNetwork({ data }: Task, runDir: string): Promise<TrainedNetwork> {
  const { model, classNames = data.classNames, description } = await loadTrainedModel(runDir)
  return { model, classNames, flipAverage: description.flips === 'averaged' }
}

/**
 * Evaluates a run's model on the run's own test images.
 * @throws WeftgradError 'file', 'format' or 'mismatch' for a folder without a finished run; 'mismatch' if the run split
 * its data by seed and these are other data, because test images could then be training images.
 */
export async function evaluateTraining(
  task: Task,
  runDir: string,
  { dataDir, onNote }: UseRunOptions,
): Promise<RunEvaluation> {
  const config = await readTrainConfig(task, runDir)
  const { model, classNames } = await trainedNetwork(task, runDir)
  using device = await openForCommand(onNote)
  const loaded = await task.data.load({ dataDir, log: onNote })
  if (fingerprintOf(loaded) !== config.data.fingerprint) {
    if (config.settings.split === 'seed') {
      throw new WeftgradError(
        'mismatch',
        `${shown(runDir)} drew its test images by seed from other data than those in ${loaded.folder}. Name the right folder (it was ${config.data.folder}) with ${task.data.option}.`,
        { folder: loaded.folder, run: config.data },
      )
    }
    onNote?.(`${loaded.folder} holds other data than ${shown(runDir)} was trained with.`)
  }
  using placed = model
  const variants = config.adapter.driver === device.facts.driver ? config.kernels : {}
  const { flipAverage } = config.settings
  const images = splitImages(loaded, config.settings)
  const evaluation = await testModel(device, placed, images, { variants, flipAverage })
  const { driver, hardware } = device.facts
  return { adapter: driver, hardware, ...testReport(evaluation, classNames), runDir }
}

/** Class probabilities [images, classes] of images in the task's format. Disposes of the model. */
export async function predictByNetwork(
  { data }: Task,
  { model, flipAverage }: TrainedNetwork,
  images: Uint8Array,
): Promise<Float32Array> {
  using placed = model
  const { height, width, channels } = data.image
  return await predict(placed, images, [height, width, channels], { flipAverage })
}
