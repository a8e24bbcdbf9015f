/** Data sets from folders of pictures, one folder a class. */

import { readdir, stat } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { WeftgradError } from '../errors.ts'
import { readHostFile } from '../format/host-file.node.ts'
import { decodePicture } from '../format/picture.node.ts'
import { aString, checkOptions, checkValue } from '../options.ts'
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

/** The largest file that is read. */
const mostBytes = 256 * 2 ** 20

/**
 * Reads a folder with a folder for each class, named after it, in which are PNG, JPEG, WebP or GIF files. Hidden files, and
 * files beside the classes' folders, are left out. Pictures are turned upright as their Exif data say, made grey or coloured,
 * and resized. The package `sharp` decodes them if it is installed, and is needed for GIF; without it, decoding is slower.
 * The caller owns the images: `dispose()` or `using`.
 * @throws WeftgradError 'file' if the folder cannot be read; 'data' with the names of files that are no readable pictures, or
 * if there are none; 'argument' for options that are not what they must be; 'limit' if there is no memory for the images.
 */
export function imageFolder(folder: string, options: PictureOptions & PictureSplit): Promise<SplitPictures>
export function imageFolder(folder: string, options: PictureOptions): Promise<ImageDataset>
export async function imageFolder(
  folder: string,
  options: PictureOptions & Partial<PictureSplit>,
): Promise<ImageDataset | SplitPictures> {
  checkValue('imageFolder: the folder', folder, aString)
  checkOptions<object>('imageFolder', options, pictureKinds)
  return pictureSets(
    await pictureFiles(folder, options.split === 'folders' ? ['train', 'validation'] : undefined),
    options,
  )
}

/** The files in the folders of a folder; with parts, in those of its folders of these names. Throws 'file', 'data'. */
export async function pictureFiles(folder: string, parts?: readonly string[]): Promise<PictureFile[]> {
  if (parts === undefined) return await filesOf(folder, '')
  return (await Promise.all(parts.map((part) => filesOf(join(folder, part), `${part}/`, part)))).flat()
}

/** The files in the folders of a folder. Throws 'file' if it cannot be read. */
async function filesOf(folder: string, prefix: string, part?: string): Promise<PictureFile[]> {
  const classNames = await folderNames(folder)
  const all = classNames.map(async (className) => {
    const names = await namesIn(join(folder, className))
    return names.map((file): PictureFile => {
      const name = `${prefix}${className}/${file}`
      return {
        ...{ name, className, part },
        decode: async () => decodePicture(readHostFile(join(folder, className, file), mostBytes), name),
      }
    })
  })
  return (await Promise.all(all)).flat()
}

/** The names of a folder's folders. Throws 'file' if it cannot be read, 'data' if it has none. */
export async function folderNames(folder: string): Promise<string[]> {
  const names = await namesIn(folder)
  const kinds = await Promise.all(names.map((name) => stat(join(folder, name)).catch(() => undefined)))
  const folders = names.filter((_, i) => kinds[i]?.isDirectory() === true)
  if (folders.length > 0) return folders
  throw new WeftgradError('data', `${folder} has no folders. It needs one for each class, named after it.`, { folder })
}

async function namesIn(folder: string): Promise<string[]> {
  const names = await readdir(folder).catch((cause: unknown) => {
    throw new WeftgradError('file', `The folder ${folder} cannot be read. Check its path.`, { folder }, cause)
  })
  return names.filter((name) => !isHidden(basename(name)))
}
