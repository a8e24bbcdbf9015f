/**
 * Every case of the table: forward and gradients against TensorFlow.js and against the float64 reference (gradients by
 * its central differences), and every variant of every kernel that the case runs through.
 */
import { beforeAll, describe, expect, test } from 'vitest'
import type { Case } from './cases/case.ts'
import { toleranceFor } from './cases/case.ts'
import type { Computed, Expectation } from './cases/verify.ts'
import { checkForward, checkGradients, computed, expectationOf, variantRuns } from './cases/verify.ts'
import { cases } from './cases.ts'
import type { NumbersWithShape } from './support/compare.ts'
import { assertAllClose } from './support/compare.ts'
import { useDevice } from './support/device.ts'
import type { TensorFlow } from './support/tfjs.ts'
import { loadTensorFlow, tensorFlowTensor } from './support/tfjs.ts'

const device = useDevice({ boundsChecks: false })
let tf: TensorFlow
let liveBytesBefore = 0
beforeAll(async () => {
  tf = await loadTensorFlow()
  liveBytesBefore = device().memory().liveBytes
})

const lanes = process.env.WEFTGRAD_TEST_LANES
test.runIf(lanes !== undefined)('subgroups have the width that this project asks for', ({ skip }) => {
  if (!/llvmpipe/i.test(device().describe())) skip('only lavapipe makes subgroups as wide as LP_NATIVE_VECTOR_WIDTH')
  expect(device().subgroups.size).toBe(Number(lanes))
})

/** The result of a case in TensorFlow.js. */
function tensorFlowForward(testCase: Case, { inputs }: Expectation): NumbersWithShape {
  const { tfjs } = testCase
  if (typeof tfjs === 'string') throw new Error(tfjs)
  const result = tfjs(tf, ...inputs.map((input) => tensorFlowTensor(tf, input)))
  return { shape: result.shape, data: result.dataSync() }
}

function tensorFlowGradients(testCase: Case, { inputs, cotangent }: Expectation): NumbersWithShape[] {
  const { tfjs, differentiable } = testCase
  if (typeof tfjs === 'string') throw new Error(tfjs)
  const tensors = inputs.map((input) => tensorFlowTensor(tf, input))
  const weights = tf.tensor(Float32Array.from(cotangent.data), [...cotangent.shape])
  const byInput = tf.grads((...variables) =>
    tfjs(tf, ...tensors.map((input, position) => variables[differentiable.indexOf(position)] ?? input)),
  )
  return byInput(
    tensors.filter((_, position) => differentiable.includes(position)),
    weights,
  ).map((gradient) => ({ shape: gradient.shape, data: gradient.dataSync() }))
}

describe('the table of cases', () => {
  test('has at least 150 cases', () => {
    expect(cases.length).toBeGreaterThanOrEqual(150)
  })

  test('names every case once, and each begins with its operator', () => {
    expect(new Set(cases.map((c) => c.name)).size).toBe(cases.length)
    for (const { name, operator } of cases) {
      expect(operator === 'fused' ? name.startsWith('elementwise chain') : name.startsWith(`${operator}: `)).toBe(true)
    }
  })
})

for (const testCase of cases) {
  describe(testCase.name, () => {
    // Computed by the first test that needs it, and shared.
    let expectation: Expectation | undefined
    let result: Promise<Computed> | undefined
    const expected = (): Expectation => {
      expectation ??= expectationOf(testCase)
      return expectation
    }
    const actual = (): Promise<Computed> => {
      result ??= computed(device(), testCase, expected())
      return result
    }

    test('agrees with the float64 reference', async () => {
      checkForward(testCase, (await actual()).forward, expected().forward, 'forward')
    })

    if (typeof testCase.tfjs === 'function') {
      test('agrees with TensorFlow.js', async () => {
        checkForward(testCase, (await actual()).forward, tensorFlowForward(testCase, expected()), 'forward')
      })
    }

    if (testCase.differentiable.length > 0) {
      const source = testCase.gradients === undefined ? 'central differences' : 'the convention for kinks'
      test(`has gradients that agree with ${source}`, async () => {
        checkGradients(testCase, expected(), (await actual()).gradients, 'gradient')
      })

      if (typeof testCase.tfjs === 'function' && testCase.tfjsGradient === true) {
        test('has gradients that agree with those of TensorFlow.js', async () => {
          const theirs = tensorFlowGradients(testCase, expected())
          ;(await actual()).gradients.forEach((gradient, i) => {
            const their = theirs[i]
            if (their === undefined) throw new Error('TensorFlow.js gave fewer gradients')
            assertAllClose(gradient, their, toleranceFor(their.data, testCase.gradientTolerance), `gradient ${i}`)
          })
        })
      } else if (typeof testCase.tfjs === 'function') {
        test(`is not comparable with the gradients of TensorFlow.js: ${testCase.tfjsGradient}`, () => {
          expect(() => checkGradients(testCase, expected(), tensorFlowGradients(testCase, expected()), '')).toThrow()
        })
      }
    }

    test('gives the same result without fusion', async () => {
      const { forward, gradients } = await computed(device(), testCase, expected(), { fuse: false })
      checkForward(testCase, forward, expected().forward, 'forward without fusion')
      checkGradients(testCase, expected(), gradients, 'gradient without fusion')
    })

    test('gives the same result with every variant of its kernels', async () => {
      for (const variants of variantRuns(device(), testCase, expected())) {
        const what = Object.entries(variants).map(([family, variant]) => `${family}/${variant}`)
        const { forward, gradients } = await computed(device(), testCase, expected(), { variants })
        checkForward(testCase, forward, expected().forward, `forward with ${what.join(', ')}`)
        checkGradients(testCase, expected(), gradients, `gradient with ${what.join(', ')}`)
      }
    })
  })
}

test('the cases leave nothing in device memory', () => {
  expect(device().memory().liveBytes).toBe(liveBytesBefore)
})
