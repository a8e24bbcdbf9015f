/**
 * Downloads a file over HTTP as a stream of chunks, so that it can be hashed and written while it comes in, and goes on
 * with a broken download where the server can (RFC 9110, section 14).
 *
 * Promises: a server that does not answer, stalls, or sends more than expected ends in a WeftgradError 'fetch' within
 * the given times; nothing is kept here. Runs in browsers and Node.
 */
import { WeftgradError } from '../errors.ts'

export interface DownloadOptions {
  /** A file larger than this is refused. */
  readonly maxBytes: number
  /** How many of the file's first bytes are there already; 0 unless given. */
  readonly resumeFrom?: number | undefined
  /**
   * Called before the first chunk with the place of its first byte in the file: `resumeFrom`, or 0 from a server that
   * only sends files whole.
   */
  readonly onStart?: ((firstByte: number, totalBytes: number | undefined) => void) | undefined
  /** How long the server may take to answer, in ms; 15 s unless given. */
  readonly answerMs?: number
  /** How long the body may stall, in ms; 30 s unless given. */
  readonly stallMs?: number
  /** Ends the download with 'aborted'. */
  readonly signal?: AbortSignal | undefined
  /** Called with the bytes of the file that are there now and, if the server says, the whole. */
  readonly onProgress?: ((receivedBytes: number, totalBytes: number | undefined) => void) | undefined
  /** Another `fetch`, for tests and proxies. */
  readonly fetch?: typeof globalThis.fetch | undefined
}

/**
 * Yields the body's chunks as they arrive.
 * @throws WeftgradError 'fetch' for every failure, with the answer's `status` in its details if it is one of an error;
 * 'aborted' if the signal fired. WeftgradErrors of the callbacks pass through.
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
      throw failed(`the server answered ${status} ${response.statusText}`.trimEnd(), undefined, { status })
    if (response.body === null) throw failed('the answer has no content')
    const firstByte = status === 206 ? firstByteOf(response.headers) : 0
    if (firstByte !== 0 && firstByte !== resumeFrom) throw failed('the server sent another part than was asked for')
    const announced = Number(response.headers.get('content-length') ?? Number.NaN)
    const totalBytes = Number.isSafeInteger(announced) && announced > 0 ? firstByte + announced : undefined
    if (totalBytes !== undefined && totalBytes > maxBytes) {
      throw failed(`it has ${totalBytes} bytes, more than the ${maxBytes} expected at most`)
    }
    onStart?.(firstByte, totalBytes)
    const reader = response.body.getReader()
    let received = firstByte
    for (;;) {
      expect(stallMs, `nothing came for ${stallMs / 1000} s after ${received} bytes`)
      const { done, value } = await reader.read()
      if (done) break
      received += value.length
      if (received > maxBytes) throw failed(`it has more than the ${maxBytes} bytes expected at most`)
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
    // Ends the connection when the caller stops early; after the last byte it does nothing.
    controller.abort()
  }
}

/** The start of the part that a 206 answer holds; NaN if it does not say. */
function firstByteOf(headers: Headers): number {
  return Number(/^bytes (\d+)-/.exec(headers.get('content-range') ?? '')?.[1] ?? Number.NaN)
}

/** `fetch failed` says nothing; the cause under it does (name not found, connection refused). */
function reason(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const { cause } = error
  return cause instanceof Error && cause.message !== '' ? `${error.message} (${cause.message})` : error.message
}
