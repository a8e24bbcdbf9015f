/**
 * Decodes pictures in Node.js: PNG, JPEG, WebP, and GIF's first image. The package sharp decodes them if it is installed;
 * otherwise fast-png, and mozjpeg and libwebp in WebAssembly, which are slower and know no GIF. Either way pictures are
 * upright, and colour profiles are ignored.
 */

import { createRequire } from 'node:module'
import { WeftgradError } from '../errors.ts'
import { exifOrientation, upright } from './exif.ts'
import { readHostFile } from './host-file.node.ts'
import { decodePng, type PngImage } from './png.ts'

/** Text at the beginning of files, and where it stands. */
const signatures = {
  png: [1, 'PNG\r\n'],
  jpeg: [0, '\xff\xd8\xff'],
  webp: [8, 'WEBP'],
  gif: [0, 'GIF8'],
} as const
type Kind = keyof typeof signatures
const kinds = Object.keys(signatures) as Kind[]

/** 64 megapixels, as for PNG. */
const mostPixels = 64 * 1024 * 1024
/** The decoders have some hundred kilobytes. */
const mostDecoderBytes = 16 * 2 ** 20

/** Decodes the bytes of a picture of this kind. Throws whatever its decoder throws. */
export type PictureDecoder = (bytes: Uint8Array, kind: Kind, source: string) => Promise<PngImage>

/**
 * Decodes a picture to 8-bit samples, upright.
 * @param source names the bytes in errors, for example the file's path.
 * @throws WeftgradError 'format' for another kind of file, one that is damaged or cut off, or a GIF without sharp.
 */
export async function decodePicture(bytes: Uint8Array, source: string, decoder?: PictureDecoder): Promise<PngImage> {
  const beginning = String.fromCharCode(...bytes.subarray(0, 12))
  const kind = kinds.find((name) => beginning.startsWith(signatures[name][1], signatures[name][0]))
  if (kind === undefined) throw refusal(source, 'it is no PNG, JPEG, WebP or GIF. Convert it, or remove it')
  const decode = decoder ?? (await sharpDecoder()) ?? decodeByWasm
  try {
    return await decode(bytes, kind, source)
  } catch (error) {
    if (error instanceof WeftgradError) throw error
    throw refusal(source, error instanceof Error ? error.message.trim() : String(error), error)
  }
}

function refusal(source: string, problem: string, cause?: unknown): WeftgradError {
  return new WeftgradError('format', `${source} is not a readable picture: ${problem}.`, { source }, cause)
}

let sharpFound: Promise<PictureDecoder | undefined> | undefined

/** Decodes by sharp; undefined if it is not installed. */
export function sharpDecoder(): Promise<PictureDecoder | undefined> {
  sharpFound ??= import('sharp').then(
    ({ default: sharp }) =>
      async (bytes) => {
        const image = sharp(bytes, { autoOrient: true, ignoreIcc: true, limitInputPixels: mostPixels })
        const { data, info } = await image.toColourspace('srgb').raw().toBuffer({ resolveWithObject: true })
        return { width: info.width, height: info.height, channels: info.channels, data }
      },
    () => undefined,
  )
  return sharpFound
}

/** A decoder of jSquash. */
interface LoadedCodec {
  decode(bytes: Uint8Array<ArrayBuffer>): ImageData | null
  /** What it complained of. It decodes what it can of a file that is cut off, and says so here only. */
  readonly complaints: string[]
}
const codecs = new Map<Kind, Promise<LoadedCodec>>()

/** Decodes by JavaScript and WebAssembly. */
export const decodeByWasm: PictureDecoder = async (bytes, kind, source) => {
  if (kind === 'gif') throw new Error('it is a GIF, which needs the package sharp: npm install sharp')
  const orientation = exifOrientation(bytes)
  if (kind === 'png') return upright(decodePng(bytes, source), orientation)
  const loading = codecs.get(kind) ?? loadCodec(kind)
  codecs.set(kind, loading)
  const { decode, complaints } = await loading
  try {
    const image = decode(Uint8Array.from(bytes))
    if (image === null || complaints.length > 0) throw new Error(complaints.join('; ') || 'its bytes are damaged')
    const { width, height, data } = image
    return upright({ width, height, channels: 4, data: new Uint8Array(data.buffer) }, orientation)
  } catch (error) {
    // One that gave up cannot be used again.
    codecs.delete(kind)
    throw complaints.length > 0 ? new Error(complaints.join('; ')) : error
  }
}

async function loadCodec(kind: 'jpeg' | 'webp'): Promise<LoadedCodec> {
  const { resolve } = createRequire(import.meta.url)
  const complaints: string[] = []
  const optionsFor = async (path: string): Promise<object> => {
    const module = await WebAssembly.compile(readHostFile(resolve(path), mostDecoderBytes))
    return {
      noInitialRun: true,
      instantiateWasm(imports: WebAssembly.Imports, done: (instance: WebAssembly.Instance) => void) {
        const instance = new WebAssembly.Instance(module, imports)
        done(instance)
        return instance.exports
      },
      printErr: (text: string) => complaints.push(text),
    }
  }
  if (kind === 'jpeg') {
    const { default: mozjpeg } = await import('@jsquash/jpeg/codec/dec/mozjpeg_dec.js')
    const codec = await mozjpeg(await optionsFor('@jsquash/jpeg/codec/dec/mozjpeg_dec.wasm'))
    return { decode: (bytes) => codec.decode(bytes, false), complaints }
  }
  const { default: libwebp } = await import('@jsquash/webp/codec/dec/webp_dec.js')
  const codec = await libwebp(await optionsFor('@jsquash/webp/codec/dec/webp_dec.wasm'))
  return { decode: (bytes) => codec.decode(bytes), complaints }
}
