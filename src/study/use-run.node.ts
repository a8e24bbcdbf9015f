/** Using a finished run: its model tested again, and asked about pictures. Prints nothing. */
import { resolve } from 'node:path'
import { loadFashionMnist } from '../data/fashion-mnist.node.ts'
import { fashionMnistClasses } from '../data/fashion-mnist.ts'
import { WeftgradError } from '../errors.ts'
import { readHostFile } from '../format/host-file.node.ts'
import { decodePng } from '../format/png.ts'
import type { Device } from '../gpu/device.ts'
import { open } from '../gpu/node/open.ts'
import { predict } from '../nn/evaluate.ts'
import { lenetImages } from './lenet-data.ts'
import { pictureInput } from './picture.ts'
import { readAnyConfig, readConfig, shown } from './run-folder.node.ts'
import { fingerprintOf } from './train-lenet.node.ts'
import { type RunEvaluation, testModel, testReport } from './train-report.node.ts'
import { loadTrainedModel } from './trained-model.node.ts'
import { evaluateTransferRun, predictByTransferRun } from './use-transfer.node.ts'

export interface UseRunOptions {
  readonly onNote?: (line: string) => void
}

/**
 * Tests a run's model on the run's own test images.
 * @throws WeftgradError 'file', 'format' or 'mismatch' for a folder that holds no whole run; 'mismatch' if the run split
 * its data by seed and these are other data, because training images would be among the test images.
 */
export async function evaluateRun(
  folder: string,
  { dataDir, onNote }: UseRunOptions & { readonly dataDir?: string | undefined } = {},
): Promise<RunEvaluation> {
  const runDir = resolve(folder)
  const found = await readAnyConfig(runDir)
  if (found.job === 'transfer') return await evaluateTransferRun(runDir, found, { dataDir, onNote })
  const config = await readConfig(runDir)
  const { model, classNames } = await loadTrainedModel(runDir)
  using device = await open(onNote === undefined ? {} : { log: onNote })
  const loaded = await loadFashionMnist({ dataDir, log: onNote })
  if (fingerprintOf(loaded) !== config.data.fingerprint) {
    if (config.settings.split === 'seed') {
      throw new WeftgradError(
        'mismatch',
        `${shown(runDir)} drew its test images by seed from other data than those in ${loaded.folder}. Name the folder that has them (it was ${config.data.folder}) with --data-dir.`,
        { folder: loaded.folder, run: config.data },
      )
    }
    onNote?.(`${loaded.folder} holds other data than ${shown(runDir)} was trained with.`)
  }
  using placed = model
  const variants = config.adapter.driver === device.facts.driver ? config.kernels : {}
  const { flipAverage } = config.recipe
  const images = lenetImages(loaded, config.settings)
  const evaluation = await testModel(device, placed, images, { variants, flipAverage })
  const { driver, hardware } = device.facts
  return { adapter: driver, hardware, ...testReport(evaluation, classNames), runDir }
}

/** Uncompressed, 64 MiB hold 22 megapixels in colour; photographs as PNG take 10 to 60 MB. */
const mostPictureBytes = 128 * 2 ** 20

export interface Prediction {
  /** The picture's path, as given. */
  readonly image: string
  /** The class with the highest probability. */
  readonly class: string
  readonly label: number
  /** By class name, in the order of the classes; they sum to 1. */
  readonly probabilities: Readonly<Record<string, number>>
}

/**
 * What pictures show, by a run's model. Pictures are prepared by `pictureInput`.
 * @throws WeftgradError 'file' or 'format' for a picture that cannot be read, before any is looked at.
 */
export async function predictPictures(
  folder: string,
  paths: readonly string[],
  { invert = false, onNote }: UseRunOptions & { readonly invert?: boolean | undefined } = {},
): Promise<Prediction[]> {
  const { classNames, probabilitiesOf } = await predictorOf(resolve(folder), onNote)
  const size = 28
  const images = new Uint8Array(paths.length * size * size)
  for (const [i, path] of paths.entries()) {
    const { pixels, lightBackground } = pictureInput(decodePng(readHostFile(path, mostPictureBytes), path), {
      invert,
      size,
    })
    images.set(pixels, i * size * size)
    if (lightBackground) {
      const what = invert ? 'is dark on light once inverted: leave --invert out' : 'looks dark on light: try --invert'
      onNote?.(`${path} ${what}; Fashion-MNIST is light on dark.`)
    }
  }
  using device = await open(onNote === undefined ? {} : { log: onNote })
  const probabilities = await probabilitiesOf(device, images)
  return paths.map((image, i) => {
    const own = probabilities.subarray(i * classNames.length, (i + 1) * classNames.length)
    const label = own.indexOf(Math.max(...own))
    return {
      image,
      class: classNames[label] ?? String(label),
      label,
      probabilities: Object.fromEntries(classNames.map((name, k) => [name, own[k] ?? 0])),
    }
  })
}

interface Predictor {
  readonly classNames: readonly string[]
  /** [images, classes], of grey images of 28x28 bytes; to be asked once. */
  readonly probabilitiesOf: (device: Device, images: Uint8Array) => Promise<Float32Array>
}

async function predictorOf(runDir: string, onNote: UseRunOptions['onNote']): Promise<Predictor> {
  // A LeNet-5 needs no configuration: its model's file is enough.
  const found = await readAnyConfig(runDir).catch(() => undefined)
  if (found?.job === 'transfer')
    return {
      classNames: fashionMnistClasses,
      probabilitiesOf: (device, images) => predictByTransferRun(device, runDir, found, images, onNote),
    }
  const { model, classNames, flipAverage = false } = await loadTrainedModel(runDir)
  return {
    classNames,
    async probabilitiesOf(_, images) {
      using placed = model
      return await predict(placed, images, [28, 28, 1], { flipAverage })
    },
  }
}
