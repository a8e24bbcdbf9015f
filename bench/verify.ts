/** Verification of the results of timed kernels. */

import type { Tolerance } from '../test/support/compare.ts'
import { disagreement, disagreementAt, sampledPlaces } from '../test/support/compare.ts'
import type { CaseData, HostNumbers } from './case-data.ts'

/** A result was wrong, so the measured time is meaningless. */
export class WrongResult extends Error {
  override readonly name = 'WrongResult'
}

/** The most positions of a long result that are compared with its definition. */
const mostPlaces = 4096

/** Compares results with their definitions, long ones at a sample of positions. Throws WrongResult. */
export function verifyByDefinition(what: string, data: CaseData, results: readonly HostNumbers[]): void {
  data.outputs.forEach(({ length, expected }, i) => {
    if (expected === undefined) return
    const actual = results[i] ?? new Float32Array()
    const places = sampledPlaces(length, mostPlaces)
    const numberAt = (place: number): number => actual[place] ?? Number.NaN
    const text = disagreementAt(places, numberAt, expected, data.tolerance, [length])
    if (text !== undefined) throw new WrongResult(`${what}: output ${i}: ${text}`)
  })
}

/** Compares two results at every position. Throws WrongResult. */
export function verifyEqual(
  what: string,
  tolerance: Tolerance,
  actual: HostNumbers | undefined,
  expected: HostNumbers | undefined,
): void {
  const text = disagreement(actual ?? [], expected ?? [], tolerance)
  if (text !== undefined) throw new WrongResult(`${what}: ${text}`)
}
