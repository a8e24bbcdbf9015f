/**
 * A table of a job's settings: what each is called on the command line, and what it accepts. The command line, the job
 * and its `config.json` share it. Errors name a setting as the command line does.
 */
import { WeftgradError } from '../errors.ts'

export interface SettingRule {
  readonly flag: string
  /** Goes on after 'has to be'. */
  readonly what: string
  readonly accepts: (value: unknown) => boolean
}

export class SettingsTable<Settings extends object> {
  readonly names: readonly (keyof Settings & string)[]
  readonly #rules: Readonly<Record<keyof Settings, SettingRule>>

  constructor(rules: Readonly<Record<keyof Settings, SettingRule>>) {
    this.#rules = rules
    this.names = Object.keys(rules) as (keyof Settings & string)[]
  }

  flagOf(setting: keyof Settings): string {
    return this.#rules[setting].flag
  }

  /**
   * Throws WeftgradError 'argument' for a value that the setting does not take.
   * @param shown the value as the user wrote it.
   */
  check(setting: keyof Settings & string, value: unknown, shown: string = textOf(value)): void {
    const { flag, what, accepts } = this.#rules[setting]
    if (accepts(value)) return
    throw new WeftgradError('argument', `${flag} has to be ${what}, not '${shown}'.`, { setting, value: shown })
  }

  /** The given settings, defaults for the rest. Throws WeftgradError 'argument', naming the setting. */
  resolve(given: Partial<Settings>, defaults: Settings): Settings {
    const chosen = this.names.map((name) => [name, given[name] ?? defaults[name]] as const)
    for (const [name, value] of chosen) this.check(name, value)
    // Each value has just been checked by its setting's rule.
    return Object.fromEntries(chosen) as unknown as Settings
  }

  /**
   * Settings out of a `config.json`. Throws WeftgradError 'format' where one is missing or out of range.
   * @param source names the file in errors.
   */
  read(value: unknown, source: string): Settings {
    const found: Readonly<Record<string, unknown>> = typeof value === 'object' && value !== null ? { ...value } : {}
    for (const name of this.names) {
      if (this.#rules[name].accepts(found[name])) continue
      throw new WeftgradError(
        'format',
        `${source} is not the configuration of a run: '${name}' has to be ${this.#rules[name].what}, not ${textOf(found[name])}.`,
        { source, setting: name },
      )
    }
    // Each value has just been checked by its rule.
    return Object.fromEntries(this.names.map((name) => [name, found[name]])) as unknown as Settings
  }

  /** The first given setting that differs from the run's, which a resumed run refuses. */
  contradiction(run: Settings, given: Partial<Settings>): (keyof Settings & string) | undefined {
    return this.names.find((name) => given[name] !== undefined && textOf(given[name]) !== textOf(run[name]))
  }
}

export function textOf(value: unknown): string {
  return Array.isArray(value) ? value.join(',') : String(value)
}

export const whole =
  (least: number, most: number) =>
  (value: unknown): boolean =>
    typeof value === 'number' && Number.isSafeInteger(value) && value >= least && value <= most

/** Rules that several jobs have. */
export const commonRules = {
  epochs: { flag: '--epochs', what: 'a whole number from 1 to 10,000', accepts: whole(1, 10_000) },
  batchSize: { flag: '--batch-size', what: 'a whole number from 1 to 8,192', accepts: whole(1, 8_192) },
  learningRate: {
    flag: '--learning-rate',
    what: 'a number above 0 and up to 10',
    accepts: (value: unknown) => typeof value === 'number' && value > 0 && value <= 10,
  },
  seed: { flag: '--seed', what: 'a whole number from 0 to 2^53 - 1', accepts: whole(0, Number.MAX_SAFE_INTEGER) },
} as const satisfies Readonly<Record<string, SettingRule>>
