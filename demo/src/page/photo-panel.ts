/** The VGG16 panel: takes weights, a photo and class names; shows the strongest feature maps and the top five classes. */
import { duration } from '../../../src/numbers.ts'
import type { PhotoNetworkSummary, PhotoResult, Session } from '../session.ts'
import type { Announcer } from './announcer.ts'
import { find, findAny, findCanvas, setText } from './elements.ts'
import { fileZone } from './file-drop.ts'
import { readPicture } from './picture-file.ts'
import { channelOf, largest, mean, paintGrey } from './pixel-canvas.ts'
import { ProbabilityBars } from './probability-bars.ts'
import { RefusalPlace, refusal } from './refusals.ts'

/** Maps along a side of the mosaic, and the width and grey of the gaps between them. */
const mapsAside = 5
const gap = 1
const gapGrey = 90
/** Pixels of the preview's longer side. */
const previewSide = 448

export class PhotoPanel {
  readonly #session: Session
  readonly #announcer: Announcer
  readonly #place = new RefusalPlace(findAny('#photo-refusal'))
  readonly #bars = new ProbabilityBars(findAny('#top5'))
  readonly #progress = find('#photo-progress', HTMLProgressElement)
  #network: PhotoNetworkSummary | undefined
  #photo: File | undefined
  #classIndex: string | undefined

  constructor(session: Session, announcer: Announcer) {
    this.#session = session
    this.#announcer = announcer
    fileZone('#vgg16-drop', '#vgg16-file', ([file]) => file !== undefined && void this.loadWeights(file))
    fileZone('#photo-drop', '#photo-file', ([file]) => file !== undefined && void this.usePhoto(file))
    fileZone('#class-index-drop', '#class-index-file', ([file]) => file !== undefined && void this.useClassIndex(file))
  }

  async loadWeights(file: File): Promise<void> {
    this.#say(`Reading ${file.name} …`)
    this.#progress.value = 0
    const network = await this.#place.attempt(() => this.#session.loadVgg16(file))
    this.#progress.hidden = true
    if (network !== undefined) {
      this.#network = network
      this.#announcer.say(`VGG16 is ready, from ${network.source}.`)
    }
    this.#say(this.#standing())
    if (network !== undefined && this.#photo !== undefined) await this.usePhoto(this.#photo)
  }

  reading(fraction: number): void {
    this.#progress.hidden = fraction >= 1
    this.#progress.value = fraction
  }

  async usePhoto(file: File): Promise<void> {
    await this.#describe(file, this.#classIndex)
  }

  async useClassIndex(file: File): Promise<void> {
    const text = await this.#place.attempt(() => file.text())
    if (text === undefined) return
    if (this.#network?.hasTop && this.#photo !== undefined) {
      // Kept only if the session can read it.
      if (await this.#describe(this.#photo, text)) this.#classIndex = text
      return
    }
    this.#classIndex = text
    this.#say(`Class names from ${file.name}. ${this.#standing()}`)
  }

  async #describe(file: File, classIndex: string | undefined): Promise<boolean> {
    const result = await this.#place.attempt(async () => {
      const photo = await readPicture(file)
      if (this.#network === undefined) {
        photo.close()
        this.#photo = file
        throw refusal('argument', 'No VGG16 weights yet. Drop their file first; the photo is kept until then.')
      }
      this.#say('Running VGG16 …')
      const preview = await previewOf(photo)
      const described = await this.#session.describePhoto(photo, classIndex)
      return { preview, described }
    })
    this.#say(this.#standing())
    if (result === undefined) return false
    this.#photo = file
    this.#show(file, result.preview, result.described)
    return true
  }

  #show(file: File, preview: ImageBitmap, { featureShape, features, top5, milliseconds }: PhotoResult): void {
    const canvas = findCanvas('#photo-preview')
    canvas.width = preview.width
    canvas.height = preview.height
    canvas.getContext('2d')?.drawImage(preview, 0, 0)
    canvas.setAttribute('aria-label', `The photo ${file.name}`)
    preview.close()
    findAny('#photo-shown').hidden = false
    const shown = paintMosaic(findCanvas('#mosaic'), featureShape, features)
    findCanvas('#mosaic').setAttribute(
      'aria-label',
      `The ${shown} feature maps with the highest means, of ${featureShape[2]}, each ${featureShape[1]} by ${featureShape[0]} pixels`,
    )
    findAny('#top5-block').hidden = top5 === undefined
    if (top5 !== undefined)
      this.#bars.show(
        top5.map(({ name }) => name),
        top5.map(({ probability }) => probability),
      )
    this.#say(`${file.name} took ${duration(milliseconds / 1000)}. ${this.#standing()}`)
    const [best] = top5 ?? []
    this.#announcer.say(best === undefined ? `Showing the features of ${file.name}.` : `${file.name}: ${best.name}.`)
  }

  #standing(): string {
    if (this.#network === undefined) return 'No weights yet.'
    const { source, hasTop, side } = this.#network
    return `Weights: ${source}, ${hasTop ? 'with' : 'without'} the classifier. Photos are scaled to ${side}×${side}.`
  }

  #say(status: string): void {
    setText(findAny('#photo-status'), status)
  }
}

async function previewOf(photo: ImageBitmap): Promise<ImageBitmap> {
  const scale = Math.min(1, previewSide / Math.max(photo.width, photo.height))
  return await createImageBitmap(photo, {
    resizeWidth: Math.max(1, Math.round(scale * photo.width)),
    resizeHeight: Math.max(1, Math.round(scale * photo.height)),
    resizeQuality: 'medium',
  })
}

/** The maps with the highest means, strongest first, each from black to its own brightest. Returns how many. */
function paintMosaic(
  canvas: HTMLCanvasElement,
  [height, width, channels]: PhotoResult['featureShape'],
  features: Float32Array,
): number {
  const maps = Array.from({ length: channels }, (_, k) => channelOf(features, channels, k))
  const strongest = maps
    .map((map) => ({ map, strength: mean(map) }))
    .sort((a, b) => b.strength - a.strength)
    .slice(0, mapsAside ** 2)
  const [across, down] = [mapsAside * (width + gap) - gap, mapsAside * (height + gap) - gap]
  const grey = new Uint8Array(across * down).fill(gapGrey)
  for (const [k, { map }] of strongest.entries()) {
    const brightest = Math.max(largest(map), Number.EPSILON)
    const [left, top] = [(k % mapsAside) * (width + gap), Math.floor(k / mapsAside) * (height + gap)]
    for (let y = 0; y < height; y++)
      for (let x = 0; x < width; x++)
        grey[(top + y) * across + left + x] = Math.round((255 * (map[y * width + x] ?? 0)) / brightest)
  }
  paintGrey(canvas, grey, across, down)
  return strongest.length
}
