/**
 * Transfer learning with made-up weights and small data: a head on frozen features, fine-tuning from a given layer, the
 * files of a run, and what is refused. The accuracy of real weights is measured by the command, not here.
 */

import { appendFile, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { encodePng } from '../src/format/png.ts'
import { readSafetensors } from '../src/format/safetensors.ts'
import { concatenate, evaluate, type KeptTensor, tensor } from '../src/index.ts'
import { elementCount } from '../src/kernels/kernel.ts'
import { freeze } from '../src/nn/freeze.ts'
import { pretrained } from '../src/nn/models/pretrained.ts'
import { Random } from '../src/random.ts'
import { readAnyConfig } from '../src/runs/run-folder.node.ts'
import { evaluateRun, predictPictures } from '../src/study/use-run.node.ts'
import { fashionMnistLenet5 as task } from '../src/tasks/fashion-mnist-lenet5.node.ts'
import type { FeatureTap } from '../src/tasks/feature-taps.ts'
import { pooled } from '../src/transfer/features.ts'
import { fineTuning, headModel } from '../src/transfer/model.ts'
import type { TransferReport } from '../src/transfer/result.ts'
import { type TransferOptions, type TransferReporter, trainTransfer } from '../src/transfer/run.node.ts'
import { transferSettings } from '../src/transfer/settings.ts'
import { evaluateTransferRun } from '../src/transfer/use.node.ts'
import { hashedGains, hashedReader, hashedWeight } from '../src/weights/hashed.ts'
import { disagreement } from './support/compare.ts'
import { useDevice } from './support/device.ts'
import { barImages, writeBars } from './support/fashion-files.ts'

let place = ''
let dataDir = ''
let featureDir = ''
beforeAll(async () => {
  place = await mkdtemp(join(tmpdir(), 'weftgrad-transfer-'))
  dataDir = await writeBars(join(place, 'data'), 120, 40)
  featureDir = join(place, 'features')
})
afterAll(() => rm(place, { recursive: true, force: true }))

const small: Omit<TransferOptions, 'out'> = {
  model: 'vgg16',
  layers: ['block1_pool', 'block2_pool'],
  weights: 'hashed',
  epochs: 6,
  batchSize: 32,
}

const run = (
  out: string,
  options: Partial<TransferOptions> = {},
  reporter?: TransferReporter,
): Promise<TransferReport> =>
  trainTransfer(task, { ...small, dataDir, featureDir, out: join(place, out), ...options }, reporter)

const modelOf = async (out: string) => readSafetensors(await readFile(join(place, out, 'model.safetensors')))

describe('a head on frozen features', () => {
  let report: TransferReport
  beforeAll(async () => {
    report = await run('head')
  })

  it('learns, and its report says what it was trained on', () => {
    expect(report).toMatchObject({
      ...{ model: 'vgg16', size: 32, head: 'mlp', weights: 'hashed', meaningless: true, pool: 'avg2' },
      ...{ features: { count: 160, width: 4 * (64 + 128) }, images: { train: 108, validation: 12, test: 40 } },
      ...{ runDir: join(place, 'head'), batchSize: 32, epochs: 6 },
    })
    expect(report.history.map(({ epoch, stage }) => [epoch, stage])).toEqual([1, 2, 3, 4, 5, 6].map((i) => [i, 'head']))
    expect(report.history.at(-1)?.loss).toBeLessThan(report.history[0]?.loss ?? 0)
    expect(report.test.accuracy).toBeGreaterThan(0.5)
    const best = report.history[report.bestEpoch - 1]
    expect(report.validation).toEqual({ loss: best?.validationLoss, accuracy: best?.validationAccuracy })
  })

  it('leaves the files of a run, with a model that is complete', async () => {
    expect((await readdir(join(place, 'head'))).sort()).toEqual([
      'checksums.json',
      'config.json',
      'curves.svg',
      'history.jsonl',
      'model.safetensors',
      'predictions.csv',
      'report.json',
    ])
    expect(JSON.parse(String(await readFile(join(place, 'head', 'report.json'))))).toEqual(report)
    const lines = String(await readFile(join(place, 'head', 'history.jsonl')))
      .trim()
      .split('\n')
    expect(lines.map((line) => JSON.parse(line))).toEqual(report.history)
    const { tensors, metadata } = await modelOf('head')
    expect([...tensors.keys()].sort()).toEqual([
      ...['hidden/bias', 'hidden/kernel', 'logits/bias', 'logits/kernel'],
      ...['normalization/mean', 'normalization/variance'],
    ])
    expect(metadata).toMatchObject({ format: 'weftgrad-model', base: 'vgg16', weights: 'hashed' })
    expect(String(await readFile(join(place, 'head', 'curves.svg')))).toContain('meaningless')
    const config = await readAnyConfig(join(place, 'head'))
    expect(config).toMatchObject({ job: 'transfer', settings: { model: 'vgg16', unfreeze: null } })
    const rows = String(await readFile(join(place, 'head', 'predictions.csv')))
      .trim()
      .split('\n')
      .slice(1)
    const right = rows.filter((row) => row.split(',')[1] === row.split(',')[2]).length
    expect(right / rows.length).toBe(report.test.accuracy)
  })

  it('is the same to the bit for the same seed, with features from the cache, and different for another seed', async () => {
    const again = await run('again')
    expect(again.features).toMatchObject({ cached: true, computed: 0 })
    expect((await modelOf('again')).tensors).toEqual((await modelOf('head')).tensors)
    expect(again.test).toEqual(report.test)
    await run('other', { seed: 2 })
    expect((await modelOf('other')).tensors).not.toEqual((await modelOf('head')).tensors)
  })

  it('can be evaluated again with the same result', async () => {
    const config = await readAnyConfig(join(place, 'head'))
    const { test, confusion } = await evaluateTransferRun(task, join(place, 'head'), config, { dataDir, featureDir })
    expect({ test, confusion }).toEqual({ test: report.test, confusion: report.confusion })
  })

  it('classifies images', async () => {
    const { pixels, labels } = barImages(40, 'test 120')
    const paths = [0, 1, 2, 3, 4, 5].map((i) => join(place, `${i}.png`))
    for (const [i, path] of paths.entries()) {
      const data = pixels.slice(i * 784, (i + 1) * 784)
      await writeFile(path, encodePng({ width: 28, height: 28, channels: 1, data }))
    }
    const { predictions } = await predictPictures(task, join(place, 'head'), paths)
    const rows = String(await readFile(join(place, 'head', 'predictions.csv'))).split('\n')
    expect(predictions.map(({ label }, i) => `${i},${labels[i]},${label}`)).toEqual(rows.slice(1, 7))
    for (const { probabilities } of predictions)
      expect(Object.values(probabilities).reduce((sum, p) => sum + p, 0)).toBeCloseTo(1, 5)
  })

  it('may be linear: logistic regression', async () => {
    const linear = await run('linear', { head: 'linear' })
    expect(linear).toMatchObject({ head: 'linear', parameters: 2 * 768 + 768 * 10 + 10 })
    expect(linear.history.at(-1)?.loss).toBeLessThan(linear.history[0]?.loss ?? 0)
  })

  it('stops early if validation does not improve', async () => {
    const { epochs, bestEpoch } = await run('patient', { epochs: 200, patience: 2, learningRate: 0.05 })
    expect(epochs).toBe(bestEpoch + 2)
  })

  it('uses the test images once, after training, and trains on the requested images', async () => {
    const told: string[] = []
    const limited = await run(
      'limited',
      { limitTrain: 50, limitTest: 7, epochs: 1 },
      { onEpochEnd: () => told.push('epoch'), onTest: () => told.push('test') },
    )
    expect(told).toEqual(['epoch', 'test'])
    expect(limited.images).toEqual({ train: 45, validation: 5, test: 7 })
    expect(limited.macro.support).toBe(7)
  })
})

describe('fine-tuning', () => {
  it('trains the named layer and later ones together with the head, after the head alone', async () => {
    const report = await run('tuned', { unfreeze: 'block2_conv1', fineTuneEpochs: 2, epochs: 2, fineTuneRate: 1e-3 })
    expect(report.history.map(({ epoch, stage }) => [epoch, stage])).toEqual([
      [1, 'head'],
      [2, 'head'],
      [3, 'fine-tuning'],
      [4, 'fine-tuning'],
    ])
    expect(report.fineTuning).toMatchObject({
      from: 'block2_conv1',
      layers: ['block2_conv1', 'block2_conv2', 'block2_pool'],
    })
    const { tensors } = await modelOf('tuned')
    const kernel = tensors.get('block2_conv1/kernel')
    const initial = hashedWeight('block2_conv1/kernel', [3, 3, 64, 128], hashedGains.vgg16)
    if (report.fineTuning?.kept) expect(kernel?.data).not.toEqual(initial)
    else expect(kernel?.data).toEqual(initial)
    expect(tensors.has('block1_conv1/kernel')).toBe(false)

    const config = await readAnyConfig(join(place, 'tuned'))
    const again = await evaluateTransferRun(task, join(place, 'tuned'), config, { dataDir, featureDir })
    expect(again.test).toEqual(report.test)
  })

  it('is dropped if it does not improve validation: the head and the network keep their weights', async () => {
    const report = await run('wasted', { unfreeze: 'block2_conv1', fineTuneEpochs: 1, fineTuneRate: 10, epochs: 4 })
    expect(report.fineTuning?.kept).toBe(false)
    expect(report.bestEpoch).toBeLessThanOrEqual(4)
    const { tensors } = await modelOf('wasted')
    const initial = hashedWeight('block2_conv1/kernel', [3, 3, 64, 128], hashedGains.vgg16)
    expect(tensors.get('block2_conv1/kernel')?.data).toEqual(initial)
    const head = await run('alone', { epochs: 4 })
    expect(tensors.get('logits/kernel')).toEqual((await modelOf('alone')).tensors.get('logits/kernel'))
    expect(report.test.accuracy).toBeCloseTo(head.test.accuracy, 6)
  })
})

describe('a stopped transfer run', () => {
  const tuned = { unfreeze: 'block2_conv1', fineTuneEpochs: 2, epochs: 3, fineTuneRate: 1e-3 } as const
  const bytesOf = (out: string, file: string) => readFile(join(place, out, file))
  const historyOf = async (out: string): Promise<unknown[]> =>
    String(await bytesOf(out, 'history.jsonl'))
      .trim()
      .split('\n')
      .map((line) => ({ ...JSON.parse(line), seconds: 0 }))
  const resumed = (out: string, options: Partial<TransferOptions> = {}, reporter?: TransferReporter) =>
    trainTransfer(task, { dataDir, featureDir, resume: join(place, out), ...options }, reporter)
  /** Stops in a stage, within an epoch or between epochs. */
  const stopIn = (stage: string, what: 'step' | 'epoch'): { reporter: TransferReporter; signal: AbortSignal } => {
    const controller = new AbortController()
    let now = ''
    const stop = () => void (now === stage && controller.abort())
    const onBegin: TransferReporter['onBegin'] = (_facts, _settings, begun) => {
      now = begun
    }
    const reporter = { onBegin, ...(what === 'step' ? { onProgress: stop } : { onEpochEnd: stop }) }
    return { reporter, signal: controller.signal }
  }
  let whole: TransferReport
  beforeAll(async () => {
    whole = await run('whole', tuned)
  })

  it('in the head or in fine-tuning resumes to the same model, bit for bit', async () => {
    const out = 'interrupted'
    const stops = [
      ['head', 'step'],
      ['head', 'epoch'],
      ['fine-tuning', 'step'],
      ['fine-tuning', 'epoch'],
    ] as const
    for (const [i, [stage, what]] of stops.entries()) {
      const { reporter, signal } = stopIn(stage, what)
      const stopping = i === 0 ? run(out, { ...tuned, signal }, reporter) : resumed(out, { signal }, reporter)
      const details = { runDir: join(place, out), resumable: true }
      await expect(stopping).rejects.toMatchObject({ code: 'aborted', details })
      expect(await readdir(join(place, out))).toContain('stages')
      // A line that a crash left behind, from an epoch that is in no checkpoint.
      await appendFile(join(place, out, 'history.jsonl'), '{"epoch":99}\n')
    }
    const report = await resumed(out)
    for (const file of ['model.safetensors', 'predictions.csv'])
      expect((await bytesOf(out, file)).equals(await bytesOf('whole', file)), file).toBe(true)
    expect(await historyOf(out)).toEqual(await historyOf('whole'))
    expect(report).toMatchObject({ test: whole.test, bestEpoch: whole.bestEpoch, confusion: whole.confusion })
    expect((await readdir(join(place, out))).sort()).toEqual((await readdir(join(place, 'whole'))).sort())
  }, 240_000)

  it('that has finished is not trained again', async () => {
    const notes: string[] = []
    const onAdapter = () => expect.fail('it trains again')
    expect(await resumed('whole', {}, { onAdapter, onNote: (line) => notes.push(line) })).toEqual(whole)
    expect(notes).toEqual([expect.stringContaining('is finished')])
  })

  it('refuses other settings, another network, other data and another folder, and is unchanged', async () => {
    const { reporter, signal } = stopIn('head', 'step')
    await expect(run('kept', { signal }, reporter)).rejects.toMatchObject({ code: 'aborted' })
    const contents = async () => Promise.all((await readdir(join(place, 'kept'), { recursive: true })).sort())
    const before = [await contents(), await bytesOf('kept', 'config.json'), await bytesOf('kept', 'history.jsonl')]
    const refused = (options: Partial<TransferOptions>) => expect(resumed('kept', options)).rejects
    await refused({ epochs: 7 }).toMatchObject({
      code: 'mismatch',
      message: expect.stringContaining('--epochs 6, not 7'),
    })
    await refused({ model: 'xception' }).toMatchObject({ code: 'mismatch', message: expect.stringContaining('vgg16') })
    await refused({ out: join(place, 'elsewhere') }).toMatchObject({ code: 'argument' })
    await refused({ dataDir: await writeBars(join(place, 'other-data'), 130, 40, 'other') }).toMatchObject({
      code: 'mismatch',
      message: expect.stringContaining('holds other data'),
    })
    expect([await contents(), await bytesOf('kept', 'config.json'), await bytesOf('kept', 'history.jsonl')]).toEqual(
      before,
    )
    const early = join(place, 'kept', 'stages')
    await rm(early, { recursive: true })
    // Like runs from before there were checkpoints: they start over.
    expect((await resumed('kept')).test).toEqual((await run('fresh')).test)
  }, 240_000)
})

describe('a network cut in two', () => {
  const device = useDevice()

  /** The logits of some images, from a head on features, and from the cut network that ends in the same head. */
  async function compare(name: 'vgg16' | 'xception', names: readonly string[], from: string) {
    const base = pretrained[name].build({ size: Number(task.transfer[name].size) })
    const taps = names.map((layer): FeatureTap => ({ layer, pooling: 'avg2' }))
    const tuning = fineTuning(base, taps, from)
    const read = hashedReader(hashedGains[name])
    const random = new Random(1, 'images')
    const shape = [2, ...base.inputShape]
    const numbers = Float32Array.from({ length: elementCount(shape) }, () => random.uniform() * 2 - 1)
    const rowsOf = async (wanted: readonly FeatureTap[]): Promise<KeptTensor> => {
      const layers = wanted.map(({ layer }) => layer)
      using frozen = await freeze(base, { keep: layers }).load(device(), read)
      const outputs = frozen.features(tensor(numbers, shape), layers)
      const rows = outputs.map((output, i) => pooled(output, wanted[i]?.pooling ?? 'none'))
      return await concatenate(rows, 1).keep({ device: device() })
    }
    using whole = await rowsOf(taps)
    using part = await rowsOf(tuning.frozenTaps)
    using head = headModel('head', whole.shape[1] ?? 0, 10, task.transfer[name])
    using tuned = tuning.model('tuned', 10, task.transfer[name])
    const weights = new Map(await head.weightNumbers())
    for (const weight of base.weights)
      if (tuning.layers.includes(weight.name.replace(/\/.*/, '')))
        weights.set(weight.name, { shape: weight.shape, data: await read(weight) })
    tuned.setWeights(weights)
    const [own = [], expected = []] = await evaluate([tuned.call(part), head.call(whole)], { device: device() })
    return { own, expected }
  }

  it('gives the same results as the whole one: taps on both sides of the cut, batch normalisation as in inference', async () => {
    for (const [name, names, from] of [
      ['vgg16', ['block2_pool', 'block1_pool', 'block3_conv2'], 'block2_conv1'],
      ['xception', ['add_1', 'add'], 'block3_sepconv1_act'],
    ] as const) {
      const { own, expected } = await compare(name, names, from)
      const largest = Math.max(...Array.from(expected, Math.abs))
      expect(disagreement(own, expected, { rtol: 0, atol: 2e-5 * largest }), from).toBeUndefined()
    }
  })

  it('says where it cannot be cut, and where it can', () => {
    const vgg = pretrained.vgg16.build({ size: 32 })
    const xception = pretrained.xception.build({ size: 71 })
    const tap = (layer: string) => [{ layer, pooling: 'avg' } as const]
    expect(() => fineTuning(vgg, tap('block3_pool'), 'block4_conv1')).toThrow(
      /after block3_pool.*nothing would be trained/,
    )
    expect(() => fineTuning(vgg, tap('block3_pool'), 'block1_conv1')).toThrow(/no layer comes before.*block1_conv2/)
    expect(() => fineTuning(vgg, tap('block3_pool'), 'block3_conv9')).toThrow(/no layer 'block3_conv9'/)
    expect(() => fineTuning(xception, tap('add_2'), 'block4_sepconv2')).toThrow(
      /inside a shortcut.*Unfreeze block4_sepconv1_act/,
    )
    expect(fineTuning(xception, tap('add_2'), 'block4_sepconv1_act').layers).toContain('add_2')
  })
})

describe('refused before anything is computed or written:', () => {
  it('invalid options, layers and weights', async () => {
    for (const [options, code, words] of [
      [{ size: 16 }, 'argument', '32x32 and larger'],
      [{ layers: ['block9_pool'] }, 'argument', "no layer 'block9_pool'"],
      [{ layers: ['block1_pool', 'block1_pool'] }, 'argument', '--layers must be names of different layers'],
      [{ unfreeze: 'block5_conv1' }, 'argument', 'nothing would be trained'],
      [{ dropout: 1 }, 'argument', '--dropout'],
      [{ limitTrain: 9 }, 'argument', '--limit-train'],
      [{ weights: join(place, 'absent.h5') }, 'file', 'absent.h5'],
    ] as const) {
      const refused = run('refused', options)
      await expect(refused).rejects.toMatchObject({ code, message: expect.stringContaining(words) })
    }
    await expect(readdir(join(place, 'refused'))).rejects.toMatchObject({ code: 'ENOENT' })
  })

  it('a stopped extraction keeps the features, and leaves no folder of a run that did not begin', async () => {
    const controller = new AbortController()
    const stopped = run(
      'stopped',
      { layers: ['block1_conv2'], signal: controller.signal },
      { onFeaturesReady: () => controller.abort() },
    )
    await expect(stopped).rejects.toMatchObject({ code: 'aborted' })
    expect((await run('afterwards', { layers: ['block1_conv2'], epochs: 1 })).features.cached).toBe(true)
  })

  it('when evaluating, a run whose weights have changed', async () => {
    const config = await readAnyConfig(join(place, 'head'))
    const other = { ...config, base: { weights: 'elsewhere.h5', fingerprint: 'sha256:0' } }
    await expect(evaluateTransferRun(task, join(place, 'head'), other, { dataDir, featureDir })).rejects.toMatchObject({
      code: 'mismatch',
    })
    await expect(evaluateRun(task, join(place, 'nowhere'))).rejects.toMatchObject({ code: 'file' })
  })
})

it('every network accepts its own defaults', () => {
  for (const [name, defaults] of Object.entries(task.transfer) as [
    keyof typeof task.transfer,
    typeof task.transfer.vgg16,
  ][]) {
    expect(transferSettings(task).resolve({}, defaults)).toEqual(defaults)
    const base = pretrained[name].build({ size: Number(defaults.size) })
    for (const layer of defaults.layers) expect(base.positionOf(layer)).toBeGreaterThan(0)
  }
})
