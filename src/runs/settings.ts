/**
 * A table of a job's settings: for each its name on the command line, its help, how it is parsed, what it accepts, and
 * its defaults. The command line, the job and its `config.json` share the table. Errors name a setting as the command
 * line does.
 */
import { WeftgradError } from '../errors.ts'
import { setting as settingText } from '../numbers.ts'

export interface Setting {
  /** The option on the command line, such as `--epochs`. */
  readonly flag: string
  /** The placeholder of the value in the help, such as `<n>`; absent for a switch. */
  readonly value?: string
  readonly help: string
  /** The help of the `--no-` form, for a switch that can also be turned off. */
  readonly helpOff?: string
  /** The accepted values, to follow 'must be'. */
  readonly what: string
  readonly accepts: (value: unknown) => boolean
  /** Parses an option's text; the result may be invalid. */
  readonly parse: (text: string) => unknown
}

/**
 * Parses a plain decimal number; NaN for anything else. `Number` alone would accept '', ' 1 ', '0x10' and 'Infinity'.
 */
function numberIn(text: string): number {
  return /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text) ? Number(text) : Number.NaN
}

export const whole =
  (least: number, most: number) =>
  (value: unknown): boolean =>
    typeof value === 'number' && Number.isSafeInteger(value) && value >= least && value <= most

/** @param what such as 'a whole number from 1 to 10,000', matching the bounds. */
export function wholeNumber(flag: string, help: string, what: string, least: number, most: number): Setting {
  return { flag, value: '<n>', help, what, accepts: whole(least, most), parse: numberIn }
}

/** A whole number of images; null, the default, means all. */
export function imageLimit(flag: string, help: string, least: number): Setting {
  const accepts = whole(least, Number.MAX_SAFE_INTEGER)
  const what = `a whole number of images, at least ${least}`
  return { flag, value: '<n>', help, what, accepts: (value) => value === null || accepts(value), parse: numberIn }
}

export function numberWhere(flag: string, help: string, what: string, accepts: (value: number) => boolean): Setting {
  return {
    flag,
    value: '<x>',
    help,
    what,
    accepts: (value) => typeof value === 'number' && accepts(value),
    parse: numberIn,
  }
}

/** @param what names the words; 'one of a, b' unless given. */
export function oneWord(
  flag: string,
  help: string,
  words: readonly string[],
  what = `one of ${words.join(', ')}`,
): Setting {
  return { flag, value: '<name>', help, what, accepts: (value) => words.some((word) => word === value), parse: same }
}

/** Any text that is not blank; null, the default, means none. */
export function optionalText(flag: string, value: string, help: string, what: string): Setting {
  return { flag, value, help, what, accepts: (given) => given === null || isText(given), parse: same }
}

/** Different names, separated by commas. */
export function nameList(flag: string, help: string, what: string): Setting {
  const accepts = (value: unknown): boolean =>
    Array.isArray(value) && value.length > 0 && value.every(isText) && new Set(value).size === value.length
  return { flag, value: '<a,b>', help, what, accepts, parse: (text) => text.split(',') }
}

/** Numbers, separated by commas. */
export function numberList(
  flag: string,
  help: string,
  what: string,
  accepts: (value: readonly unknown[]) => boolean,
): Setting {
  return {
    flag,
    value: '<a,b>',
    help,
    what,
    accepts: (value) => Array.isArray(value) && accepts(value),
    parse: (text) => text.split(',').map(numberIn),
  }
}

export function toggle(flag: string, help: string, helpOff?: string): Setting {
  return {
    flag,
    help,
    ...(helpOff === undefined ? {} : { helpOff }),
    what: 'true or false',
    accepts: (value) => typeof value === 'boolean',
    parse: same,
  }
}

/** Settings that several jobs have; each gives its own help. */
export const common = {
  epochs: (help: string, flag = '--epochs'): Setting =>
    wholeNumber(flag, help, 'a whole number from 1 to 10,000', 1, 10_000),
  batchSize: (help: string): Setting => wholeNumber('--batch-size', help, 'a whole number from 1 to 8,192', 1, 8_192),
  learningRate: (help: string, flag = '--learning-rate'): Setting =>
    numberWhere(flag, help, 'a number above 0 and up to 10', (value) => value > 0 && value <= 10),
  share: (flag: string, help: string): Setting =>
    numberWhere(flag, help, 'a number from 0 and below 1', (value) => value >= 0 && value < 1),
  seed: (help: string): Setting =>
    wholeNumber('--seed', help, 'a whole number from 0 to 2^53 - 1', 0, Number.MAX_SAFE_INTEGER),
}

/** A set of defaults. The first one of a table, without a label, is used unless another is chosen. */
export interface Defaults<Settings> {
  /** The name in the help, such as `best`. */
  readonly label?: string
  readonly settings: Settings
}

export class SettingsTable<Settings extends object> {
  readonly names: readonly (keyof Settings & string)[]
  readonly #settings: Readonly<Record<keyof Settings, Setting>>
  readonly #defaults: readonly Defaults<Settings>[]

  constructor(settings: Readonly<Record<keyof Settings, Setting>>, ...defaults: readonly Defaults<Settings>[]) {
    this.#settings = settings
    this.#defaults = defaults
    this.names = Object.keys(settings) as (keyof Settings & string)[]
  }

  of(name: keyof Settings): Setting {
    return this.#settings[name]
  }

  /** The setting's help with its defaults, except for switches. */
  helpOf(name: keyof Settings): string {
    const { help, value } = this.#settings[name]
    const told = this.#defaults.map(({ label, settings }) => ({ label, text: defaultText(settings[name]) }))
    const [first] = told
    if (value === undefined || first === undefined || first.text === undefined) return help
    const others = told.filter(({ label, text }) => text !== first.text && text !== label)
    const all = told.map(({ label, text }) => `${label}: ${text}`).join('; ')
    if (first.label !== undefined && others.length > 0) return `${help} (default: ${all})`
    return `${help} (${[`default: ${first.text}`, ...others.map(({ label, text }) => `${label}: ${text}`)].join('; ')})`
  }

  /** Parses an option's text. Throws WeftgradError 'argument' if the setting does not accept the value. */
  parse<Name extends keyof Settings & string>(name: Name, text: string): Settings[Name] {
    const value = this.#settings[name].parse(text)
    this.check(name, value, text)
    // The setting has just accepted it.
    return value as Settings[Name]
  }

  /**
   * Throws WeftgradError 'argument' for a value that the setting does not accept.
   * @param shown the value as the user wrote it.
   */
  check(name: keyof Settings & string, value: unknown, shown: string = textOf(value)): void {
    const { flag, what, accepts } = this.#settings[name]
    if (accepts(value)) return
    throw new WeftgradError('argument', `${flag} must be ${what}, not '${shown}'.`, { setting: name, value: shown })
  }

  /** Completes the given settings with defaults. Throws WeftgradError 'argument', naming the setting. */
  resolve(given: Partial<Settings>, defaults: Settings | undefined = this.#defaults[0]?.settings): Settings {
    const chosen = this.names.map((name) => [name, given[name] ?? defaults?.[name]] as const)
    for (const [name, value] of chosen) this.check(name, value)
    // Each value has just been checked by its setting.
    return Object.fromEntries(chosen) as unknown as Settings
  }

  /**
   * Reads settings from a `config.json`. Throws WeftgradError 'format' if one is missing or out of range.
   * @param source names the file in errors.
   */
  read(value: unknown, source: string): Settings {
    const found: Readonly<Record<string, unknown>> = typeof value === 'object' && value !== null ? { ...value } : {}
    for (const name of this.names) {
      if (this.#settings[name].accepts(found[name])) continue
      throw new WeftgradError(
        'format',
        `${source} is not the configuration of a run: '${name}' must be ${this.#settings[name].what}, not ${textOf(found[name])}.`,
        { source, setting: name },
      )
    }
    // Each value has just been checked by its setting.
    return Object.fromEntries(this.names.map((name) => [name, found[name]])) as unknown as Settings
  }

  /** The first given setting that differs from the run's, which a resumed run rejects. */
  contradiction(run: Settings, given: Partial<Settings>): Contradiction | undefined {
    const name = this.names.find((one) => given[one] !== undefined && textOf(given[one]) !== textOf(run[one]))
    return name === undefined ? undefined : { flag: this.of(name).flag, run: run[name], given: given[name] }
  }
}

/** An option that contradicts the run it resumes. */
export interface Contradiction {
  readonly flag: string
  readonly run: unknown
  readonly given: unknown
}

export function textOf(value: unknown): string {
  return Array.isArray(value) ? value.join(',') : String(value)
}

function defaultText(value: unknown): string | undefined {
  if (value === null || value === undefined) return undefined
  return Array.isArray(value) ? value.join(',') : settingText(value)
}

function isText(value: unknown): boolean {
  return typeof value === 'string' && value.trim() !== ''
}

function same(text: string): string {
  return text
}
