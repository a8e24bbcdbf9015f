/** Parses and checks JSON from untrusted files. */

import { isRecord } from '../options.ts'

export { isRecord }

/**
 * The most lists and objects of a text. In memory each takes about 50 bytes, and 16 million of them can come out of an archive
 * of 16 kB; the largest files in use have some hundred thousand.
 */
const mostBrackets = 2 ** 21
const [openingBracket, openingBrace] = [0x5b, 0x7b]

/** The parsed text; undefined if it is not JSON. */
export function parsedJson(text: string): unknown {
  try {
    return boundedJson(text)
  } catch {
    return undefined
  }
}

/** The parsed text. Throws SyntaxError if it is not JSON, or has more than 2^21 opening brackets. */
export function boundedJson(text: string): unknown {
  let brackets = 0
  for (let at = 0; text.length > mostBrackets && at < text.length; at++) {
    const code = text.charCodeAt(at)
    if ((code === openingBracket || code === openingBrace) && ++brackets > mostBrackets)
      throw new SyntaxError(`more than ${mostBrackets} lists and objects`)
  }
  return JSON.parse(text)
}

/** The texts of a record, by name; what else it holds is left out. Without a prototype, so that all keys are safe. */
export function textsOf(value: unknown): Readonly<Record<string, string>> {
  const texts: Record<string, string> = Object.create(null)
  for (const [name, text] of Object.entries(isRecord(value) ? value : {}))
    if (typeof text === 'string') texts[name] = text
  return texts
}

/** A list of whole numbers from 0: a shape or offsets. */
export function isSizes(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((size) => Number.isSafeInteger(size) && size >= 0)
}
