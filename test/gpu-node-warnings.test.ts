/** Dawn's two warnings about dynamic buffers stay off terminals and pipes, and no other line does. */

import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

const unwanted = [
  'Warning: maxDynamicUniformBuffersPerPipelineLayout artificially reduced from 1000000 to 16 to fit dynamic offset allocation limit.',
  'Warning: maxDynamicStorageBuffersPerPipelineLayout artificially reduced from 1000000 to 16 to fit dynamic offset allocation limit.',
]
const sh = (script: string) => promisify(execFile)('sh', ['-c', script], { timeout: 60_000 })

let folder = ''
let command = ''

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'warnings-'))
  const program = join(folder, 'program.mts')
  const source = JSON.stringify(join(import.meta.dirname, '../src/gpu/node/dawn-warnings.ts'))
  writeFileSync(
    program,
    `import { writeSync } from 'node:fs'
import { filterLimitWarnings, withoutLimitWarnings } from ${source}
console.error('before')
if (process.argv[2] === 'on') filterLimitWarnings()
const value = withoutLimitWarnings(() => {
  for (const line of ${JSON.stringify([unwanted[0], 'Warning: something else', unwanted[1]])}) writeSync(2, line + '\\n')
  return 7
})
try {
  withoutLimitWarnings(() => { writeSync(2, 'thrown\\n'); throw new Error('no') })
} catch (error) { console.error(error.message) }
console.error('after ' + value)
`,
  )
  command = `node --import ${join(import.meta.dirname, '../scripts/tsx.mjs')} ${program}`
})

afterAll(() => rmSync(folder, { recursive: true }))

const kept = ['before', 'Warning: something else', 'thrown', 'no', 'after 7']
const all = ['before', unwanted[0], 'Warning: something else', unwanted[1], 'thrown', 'no', 'after 7']
const linesOf = (text: string): string[] => text.split(/\r?\n/).filter((line) => line !== '')

describe.runIf(process.platform === 'linux')("Dawn's warnings about dynamic buffers", () => {
  it('do not get into a pipe, and all other lines do, in order', async () => {
    expect(linesOf((await sh(`${command} on 2>&1 | cat`)).stdout)).toEqual(kept)
  })

  it('do not get to a terminal', async () => {
    const log = join(folder, 'typescript')
    await sh(`script -qec '${command} on' ${log} > /dev/null`)
    const lines = linesOf(readFileSync(log, 'utf8')).filter((line) => !/^Script (started|done)/.test(line))
    expect(lines).toEqual(kept)
  })

  it('stay in a file, which cannot be opened twice without harm, and where nobody asked for the filter', async () => {
    const log = join(folder, 'log')
    await sh(`${command} on > ${log} 2>&1`)
    expect(linesOf(readFileSync(log, 'utf8'))).toEqual(all)
    expect(linesOf((await sh(`${command} 2>&1 | cat`)).stdout)).toEqual(all)
  })

  it('do not come with a command that opens an adapter', async () => {
    const bin = join(import.meta.dirname, '../bin/weftgrad.mjs')
    const { stdout } = await sh(`node ${bin} doctor 2>&1 | cat`)
    expect(stdout).toMatch(/Adapter/)
    expect(stdout).not.toMatch(/artificially/)
  })
})
