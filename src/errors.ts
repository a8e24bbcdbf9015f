/**
 * Every error weftgrad throws on purpose. A `code` is stable and can be tested for; the message is a sentence that says
 * what was wrong and what to do; `details` holds the values involved.
 */

import { printable } from './printable.ts'

/** Of a message, which may quote what a file holds. The end, which says what to do, is kept. */
const longestMessage = 2000

/**
 * The stable codes, one a kind of failure: 'shape' and 'argument' for calls that make no sense, 'no-gradient'; 'no-adapter',
 * 'device', 'device-lost', 'limit', 'disposed' about devices; 'format', 'checksum', 'data', 'fetch', 'file', 'mismatch',
 * 'lock-lost' about files and what they hold; 'not-finite' and 'aborted' in training; 'queue' and 'set-aside' about work on
 * other machines.
 */
export type ErrorCode =
  | 'shape' // shapes, dtypes or attributes that do not fit an operator
  | 'argument' // a value out of range, an unknown option
  | 'no-gradient' // a derivative was asked for that does not exist
  | 'no-adapter' // no WebGPU adapter could be found or provisioned
  | 'device' // the WebGPU implementation refused something (validation, out of memory)
  | 'device-lost' // the device went away; whatever was pending rejects with this
  | 'limit' // something is larger than the adapter allows, or than the memory it has left
  | 'disposed' // memory was used after dispose()
  | 'format' // a file's bytes are not what its format promises
  | 'checksum' // a file's bytes are well formed but not the published ones
  | 'data' // values in a data set are missing, contradictory or out of range
  | 'fetch' // something could not be downloaded or provisioned
  | 'file' // a file could not be read or written
  | 'lock-lost' // another process took over the folder that this one was working in
  | 'mismatch' // a file or checkpoint does not fit the model or run at hand
  | 'not-finite' // NaN or infinity appeared in training
  | 'aborted' // the caller's AbortSignal fired
  | 'queue' // the server of a queue, or its store, cannot be used
  | 'set-aside' // a unit of work failed several times on a queue's workers

/** What weftgrad throws on purpose: a sentence that says what was wrong and what to do, a stable code, the values involved. */
export class WeftgradError extends Error {
  /** To be tested for: `if (error instanceof WeftgradError && error.code === 'device-lost')`. */
  readonly code: ErrorCode
  /** The values involved, by name; which ones depends on the error. */
  readonly details: Readonly<Record<string, unknown>>

  /** For operators and layers of your own, so that their errors are like the others. */
  constructor(code: ErrorCode, message: string, details: Readonly<Record<string, unknown>> = {}, cause?: unknown) {
    // What WebGPU says of a shader has lines of its own.
    super(code === 'device' ? message : printable(message, longestMessage), cause === undefined ? undefined : { cause })
    this.name = 'WeftgradError'
    this.code = code
    this.details = details
  }
}
