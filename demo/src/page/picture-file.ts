/** Decodes picture files off the page's main thread, so that a large photo does not block it. */
import { modelPixels } from './picture-pixels.ts'
import { refusal } from './refusals.ts'

/** Throws a refusal that names the file if this browser cannot read it as an image. */
export async function readPicture(file: File): Promise<ImageBitmap> {
  try {
    return await createImageBitmap(file)
  } catch {
    throw refusal('format', `This browser cannot read ${file.name} as an image. Use a PNG, JPEG or WebP file.`)
  }
}

/** Much more than 28, and still fast: at most 40,000 pixels. */
const longestSide = 200

export async function pixelsOfFile(file: File, extent: number): Promise<Uint8Array> {
  const whole = await readPicture(file)
  const scale = Math.min(1, longestSide / Math.max(whole.width, whole.height))
  const [width, height] = [scaled(whole.width, scale), scaled(whole.height, scale)]
  const small = await createImageBitmap(whole, { resizeWidth: width, resizeHeight: height, resizeQuality: 'high' })
  whole.close()
  const canvas = new OffscreenCanvas(width, height)
  const context = canvas.getContext('2d', { willReadFrequently: true })
  if (context === null) throw refusal('device', 'This browser gives the page no canvas to read the picture.')
  context.drawImage(small, 0, 0)
  small.close()
  return modelPixels(context.getImageData(0, 0, width, height), extent)
}

const scaled = (length: number, scale: number): number => Math.max(1, Math.round(length * scale))
