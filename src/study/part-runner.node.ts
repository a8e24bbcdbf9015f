/** Runs the parts of a study, each as its own job in its own folder, by the study's plan. */
import { basename, join } from 'node:path'
import { crossValidate } from '../crossval/run.node.ts'
import { randomSplit } from '../data/split.ts'
import { loadEdaData, writeEda } from '../explore/explore.node.ts'
import { explore } from '../explore/explore.ts'
import { ifThere, readHostText } from '../format/host-file.node.ts'
import type { Progress } from '../nn/contract.ts'
import type { PretrainedName } from '../nn/models/pretrained.ts'
import { megabytes, speed } from '../numbers.ts'
import { partName, type StudyPart } from '../report/parts.ts'
import type {
  SeedRepeat,
  StudyOutcomes,
  StudyPlan,
  StudyResults,
  TrainedFinal,
  TransferFinal,
} from '../report/study-report.ts'
import { openForCommand } from '../runs/device.node.ts'
import type { JobOptions, Run } from '../runs/job.node.ts'
import { runFiles } from '../runs/run-folder.node.ts'
import { readTestPictures } from '../runs/test-files.node.ts'
import { searchHyperparameters } from '../search/run.node.ts'
import type { RecipeName } from '../tasks/recipe.ts'
import type { PublishedTask, SearchedSettings } from '../tasks/task.ts'
import type { TrainReport } from '../train/result.ts'
import { readTrainConfig, train } from '../train/run.node.ts'
import type { TransferReport } from '../transfer/result.ts'
import { trainTransfer } from '../transfer/run.node.ts'
import type { Remote } from '../units/executor.node.ts'

/** Reports a part's progress: the share that is done, and the current step. */
export type Tell = (share: number, detail: string) => void

interface Places {
  readonly dataDir: string | undefined
  readonly featureDir: string | undefined
  readonly remote: Remote | undefined
}

export class PartRunner {
  readonly #task: PublishedTask
  readonly #run: Run<StudyPlan>
  readonly #places: Places

  constructor(task: PublishedTask, run: Run<StudyPlan>, places: Places) {
    this.#task = task
    this.#run = run
    this.#places = places
  }

  folderOf(part: StudyPart): string {
    return this.#run.path(partName(this.#task, part))
  }

  /** The settings that tuning found, or those of the published recipe. */
  bestOf({ tune }: Partial<StudyOutcomes>): SearchedSettings {
    const { recipes, search } = this.#task
    if (tune?.state === 'done') return search.settingsOf(tune.result.best.hyperparameters)
    const { units, learningRate } = recipes.seed.train
    return { units, learningRate }
  }

  async explore(tell: Tell): Promise<StudyResults['eda']> {
    const { note, signal } = this.#run
    const { dataDir } = this.#places
    tell(0, 'duplicates, statistics, correlation')
    const { parts, source } = await loadEdaData(this.#task, { dataDir, signal, onNote: note })
    using device = await openForCommand(note)
    const eda = await explore(device, parts, { source, classNames: this.#task.data.classNames, signal })
    await writeEda(this.folderOf('eda'), eda)
    return eda.result
  }

  async tune(tell: Tell): Promise<StudyResults['tune']> {
    const { tune, seed, limit } = this.#run.settings
    const { remote } = this.#places
    const place = await this.#place('tune')
    const result = await searchHyperparameters(
      this.#task,
      { ...place, remote, ...(place.resume === undefined ? { ...tune, seed, limit } : {}) },
      {
        onNote: this.#run.note,
        onProgress: (trial, { epoch, epochs }, { done, total }) =>
          tell(done / total, `trial ${trial.id}, epoch ${epoch} of ${epochs}; ${done.toFixed(1)} of ${total} epochs`),
      },
    )
    return { ...result, runDir: 'tune' }
  }

  async crossValidate(best: SearchedSettings, tell: Tell): Promise<StudyResults['crossval']> {
    const { crossval, seed, limit } = this.#run.settings
    const { remote } = this.#places
    const place = await this.#place('crossval')
    const settings = { ...crossval, ...best, seed, limit, carryOver: true }
    const result = await crossValidate(
      this.#task,
      { ...place, remote, ...(place.resume === undefined ? settings : {}) },
      {
        onNote: this.#run.note,
        onProgress: ({ kind, fold }, { epoch, epochs }, { done, total }) => {
          const name = kind === 'honest' ? `fold ${fold}` : `fold ${fold}, reused model`
          tell(done / total, `${name}, epoch ${epoch} of ${epochs}; ${done.toFixed(1)} of ${total} epochs`)
        },
      },
    )
    return { ...result, runDir: 'crossval' }
  }

  async train(recipe: RecipeName, { units, learningRate }: SearchedSettings, tell: Tell): Promise<TrainedFinal> {
    const { train: epochs, limit } = this.#run.settings
    // The best recipe's learning rate fits only its own schedule and batch size.
    const rate = recipe === 'seed' ? { learningRate } : {}
    const { report, repeats } = await this.#perSeed(recipe, tell, (place, seed, told) => {
      const settings = { recipe, units, ...rate, epochs: epochs[recipe], seed, limit }
      return train(
        this.#task,
        { ...place, ...(place.resume === undefined ? settings : {}) },
        { onNote: this.#run.note, onProgress: (progress) => told(shareOf(progress), epochText(progress)) },
      )
    })
    const runDir = this.folderOf(recipe)
    const { settings: own, data } = await readTrainConfig(this.#task, runDir)
    const share = own.validation
    return {
      recipe,
      report: { ...report, runDir: partName(this.#task, recipe) },
      units: own.units,
      learningRate: own.learningRate,
      trainImages: share > 0 ? randomSplit(data.train, share, own.seed).rest.length : data.train,
      pictures: readTestPictures(runDir),
      repeats,
    }
  }

  async transfer(name: PretrainedName, tell: Tell): Promise<TransferFinal> {
    const { epochs, limitTrain, limitTest, weights } = this.#run.settings.transfer
    const { featureDir, remote } = this.#places
    const features = 0.9
    const { report, repeats } = await this.#perSeed(name, tell, (place, seed, told) => {
      const settings = { model: name, ...(epochs === null ? {} : { epochs }), limitTrain, limitTest, weights, seed }
      return trainTransfer(
        this.#task,
        { ...place, featureDir, remote, ...(place.resume === undefined ? settings : {}) },
        {
          onNote: this.#run.note,
          onDownload: (bytes, total) => told(0, `weights: ${megabytes(bytes)} of ${megabytes(total ?? 0)}`),
          onFeatures: ({ done, total, imagesPerSecond }) =>
            told((features * done) / total, [`features: ${done} of ${total}`, ...speed(imagesPerSecond)].join(', ')),
          onProgress: (progress) => told(features + (1 - features) * shareOf(progress), `head, ${epochText(progress)}`),
        },
      )
    })
    return {
      report: {
        ...report,
        runDir: name,
        weights: basename(report.weights),
        features: { ...report.features, folder: basename(report.features.folder) },
      },
      // Means and variances of the features are measured, not trained.
      trainedParameters: report.parameters - 2 * report.features.width,
      pictures: readTestPictures(this.folderOf(name)),
      repeats,
    }
  }

  /** Trains once per seed of the plan. The first training is the part's; the others have folders inside the part's. */
  async #perSeed<Report extends TrainReport | TransferReport>(
    part: StudyPart,
    tell: Tell,
    job: (place: JobOptions, seed: number, tell: Tell) => Promise<Report>,
  ): Promise<{ readonly report: Report; readonly repeats: readonly SeedRepeat[] }> {
    const { seed: first, seeds } = this.#run.settings
    const run = async (i: number): Promise<Report> => {
      const seed = first + i
      const place = await this.#place(part, ...(i === 0 ? [] : [`seed-${seed}`]))
      return await job(place, seed, (share, detail) =>
        tell((i + share) / seeds, i === 0 ? detail : `seed ${seed}, ${detail}`),
      )
    }
    const report = await run(0)
    const repeats: SeedRepeat[] = []
    for (let i = 1; i < seeds; i++) {
      this.#run.stopIfAsked()
      const { test, history } = await run(i)
      repeats.push({ seed: first + i, test, seconds: history.reduce((sum, { seconds }) => sum + seconds, 0) })
    }
    return { report, repeats }
  }

  /** The options to start or resume a job in a part's folder, or inside it. */
  async #place(part: StudyPart, ...inside: readonly string[]): Promise<JobOptions> {
    const { signal } = this.#run
    const { dataDir } = this.#places
    const folder = join(this.folderOf(part), ...inside)
    const isThere = ifThere(() => readHostText(join(folder, runFiles.config))) !== undefined
    return { dataDir, signal, ...(isThere ? { resume: folder } : { out: folder }) }
  }
}

function shareOf({ epoch, epochs, step, steps }: Progress): number {
  return (epoch - 1 + step / steps) / epochs
}

function epochText({ epoch, epochs, imagesPerSecond }: Progress): string {
  return [`epoch ${epoch} of ${epochs}`, ...speed(imagesPerSecond)].join(', ')
}
