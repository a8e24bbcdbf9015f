/**
 * Sums of many terms, for every kernel that adds in a loop. Added one after the other, terms lose more and more of their
 * low bits as the sum grows: 100,000 small ones beside a large one are lost altogether. Therefore no accumulator takes more
 * than 64 terms in turn. A longer sum is built from blocks, up to 16 blocks make one sum of the next level, up to 16 of
 * those one of the level above, and so on; a million terms come within 2e-6 of the exact sum. Sums of at most 64 terms are
 * added as they come. How the terms are grouped depends on their number alone.
 *
 * The kernel declares its accumulators; this file declares the levels above them and writes the innermost loop.
 */

/** The most terms that are added one after the other. */
const longestPlain = 64
/** Sums of one level that make one of the next. */
export const sumsPerLevel = 16

/**
 * Terms of a block where one accumulator costs a load or more a term: with 16 a million equal numbers are off by 5e-7 at
 * most, with 64 by 2e-6.
 */
const scalarBlock = 16
/** The same for tiles of accumulators, where closing a block costs as much as one or two of its terms: off by 1e-6. */
export const tileBlock = 64

/** A variable, or an array of `length`, of type f32 or a vector. */
export interface Accumulator {
  readonly name: string
  readonly type: string
  readonly length?: number
}

export interface SumExtents {
  /** Terms that an accumulator gets, at most. */
  readonly terms: number
  /** Terms that a turn of the innermost loop adds to an accumulator; 1 if absent. */
  readonly termsPerTurn?: number
  /** Turns that the innermost loop takes each time it begins, at most; all of them if absent. */
  readonly turns?: number
  readonly block?: number
}

export interface Loop {
  readonly variable: string
  readonly from: string
  readonly to: string
  readonly step?: number
}

export interface LongSum {
  /** Belongs beside the accumulators' declarations. */
  readonly declare: string
  /** The innermost loop. */
  loop(loop: Loop, body: string): string
  /** In place of `loop`, for a loop of another form: belongs after `turns` turns of it. */
  readonly closeTurns: string
  /** After the last term: leaves the sums in the accumulators. */
  readonly finish: string
  readonly uniforms: Readonly<Record<string, number>>
}

/** Levels above the accumulators that `sums` closed blocks need. */
export function levelsFor(sums: number): number {
  let levels = 1
  while (sumsPerLevel ** levels < sums) levels++
  return levels
}

/** Every variable or element, and its sum at a level. */
function eachElement(
  accumulators: readonly Accumulator[],
  line: (element: string, level: (n: number) => string, type: string) => string,
): string {
  return accumulators
    .flatMap(({ name, type, length }) => {
      const level = (n: number): string => (n === 0 ? name : `${name}Level${n}`)
      if (length === undefined) return [line(name, level, type)]
      return Array.from({ length }, (_, i) => line(`${name}[${i}]`, (n) => `${level(n)}[${i}]`, type))
    })
    .join('\n')
}

function declareLevels(accumulators: readonly Accumulator[], levels: number): string {
  return accumulators
    .flatMap(({ name, type, length }) =>
      Array.from({ length: levels }, (_, n) =>
        length === undefined
          ? `  var ${name}Level${n + 1} = ${type}(0);`
          : `  var ${name}Level${n + 1}: array<${type}, ${length}>;`,
      ),
    )
    .join('\n')
}

/** Moves what a level holds up by one. */
function moveUp(accumulators: readonly Accumulator[], from: number): string {
  return eachElement(
    accumulators,
    (_, level, type) => `    ${level(from + 1)} += ${level(from)}; ${level(from)} = ${type}(0);`,
  )
}

function finishLevels(accumulators: readonly Accumulator[], levels: number): string {
  return eachElement(accumulators, (element, level) =>
    Array.from({ length: levels }, (_, n) => `  ${element} += ${level(n + 1)};`).join(' '),
  )
}

/** A loop without blocks. */
export function plainLoop({ variable, from, to, step = 1 }: Loop, body: string): string {
  const advance = step === 1 ? `${variable}++` : `${variable} += ${step}u`
  return `  for (var ${variable} = ${from}; ${variable} < ${to}; ${advance}) {\n${body}\n  }`
}

/** Sums in a loop. */
export function longSum(accumulators: readonly Accumulator[], extents: SumExtents): LongSum {
  const { terms, termsPerTurn = 1, block = scalarBlock } = extents
  const turns = extents.turns ?? Math.ceil(terms / termsPerTurn)
  if (terms <= longestPlain) return { declare: '', loop: plainLoop, closeTurns: '', finish: '', uniforms: {} }
  // Long runs of the innermost loop are cut into blocks, several short ones share a block.
  const blockTurns = Math.max(1, Math.floor(block / termsPerTurn))
  const blocksPerRun = Math.ceil(turns / blockTurns)
  const runsPerBlock = blocksPerRun > 1 ? 1 : Math.floor(blockTurns / turns)
  const levels = levelsFor(Math.ceil((Math.ceil(terms / (turns * termsPerTurn)) * blocksPerRun) / runsPerBlock))

  const [prefix = ''] = accumulators.map(({ name }) => name)
  const [closed, waiting, runs] = [`${prefix}Closed`, `${prefix}Waiting`, `${prefix}RunsPerBlock`]
  let above = ''
  for (let level = levels - 1; level > 0; level--) {
    above = `
    if (${closed} % ${sumsPerLevel ** level}u == 0u) {
${moveUp(accumulators, level)}${above}
    }`
  }
  const close = `${moveUp(accumulators, 0)}
    ${levels > 1 ? `${closed}++;` : ''}${above}`
  const closeTurns =
    runsPerBlock === 1
      ? close
      : `    ${waiting}++;
    if (${waiting} == u.${runs}) {
    ${waiting} = 0u;
${close}
    }`
  const counters = [...(levels > 1 ? [closed] : []), ...(runsPerBlock > 1 ? [waiting] : [])]
  return {
    declare: `${declareLevels(accumulators, levels)}\n${counters.map((name) => `  var ${name} = 0u;`).join('\n')}`,
    closeTurns,
    finish: finishLevels(accumulators, levels),
    uniforms: runsPerBlock === 1 ? {} : { [runs]: runsPerBlock },
    loop: (loop, body) => {
      if (blocksPerRun === 1) return `${plainLoop(loop, body)}\n${closeTurns}`
      const { variable, from, to, step = 1 } = loop
      const [begin, end, span] = [`${variable}Begin`, `${variable}End`, blockTurns * step]
      return `  for (var ${begin} = ${from}; ${begin} < ${to}; ${begin} += ${span}u) {
    let ${end} = min(${begin} + ${span}u, ${to});
${plainLoop({ variable, from: begin, to: end, step }, body)}
${closeTurns}
  }`
    },
  }
}

export interface WrittenSum {
  readonly declare: string
  /** Statements that belong after each term of this accumulator. */
  afterTerm(name: string): string
  readonly finish: string
}

/** Sums whose terms are written out one by one, some hundreds at most. */
export function writtenSum(accumulators: readonly Accumulator[], terms: number): WrittenSum {
  if (terms <= longestPlain) return { declare: '', afterTerm: () => '', finish: '' }
  const counts = new Map<string, number>()
  const close = new Map(accumulators.map((one) => [one.name, moveUp([one], 0)]))
  return {
    declare: declareLevels(accumulators, 1),
    finish: finishLevels(accumulators, 1),
    afterTerm(name) {
      const count = (counts.get(name) ?? 0) + 1
      counts.set(name, count)
      return count % tileBlock === 0 ? `\n${close.get(name) ?? ''}` : ''
    },
  }
}
