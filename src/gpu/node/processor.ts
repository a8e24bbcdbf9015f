/** What decides how fast software Vulkan is on this processor, from Linux's /proc/cpuinfo. */
import { readFileSync } from 'node:fs'

export interface Processor {
  /** Tells models apart: vendor, family, model, stepping and name. Virtual machines often have the same name for all. */
  readonly id: string
  readonly hasAvx512: boolean
  /**
   * Whether LLVM loads a vector's lanes from scattered addresses by one instruction: on AVX-512, and on Intel's AVX2.
   * AMD's AVX2 has that instruction too, but it is slow, and LLVM does not use it.
   */
  readonly gathers: boolean
}

/** Reads the first processor; /proc/cpuinfo describes each in a paragraph. */
export function parseProcessor(cpuinfo: string): Processor {
  const [first = ''] = cpuinfo.split(/\n\s*\n/)
  const value = (name: string): string => new RegExp(`^${name}\\s*: (.*)$`, 'm').exec(first)?.[1]?.trim() ?? ''
  const flags = value('flags').split(' ')
  const hasAvx512 = flags.includes('avx512f')
  return {
    id: ['vendor_id', 'cpu family', 'model', 'stepping', 'model name'].map(value).join(' '),
    hasAvx512,
    gathers: hasAvx512 || (flags.includes('avx2') && value('vendor_id') === 'GenuineIntel'),
  }
}

/** This computer's processor; without /proc/cpuinfo, one that can do nothing special. */
export function thisProcessor(): Processor {
  try {
    return parseProcessor(readFileSync('/proc/cpuinfo', 'utf8'))
  } catch {
    return parseProcessor('')
  }
}
