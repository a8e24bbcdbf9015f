/** The model panel: layers and parameters; loads and saves weights. */
import { count } from '../../../src/numbers.ts'
import type { ModelSummary, SavedFormat, Session } from '../session.ts'
import type { Announcer } from './announcer.ts'
import { findAny, findButton, make, setText } from './elements.ts'
import { fileZone } from './file-drop.ts'
import { RefusalPlace } from './refusals.ts'

export class ModelPanel {
  readonly #session: Session
  readonly #announcer: Announcer
  readonly #place = new RefusalPlace(findAny('#model-refusal'))

  constructor(session: Session, announcer: Announcer) {
    this.#session = session
    this.#announcer = announcer
    fileZone('#model-drop', '#model-file', ([file]) => file !== undefined && void this.load(file))
    for (const format of ['safetensors', 'keras'] as const)
      findButton(`#model-save-${format}`).addEventListener('click', () => void this.#save(format))
  }

  show({ source, parameters, layers }: ModelSummary): void {
    setText(findAny('#model-source'), `LeNet-5 with ${count(parameters)} parameters; weights from ${source}.`)
    setText(findAny('#parameters'), count(parameters))
    findAny('#layers').replaceChildren(
      ...layers.map((layer) =>
        make(
          'tr',
          {},
          make('th', { scope: 'row' }, layer.name),
          make('td', {}, layer.outputShape.replaceAll(' x ', '×')),
          make('td', { class: 'number' }, count(layer.parameters)),
        ),
      ),
    )
  }

  async load(file: File): Promise<void> {
    const model = await this.#place.attempt(() => this.#session.loadModel(file))
    if (model === undefined) return
    this.show(model)
    this.#announcer.say(`Loaded the weights of ${model.source}.`)
  }

  async #save(format: SavedFormat): Promise<void> {
    const bytes = await this.#place.attempt(() => this.#session.saveModel(format))
    if (bytes === undefined) return
    const address = URL.createObjectURL(new Blob([new Uint8Array(bytes)], { type: 'application/octet-stream' }))
    const link = make('a', { href: address, download: `weftgrad-lenet5.${format}` })
    link.click()
    // By then the browser has taken the bytes.
    setTimeout(() => URL.revokeObjectURL(address), 10_000)
    this.#announcer.say(`The model is downloaded as weftgrad-lenet5.${format}.`)
  }
}
