/** Uses a finished run of either kind: evaluates its model again and classifies pictures. Prints nothing. */
import { resolve } from 'node:path'
import type { Device } from '../gpu/device.ts'
import { openForCommand } from '../runs/device.node.ts'
import { type ClassShare, type FailedPicture, readPictures } from '../runs/read-pictures.node.ts'
import { readAnyConfig } from '../runs/run-folder.node.ts'
import type { RunEvaluation } from '../runs/test-report.ts'
import { largest } from '../statistics.ts'
import type { Task } from '../tasks/task.ts'
import { evaluateTraining, predictByNetwork, trainedNetwork, type UseRunOptions } from '../train/use.node.ts'
import { evaluateTransferRun, predictByTransferRun } from '../transfer/use.node.ts'

/**
 * Evaluates a run's model on the run's own test images.
 * @throws WeftgradError as `evaluateTraining` and `evaluateTransferRun`.
 */
export async function evaluateRun(task: Task, folder: string, options: UseRunOptions = {}): Promise<RunEvaluation> {
  const runDir = resolve(folder)
  const found = await readAnyConfig(runDir)
  return found.job === 'transfer'
    ? await evaluateTransferRun(task, runDir, found, options)
    : await evaluateTraining(task, runDir, options)
}

export interface Prediction {
  /** The path of the picture, as given. */
  readonly image: string
  /** The class with the highest probability. */
  readonly class: string
  readonly label: number
  /** The most probable classes, at most three. */
  readonly top: readonly ClassShare[]
  /** Probabilities by class name, in the order of the classes; they sum to 1. */
  readonly probabilities: Readonly<Record<string, number>>
}

export interface Predictions {
  readonly predictions: readonly Prediction[]
  readonly failed: readonly FailedPicture[]
}

const topCount = 3

/**
 * Classifies pictures with a run's model, prepared as its task's images are. Returns unreadable ones separately.
 * @throws WeftgradError 'file' or 'format' for a folder without a trained model, 'argument' for `invert` on pictures that cannot
 * be inverted.
 */
export async function predictPictures(
  task: Task,
  folder: string,
  paths: readonly string[],
  { invert = false, onNote }: Pick<UseRunOptions, 'onNote'> & { readonly invert?: boolean | undefined } = {},
): Promise<Predictions> {
  const { classNames, probabilitiesOf } = await predictorOf(task, resolve(folder), onNote)
  const inputs: { readonly path: string; readonly pixels: Uint8Array }[] = []
  const { pictures, failed } = await readPictures(paths)
  for (const { path, picture } of pictures) {
    const { pixels, remark } = task.data.inputOf(picture, { invert })
    inputs.push({ path, pixels })
    if (remark !== undefined) onNote?.(`${path} ${remark}.`)
  }
  if (inputs.length === 0) return { predictions: [], failed }
  const images = new Uint8Array(inputs.reduce((sum, { pixels }) => sum + pixels.length, 0))
  for (const [i, { pixels }] of inputs.entries()) images.set(pixels, i * pixels.length)
  using device = await openForCommand(onNote)
  const probabilities = await probabilitiesOf(device, images)
  const predictions = inputs.map(({ path }, i) => {
    const own = probabilities.subarray(i * classNames.length, (i + 1) * classNames.length)
    const label = own.indexOf(largest(own))
    const shares = classNames.map((name, k): ClassShare => ({ class: name, probability: own[k] ?? 0 }))
    return {
      image: path,
      class: classNames[label] ?? String(label),
      label,
      top: shares.toSorted((a, b) => b.probability - a.probability).slice(0, topCount),
      probabilities: Object.fromEntries(shares.map((share) => [share.class, share.probability])),
    }
  })
  return { predictions, failed }
}

interface Predictor {
  readonly classNames: readonly string[]
  /** Returns the probabilities [images, classes] of images in the task's format; call it once. */
  readonly probabilitiesOf: (device: Device, images: Uint8Array) => Promise<Float32Array>
}

async function predictorOf(task: Task, runDir: string, onNote: UseRunOptions['onNote']): Promise<Predictor> {
  // The task's own network needs no configuration, only its model file.
  const found = await readAnyConfig(runDir).catch(() => undefined)
  if (found?.job === 'transfer')
    return {
      classNames: task.data.classNames,
      probabilitiesOf: (device, images) => predictByTransferRun(task, device, runDir, found, images, onNote),
    }
  const trained = await trainedNetwork(task, runDir)
  return {
    classNames: trained.classNames,
    probabilitiesOf: (_, images) => predictByNetwork(task, trained, images),
  }
}
