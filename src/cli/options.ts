/** From an option's text to its value, for options that several commands have. Errors name the option. */
import { WeftgradError } from '../errors.ts'
import type { SettingsTable } from '../study/settings.ts'
import { trainSettings } from '../study/train-options.ts'

/** A parser for a setting that is a number. Throws WeftgradError 'argument'. */
export function numberSetting<Settings extends object>(
  table: SettingsTable<Settings>,
  setting: keyof Settings & string,
): (text: string) => number {
  return (text) => {
    const value = toNumber(text)
    table.check(setting, value, text)
    return value
  }
}

/** A parser for a setting that is one of a few words, or a name. Throws WeftgradError 'argument'. */
export function wordSetting<Settings extends object, Name extends keyof Settings & string>(
  table: SettingsTable<Settings>,
  setting: Name,
): (text: string) => Settings[Name] {
  return (text) => {
    table.check(setting, text)
    // The setting's rule has just accepted it.
    return text as Settings[Name]
  }
}

export function unitsSetting(text: string): readonly [number, number] {
  const sizes = text.split(',').map(toNumber)
  trainSettings.check('units', sizes, text)
  const [first = 0, second = 0] = sizes
  return [first, second]
}

/** Names with commas between. Throws WeftgradError 'argument'. */
export function listSetting<Settings extends object>(
  table: SettingsTable<Settings>,
  setting: keyof Settings & string,
): (text: string) => readonly string[] {
  return (text) => {
    const names = text.split(',')
    table.check(setting, names, text)
    return names
  }
}

/** A folder's or file's name; empty ones, as an unset shell variable gives, are refused. */
export function pathOption(flag: string): (text: string) => string {
  return (text) => {
    if (text.trim() !== '') return text
    throw new WeftgradError('argument', `${flag} has to name a folder, but its value is empty.`, { flag })
  }
}

/** NaN for anything but a plain decimal number: `Number` alone would take '', ' 1 ', '0x10' and 'Infinity'. */
function toNumber(text: string): number {
  return /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text) ? Number(text) : Number.NaN
}
