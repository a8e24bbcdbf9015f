/**
 * Functions that options name: initializers and regularizers. One made by weftgrad carries its class and settings, so that
 * files can describe it; options take the function, its name, or its description.
 */

import { isRecord, type Kind } from '../options.ts'

/** A class by Keras' name and its settings, as a file holds them: `{ className: 'L2', config: { l2: 0.01 } }`. */
export interface Description {
  /** Keras' class name. */
  readonly className: string
  /** The settings, by Keras' names. */
  readonly config: object
}

/** The function, with its description. */
export function described<F extends object>(className: string, config: object, own: F): F & Description {
  return Object.assign(own, { className, config })
}

/** Makers by Keras' names: `he_normal`. */
export type Makers<F> = Readonly<Record<string, (config?: never) => F>>

/** Keras' name of a class: `he_normal` for `HeNormal`. */
const nameOf = (className: string): string => className.replace(/(?<=.)[A-Z]/g, '_$&').toLowerCase()

const parts = (given: unknown): { readonly name: string; readonly config?: unknown } | undefined => {
  if (typeof given === 'string') return { name: nameOf(given) }
  if (!isRecord(given) || typeof given.className !== 'string') return undefined
  return { name: nameOf(given.className), config: given.config }
}

/** The kind of options that take a function, or one of these by name or description. */
export function aFunctionOf(makers: Makers<unknown>): Kind {
  const accepts = (given: unknown): boolean =>
    typeof given === 'function' || Object.hasOwn(makers, parts(given)?.name ?? '')
  return [`a function or one of ${Object.keys(makers).join(', ')}`, accepts]
}

/** The function that an option of that kind gives. @throws WeftgradError 'argument' for settings that it refuses. */
export function functionOf<F extends object>(makers: Makers<F>, given: F | string | Description): F {
  if (typeof given === 'function') return given
  const { name = '', config = {} } = parts(given) ?? {}
  return makers[name]?.(config as never) ?? (given as F)
}
