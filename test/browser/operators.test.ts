/**
 * Every case of the table in a browser: forward and gradients against the float64 reference, with the kernels that are
 * preferred there. Node.js compares all variants, and TensorFlow.js.
 */
import { beforeAll, describe, expect, test } from 'vitest'
import { checkForward, checkGradients, computed, expectationOf } from '../cases/verify.ts'
import { cases } from '../cases.ts'
import { useBrowserDevice } from './browser-device.ts'

const device = useBrowserDevice()
let liveBytesBefore = 0
beforeAll(() => {
  liveBytesBefore = device().memory().liveBytes
})

describe('in a browser, forward and gradients agree with the float64 reference:', () => {
  for (const testCase of cases) {
    test(testCase.name, async () => {
      const expectation = expectationOf(testCase)
      const { forward, gradients } = await computed(device(), testCase, expectation)
      checkForward(testCase, forward, expectation.forward, 'forward')
      checkGradients(testCase, expectation, gradients, 'gradient')
    })
  }
})

test('the cases leave nothing in device memory', () => {
  expect(device().memory().liveBytes).toBe(liveBytesBefore)
})
