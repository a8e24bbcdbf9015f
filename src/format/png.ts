/**
 * Decodes and encodes PNG with fast-png. Every kind of PNG is decoded to 8-bit samples: 16-bit samples are rounded, 1-, 2- and
 * 4-bit greys are scaled to 0-255, palettes are looked up, and a transparent colour becomes an alpha channel.
 *
 * Promises: chunk lengths, the image's size and the length of its unpacked pixels are checked before the library sees
 * anything, so a malicious file cannot make it allocate; it gets only the chunks of the picture.
 */
import { convertIndexedToRgb, decode, encode } from 'fast-png'
import { Unzlib } from 'fflate'
import { WeftgradError } from '../errors.ts'
import { aNumber, checkOptions, required, theBytes } from '../options.ts'

/** Pixels of a picture. */
export interface PngImage {
  /** In pixels. */
  readonly width: number
  /** In pixels. */
  readonly height: number
  /** 1 grey, 2 grey and alpha, 3 RGB, 4 RGBA. */
  readonly channels: 1 | 2 | 3 | 4
  /** `height * width * channels` samples from 0 to 255, row by row, channels innermost. */
  readonly data: Uint8Array
}

/** 64 megapixels: larger than ordinary photographs. */
const mostPixels = 64 * 1024 * 1024
/** The most pixels per side, as in JPEG: resizing an image holds a row of it as wide numbers. */
const mostExtent = 65_535
/** The most bytes that decoding may need. An 8-bit colour image may have 42 megapixels. */
const mostDecodingBytes = 384 * 2 ** 20
/** Compressed bytes unpacked at a time when measuring; deflate expands one byte to at most 1032. */
const measuringChunkBytes = 4096

const signature = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a] as const
/** The chunks of the picture; others (text, colour profiles, animation) are skipped. */
const pictureChunks: ReadonlySet<string> = new Set(['IHDR', 'PLTE', 'tRNS', 'IDAT', 'IEND'])
/** Samples per pixel and allowed depths, by colour type. PNG specification, 11.2.1. */
const colorTypes: Readonly<Record<number, { samples: number; depths: readonly number[] }>> = {
  0: { samples: 1, depths: [1, 2, 4, 8, 16] },
  2: { samples: 3, depths: [8, 16] },
  3: { samples: 1, depths: [1, 2, 4, 8] },
  4: { samples: 2, depths: [8, 16] },
  6: { samples: 4, depths: [8, 16] },
}
const paletteType = 3

/**
 * Decodes a PNG file; for an animation, its still image.
 * @param source names the bytes in errors, for example the file's path.
 * @throws WeftgradError 'format' for anything damaged, cut off or with more than 65,535 pixels per side, 64 megapixels, or 384 MiB while decoding.
 */
export function decodePng(bytes: Uint8Array, source = 'The PNG data'): PngImage {
  const refuse = (problem: string, cause?: unknown): never => {
    throw new WeftgradError('format', `${source} is not a readable PNG image: ${problem}`, { source }, cause)
  }

  if (signature.some((byte, i) => bytes[i] !== byte)) {
    refuse('it lacks the PNG signature. Convert it to PNG, or check that this is the right file.')
  }
  const chunks = readChunks(bytes, refuse)
  const header = readHeader(chunks, refuse)
  const { width, height, depth, colorType, samples } = header

  const expected = header.interlaced
    ? interlacedBytes(width, height, (depth / 8) * samples)
    : height * (1 + Math.ceil((width * depth * samples) / 8))
  const decodingBytes = decodingBytesOf(header, expected)
  if (decodingBytes > mostDecodingBytes) {
    refuse(
      `decoding its ${width}x${height} pixels with ${samples} samples of ${depth} bits takes ${decodingBytes} bytes; ` +
        `allowed are ${mostDecodingBytes}. Make it smaller${depth === 16 ? ', or save it with 8 bits per sample' : ''}.`,
    )
  }
  measurePixels(chunks, expected, refuse)

  try {
    const png = decode(assemble(chunks), { checkCrc: true })
    if (colorType === paletteType) {
      const channels = png.palette?.[0]?.length === 4 ? 4 : 3
      return { width, height, channels, data: convertIndexedToRgb(png) }
    }
    const eightBit = stretched(png.data, width * samples, height, depth)
    const transparent = png.transparency
    if (transparent === undefined || (samples !== 1 && samples !== 3)) {
      return { width, height, channels: samples as 1 | 2 | 3 | 4, data: eightBit }
    }
    return {
      width,
      height,
      channels: samples === 1 ? 2 : 4,
      data: withAlpha(eightBit, rawSamples(png.data, width * samples, height, depth), samples, transparent),
    }
  } catch (cause) {
    return refuse(`${cause instanceof Error ? cause.message : String(cause)}. Save or download it again.`, cause)
  }
}

/**
 * Encodes 8-bit samples as PNG.
 * @throws WeftgradError 'argument' if the data are no bytes, or do not fit the size.
 */
export function encodePng(image: PngImage): Uint8Array {
  const kinds = {
    width: required(aNumber),
    height: required(aNumber),
    channels: required(aNumber),
    data: required(theBytes),
  }
  const { width, height, channels, data } = checkOptions('encodePng', image, kinds)
  if (!Number.isInteger(width) || !Number.isInteger(height) || width < 1 || height < 1 || width * height > mostPixels) {
    throw new WeftgradError('argument', `A PNG image has 1 to ${mostPixels} pixels, not ${width}x${height}.`, {
      width,
      height,
    })
  }
  if (!(channels >= 1 && channels <= 4) || data.length !== width * height * channels) {
    throw new WeftgradError(
      'argument',
      `${width}x${height} pixels of ${channels} channels (1 to 4) take ${width * height * channels} samples, not ${data.length}.`,
      { width, height, channels, length: data.length },
    )
  }
  return encode({ width, height, channels, depth: 8, data })
}

type Refuse = (problem: string, cause?: unknown) => never

interface Chunk {
  readonly type: string
  /** The whole chunk: length, type, content, CRC. */
  readonly whole: Uint8Array
  readonly content: Uint8Array
}

function readChunks(bytes: Uint8Array, refuse: Refuse): Chunk[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const chunks: Chunk[] = []
  const seen = new Set<string>()
  for (let at: number = signature.length; ; ) {
    if (at + 12 > bytes.length) refuse(`it ends at byte ${bytes.length}, before its last chunk. Download it again.`)
    const length = view.getUint32(at)
    const type = String.fromCharCode(...bytes.subarray(at + 4, at + 8))
    const end = at + 12 + length
    if (end > bytes.length) {
      refuse(
        `the chunk at byte ${at} claims ${length} bytes, but only ${bytes.length - at - 12} follow. Download it again.`,
      )
    }
    if (chunks.length === 0 && (type !== 'IHDR' || length !== 13))
      refuse('the first chunk, at byte 8, is not a header.')
    if (pictureChunks.has(type)) {
      if (type !== 'IDAT' && seen.has(type)) refuse(`there is a second ${type} chunk at byte ${at}. Save it again.`)
      if (type === 'PLTE' && (length === 0 || length > 768 || length % 3 !== 0)) {
        refuse(`the palette at byte ${at} has ${length} bytes, not 3 for each of 1 to 256 colours. Save it again.`)
      }
      seen.add(type)
      chunks.push({ type, whole: bytes.subarray(at, end), content: bytes.subarray(at + 8, end - 4) })
    } else if (!/^[a-z][A-Za-z]{3}$/.test(type)) {
      // A capital first letter marks a chunk that is needed to decode the picture.
      refuse(`the chunk at byte ${at} is of an unknown kind. Save it again as an ordinary PNG.`)
    }
    if (type === 'IEND') return chunks
    at = end
  }
}

interface Header {
  readonly width: number
  readonly height: number
  readonly depth: number
  readonly colorType: number
  readonly samples: number
}

/** The library holds the unpacked rows twice, and once without filters; the samples decoded here come on top. */
function decodingBytesOf({ width, height, depth, colorType, samples }: Header, unpackedBytes: number): number {
  const pixels = width * height
  const converted = colorType === paletteType ? 4 * pixels : depth === 8 ? 0 : pixels * samples
  return 3 * unpackedBytes + converted
}

function readHeader(chunks: readonly Chunk[], refuse: Refuse) {
  const content = chunks[0]?.content ?? new Uint8Array(13)
  const view = new DataView(content.buffer, content.byteOffset, content.byteLength)
  const width = view.getUint32(0)
  const height = view.getUint32(4)
  const [depth = 0, colorType = 0, compression, filter, interlace] = content.subarray(8)
  const isSane = Math.min(width, height) > 0 && Math.max(width, height) <= mostExtent && width * height <= mostPixels
  if (!isSane) {
    refuse(
      `its header says ${width}x${height} pixels; allowed are 1 to ${mostPixels}, at most ${mostExtent} per side. Make it smaller.`,
    )
  }
  const color = colorTypes[colorType]
  if (color === undefined || !color.depths.includes(depth)) {
    return refuse(`its header gives colour type ${colorType} with ${depth} bits, which does not exist. Save it again.`)
  }
  if (compression !== 0 || filter !== 0 || (interlace !== 0 && interlace !== 1)) {
    refuse('its header gives an unknown compression, filter or interlacing. Save it again.')
  }
  if (interlace === 1 && depth < 8) {
    // fast-png 8.0.0 assumes whole bytes per pixel in interlaced images.
    refuse(`it is interlaced with ${depth} bits per pixel, which is not supported. Save it without interlacing.`)
  }
  return { width, height, depth, colorType, samples: color.samples, interlaced: interlace === 1 }
}

/** Bytes of the seven passes of Adam7, each row with its filter byte. PNG specification, 8.2. */
function interlacedBytes(width: number, height: number, bytesPerPixel: number): number {
  const passes = [
    [0, 0, 8, 8],
    [4, 0, 8, 8],
    [0, 4, 4, 8],
    [2, 0, 4, 4],
    [0, 2, 2, 4],
    [1, 0, 2, 2],
    [0, 1, 1, 2],
  ] as const
  let total = 0
  for (const [x, y, stepX, stepY] of passes) {
    const columns = Math.ceil((width - x) / stepX)
    const rows = Math.ceil((height - y) / stepY)
    if (columns > 0 && rows > 0) total += rows * (1 + columns * bytesPerPixel)
  }
  return total
}

/** Unpacks the pixels once without storing them, so that the library gets exactly as many bytes as it expects. */
function measurePixels(chunks: readonly Chunk[], expected: number, refuse: Refuse): void {
  let length = 0
  const inflator = new Unzlib((part) => {
    length += part.length
  })
  try {
    for (const { type, content } of chunks) {
      if (type !== 'IDAT') continue
      for (let at = 0; at < content.length && length <= expected; at += measuringChunkBytes) {
        inflator.push(content.subarray(at, at + measuringChunkBytes))
      }
    }
    if (length <= expected) inflator.push(new Uint8Array(0), true)
  } catch (cause) {
    refuse(
      `its pixels cannot be unpacked (${cause instanceof Error ? cause.message : String(cause)}). Download it again.`,
    )
  }
  if (length !== expected) {
    const found = length > expected ? `more than ${expected}` : `${length} instead of ${expected}`
    refuse(`its pixels unpack to ${found} bytes. Download it again.`)
  }
}

function assemble(chunks: readonly Chunk[]): Uint8Array {
  const bytes = new Uint8Array(chunks.reduce<number>((sum, { whole }) => sum + whole.length, signature.length))
  bytes.set(signature)
  let at: number = signature.length
  for (const { whole } of chunks) {
    bytes.set(whole, at)
    at += whole.length
  }
  return bytes
}

/** One element per sample. Below 8 bits, the library leaves samples packed into bytes; each row starts a new byte. */
function rawSamples(
  packed: Uint8Array | Uint8ClampedArray | Uint16Array,
  perRow: number,
  rows: number,
  depth: number,
): Uint8Array | Uint16Array {
  if (packed instanceof Uint16Array) return packed
  if (depth === 8) return new Uint8Array(packed.buffer, packed.byteOffset, packed.length)
  const samples = new Uint8Array(rows * perRow)
  const rowBytes = Math.ceil((perRow * depth) / 8)
  const mask = (1 << depth) - 1
  for (let row = 0; row < rows; row++) {
    for (let i = 0; i < perRow; i++) {
      const bit = i * depth
      const byte = packed[row * rowBytes + (bit >> 3)] ?? 0
      samples[row * perRow + i] = (byte >> (8 - depth - (bit & 7))) & mask
    }
  }
  return samples
}

/** Samples of any depth as 0 to 255. */
function stretched(
  packed: Uint8Array | Uint8ClampedArray | Uint16Array,
  perRow: number,
  rows: number,
  depth: number,
): Uint8Array {
  const samples = rawSamples(packed, perRow, rows, depth)
  if (samples instanceof Uint8Array && depth === 8) return samples
  const largest = 2 ** depth - 1
  const eightBit = new Uint8Array(samples.length)
  for (let i = 0; i < samples.length; i++) eightBit[i] = Math.round(((samples[i] ?? 0) * 255) / largest)
  return eightBit
}

/** Adds an alpha channel: 0 for the transparent colour, else 255. */
function withAlpha(
  eightBit: Uint8Array,
  samples: Uint8Array | Uint16Array,
  channels: number,
  transparent: Uint16Array,
): Uint8Array {
  const pixels = eightBit.length / channels
  const result = new Uint8Array(pixels * (channels + 1))
  for (let pixel = 0; pixel < pixels; pixel++) {
    let equal = transparent.length >= channels
    for (let channel = 0; channel < channels; channel++) {
      const i = pixel * channels + channel
      result[pixel * (channels + 1) + channel] = eightBit[i] ?? 0
      if (samples[i] !== transparent[channel]) equal = false
    }
    result[pixel * (channels + 1) + channels] = equal ? 0 : 255
  }
  return result
}
