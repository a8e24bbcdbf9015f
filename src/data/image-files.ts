/** Data sets from pictures that a user of a web page chose or dropped, decoded by the browser. */

import { WeftgradError } from '../errors.ts'
import { aFunction, checkOptions, checkValue, type Kind } from '../options.ts'
import type { ImageDataset } from './dataset.ts'
import {
  isHidden,
  type PictureFile,
  type PictureOptions,
  type PictureSplit,
  pictureKinds,
  pictureSets,
  type SplitPictures,
} from './pictures.ts'
import type { ByteImage } from './resize.ts'

/** Options of {@link imageFiles}. */
export interface ImageFilesOptions extends PictureOptions {
  /**
   * The class of a file: by default the folder it is in, for files chosen with `<input type="file" webkitdirectory>`.
   */
  readonly classOf?: ((file: File) => string) | undefined
}

const someFiles: Kind = ['files, such as a FileList', (value) => typeof Object(value)[Symbol.iterator] === 'function']

/**
 * Reads pictures as `imageFolder` does in Node.js, from files that a page was given: all kinds that the browser can
 * decode. They are upright where the browser turns them; Chromium does so for JPEG and PNG, not for WebP. The caller owns the images: `dispose()` or `using`.
 * @throws WeftgradError 'argument' outside browsers, and for files without a folder if there is no `classOf`; else as in
 * `imageFolder`.
 */
export function imageFiles(files: Iterable<File>, options: ImageFilesOptions & PictureSplit): Promise<SplitPictures>
export function imageFiles(files: Iterable<File>, options: ImageFilesOptions): Promise<ImageDataset>
export async function imageFiles(
  files: Iterable<File>,
  options: ImageFilesOptions & Partial<PictureSplit>,
): Promise<ImageDataset | SplitPictures> {
  checkValue('imageFiles: the files', files, someFiles)
  checkOptions<object>('imageFiles', options, { ...pictureKinds, classOf: aFunction })
  if (typeof createImageBitmap !== 'function' || typeof OffscreenCanvas !== 'function')
    throw new WeftgradError('argument', 'imageFiles needs a browser that decodes pictures; in Node.js use imageFolder.')
  const { classOf } = options
  const all = [...files].filter(({ name }) => !isHidden(name))
  return pictureSets(
    all.map((file) => pictureOf(file, classOf)),
    options,
  )
}

function pictureOf(file: File, classOf: ImageFilesOptions['classOf']): PictureFile {
  const name = file.webkitRelativePath || file.name
  const path = name.split('/')
  const [part, folder] = [path.at(-3), path.at(-2)]
  const className = classOf === undefined ? folder : classOf(file)
  if (className === undefined)
    throw new WeftgradError('argument', `${name} is in no folder that names its class. Give classOf.`, { name })
  return { name, className, part, decode: () => decodeFile(file, name) }
}

/** Upright, on white, without colour profiles. */
async function decodeFile(file: File, name: string): Promise<ByteImage> {
  const options = { imageOrientation: 'from-image', colorSpaceConversion: 'none' } as const
  const bitmap = await createImageBitmap(file, options).catch((cause: unknown) => {
    throw new WeftgradError('format', `${name} is not a readable picture.`, { name }, cause)
  })
  try {
    const { width, height } = bitmap
    const context = new OffscreenCanvas(width, height).getContext('2d', { willReadFrequently: true })
    if (context === null) throw new WeftgradError('limit', `There is no canvas for ${name}.`, { name })
    context.fillStyle = 'white'
    context.fillRect(0, 0, width, height)
    context.drawImage(bitmap, 0, 0)
    const { data } = context.getImageData(0, 0, width, height)
    return { width, height, channels: 4, data: new Uint8Array(data.buffer) }
  } finally {
    bitmap.close()
  }
}
