/** Runs operator cases and tells what is wrong: in a worker, under Deno, or where one case per operator is enough. */
import type { Device } from 'weftgrad'
import type { Case } from '../cases/case.ts'
import { checkForward, checkGradients, computed, expectationOf } from '../cases/verify.ts'
import { cases } from '../cases.ts'

/** The first case of each operator. */
export const oneOfEach: readonly Case[] = [...new Map(cases.toReversed().map((one) => [one.operator, one])).values()]

/** Runs a case, forward and gradients. Returns a sentence if it is wrong. */
export async function failureOf(device: Device, testCase: Case): Promise<string | undefined> {
  try {
    const expectation = expectationOf(testCase)
    const { forward, gradients } = await computed(device, testCase, expectation)
    checkForward(testCase, forward, expectation.forward, 'forward')
    checkGradients(testCase, expectation, gradients, 'gradient')
    return undefined
  } catch (error) {
    return `${testCase.name}: ${error instanceof Error ? error.message : error}`
  }
}

/** Runs the first case of each operator. Returns their number, and a sentence for each wrong one. */
export async function failuresOf(device: Device): Promise<{ readonly ran: number; readonly failures: string[] }> {
  const failures: string[] = []
  for (const testCase of oneOfEach) {
    const failure = await failureOf(device, testCase)
    if (failure !== undefined) failures.push(failure)
  }
  return { ran: oneOfEach.length, failures }
}
