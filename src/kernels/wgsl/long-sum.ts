/**
 * Sums of many terms, for every kernel that adds in a loop. A plain loop loses more and more low bits as the sum grows:
 * 100,000 small terms after a large one are lost completely. Therefore no accumulator takes more than 64 terms in turn.
 * A longer sum is built from blocks: up to 16 blocks make one sum of the next level, up to 16 of those one of the level
 * above, and so on. A million terms come within 2e-6 of the exact sum. Sums of at most 64 terms are added as they come.
 * How the terms are grouped depends only on their number.
 *
 * This file declares accumulators and levels, and writes the innermost loop; the caller writes the rest of the kernel.
 */

import { at } from '../extents.ts'
import { range } from './text.ts'

/** The most terms that are added one after the other. */
const longestPlain = 64
/** Number of sums of one level that make one of the next. */
export const sumsPerLevel = 16

/**
 * Terms per block if one accumulator costs a load or more per term: with 16, a million equal numbers are off by at most
 * 5e-7, with 64 by 2e-6.
 */
const scalarBlock = 16
/**
 * Terms per block for tiles of accumulators, where closing a block costs as much as one or two of its terms: off by
 * 1e-6.
 */
export const tileBlock = 64

export interface SumExtents {
  /** The most terms of an accumulator. */
  readonly terms: number
  /** Terms that an iteration of the innermost loop adds to an accumulator; 1 by default. */
  readonly termsPerIteration?: number
  /** The most iterations of each run of the innermost loop; all of them by default. */
  readonly iterations?: number
  /** Terms per block, if the caller must set it. */
  readonly block?: number
  /** The initial value of the accumulators, if not zero. */
  readonly start?: string
}

/** A `for` loop in WGSL: its variable, its start, its exclusive end, and its step if not 1. */
export type Loop = readonly [variable: string, from: string, to: string, step?: number]

export interface LongSum {
  /** Declares the accumulators, except elements of arrays, and the levels above them. */
  readonly declare: string
  /** Writes the innermost loop. */
  loop(loop: Loop, body: string): string
  /** Writes declarations, the only loop, and the end. */
  whole(loop: Loop, body: string): string
  /** Replaces `loop` for a loop of another form: put it after `iterations` iterations. */
  readonly closeIterations: string
  /**
   * Replaces `loop` for terms written out one by one, some hundreds at most: put it after each of this accumulator's
   * terms.
   */
  afterTerm(name: string): string
  /** Ends the sum after the last term: leaves the sums in the accumulators. */
  readonly finish: string
}

/** The number of levels above the accumulators that `blocks` blocks need. */
export function levelsFor(blocks: number): number {
  let levels = 1
  while (sumsPerLevel ** levels < blocks) levels++
  return levels
}

/** The names of an array's elements, all with constant indices. */
export function arrayElements(name: string, length: number): string[] {
  return range(length).map((i) => `${name}[${i}]`)
}

/** Writes a loop without blocks. */
export function plainLoop([variable, from, to, step = 1]: Loop, body: string): string {
  return `  for (var ${variable} = ${from}; ${variable} < ${to}; ${variable} += ${step}u) {\n${body}\n  }`
}

/**
 * Makes sums in variables or array elements of one type; their names must start differently from those of a kernel's
 * other sums.
 */
export function longSum(type: string, names: readonly string[], extents: SumExtents): LongSum {
  const {
    terms,
    termsPerIteration = 1,
    iterations = Math.ceil(terms / termsPerIteration),
    start = `${type}(0)`,
  } = extents
  const block = extents.block ?? (names.length > 1 ? tileBlock : scalarBlock)
  // Long runs of the innermost loop are split into blocks; several short runs share a block.
  const blockIterations = Math.max(1, Math.floor(block / termsPerIteration))
  const blocksPerRun = Math.ceil(iterations / blockIterations)
  const runsPerBlock = Math.max(1, Math.floor(blockIterations / iterations))
  const blocks = Math.ceil((Math.ceil(terms / (iterations * termsPerIteration)) * blocksPerRun) / runsPerBlock)
  const levels = terms <= longestPlain ? 0 : levelsFor(blocks)

  const prefix = names[0]?.split('[')[0]
  const level = (n: number, i: number): string => (n === 0 ? at(names, i) : `${prefix}${n}of${i}`)
  const each = (line: (i: number) => string): string => names.map((_, i) => line(i)).join('\n')
  const moveUp = (n: number, i: number): string => `${level(n + 1, i)} += ${level(n, i)}; ${level(n, i)} = ${type}(0);`
  let declare = each((i) => (level(0, i).endsWith(']') ? '' : `  var ${level(0, i)} = ${start};`))
  let closeIterations = ''
  let finish = ''
  for (let n = 0; n < levels; n++) {
    declare += `\n${each((i) => `  var ${level(n + 1, i)} = ${type}(0);`)}`
    closeIterations += `
    if (${prefix}Closed % ${runsPerBlock * sumsPerLevel ** n}u == 0u) {
${each((i) => moveUp(n, i))}
    }`
    finish += `\n${each((i) => `  ${level(0, i)} += ${level(n + 1, i)};`)}`
  }
  if (levels > 0) {
    declare += `\n  var ${prefix}Closed = 0u;`
    closeIterations = `    ${prefix}Closed++;${closeIterations}`
  }
  const counts = names.map(() => 0)
  return {
    declare,
    whole(loop, body) {
      return `${declare}\n${this.loop(loop, body)}\n${finish}`
    },
    closeIterations,
    finish,
    loop(loop, body) {
      if (levels === 0 || blocksPerRun === 1) return `${plainLoop(loop, body)}\n${closeIterations}`
      const [variable, from, to, step = 1] = loop
      const [begin, end, span] = [`${variable}Begin`, `${variable}End`, blockIterations * step]
      const inner = plainLoop([variable, begin, end, step], body)
      return plainLoop(
        [begin, from, to, span],
        `    let ${end} = min(${begin} + ${span}u, ${to});\n${inner}\n${closeIterations}`,
      )
    },
    afterTerm(name) {
      const i = names.indexOf(name)
      const count = at(counts, i) + 1
      counts[i] = count
      return levels > 0 && count % tileBlock === 0 ? `\n${moveUp(0, i)}` : ''
    },
  }
}
