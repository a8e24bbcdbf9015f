/**
 * The ONNX project's node cases: all that are expressible as a model give the expected outputs, within the cases' own relative
 * tolerance of 1e-3. Runs in `npm run test:full`, if ONNX_NODE_CASES names a folder of them, or a Python with `onnx`, which is
 * `python3` or the one that WEFTGRAD_PYTHON names, writes them. Prints how many there are, and why the rest are not expressible.
 */
import { existsSync, readdirSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { tensor, WeftgradError } from '../src/index.ts'
import { elementCount } from '../src/kernels/kernel.ts'
import { useDevice } from './support/device.ts'
import { type ExpressibleCase, expressible } from './support/onnx-node-case.ts'
import { onnxPython, pythonText } from './support/onnx-python.ts'

const isFull = process.env.WEFTGRAD_TEST_FULL === '1'
const given = isFull ? process.env.ONNX_NODE_CASES : undefined
const python = given === undefined ? onnxPython('onnx') : undefined

/** Whether it is the refusal of numbers. Throws any other error. */
function isOfData(error: unknown): boolean {
  if (error instanceof WeftgradError && error.code === 'data') return true
  throw error
}

describe.skipIf(given === undefined && python === undefined)("the ONNX project's node cases", () => {
  const device = useDevice()

  it('pass if they are expressible', async () => {
    const folder = given ?? (await mkdtemp(join(tmpdir(), 'onnx-cases-')))
    try {
      if (python !== undefined) await pythonText(python, ['test/onnx/write-node-cases.py', folder])
      const names = readdirSync(folder).filter((name) => existsSync(join(folder, name, 'test_data_set_0')))
      const reasons = new Map<string, number>()
      const failed: string[] = []
      let passed = 0
      for (const name of names) {
        const made = await expressible(join(folder, name)).catch((reason: unknown) => {
          if (typeof reason !== 'string') throw reason
          reasons.set(reason, (reasons.get(reason) ?? 0) + 1)
        })
        if (made === undefined) continue
        // Weights must be finite: masks of infinities are refused as they are loaded.
        if (await made.model.load(device(), made.read).then(() => false, isOfData)) {
          const reason = 'a constant that is not finite'
          reasons.set(reason, (reasons.get(reason) ?? 0) + 1)
          made.model.dispose()
          continue
        }
        const problem = await difference(made)
        if (problem === undefined) passed += 1
        else failed.push(`${name}: ${problem}`)
        made.model.dispose()
      }
      console.log(
        `${names.length} cases, ${passed + failed.length} expressible, ${passed} passed. The rest, by reason:`,
      )
      for (const [reason, count] of [...reasons].sort(([, a], [, b]) => b - a)) console.log(`${count}  ${reason}`)
      expect(failed).toEqual([])
      expect(passed).toBeGreaterThan(500)
    } finally {
      if (given === undefined) await rm(folder, { recursive: true, force: true })
    }
  }, 3_600_000)

  async function difference({ model, input, expected, dtype }: ExpressibleCase): Promise<string | undefined> {
    const examples = input.length / elementCount(model.inputShape)
    const found = await model.call(tensor(input, [examples, ...model.inputShape])).data()
    if (found.length !== expected.length) return `${found.length} numbers instead of ${expected.length}`
    const most = Math.max(1e-3, ...expected.filter(Number.isFinite).map(Math.abs))
    const tolerance = /^b?float16$/.test(dtype) ? 4e-3 : 1e-5
    const at = expected.findIndex((y, i) => {
      const x = found[i] ?? Number.NaN
      const isSame = Object.is(x, y) || x === y
      return !isSame && !(Math.abs(x - y) <= Math.max(tolerance * most, 1e-3 * Math.abs(y)))
    })
    return at < 0 ? undefined : `number ${at} is ${found[at]}, not ${expected[at]}`
  }
})
