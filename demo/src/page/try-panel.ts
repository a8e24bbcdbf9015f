/** The panel to try one image: drawn, from a file or from the data. The prediction follows the training. */
import { percent } from '../../../src/numbers.ts'
import type { DataSummary, FirstLayer, ModelSummary, Session } from '../session.ts'
import { DrawingPad } from './drawing-pad.ts'
import { findAny, findCanvas, make, setText } from './elements.ts'
import { fileZone } from './file-drop.ts'
import { pixelsOfFile } from './picture-file.ts'
import { modelPixels, side, typicalExtent } from './picture-pixels.ts'
import { paintGrey } from './pixel-canvas.ts'
import { indexOfLargest, ProbabilityBars } from './probability-bars.ts'
import { RefusalPlace } from './refusals.ts'

/** Least milliseconds between two classifications of one image during training: each takes device time. */
const interval = 2000

export class TryPanel {
  readonly #session: Session
  readonly #layer: (layer: FirstLayer) => void
  readonly #place = new RefusalPlace(findAny('#try-refusal'))
  readonly #bars = new ProbabilityBars(findAny('#bars'))
  readonly #pad: DrawingPad
  readonly #samples = findAny('#try-samples')
  #classNames: readonly string[] = []
  #extent = side
  #pixels: Uint8Array | undefined
  #origin = ''
  #isUntrained = true
  #asking = false
  #asked = false
  #answeredAt = Number.NEGATIVE_INFINITY

  /** @param layer gets the first layer's activations for each new image. */
  constructor(session: Session, layer: (layer: FirstLayer) => void) {
    this.#session = session
    this.#layer = layer
    this.#pad = new DrawingPad((picture) =>
      this.#place.attempt(async () => {
        this.#use(modelPixels(picture, this.#extent), 'Your drawing')
      }),
    )
    fileZone('#picture-drop', '#picture-file', ([file]) => file !== undefined && void this.useFile(file))
  }

  dataChanged({ classNames, samples }: DataSummary): void {
    this.#classNames = classNames
    this.#extent = typicalExtent(samples.map(({ pixels }) => pixels))
    // One per class: ten are quick to tab through.
    const firsts = classNames.map((_, label) => samples.find((sample) => sample.label === label))
    this.#samples.replaceChildren(
      ...firsts.flatMap((sample) => {
        if (sample === undefined) return []
        const name = classNames[sample.label] ?? String(sample.label)
        const canvas = make('canvas', { class: 'pixels', 'aria-hidden': 'true' })
        paintGrey(canvas, sample.pixels, side, side)
        const button = make('button', { type: 'button', title: name }, canvas, make('span', {}, name))
        button.addEventListener('click', () => {
          this.#pad.clear()
          this.#place.clear()
          this.#use(sample.pixels, `Example: ${name}`)
        })
        return [make('li', {}, button)]
      }),
    )
    const first = firsts.find((sample) => sample !== undefined)
    this.#bars.show(classNames)
    if (first !== undefined) this.#use(first.pixels, `Example: ${classNames[first.label] ?? first.label}`)
  }

  modelChanged({ source }: ModelSummary): void {
    this.#isUntrained = source === 'random initialization'
    void this.#ask()
  }

  /** Call it when training has changed the model. */
  learned(): void {
    this.#isUntrained = false
    if (performance.now() - this.#answeredAt > interval) void this.#ask()
  }

  async useFile(file: File): Promise<void> {
    await this.#place.attempt(async () => {
      const pixels = await pixelsOfFile(file, this.#extent)
      this.#pad.clear()
      this.#use(pixels, file.name)
    })
  }

  #use(pixels: Uint8Array, origin: string): void {
    this.#pixels = pixels
    this.#origin = origin
    const seen = findCanvas('#seen')
    paintGrey(seen, pixels, side, side)
    seen.setAttribute('aria-label', `What the network sees: ${origin}`)
    void this.#place.attempt(async () => {
      await this.#session.watch(pixels)
      await this.#ask()
    })
  }

  /** Runs one request at a time; of those that arrive meanwhile, only the last. */
  async #ask(): Promise<void> {
    this.#asked = true
    if (this.#asking) return
    this.#asking = true
    try {
      while (this.#asked && this.#pixels !== undefined) {
        this.#asked = false
        const pixels = this.#pixels
        const { probabilities, firstLayer } = await this.#session.classify(pixels)
        this.#answeredAt = performance.now()
        if (pixels === this.#pixels) this.#answer(probabilities, firstLayer)
      }
    } catch (error) {
      // The banner reports a lost device for the whole page.
      if (!isLoss(error)) this.#place.show(error)
    } finally {
      this.#asking = false
    }
  }

  #answer(probabilities: Float32Array, layer: FirstLayer): void {
    const best = indexOfLargest(probabilities)
    const name = this.#classNames[best] ?? String(best)
    this.#bars.show(this.#classNames, probabilities)
    setText(findAny('#answer'), `${name}, ${percent(probabilities[best], 1)}`)
    setText(
      findAny('#answer-note'),
      this.#isUntrained
        ? `${this.#origin}. The model is untrained, so this is a guess.`
        : `${this.#origin}. Prediction of the current model.`,
    )
    this.#layer(layer)
  }
}

const isLoss = (error: unknown): boolean =>
  typeof error === 'object' && error !== null && 'code' in error && error.code === 'device-lost'
