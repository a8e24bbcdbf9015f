/** Uses a finished run of either kind: evaluates its model again and classifies pictures. Prints nothing. */
import { resolve } from 'node:path'
import { readHostFile } from '../format/host-file.node.ts'
import { decodePng } from '../format/png.ts'
import type { Device } from '../gpu/device.ts'
import { openForCommand } from '../runs/device.node.ts'
import { readAnyConfig } from '../runs/run-folder.node.ts'
import type { RunEvaluation } from '../runs/test-report.ts'
import { largest } from '../statistics.ts'
import type { Task } from '../tasks/task.ts'
import { evaluateTraining, predictByNetwork, trainedNetwork, type UseRunOptions } from '../train/use.node.ts'
import { evaluateTransferRun, predictByTransferRun } from '../transfer/use.node.ts'
import { pictureInput } from './picture.ts'

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

/** The largest accepted picture file: photographs as PNG take 10 to 60 MB. */
const mostPictureBytes = 128 * 2 ** 20

export interface Prediction {
  /** The path of the picture, as given. */
  readonly image: string
  /** The class with the highest probability. */
  readonly class: string
  readonly label: number
  /** Probabilities by class name, in the order of the classes; they sum to 1. */
  readonly probabilities: Readonly<Record<string, number>>
}

/**
 * Classifies pictures with a run's model. Pictures are prepared by `pictureInput`.
 * @throws WeftgradError 'file' or 'format' for a picture that cannot be read, before any is classified.
 */
export async function predictPictures(
  task: Task,
  folder: string,
  paths: readonly string[],
  { invert = false, onNote }: Pick<UseRunOptions, 'onNote'> & { readonly invert?: boolean | undefined } = {},
): Promise<Prediction[]> {
  const { classNames, probabilitiesOf } = await predictorOf(task, resolve(folder), onNote)
  const { title, image, lightOnDark } = task.data
  // Pictures become square and grey.
  const size = image.height
  const images = new Uint8Array(paths.length * size * size)
  for (const [i, path] of paths.entries()) {
    const { pixels, lightBackground } = pictureInput(decodePng(readHostFile(path, mostPictureBytes), path), {
      invert,
      size,
    })
    images.set(pixels, i * size * size)
    if (lightBackground === lightOnDark) {
      const looks = lightBackground ? 'dark on light' : 'light on dark'
      const what = invert ? `is ${looks} once inverted: leave --invert out` : `looks ${looks}: try --invert`
      onNote?.(`${path} ${what}; ${title} is ${lightOnDark ? 'light on dark' : 'dark on light'}.`)
    }
  }
  using device = await openForCommand(onNote)
  const probabilities = await probabilitiesOf(device, images)
  return paths.map((path, i) => {
    const own = probabilities.subarray(i * classNames.length, (i + 1) * classNames.length)
    const label = own.indexOf(largest(own))
    return {
      image: path,
      class: classNames[label] ?? String(label),
      label,
      probabilities: Object.fromEntries(classNames.map((name, k) => [name, own[k] ?? 0])),
    }
  })
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
