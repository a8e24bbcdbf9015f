/**
 * `weftgrad completion SHELL`: a script that completes commands and options, for bash, zsh or fish. The script holds all
 * words, so a key press starts no process and evaluates nothing that was typed.
 */
import type { Command, Option } from 'commander'
import { WeftgradError } from '../errors.ts'

/** A command with what may follow it. */
interface Place {
  /** Its words, such as 'train lenet'; '' for the program. */
  readonly path: string
  readonly words: readonly Word[]
}

interface Word {
  readonly text: string
  readonly description: string
  readonly takesValue: boolean
}

const writers = { bash: bashScript, zsh: zshScript, fish: fishScript }

export const shells = Object.keys(writers)

/**
 * The script for a shell.
 * @throws WeftgradError 'argument' for another shell.
 */
export function completionScript(program: Command, shell: string): string {
  if (!isShell(shell))
    throw new WeftgradError('argument', `There is no completion for ${shell}: name ${shells.join(', ')}.`, { shell })
  return writers[shell](program.name(), placesOf(program, ''))
}

const isShell = (name: string): name is keyof typeof writers => Object.hasOwn(writers, name)

function placesOf(command: Command, path: string): readonly Place[] {
  const help = command.createHelp()
  const below = help.visibleCommands(command).filter((one) => one.name() !== 'help')
  const commands = below.map((one) => ({ text: one.name(), description: one.description(), takesValue: false }))
  const words = [...commands, ...help.visibleOptions(command).flatMap(optionWord)]
  const inner = below.flatMap((one) => placesOf(one, `${path} ${one.name()}`.trim()))
  return [{ path, words }, ...inner]
}

function optionWord({ long, description, required, optional }: Option): readonly Word[] {
  return long === undefined || long === null ? [] : [{ text: long, description, takesValue: required || optional }]
}

/** The part of a description that fits beside a word, in single quotes for a shell. */
const quoted = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`
const short = (text: string): string => (text.split(/[;:(]|\. /)[0] ?? '').trim()

/** A shell's `case` that adds the words of commands to the path, and ignores all others. */
const pathCase = (places: readonly Place[], indent: string): string =>
  places
    .filter(({ path }) => path !== '')
    .map(({ path }) => `${indent}${quoted(` ${path}`)}) place="$place $word" ;;`)
    .join('\n')

const caseOf = ({ path }: Place): string => quoted(path === '' ? '' : ` ${path}`)

function bashScript(name: string, places: readonly Place[]): string {
  const lines = places.map(
    (place) => `    ${caseOf(place)}) words=${quoted(place.words.map(({ text }) => text).join(' '))} ;;`,
  )
  return `# Completion for ${name}. Put this into ~/.bashrc:  source <(${name} completion bash)
_${name}() {
  local place='' words='' word
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "$place $word" in
${pathCase(places, '      ')}
    esac
  done
  case "$place" in
${lines.join('\n')}
  esac
  COMPREPLY=($(compgen -W "$words" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _${name} ${name}
`
}

function zshScript(name: string, places: readonly Place[]): string {
  const items = ({ words }: Place): string =>
    words.map(({ text, description }) => `      ${quoted(`${text}:${short(description)}`)}`).join('\n')
  const lines = places.map((place) => `    ${caseOf(place)}) items=(\n${items(place)}\n    ) ;;`)
  return `#compdef ${name}
# Completion for ${name}. Put this into ~/.zshrc, after compinit:  source <(${name} completion zsh)
_${name}() {
  local place='' word
  local -a items
  for word in "\${(@)words[2,CURRENT-1]}"; do
    case "$place $word" in
${pathCase(places, '      ')}
    esac
  done
  case "$place" in
${lines.join('\n')}
  esac
  _describe -o ${name} items
  _files
}
compdef _${name} ${name}
`
}

function fishScript(name: string, places: readonly Place[]): string {
  const lines = places.flatMap((place) =>
    place.words.map(({ text, description, takesValue }) => {
      const what = text.startsWith('--') ? `-l ${text.slice(2)}${takesValue ? ' -r' : ''}` : `-a ${text}`
      const isHere = quoted(`test (__${name}_place) = ${caseOf(place).replaceAll("'", '"')}`)
      return `complete -c ${name} -n ${isHere} ${what} -d ${quoted(short(description)).replaceAll("'\\''", "\\'")}`
    }),
  )
  const known = places.filter(({ path }) => path !== '').map((place) => caseOf(place))
  return `# Completion for ${name}. Put this into ~/.config/fish/config.fish:  ${name} completion fish | source
function __${name}_place
  set -l place ''
  for word in (commandline -opc)[2..]
    contains -- "$place $word" ${known.join(' ')}; and set place "$place $word"
  end
  echo "$place"
end
${lines.join('\n')}
`
}
