/**
 * Reads the system's own apt sources, in both notations (one-line `.list`, deb822 `.sources`), and writes the few
 * entries that a private download needs: the same mirrors and keys, only the suites of this release. Formats:
 * sources.list(5).
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** One entry. `options` holds its other deb822 fields (`Signed-By`, `Architectures`, ...) unchanged. */
export interface AptSource {
  readonly uris: readonly string[]
  readonly suites: readonly string[]
  readonly components: readonly string[]
  readonly options: readonly (readonly [field: string, value: string])[]
}

/** Every enabled binary entry of `/etc/apt`. Unreadable files are skipped, as apt does. */
export function readAptSources(folder = '/etc/apt'): AptSource[] {
  const parts = join(folder, 'sources.list.d')
  const sources: AptSource[] = parseOneLineSources(readOrEmpty(join(folder, 'sources.list')))
  for (const name of listOrEmpty(parts).sort()) {
    if (name.endsWith('.list')) sources.push(...parseOneLineSources(readOrEmpty(join(parts, name))))
    if (name.endsWith('.sources')) sources.push(...parseDeb822Sources(readOrEmpty(join(parts, name))))
  }
  return sources
}

const ONE_LINE = /^deb\s+(?:\[([^\]]*)\]\s*)?(\S+)\s+(\S+)\s*(.*)$/

/** Options of the one-line notation whose deb822 fields have other names. */
const FIELD_OF_OPTION: Readonly<Record<string, string>> = {
  arch: 'Architectures',
  lang: 'Languages',
  target: 'Targets',
  pdiffs: 'PDiffs',
}

export function parseOneLineSources(text: string): AptSource[] {
  const sources: AptSource[] = []
  for (const line of text.split('\n')) {
    const [, options = '', uri, suite, components = ''] = ONE_LINE.exec(line.replace(/#.*/, '').trim()) ?? []
    if (uri === undefined || suite === undefined) continue
    sources.push({
      uris: [uri],
      suites: [suite],
      components: words(components),
      options: words(options).map(optionToField),
    })
  }
  return sources
}

/** `arch=amd64,arm64` becomes `Architectures: amd64 arm64`; `arch+=i386` becomes `Architectures-Add: i386`. */
function optionToField(option: string): [string, string] {
  const [, name = '', sign, value = ''] = /^([^=+-]+(?:-[^=+-]+)*)([+-]?)=(.*)$/.exec(option) ?? []
  const field = FIELD_OF_OPTION[name.toLowerCase()] ?? name.replace(/(^|-)[a-z]/g, (letters) => letters.toUpperCase())
  const suffix = sign === '+' ? '-Add' : sign === '-' ? '-Remove' : ''
  return [field + suffix, value.split(',').join(' ')]
}

export function parseDeb822Sources(text: string): AptSource[] {
  const sources: AptSource[] = []
  const lines = text.split('\n').filter((line) => !line.startsWith('#'))
  for (const stanza of lines.join('\n').split(/\n[ \t]*\n/)) {
    const fields = stanzaFields(stanza)
    const take = (name: string) => words(fields.find(([field]) => field.toLowerCase() === name)?.[1] ?? '')
    const enabled = take('enabled')[0]?.toLowerCase() ?? 'yes'
    if (!take('types').includes('deb') || ['no', 'false', 'off', '0', 'without', 'disable'].includes(enabled)) continue
    const own = ['types', 'uris', 'suites', 'components', 'enabled']
    sources.push({
      uris: take('uris'),
      suites: take('suites'),
      components: take('components'),
      options: fields.filter(([field]) => !own.includes(field.toLowerCase())),
    })
  }
  return sources
}

/** A continuation line (it starts with a space) stays part of its field's value: a key can be embedded in the file. */
function stanzaFields(stanza: string): [string, string][] {
  const fields: [string, string][] = []
  for (const line of stanza.split('\n')) {
    const last = fields.at(-1)
    const [, name, value = ''] = /^([^\s:]+):(.*)$/.exec(line) ?? []
    if (/^[ \t]/.test(line) && last) last[1] += `\n${line}`
    else if (name !== undefined) fields.push([name, value.trim()])
  }
  return fields
}

export function formatDeb822Sources(sources: readonly AptSource[]): string {
  const stanza = (source: AptSource) =>
    [
      'Types: deb',
      `URIs: ${source.uris.join(' ')}`,
      `Suites: ${source.suites.join(' ')}`,
      `Components: ${source.components.join(' ')}`,
      ...source.options.map(([field, value]) => `${field}: ${value}`),
    ].join('\n')
  return `${sources.map(stanza).join('\n\n')}\n`
}

/** Suites named after a release's status instead of its codename. */
const STANDINGS = ['stable', 'oldstable', 'testing', 'unstable', 'sid']

/**
 * Selects the distribution's own entries: those with component `main` and a suite of this release, without other
 * vendors' repositories. `extraSuite` (`bookworm-backports`) adds an entry for that suite on the release's main mirror.
 */
export function sourcesOfRelease(all: readonly AptSource[], codename: string, extraSuite?: string): AptSource[] {
  const isOurs = (suite: string) =>
    [codename, ...STANDINGS].some(
      (name) =>
        suite === name || ['-updates', '-security', '-backports', '/updates'].some((end) => suite === name + end),
    )
  const usable = all
    .map((source) => ({
      ...source,
      uris: source.uris.filter((uri) => !uri.startsWith('cdrom:')),
      suites: source.suites.filter(isOurs),
    }))
    .filter((source) => source.uris.length > 0 && source.suites.length > 0 && source.components.includes('main'))
  if (extraSuite === undefined || usable.some((source) => source.suites.includes(extraSuite))) return usable
  const main = usable
    .filter((source) => source.suites.some((suite) => suite === codename || STANDINGS.includes(suite)))
    .sort((a, b) => mirrorRank(b, usable) - mirrorRank(a, usable))[0]
  return main === undefined ? usable : [...usable, { ...main, suites: [extraSuite], components: ['main'] }]
}

/** How likely an entry is the distribution's mirror, not another vendor's repository with the same suite names. */
function mirrorRank(source: AptSource, all: readonly AptSource[]): number {
  const signed = source.options.some(
    ([, value]) => value.includes('debian-archive-') || value.includes('ubuntu-archive-'),
  )
  const sharesMirror = (other: AptSource) => other.uris.some((uri) => source.uris.includes(uri))
  const carriesUpdates = all.some((o) => sharesMirror(o) && o.suites.some((suite) => suite.endsWith('-updates')))
  return (signed ? 4 : 0) + (carriesUpdates ? 2 : 0) + (source.uris.some((uri) => uri.includes('debian')) ? 1 : 0)
}

/** The codename of this Debian or Ubuntu release, or of the one it is built on, from the text of os-release(5). */
export function releaseCodename(osRelease: string): string | undefined {
  const value = (name: string) => new RegExp(`^${name}=["']?([a-z0-9.-]+)`, 'im').exec(osRelease)?.[1]
  return value('UBUNTU_CODENAME') ?? value('DEBIAN_CODENAME') ?? value('VERSION_CODENAME')
}

function words(text: string): string[] {
  return text.split(/\s+/).filter((word) => word !== '')
}

function readOrEmpty(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}

function listOrEmpty(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}
