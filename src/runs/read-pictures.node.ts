/** Pictures that a user names, to classify: those that cannot be read do not stop the others. */
import type { ByteImage } from '../data/resize.ts'
import { WeftgradError } from '../errors.ts'
import { readHostFile } from '../format/host-file.node.ts'
import { decodePicture } from '../format/picture.node.ts'

/** A class, and how probable a model finds it. */
export interface ClassShare {
  readonly class: string
  readonly probability: number
}

/** A picture that could not be classified. */
export interface FailedPicture {
  /** The path, as given. */
  readonly image: string
  readonly problem: string
}

/** The largest accepted picture file: photographs as PNG take 10 to 60 MB. */
const mostPictureBytes = 128 * 2 ** 20

/** Decodes the files that are pictures, in order; the others come with what is wrong. */
export async function readPictures(paths: readonly string[]): Promise<{
  readonly pictures: readonly { readonly path: string; readonly picture: ByteImage }[]
  readonly failed: readonly FailedPicture[]
}> {
  const pictures: { readonly path: string; readonly picture: ByteImage }[] = []
  const failed: FailedPicture[] = []
  for (const path of paths) {
    try {
      pictures.push({ path, picture: await decodePicture(readHostFile(path, mostPictureBytes), path) })
    } catch (error) {
      if (!(error instanceof WeftgradError)) throw error
      failed.push({ image: path, problem: error.message })
    }
  }
  return { pictures, failed }
}
