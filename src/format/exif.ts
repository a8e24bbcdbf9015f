/**
 * The orientation that a camera wrote beside a picture's pixels: tag 0x0112 of Exif (CIPA DC-008, 4.6.5), in JPEG, PNG and
 * WebP. Anything that is not as it should be counts as none.
 */

import type { PngImage } from './png.ts'

/** How the stored pixels must be turned: 1 not at all, up to 8. */
export function exifOrientation(bytes: Uint8Array): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  try {
    const tiff = tiffStart(view)
    if (tiff === undefined) return 1
    const isLittle = view.getUint16(tiff) === 0x4949
    const directory = tiff + view.getUint32(tiff + 4, isLittle)
    for (let i = 0; i < view.getUint16(directory, isLittle); i++) {
      const entry = directory + 2 + 12 * i
      if (view.getUint16(entry, isLittle) !== 0x0112) continue
      const orientation = view.getUint16(entry + 8, isLittle)
      return orientation >= 1 && orientation <= 8 ? orientation : 1
    }
  } catch (error) {
    if (!(error instanceof RangeError)) throw error // a part beyond the file's end
  }
  return 1
}

/** Where the TIFF header of the Exif data is. Throws RangeError beyond the end. */
function tiffStart(view: DataView): number | undefined {
  const first = view.getUint16(0)
  if (first === 0xffd8) {
    for (let at = 2; view.getUint8(at) === 0xff && view.getUint8(at + 1) !== 0xda; at += 2 + view.getUint16(at + 2))
      if (view.getUint16(at) === 0xffe1 && view.getUint32(at + 4) === tagOf('Exif')) return at + 10
  } else if (first === 0x8950) {
    for (let at = 8; ; at += 12 + view.getUint32(at)) if (view.getUint32(at + 4) === tagOf('eXIf')) return at + 8
  } else if (view.getUint32(0) === tagOf('RIFF')) {
    for (let at = 12; ; at += 8 + 2 * Math.ceil(view.getUint32(at + 4, true) / 2)) {
      if (view.getUint32(at) !== tagOf('EXIF')) continue
      // Some writers repeat the beginning that only JPEG has.
      return view.getUint32(at + 8) === tagOf('Exif') ? at + 14 : at + 8
    }
  }
  return undefined
}

function tagOf(name: string): number {
  return [...name].reduce((tag, letter) => tag * 256 + letter.charCodeAt(0), 0)
}

/** Turns stored pixels so that the picture is upright. */
export function upright(image: PngImage, orientation: number): PngImage {
  if (orientation === 1) return image
  const { width, height, channels, data } = image
  const isTurned = orientation >= 5
  const [outWidth, outHeight] = isTurned ? [height, width] : [width, height]
  // Where the new picture's axes begin on the stored one.
  const isRightToLeft = [2, 3, 7, 8].includes(orientation)
  const isBottomUp = [3, 4, 6, 7].includes(orientation)
  const result = new Uint8Array(data.length)
  for (let y = 0; y < outHeight; y++)
    for (let x = 0; x < outWidth; x++) {
      const [column, row] = isTurned ? [y, x] : [x, y]
      const from = (isBottomUp ? height - 1 - row : row) * width + (isRightToLeft ? width - 1 - column : column)
      for (let c = 0; c < channels; c++) result[(y * outWidth + x) * channels + c] = data[from * channels + c] ?? 0
    }
  return { width: outWidth, height: outHeight, channels, data: result }
}
