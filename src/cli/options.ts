/** From an option's text to its value, for options that several commands have. Errors name the option. */
import { WeftgradError } from '../errors.ts'
import { checkTrainSetting, type TrainSetting } from '../study/train-options.ts'

/** A parser for an option of the LeNet-5 job that is a number. Throws WeftgradError 'argument'. */
export function numberSetting(setting: TrainSetting): (text: string) => number {
  return (text) => {
    const value = toNumber(text)
    checkTrainSetting(setting, value, text)
    return value
  }
}

export function unitsSetting(text: string): readonly [number, number] {
  const sizes = text.split(',').map(toNumber)
  checkTrainSetting('units', sizes, text)
  const [first = 0, second = 0] = sizes
  return [first, second]
}

export function splitSetting(text: string): 'official' | 'seed' {
  checkTrainSetting('split', text)
  return text === 'seed' ? 'seed' : 'official'
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
