/** JSON out of files, of which nothing is known until it has been looked at. */

export { isRecord } from '../options.ts'

/** What the text holds; undefined if it is not JSON. */
export function parsedJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** A list of whole numbers from 0 on: a shape, or places. */
export function isSizes(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((size) => Number.isSafeInteger(size) && size >= 0)
}
