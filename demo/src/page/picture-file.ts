/** A picture's file, decoded away from the page's own thread, so that a large photo does not stop it. */
import { modelPixels } from './picture-pixels.ts'
import { refusal } from './refusals.ts'

/** Throws a refusal that names the file where it is no picture that this browser can read. */
export async function readPicture(file: File): Promise<ImageBitmap> {
  try {
    return await createImageBitmap(file)
  } catch {
    throw refusal('format', `${file.name} is no picture that this browser can read. Take a PNG, JPEG or WebP file.`)
  }
}

/** Much more than 28, and little work: 40,000 pixels at most. */
const longestSide = 200

export async function pixelsOfFile(file: File, extent: number): Promise<Uint8Array> {
  const whole = await readPicture(file)
  const scale = Math.min(1, longestSide / Math.max(whole.width, whole.height))
  const [width, height] = [scaled(whole.width, scale), scaled(whole.height, scale)]
  const small = await createImageBitmap(whole, { resizeWidth: width, resizeHeight: height, resizeQuality: 'high' })
  whole.close()
  const canvas = new OffscreenCanvas(width, height)
  const context = canvas.getContext('2d', { willReadFrequently: true })
  if (context === null) throw refusal('device', 'This browser gives the page no canvas to read the picture with.')
  context.drawImage(small, 0, 0)
  small.close()
  return modelPixels(context.getImageData(0, 0, width, height), extent)
}

const scaled = (length: number, scale: number): number => Math.max(1, Math.round(length * scale))
