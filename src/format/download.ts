/**
 * Downloads a file over HTTP as a stream of chunks, so that it can be hashed and written while it arrives, and resumes a
 * broken download if the server supports it (RFC 9110, section 14).
 *
 * Promises: a server that does not answer, stalls, sends more than expected, or sends a web page instead of the file causes a
 * WeftgradError 'fetch' within the given times. Stores nothing. Runs in browsers and Node.
 */
import { WeftgradError } from '../errors.ts'

export interface DownloadOptions {
  /** A file larger than this is refused. */
  readonly maxBytes: number
  /** Number of the file's first bytes that exist already; 0 by default. */
  readonly resumeFrom?: number | undefined
  /**
   * Called before the first chunk with the offset of its first byte in the file: `resumeFrom`, or 0 if the server only sends
   * whole files.
   */
  readonly onStart?: ((firstByte: number, totalBytes: number | undefined) => void) | undefined
  /** The longest time to the server's answer in ms; 15 s by default. */
  readonly answerMs?: number
  /** The longest pause in the body in ms; 30 s by default. */
  readonly stallMs?: number
  /** Ends the download with 'aborted'. */
  readonly signal?: AbortSignal | undefined
  /** Called with the bytes received so far and, if the server reports it, the file's size. */
  readonly onProgress?: ((receivedBytes: number, totalBytes: number | undefined) => void) | undefined
  /** Another `fetch`, for tests and proxies. */
  readonly fetch?: typeof globalThis.fetch | undefined
}

/**
 * Yields the body's chunks as they arrive.
 * @throws WeftgradError 'fetch' for every failure, with the answer's `status` in its details if it is an error, and
 * `misfit` if the answer does not continue from `resumeFrom`; 'aborted' if the signal fired. WeftgradErrors of the callbacks
 * pass through.
 */
export async function* download(url: string, options: DownloadOptions): AsyncGenerator<Uint8Array, void, void> {
  const { maxBytes, answerMs = 15_000, stallMs = 30_000, signal, fetch = globalThis.fetch } = options
  const { resumeFrom = 0, onStart, onProgress } = options
  const failed = (problem: string, cause?: unknown, details: Record<string, unknown> = {}): WeftgradError =>
    new WeftgradError('fetch', `${url} could not be downloaded: ${problem}.`, { url, ...details }, cause)
  const aborted = (): WeftgradError =>
    new WeftgradError('aborted', `The download of ${url} was aborted.`, { url }, signal?.reason)
  if (signal?.aborted) throw aborted()

  const controller = new AbortController()
  let late: string | undefined
  let timer: ReturnType<typeof setTimeout> | undefined
  const expect = (ms: number, problem: string): void => {
    clearTimeout(timer)
    timer = setTimeout(() => {
      late = problem
      controller.abort()
    }, ms)
  }
  const forward = (): void => controller.abort()
  signal?.addEventListener('abort', forward)

  try {
    expect(answerMs, `no answer within ${answerMs / 1000} s`)
    const range = resumeFrom > 0 ? { headers: { range: `bytes=${resumeFrom}-` } } : {}
    const response = await fetch(url, { signal: controller.signal, ...range })
    const { status } = response
    if (!response.ok)
      throw failed(`the server answered ${status} ${response.statusText}`.trimEnd(), undefined, {
        status,
        ...(status === 416 ? { misfit: true } : {}),
      })
    if (response.body === null) throw failed('the answer has no content')
    const part = status === 206 ? partOf(response.headers) : wholeFile
    const { firstByte } = part
    // If the server sends the whole file, the existing bytes are not at fault.
    const misfit = status === 206 ? { misfit: true } : {}
    if (firstByte !== 0 && firstByte !== resumeFrom)
      throw failed('the server sent a different part than requested', undefined, misfit)
    const announced = Number(response.headers.get('content-length') ?? Number.NaN)
    const end = Number.isSafeInteger(announced) && announced > 0 ? firstByte + announced : undefined
    const totalBytes = part.totalBytes ?? end
    if (totalBytes !== undefined && totalBytes > maxBytes) {
      throw failed(`it has ${totalBytes} bytes, more than the expected ${maxBytes}`, undefined, misfit)
    }
    onStart?.(firstByte, totalBytes)
    const reader = response.body.getReader()
    let received = firstByte
    for (;;) {
      expect(stallMs, `no data for ${stallMs / 1000} s after ${received} bytes`)
      const { done, value } = await reader.read()
      if (done) break
      if (received === 0 && isWebPage(value)) {
        throw failed('the server sent a web page, not the file. Does this network require a login?')
      }
      received += value.length
      if (received > maxBytes) throw failed(`it has more than the expected ${maxBytes} bytes`, undefined, misfit)
      onProgress?.(received, totalBytes)
      clearTimeout(timer)
      yield value
    }
  } catch (error) {
    if (signal?.aborted) throw aborted()
    if (late !== undefined) throw failed(late, error)
    if (error instanceof WeftgradError) throw error
    throw failed(reason(error), error)
  } finally {
    clearTimeout(timer)
    signal?.removeEventListener('abort', forward)
    // Closes the connection if the caller stops early. Does nothing after the last byte.
    controller.abort()
  }
}

/** A whole file in memory. Throws as `download`. */
export async function downloadWhole(url: string, options: DownloadOptions): Promise<Uint8Array<ArrayBuffer>> {
  const chunks: Uint8Array[] = []
  for await (const chunk of download(url, options)) chunks.push(chunk)
  const bytes = new Uint8Array(chunks.reduce((length, chunk) => length + chunk.length, 0))
  let end = 0
  for (const chunk of chunks) {
    bytes.set(chunk, end)
    end += chunk.length
  }
  return bytes
}

const wholeFile = { firstByte: 0, totalBytes: undefined } as const

/** The start of a 206 answer's part, NaN if not given, and the file's size, if given. */
function partOf(headers: Headers): { readonly firstByte: number; readonly totalBytes: number | undefined } {
  const [, first, total] = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(headers.get('content-range') ?? '') ?? []
  return {
    firstByte: Number(first ?? Number.NaN),
    totalBytes: total === undefined || total === '*' ? undefined : Number(total),
  }
}

/** Whether a file starts like an HTML page, as no data file does. */
function isWebPage(bytes: Uint8Array): boolean {
  return /^\uFEFF?\s*<(!doctype|!--|html|head|body|script|\?xml)\b/i.test(
    new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes.subarray(0, 256)),
  )
}

/** `fetch failed` says nothing; its cause does (name not found, connection refused). */
function reason(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const { cause } = error
  return cause instanceof Error && cause.message !== '' ? `${error.message} (${cause.message})` : error.message
}
