/** The data panel: the bundled sample or the user's files, with their counts and some examples. */
import { count } from '../../../src/numbers.ts'
import type { DataSummary, Session } from '../session.ts'
import type { Announcer } from './announcer.ts'
import { findAny, findButton, make } from './elements.ts'
import { fileZone } from './file-drop.ts'
import { side } from './picture-pixels.ts'
import { paintGrey } from './pixel-canvas.ts'
import { RefusalPlace } from './refusals.ts'

/** More pictures add nothing new and take room on a phone. */
const mostShown = 24

export class DataPanel {
  readonly #session: Session
  readonly #announcer: Announcer
  readonly #chosen: (data: DataSummary) => void
  readonly #place = new RefusalPlace(findAny('#data-refusal'))
  readonly #facts = findAny('#data-facts')
  readonly #samples = findAny('#data-samples')
  readonly #useSample = findButton('#use-sample')

  /** @param chosen gets the data to train on. */
  constructor(session: Session, announcer: Announcer, chosen: (data: DataSummary) => void) {
    this.#session = session
    this.#announcer = announcer
    this.#chosen = chosen
    this.#useSample.addEventListener('click', () => void this.useSample())
    fileZone('#data-drop', '#data-files', (files) => void this.useFiles(files))
  }

  async useSample(): Promise<void> {
    await this.#take(() => this.#session.useSample(), true)
  }

  async useFiles(files: readonly File[]): Promise<void> {
    await this.#take(() => this.#session.useFiles(files), false)
  }

  async #take(load: () => Promise<DataSummary>, isSample: boolean): Promise<void> {
    const reading = findAny('#data-reading')
    reading.hidden = false
    const data = await this.#place.attempt(load)
    reading.hidden = true
    if (data === undefined) return
    this.#useSample.setAttribute('aria-pressed', String(isSample))
    this.#show(data)
    this.#chosen(data)
    this.#announcer.say(`Data: ${data.source}, ${count(data.trainCount)} training images.`)
  }

  #show({ source, trainCount, validationCount, classNames, samples, droppedLines }: DataSummary): void {
    const facts: readonly (readonly [string, string])[] = [
      ['Source', source],
      ['Training', `${count(trainCount)} images`],
      ['Validation', `${count(validationCount)} images`],
      ['Classes', `${classNames.length}: ${classNames.join(', ')}`],
      ...(droppedLines > 0 ? [['Skipped', `${count(droppedLines)} lines with missing cells`] as const] : []),
    ]
    this.#facts.replaceChildren(
      ...facts.map(([name, value]) => make('div', {}, make('dt', {}, name), make('dd', {}, value))),
    )
    findAny('#data-samples-title').hidden = samples.length === 0
    this.#samples.replaceChildren(
      ...samples.slice(0, mostShown).map(({ pixels, label }) => {
        const name = classNames[label] ?? String(label)
        const canvas = make('canvas', { class: 'pixels', role: 'img', 'aria-label': name, title: name })
        paintGrey(canvas, pixels, side, side)
        return make('li', {}, canvas)
      }),
    )
  }
}
