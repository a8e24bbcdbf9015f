/**
 * What callers may give, checked where TypeScript does not: a name that an options object does not know, and a value of
 * another type, are refused before anything is done. Types are all that stands here; what a value means is its reader's.
 */

import { WeftgradError } from './errors.ts'
import { nameHint } from './near-names.ts'

/** What a value must be, in words and as a test. Without it nothing is checked where the value is absent. */
export type Kind = readonly [words: string, accepts: (value: unknown) => boolean, isRequired?: boolean]

/** A kind for each option, or the options of an object among them. */
export type OptionKinds<Options> = {
  readonly [Name in keyof Options]-?: Kind | OptionKinds<NonNullable<Options[Name]>>
}

const isNumber = (value: unknown): value is number => typeof value === 'number'

/** For what its reader checks by itself. */
export const anything: Kind = ['anything', () => true]
export const aFlag: Kind = ['true or false', (value) => value === !!value]
export const aString: Kind = ['a string', (value) => typeof value === 'string']
export const aFunction: Kind = ['a function', (value) => typeof value === 'function']
export const aNumber: Kind = ['a number', (value) => isNumber(value) && !Number.isNaN(value)]
export const positive: Kind = ['a positive number', (value) => isNumber(value) && value > 0 && value < 1 / 0]
export const fraction: Kind = ['a number in [0, 1)', (value) => isNumber(value) && value >= 0 && value < 1]
export const countFrom1: Kind = ['a positive whole number', (value) => positive[1](value) && Number.isInteger(value)]
export const countFrom0: Kind = ['a non-negative whole number', (value) => value === 0 || countFrom1[1](value)]
export const anArray: Kind = ['an array', Array.isArray]
/** Numbers one after the other, in an array of whatever type. */
export const aList: Kind = ['an array', (value) => Array.isArray(value) || ArrayBuffer.isView(value)]
export const anObject: Kind = ['an object', isRecord]
export const aSignal: Kind = ['an AbortSignal', (value) => value instanceof AbortSignal]
/** Numbers from 0 to 1, which have bytes of their own, would be taken for black. */
export const theBytes: Kind = [
  'bytes from 0 to 255, a Uint8Array',
  (value) => value instanceof Uint8Array || value instanceof Uint8ClampedArray,
]

/** One of these strings. */
export function oneOf(...names: readonly unknown[]): Kind {
  return [`one of ${names.join(', ')}`, (value) => names.includes(value)]
}

/** Whether a value has this method: what an interface asks for, whoever keeps it. */
export function objectWith(value: unknown, method: string): boolean {
  return isRecord(value) && typeof value[method] === 'function'
}

/** The same, and absence is refused, too. */
export const required = ([words, accepts]: Kind): Kind => [words, accepts, true]

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** A value as a message shows it: the beginning of a text or an array, of another object the class. */
function shown(value: unknown): string {
  if (Array.isArray(value)) return `[${value.slice(0, 9)}]`
  if (value instanceof Object) return value.constructor.name
  return typeof value === 'string' ? `'${value.slice(0, 40)}'` : isRecord(value) ? 'an object' : String(value)
}

/** Throws 'argument' for a value that is not of the kind. `what` names it: "dense1: units". */
export function checkValue(what: string, value: unknown, [words, accepts]: Kind): void {
  if (!accepts(value)) throw new WeftgradError('argument', `${what} must be ${words}, not ${shown(value)}.`, { value })
}

/**
 * The options, once they are known to be what `kinds` says.
 * @param what names the function, or the layer.
 * @throws WeftgradError 'argument' for what is no object, a name that `kinds` lacks (with the nearest that it has), a value of
 * another kind, or a required one that is not there.
 */
export function checkOptions<Options extends object>(
  what: string,
  options: Options,
  kinds: OptionKinds<Options>,
): Options {
  checkObject(what, options, kinds as Readonly<Record<string, unknown>>)
  return options
}

/** `isMember`: an object within the options. An instance of a class may then have more than is asked for, but not nothing. */
function checkObject(what: string, options: unknown, kinds: Readonly<Record<string, unknown>>, isMember = false): void {
  checkValue(isMember ? what : `${what}: the options`, options, anObject)
  if (!isRecord(options)) return
  const known = Object.keys(kinds)
  const maker = options.constructor ?? Object
  let names = Object.keys(options)
  if (isMember && maker !== Object) names = known.some((name) => name in options) ? [] : [maker.name]
  const foreign = names.find((name) => !known.includes(name))
  if (foreign !== undefined)
    throw new WeftgradError('argument', `${what} has no option ${foreign}${nameHint(foreign, known)}`, {
      name: foreign,
    })
  for (const [name, kind] of Object.entries(kinds)) {
    const value = options[name]
    if (isKind(kind)) {
      if (value !== undefined || kind[2] === true) checkValue(`${what}: ${name}`, value, kind)
    } else if (value !== undefined) checkObject(`${what}: ${name}`, value, kind as typeof kinds, true)
  }
}

const isKind = (kind: unknown): kind is Kind => Array.isArray(kind)
