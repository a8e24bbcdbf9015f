/**
 * weftgrad under Deno, whose WebGPU is wgpu: every case of the table, a short training, and a LeNet-5 from Keras' files,
 * on the adapter that Node.js uses. A child process computes; the tests here read its report.
 */
import { beforeAll, describe, expect, test } from 'vitest'
import { cases } from './cases.ts'
import type { Finding } from './deno/main.ts'
import { largestDifference } from './support/compare.ts'
import { runDeno, whyNoDeno } from './support/deno.ts'
import { useDevice } from './support/device.ts'
import { shortTraining } from './support/short-training.ts'

const reason = whyNoDeno()
if (reason !== undefined) console.warn(reason)

describe.skipIf(reason !== undefined)('under Deno', () => {
  const device = useDevice()
  const findings: Finding[] = []
  let end = 'the program did not start'

  beforeAll(async () => {
    const { code, stderr } = await runDeno('test/deno/main.ts', (line) => findings.push(JSON.parse(line)))
    end = `the program ended with code ${code}: ${stderr}`
  }, 1_200_000)

  /** The only finding of a kind, with this name. Without one, the program ended early. */
  function found<Kind extends Finding['kind']>(kind: Kind, name?: string): Extract<Finding, { kind: Kind }> {
    const isWanted = (one: Finding): one is Extract<Finding, { kind: Kind }> =>
      one.kind === kind && (name === undefined || ('name' in one && one.name === name))
    const one = findings.find(isWanted)
    if (one === undefined) throw new Error(`no result: ${end}`)
    return one
  }

  test('a device opens, and says what it can', () => {
    const { description, subgroups } = found('device')
    console.info(`Deno: ${description}. ${subgroups}`)
    expect(description).toMatch(/subgroups/)
  })

  for (const { name } of cases)
    test(`agrees with the float64 reference: ${name}`, () => {
      expect(found('case', name).failure).toBeUndefined()
    })

  test('the cases leave nothing in device memory', () => {
    expect(found('memory').liveBytes).toBe(0)
  })

  test('a training has the losses of Node.js to 1e-4, and the same bits twice', async () => {
    const { epochs, repeats } = found('training')
    const node = await shortTraining(device())
    const lossesOf = (logs: typeof epochs): number[] =>
      logs.flatMap(({ loss, validationLoss = Number.NaN }) => [loss, validationLoss])
    const difference = largestDifference(lossesOf(epochs), lossesOf(node.epochs))
    console.info(`losses of a short training are within ${difference.toExponential(1)}`)
    expect(difference).toBeLessThan(1e-4)
    expect(repeats).toBe(true)
  })

  test.each(['lenet5.h5', 'lenet5.keras'])('%s gives the probabilities of Keras', (file) => {
    expect(found('weights', file).failure).toBeUndefined()
  })

  test('the program ends by itself, without an error', () => {
    expect(end).toMatch(/^the program ended with code 0:/)
  })
})
