/**
 * The study job: runs all parts in order and writes the report. Prints nothing; a reporter receives its events.
 *
 * Promises: a part's result is completely on disk before the next part begins, and parts keep their own checkpoints, so
 * a study stopped at any moment resumes where it was. No choice uses test images. A network whose weights are not
 * available is left out, with the reason in the report.
 */
import { WeftgradError } from '../errors.ts'
import { type StudyPart, studyParts } from '../report/parts.ts'
import {
  type PartDone,
  type PartOutcome,
  type StudyOutcomes,
  type StudyPlan,
  type StudyResults,
  writtenPlan,
  writtenReport,
} from '../report/study-report.ts'
import { type JobKind, type JobOptions, type JobReporter, type Run, runJob } from '../runs/job.node.ts'
import type { PublishedTask } from '../tasks/task.ts'
import { areWeightsMissing } from '../transfer/pretrained-base.node.ts'
import type { RemoteOption } from '../units/executor.node.ts'
import { zoo } from '../weights/zoo.ts'
import { StudyClock, type StudyEstimate, type StudyProgress } from './clock.ts'
import { estimateStudy, measureSpeed, type Speed } from './estimate.node.ts'
import { isBegun, readPart, writePart } from './folder.node.ts'
import { PartRunner, type Tell } from './part-runner.node.ts'
import { fullPlan, leftOut, type PlanOptions, planIn, planOptionsOf, planSettings, quickPlan } from './plan.ts'
import { type FinishedStudy, reportStudy } from './report.node.ts'

type Given = Partial<PlanOptions> & {
  readonly skip?: readonly StudyPart[] | undefined
  /** A plan to run instead of the full or quick one that the other options change. */
  readonly plan?: StudyPlan | undefined
}

export interface StudyOptions extends Given, JobOptions, RemoteOption {
  /** The folder of the features; weftgrad's cache by default. */
  readonly featureDir?: string | undefined
}

export interface StudyReporter extends JobReporter {
  /** The estimate for the remaining parts. */
  onEstimate?(estimate: StudyEstimate, speed: Speed): void
  onPartBegin?(part: StudyPart): void
  /** Progress; `detail` names the part's current step. */
  onProgress?(progress: StudyProgress, detail: string): void
  /** A part is done; `isNew` is false for one that an earlier process finished. */
  onPartEnd?<Part extends StudyPart>(part: Part, outcome: PartOutcome<StudyResults[Part]>, isNew: boolean): void
}

function kindOf(task: PublishedTask): JobKind<StudyPlan, Given, FinishedStudy> {
  return {
    job: 'study',
    noun: 'study',
    resolve({ quick = false, skip, seed, seeds, transferLimit, plan = quick ? quickPlan(task) : fullPlan(task) }) {
      const { transfer } = plan
      const limitTrain = transferLimit ?? transfer.limitTrain
      return {
        ...plan,
        skip: skip ?? plan.skip,
        seed: seed ?? plan.seed,
        seeds: seeds ?? plan.seeds,
        transfer: { ...transfer, limitTrain },
      }
    },
    read({ settings }, path, { skip }) {
      const plan = planIn(settings, path, task)
      return { ...plan, skip: skip ?? plan.skip }
    },
    contradiction: (run, { quick, seed, seeds, transferLimit }) => {
      const given = Object.entries({ quick, seed, seeds, transferLimit }).filter(([, value]) => value !== undefined)
      return planSettings.contradiction(planOptionsOf(run), Object.fromEntries(given))
    },
    written: (plan) => ({ settings: writtenPlan(plan, task) }),
    report: ({ report }) => writtenReport(report, task),
  }
}

/**
 * Runs a study to its end, or resumes one, and writes its report; the report of a finished one is written again.
 * @throws WeftgradError 'argument', 'mismatch' (resuming with other settings or data), 'file', 'format', 'data', 'fetch',
 * 'no-adapter', 'device-lost', 'not-finite'; 'aborted' when the signal fired.
 */
export async function runStudy(
  task: PublishedTask,
  options: StudyOptions = {},
  reporter: StudyReporter = {},
): Promise<FinishedStudy> {
  return await runJob(kindOf(task), options, reporter, (run) => new Study(task, run, options, reporter).run())
}

class Study {
  readonly #task: PublishedTask
  readonly #run: Run<StudyPlan>
  readonly #reporter: StudyReporter
  readonly #parts: PartRunner

  constructor(
    task: PublishedTask,
    run: Run<StudyPlan>,
    { dataDir, featureDir, remote }: StudyOptions,
    reporter: StudyReporter,
  ) {
    this.#task = task
    this.#run = run
    this.#reporter = reporter
    this.#parts = new PartRunner(task, run, { dataDir, featureDir, remote })
  }

  async run(): Promise<FinishedStudy> {
    const { settings: plan, runDir } = this.#run
    const outcomes: { [Part in StudyPart]?: PartOutcome<unknown> } = {}
    const left: StudyPart[] = []
    for (const part of studyParts(this.#task)) {
      const done = await readPart(this.#task, runDir, part)
      const reason = leftOut(plan, part)
      if (done !== undefined) outcomes[part] = done
      else if (reason !== undefined) outcomes[part] = { state: 'skipped', reason }
      else left.push(part)
    }
    const { config, data, clock } = await this.#begin(left)
    for (const part of studyParts(this.#task)) {
      const before = outcomes[part]
      if (before === undefined) outcomes[part] = await this.#runPart(part, clock, outcomes)
      // Each outcome has its part's type.
      else this.#reporter.onPartEnd?.(part, before as PartOutcome<StudyResults[typeof part]>, false)
    }
    return await reportStudy(this.#task, runDir, { config, plan }, data, outcomes as unknown as StudyOutcomes)
  }

  /**
   * Opens adapter and data, writes the configuration, and estimates the remaining time. The parts open the adapter
   * themselves.
   */
  async #begin(left: readonly StudyPart[]) {
    const { settings: plan, signal, earlier, note } = this.#run
    using ground = await this.#run.open(this.#task)
    const { device, data } = ground
    const counts = { train: data.train.count, test: data.test.count }
    ground.choose({ ...counts, duplicates: 0 })
    const { driver } = device.facts
    if (earlier !== undefined && earlier.adapter.driver !== driver)
      note(`The study was started on ${earlier.adapter.driver}; the remaining parts run on ${driver}.`)
    const config = ground.configWith({})
    await ground.writeConfig({})
    this.#run.markResumable()
    if (left.length === 0) return { config, data, clock: new StudyClock({}) }
    const speed = await measureSpeed(this.#task, device, data.train, left, plan, signal)
    this.#run.stopIfAsked()
    const estimate = estimateStudy(this.#task, plan, left, speed, counts)
    this.#reporter.onEstimate?.(estimate, speed)
    return { config, data, clock: new StudyClock(estimate) }
  }

  async #runPart(
    part: StudyPart,
    clock: StudyClock,
    outcomes: { readonly [Part in StudyPart]?: PartOutcome<unknown> },
  ): Promise<PartOutcome<unknown>> {
    this.#run.stopIfAsked()
    this.#reporter.onPartBegin?.(part)
    const resumed = await isBegun(this.#parts.folderOf(part))
    const started = performance.now()
    clock.begin()
    const tell: Tell = (share, detail) => this.#reporter.onProgress?.(clock.progress(part, share), detail)
    try {
      const outcome = await this.#outcomeOf(part, tell, outcomes, () => ({
        state: 'done',
        finishedAt: new Date().toISOString(),
        seconds: (performance.now() - started) / 1000,
        resumed,
      }))
      clock.end(part)
      return outcome
    } catch (error) {
      // Once a part was asked to stop, any error counts as the stop.
      throw this.#run.signal?.aborted ? new WeftgradError('aborted', 'The part was stopped.', {}, error) : error
    }
  }

  /**
   * Runs a part and writes its result, except for networks without weights and for parts whose units were set aside: a
   * resumed study tries them again.
   */
  async #outcomeOf(
    part: StudyPart,
    tell: Tell,
    outcomes: { readonly [Part in StudyPart]?: PartOutcome<unknown> },
    made: () => Omit<PartDone<unknown>, 'result'>,
  ): Promise<PartOutcome<unknown>> {
    const keep = async <Part extends StudyPart>(
      name: Part,
      work: Promise<StudyResults[Part]>,
    ): Promise<PartOutcome<StudyResults[Part]>> => {
      const result = await work
      const done: PartDone<StudyResults[Part]> = { ...made(), state: 'done', result }
      await writePart(this.#task, this.#run.runDir, name, done)
      this.#reporter.onPartEnd?.(name, done, true)
      return done
    }
    const leaveOut = (reason: string): PartOutcome<unknown> => {
      const outcome = { state: 'skipped', reason } as const
      this.#reporter.onPartEnd?.(part, outcome, true)
      return outcome
    }
    const parts = this.#parts
    // The results of earlier parts exist.
    const best = parts.bestOf(outcomes as Partial<StudyOutcomes>)
    try {
      switch (part) {
        case 'eda':
          return await keep(part, parts.explore(tell))
        case 'tune':
          return await keep(part, parts.tune(tell))
        case 'crossval':
          return await keep(part, parts.crossValidate(best, tell))
        case 'seed':
        case 'best':
          return await keep(part, parts.train(part, best, tell))
        default:
          return await keep(part, parts.transfer(part, tell))
      }
    } catch (error) {
      if (error instanceof WeftgradError && error.code === 'set-aside') return leaveOut(error.message)
      if (!areWeightsMissing(error) || !isNetwork(part)) throw error
      const { title, files } = zoo[part]
      return leaveOut(
        `The weights of ${title} (${files.base.name}) were not on this computer and could not be downloaded.`,
      )
    }
  }
}

function isNetwork(part: StudyPart): part is StudyPart & keyof typeof zoo {
  return part in zoo
}
