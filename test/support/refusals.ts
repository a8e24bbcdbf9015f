/** Declares one test per refusal of an operator. */
import { expect, test } from 'vitest'
import type { ErrorCode } from '../../src/errors.ts'
import type { Tensor } from '../../src/index.ts'
import { tensor, WeftgradError } from '../../src/index.ts'
import { failure } from './failure.ts'

/** An operand of ones. */
export function operand(shape: readonly number[], dtype: 'f32' | 'u32' = 'f32'): Tensor {
  const count = shape.reduce((product, extent) => product * extent, 1)
  return tensor(new Array<number>(count).fill(1), [...shape], dtype)
}

export interface Refusal {
  /** Completes the sentence "refuses ...". */
  readonly what: string
  readonly act: () => unknown
  readonly code: ErrorCode
  /** Words that the message must contain. */
  readonly mentions: readonly string[]
}

/** Declares a test for each refusal. */
export function testRefusals(refusals: readonly Refusal[]): void {
  for (const { what, act, code, mentions } of refusals) {
    test(`${what}`, async () => {
      const error = await failure(act)
      expect(error).toBeInstanceOf(WeftgradError)
      if (!(error instanceof WeftgradError)) return
      expect(error.code).toBe(code)
      for (const mention of mentions) expect(error.message).toContain(mention)
      expect(error.message).toMatch(/\.$/)
    })
  }
}
