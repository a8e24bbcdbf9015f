/** Which Mesa is fast, what releases offer, and how wide lavapipe's vectors are: decisions, without a device. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { keepWidthTimes, measureWidths, timeInProcess } from '../src/cli/vector-width.ts'
import {
  FAST_MESA,
  isAtLeast,
  isSlowLavapipe,
  mayOfferFastMesa,
  mesaOffer,
  mesaVersion,
  waysToFastMesa,
} from '../src/gpu/node/mesa.ts'
import { parseProcessor } from '../src/gpu/node/processor.ts'
import { chooseVectorWidth, readWidthTimes, type WidthFacts } from '../src/gpu/node/vector-width.ts'

describe('a version of Mesa', () => {
  test('is read from packages and from drivers', () => {
    expect(mesaVersion('25.0.7-2~bpo12+1')).toEqual([25, 0])
    expect(mesaVersion('1:23.2.1')).toEqual([23, 2])
    expect(mesaVersion('llvmpipe, Mesa 26.1.6-1~bpo13+1 (LLVM 19.1.7)')).toEqual([26, 1])
    expect(mesaVersion('SwiftShader Device (LLVM 10.0.0)')).toBeUndefined()
  })

  test('is compared by number', () => {
    expect(isAtLeast('26.1.0', FAST_MESA)).toBe(true)
    expect(isAtLeast('26.10.0', FAST_MESA)).toBe(true)
    expect(isAtLeast('27.0.1', FAST_MESA)).toBe(true)
    expect(isAtLeast('26.0.8', FAST_MESA)).toBe(false)
    expect(isAtLeast('9.9', FAST_MESA)).toBe(false)
    expect(isAtLeast('unknown', FAST_MESA)).toBe(false)
  })

  test('is slow only if the driver is lavapipe and its version is known', () => {
    expect(isSlowLavapipe('llvmpipe, Mesa 25.0.7 (LLVM 15.0.6)')).toBe(true)
    expect(isSlowLavapipe('llvmpipe, Mesa 26.1.6 (LLVM 19.1.7)')).toBe(false)
    expect(isSlowLavapipe('radv, Mesa 25.0.7')).toBe(false)
    expect(isSlowLavapipe('llvmpipe (LLVM 15.0.6, 256 bits)')).toBe(false)
  })
})

describe('the next step to a fast Mesa', () => {
  test('is `weftgrad setup` where the mirrors have one, or may have one', () => {
    expect(mesaOffer('trixie')?.suite).toBe('trixie-backports')
    expect(waysToFastMesa('trixie', false)).toMatch(/^run `weftgrad setup`.* from trixie-backports$/)
    expect(waysToFastMesa('trixie', true)).toMatch(/^unset VK_DRIVER_FILES.*`weftgrad setup`/)
    expect(waysToFastMesa('forky', false)).toMatch(/ from forky$/)
    expect(waysToFastMesa('a-later-release', false)).toMatch(/`weftgrad setup`.* mirrors of a-later-release$/)
  })

  test('does not exist where the mirrors are known to have none, and is an update without apt', () => {
    for (const codename of ['bookworm', 'jammy', 'noble', 'questing', 'resolute']) {
      expect(mayOfferFastMesa(codename)).toBe(false)
      expect(waysToFastMesa(codename, false)).toMatch(new RegExp(`${codename}\\) have \\d\\d\\.\\d at most$`))
    }
    expect(waysToFastMesa(undefined, false)).toContain('vulkan-swrast')
  })
})

describe('a processor', () => {
  const cpuinfo = (vendor: string, flags: string): string =>
    `processor\t: 0\nvendor_id\t: ${vendor}\ncpu family\t: 25\nmodel\t\t: 1\nmodel name\t: Name\nstepping\t: 1\nflags\t\t: ${flags}\n\nprocessor\t: 1\nvendor_id\t: other\n`

  test('has an id of more than its name, and its flags are matched as whole words', () => {
    expect(parseProcessor(cpuinfo('AuthenticAMD', 'avx avx2'))).toEqual({
      id: 'AuthenticAMD 25 1 1 Name',
      hasAvx512: false,
      gathers: false,
    })
    expect(parseProcessor(cpuinfo('GenuineIntel', 'avx avx2'))).toMatchObject({ hasAvx512: false, gathers: true })
    expect(parseProcessor(cpuinfo('AuthenticAMD', 'avx2 avx512f'))).toMatchObject({ hasAvx512: true, gathers: true })
    expect(parseProcessor(cpuinfo('AuthenticAMD', 'xavx512f avx512fx'))).toMatchObject({ hasAvx512: false })
    expect(parseProcessor('')).toMatchObject({ hasAvx512: false, gathers: false })
  })
})

describe("the width of lavapipe's vectors", () => {
  const fast: WidthFacts = {
    given: undefined,
    processor: { hasAvx512: true },
    driver: 'llvmpipe, Mesa 26.1.6',
    measured: { usualMs: 10, wideMs: 6 },
  }

  test('is 512 bits with AVX-512, Mesa 26.1 or newer, and a measurement for it', () => {
    expect(chooseVectorWidth(fast)).toMatchObject({ bits: 512, isOpen: false, why: expect.stringContaining('1.67') })
  })

  test("is Mesa's default if any of these is missing", () => {
    const but = (facts: Partial<WidthFacts>) => chooseVectorWidth({ ...fast, ...facts })
    expect(but({ processor: { hasAvx512: false } })).toMatchObject({ bits: undefined, isOpen: false })
    expect(but({ driver: 'llvmpipe, Mesa 26.0.8' })).toMatchObject({ bits: undefined, isOpen: false })
    expect(but({ driver: '' })).toMatchObject({ bits: undefined, isOpen: false })
    expect(but({ measured: { usualMs: 10, wideMs: 9.9 } })).toMatchObject({ bits: undefined, isOpen: false })
    expect(but({ measured: { usualMs: 10, wideMs: 14 } })).toMatchObject({ bits: undefined, isOpen: false })
  })

  test('is open to a measurement only where one could change it', () => {
    expect(chooseVectorWidth({ ...fast, measured: undefined })).toMatchObject({ bits: undefined, isOpen: true })
  })

  test("is the user's, whatever was measured", () => {
    for (const hasAvx512 of [true, false])
      expect(chooseVectorWidth({ ...fast, given: '128', processor: { hasAvx512 } })).toEqual({
        bits: undefined,
        isOpen: false,
        why: '128 bits, set by LP_NATIVE_VECTOR_WIDTH',
      })
    expect(chooseVectorWidth({ ...fast, given: '' }).bits).toBe(512)
  })

  test('is measured in turn, and the least time of each counts', async () => {
    const asked: number[] = []
    const times = [9, 4, 7, 5]
    const time = async (bits: number) => {
      asked.push(bits)
      return times.shift() ?? Number.NaN
    }
    expect(await measureWidths([128, 256], time)).toEqual({ usualMs: 7, wideMs: 4 })
    expect(asked).toEqual([128, 256, 128, 256])
  })

  test('is timed in a process of its own, which takes the width or is refused', async () => {
    // A device with subgroups of 4 is lavapipe at 128 bits.
    expect(await timeInProcess(128)).toBeGreaterThan(0)
    await expect(timeInProcess(96)).rejects.toThrow(/lanes at 96 bits|Command failed/)
  }, 240_000)
})

describe('measured widths', () => {
  let folder: string
  let path: string
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'weftgrad-width-'))
    path = join(folder, 'vector-width.json')
  })
  afterEach(() => rmSync(folder, { recursive: true, force: true }))

  test('are kept by processor and driver, and nothing else is left beside them', async () => {
    expect(readWidthTimes(path)).toEqual({})
    await keepWidthTimes('a; Mesa 26.1.6', { usualMs: 2, wideMs: 1 }, path)
    await keepWidthTimes('b; Mesa 26.1.6', { usualMs: 3, wideMs: 4 }, path)
    await keepWidthTimes('a; Mesa 26.1.6', { usualMs: 5, wideMs: 6 }, path)
    expect(readWidthTimes(path)).toEqual({
      'a; Mesa 26.1.6': { usualMs: 5, wideMs: 6 },
      'b; Mesa 26.1.6': { usualMs: 3, wideMs: 4 },
    })
    expect(readdirSync(folder)).toEqual(['vector-width.json'])
  })

  test('are left out if they are damaged, and can be replaced', async () => {
    for (const text of ['', '{"a', 'null', '[]', '7']) {
      writeFileSync(path, text)
      expect(readWidthTimes(path)).toEqual({})
    }
    const damaged = { a: { usualMs: 1 }, b: { usualMs: -1, wideMs: 1 }, c: { usualMs: '1', wideMs: 1 }, d: null }
    writeFileSync(path, JSON.stringify({ ...damaged, whole: { usualMs: 1, wideMs: 1 } }))
    expect(readWidthTimes(path)).toEqual({ whole: { usualMs: 1, wideMs: 1 } })
    await keepWidthTimes('a', { usualMs: 2, wideMs: 1 }, path)
    expect(Object.keys(JSON.parse(readFileSync(path, 'utf8')))).toEqual(['whole', 'a'])
  })
})
