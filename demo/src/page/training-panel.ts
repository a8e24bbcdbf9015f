/** The training panel: settings, progress, and the results after each epoch. */
import { count, decimal, duration, percent, rate as rateText } from '../../../src/numbers.ts'
import type {
  DataSummary,
  EpochResult,
  Session,
  TrainingProgress,
  TrainingSettings,
  TrainingState,
} from '../session.ts'
import type { Announcer } from './announcer.ts'
import { ConfusionTable } from './confusion-table.ts'
import { Curves } from './curves.ts'
import { find, findAny, findButton, findInput, setText } from './elements.ts'
import { throttled } from './frames.ts'
import { RefusalPlace, refusal } from './refusals.ts'

const fields = {
  epochs: { input: '#epochs', name: 'Epochs', whole: true },
  batchSize: { input: '#batch-size', name: 'The batch size', whole: true },
  learningRate: { input: '#learning-rate', name: 'The learning rate', whole: false },
  seed: { input: '#seed', name: 'The seed', whole: true },
} as const

export class TrainingPanel {
  readonly #session: Session
  readonly #announcer: Announcer
  readonly #place = new RefusalPlace(findAny('#train-refusal'))
  readonly #main = findButton('#train-main')
  readonly #over = findButton('#train-over')
  readonly #curves = new Curves()
  readonly #confusion = new ConfusionTable()
  #state: TrainingState = { kind: 'none' }
  #progress: TrainingProgress | undefined
  #epoch: EpochResult | undefined

  constructor(session: Session, announcer: Announcer) {
    this.#session = session
    this.#announcer = announcer
    find('#train-form', HTMLFormElement).addEventListener('submit', (event) => {
      event.preventDefault()
      void this.#mainAction()
    })
    this.#over.addEventListener('click', () => void this.#startOver())
    findInput('#learning-rate').addEventListener('change', () => void this.#changeRate())
    document.addEventListener('visibilitychange', () => this.#followVisibility())
    this.#clear()
  }

  get state(): TrainingState {
    return this.#state
  }

  /** Training on other data starts from scratch. */
  dataChanged({ classNames }: DataSummary): void {
    this.#confusion.prepare(classNames)
    this.#clear()
  }

  stateChanged(state: TrainingState): void {
    const before = this.#state
    this.#state = state
    const isBusy = state.kind === 'compiling' || state.kind === 'running'
    setText(this.#main, mainWords[state.kind])
    // Only aria-disabled: a disabled button would lose the focus right after it is pressed.
    this.#main.setAttribute('aria-disabled', String(state.kind === 'compiling'))
    this.#over.hidden = state.kind === 'none' || state.kind === 'compiling' || state.kind === 'finished'
    for (const field of [fields.epochs, fields.batchSize, fields.seed]) findInput(field.input).disabled = isBusy
    this.#redraw()
    if (before.kind !== state.kind) this.#tell(before)
    this.#followVisibility()
  }

  progressed(progress: TrainingProgress): void {
    this.#progress = progress
    this.#curves.progress(progress)
    this.#redraw()
  }

  epochEnded(result: EpochResult): void {
    this.#epoch = result
    this.#curves.epoch(result)
    this.#fillConfusion()
    this.#announcer.say(
      `Epoch ${result.epoch}: validation accuracy ${percent(result.validationAccuracy, 1)}, loss ${decimal(result.validationLoss, 3)}.`,
    )
  }

  failed(error: unknown): void {
    this.#place.show(error)
  }

  async resume(): Promise<void> {
    await this.#place.attempt(() => this.#session.resume())
  }

  async #mainAction(): Promise<void> {
    switch (this.#state.kind) {
      case 'compiling':
        return
      case 'running':
        await this.#place.attempt(() => this.#session.pause('user'))
        return
      case 'paused':
        await this.resume()
        return
      default:
        await this.#start()
    }
  }

  async #startOver(): Promise<void> {
    this.#main.focus()
    if (this.#state.kind === 'running') await this.#place.attempt(() => this.#session.pause('user'))
    await this.#start()
  }

  async #start(): Promise<void> {
    await this.#place.attempt(async () => {
      const settings = readSettings()
      this.#clear()
      this.#curves.reset(settings.epochs)
      await this.#session.train(settings)
    })
  }

  async #changeRate(): Promise<void> {
    const { kind } = this.#state
    if (kind !== 'running' && kind !== 'paused') return
    await this.#place.attempt(async () => {
      const rate = readField('learningRate')
      await this.#session.setLearningRate(rate)
      this.#curves.rateChanged(rate)
      this.#announcer.say(`Learning rate ${rate} from the next step.`)
    })
  }

  /** A hidden tab pauses, to leave the GPU to others, and resumes by itself when it is visible again. */
  #followVisibility(): void {
    const isHidden = document.visibilityState === 'hidden'
    if (isHidden && this.#state.kind === 'running') void this.#place.attempt(() => this.#session.pause('hidden'))
    if (!isHidden && this.#state.kind === 'paused' && this.#state.reason === 'hidden') void this.resume()
  }

  #clear(): void {
    this.#progress = undefined
    this.#epoch = undefined
    this.#curves.reset(findInput(fields.epochs.input).valueAsNumber || 1)
    this.#redraw()
  }

  readonly #fillConfusion = throttled(() => {
    if (this.#epoch !== undefined) this.#confusion.fill(this.#epoch.confusion, this.#epoch.epoch)
  }, 500)

  readonly #redraw = throttled(() => {
    const progress = this.#progress
    const { kind } = this.#state
    const share = progress === undefined ? 0 : (progress.epoch - 1 + progress.step / progress.steps) / progress.epochs
    find('#train-progress', HTMLProgressElement).value = share
    setText(findAny('#train-status'), statusOf(this.#state, progress))
    setText(findAny('#tile-epoch'), progress === undefined ? '–' : `${progress.epoch} of ${progress.epochs}`)
    setText(findAny('#tile-speed'), rateText(progress?.imagesPerSecond))
    setText(findAny('#tile-eta'), kind === 'finished' ? 'done' : duration(progress?.etaSeconds))
    // Until an epoch has its first means, show those of the epoch before.
    setText(findAny('#tile-loss'), decimal(progress?.loss ?? this.#epoch?.loss, 3))
    setText(findAny('#tile-accuracy'), percent(progress?.accuracy ?? this.#epoch?.accuracy, 1))
  }, 250)

  #tell(before: TrainingState): void {
    const { kind } = this.#state
    if (kind === 'running') this.#announcer.say(before.kind === 'paused' ? 'Training resumed.' : 'Training started.')
    if (kind === 'paused' || kind === 'finished') this.#announcer.say(statusOf(this.#state, this.#progress))
  }
}

const mainWords = {
  none: 'Start',
  compiling: 'Preparing …',
  running: 'Pause',
  paused: 'Resume',
  finished: 'Train again',
} as const

const pauseWords = {
  user: 'Paused. Nothing is lost.',
  hidden: 'Paused while this tab is hidden.',
  'device-lost': 'Paused: the GPU was lost. Training resumes from the last saved state.',
} as const

function statusOf(state: TrainingState, progress: TrainingProgress | undefined): string {
  switch (state.kind) {
    case 'none':
      return 'Ready.'
    case 'compiling':
      return 'Compiling the kernels …'
    case 'running':
      return progress === undefined
        ? 'Training.'
        : `Training: step ${count(progress.step)} of ${count(progress.steps)}.`
    case 'paused':
      return pauseWords[state.reason]
    case 'finished':
      return 'Finished.'
  }
}

function readSettings(): TrainingSettings {
  return {
    epochs: readField('epochs'),
    batchSize: readField('batchSize'),
    learningRate: readField('learningRate'),
    seed: readField('seed'),
  }
}

/** Throws a refusal that says what the field takes, and focuses it. */
function readField(field: keyof typeof fields): number {
  const { input: selector, name, whole } = fields[field]
  const input = findInput(selector)
  const isValid = input.validity.valid
  input.setAttribute('aria-invalid', String(!isValid))
  if (isValid) return input.valueAsNumber
  input.focus()
  throw refusal('argument', `${name} must be a ${whole ? 'whole ' : ''}number from ${input.min} to ${input.max}.`)
}
