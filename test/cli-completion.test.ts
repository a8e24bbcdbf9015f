/** The completion scripts, run by the shells themselves where they are installed. */

import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Command } from 'commander'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { addCommands } from '../src/cli/commands.ts'
import { completionScript, shells } from '../src/cli/completion.ts'
import { fashionMnistLenet5 as task } from '../src/tasks/fashion-mnist-lenet5.node.ts'

const program = new Command('weftgrad')
addCommands(program, task)

let folder = ''
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'completion-'))
  for (const shell of shells) writeFileSync(join(folder, shell), completionScript(program, shell))
})
afterAll(() => rmSync(folder, { recursive: true }))

/** What a shell offers for a line that ends at the cursor. */
const asked = {
  bash: (words: readonly string[]) => [
    '-c',
    `source "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _weftgrad; printf '%s\\n' "\${COMPREPLY[@]}"`,
    join(folder, 'bash'),
    ...words,
  ],
  fish: (words: readonly string[]) => [
    '-c',
    `source ${join(folder, 'fish')}; complete -C '${words.join(' ')}' | string split -f1 \\t`,
  ],
}

describe.each(['bash', 'fish'] as const)('%s', (shell) => {
  const isHere = spawnSync(shell, ['--version']).status === 0
  const offers = (...words: string[]): string[] => {
    const { stdout, stderr } = spawnSync(shell, asked[shell](['weftgrad', ...words]), { encoding: 'utf8' })
    expect(stderr).toBe('')
    return stdout.split('\n').filter((word) => word !== '')
  }

  it('completes commands, commands of commands and options', ({ skip }) => {
    if (!isHere) skip(`${shell} is not installed here`)
    expect(offers('tr')).toEqual(['train', 'transfer'])
    expect(offers('train', 'le')).toEqual(['lenet'])
    expect(offers('train', 'lenet', '--ep')).toEqual(['--epochs'])
    expect(offers('transfer', 'vgg16', '--la')).toEqual(['--layers'])
    expect(offers('weights', 'g')).toEqual(['get'])
  })

  it('runs nothing that was typed', ({ skip }) => {
    if (!isHere) skip(`${shell} is not installed here`)
    const trap = join(folder, `ran-${shell}`)
    offers(`$(touch ${trap})`, 'tr')
    expect(spawnSync('ls', [trap]).status).not.toBe(0)
  })
})

it('zsh accepts its script, where it is installed', ({ skip }) => {
  if (spawnSync('zsh', ['--version']).status !== 0) skip('zsh is not installed here')
  const { status, stderr } = spawnSync('zsh', ['-n', join(folder, 'zsh')], { encoding: 'utf8' })
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
  expect(completionScript(program, 'zsh')).toContain("'--epochs:epochs'")
})

it('other shells are refused', () => {
  expect(() => completionScript(program, 'tcsh')).toThrow(/bash, zsh, fish/)
})
