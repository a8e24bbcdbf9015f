/** Runs many operator cases at once: in a worker, or where one case per operator is enough. */
import type { Device } from 'weftgrad'
import type { Case } from '../cases/case.ts'
import { checkForward, checkGradients, computed, expectationOf } from '../cases/verify.ts'
import { cases } from '../cases.ts'

/** The first case of each operator. */
const oneOfEach: readonly Case[] = [...new Map(cases.toReversed().map((one) => [one.operator, one])).values()]

/** Runs the first case of each operator. Returns their number, and a sentence for each wrong one. */
export async function failuresOf(device: Device): Promise<{ readonly ran: number; readonly failures: string[] }> {
  const failures: string[] = []
  for (const testCase of oneOfEach) {
    const expectation = expectationOf(testCase)
    try {
      const { forward, gradients } = await computed(device, testCase, expectation)
      checkForward(testCase, forward, expectation.forward, 'forward')
      checkGradients(testCase, expectation, gradients, 'gradient')
    } catch (error) {
      failures.push(`${testCase.name}: ${error instanceof Error ? error.message : error}`)
    }
  }
  return { ran: oneOfEach.length, failures }
}
