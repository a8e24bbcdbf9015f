/**
 * Downloads Debian and Ubuntu packages without root and without changing the system: apt runs with private lists,
 * sources, cache and configuration in a working folder, and uses the mirrors in the system's sources. apt verifies
 * signatures and checksums as usual.
 */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { formatDeb822Sources, readAptSources, releaseCodename, sourcesOfRelease } from './apt-sources.ts'
import { CommandFailed, reasonIn, runCommand } from './command.ts'

/** The system's description of itself; tests use their own. */
export interface AptPlaces {
  readonly etcApt: string
  readonly osRelease: string
}

export const SYSTEM_APT: AptPlaces = { etcApt: '/etc/apt', osRelease: '/etc/os-release' }

export interface AptPackage {
  readonly name: string
  readonly version: string
}

/** An updated, private apt. Every method throws CommandFailed with a reason. */
export interface PrivateApt {
  readonly codename: string
  /** The version apt would install, or undefined if no mirror has the package. */
  candidate(name: string): Promise<string | undefined>
  /** The packages and their dependencies that this system lacks, in no particular order. */
  missing(names: readonly string[]): Promise<AptPackage[]>
  /** Downloads, verifies and unpacks `packages` below `into`. */
  unpack(packages: readonly AptPackage[], into: string): Promise<void>
}

/**
 * Sets up apt in `folder` and updates its lists. `suite`, such as `trixie-backports`, is used too, before the release's
 * own. Throws CommandFailed.
 */
export async function openPrivateApt(
  folder: string,
  { suite, places = SYSTEM_APT }: { suite?: string | undefined; places?: AptPlaces } = {},
): Promise<PrivateApt> {
  const codename = readCodename(places)
  if (codename === undefined)
    throw new CommandFailed('failed', 'this is not a Debian or Ubuntu release with a codename')
  const sources = sourcesOfRelease(readAptSources(places.etcApt), codename, suite)
  if (sources.length === 0) throw new CommandFailed('failed', `${places.etcApt} names no mirror for ${codename}`)

  for (const part of ['lists/partial', 'archives/partial', 'debs']) mkdirSync(join(folder, part), { recursive: true })
  writeFileSync(join(folder, 'mirrors.sources'), formatDeb822Sources(sources))
  writeFileSync(join(folder, 'apt.conf'), configuration(folder, suite))
  const apt = (program: string, ...args: string[]) =>
    runCommand(program, ['-c', join(folder, 'apt.conf'), ...args], join(folder, 'debs'))

  // `update` only warns about an unreachable mirror: what counts is whether the package is known afterwards.
  const updated = await apt('apt-get', 'update')
  const complaint = reasonIn(updated.stderr)

  const candidates = async (names: readonly string[]) => {
    try {
      return parsePolicy((await apt('apt-cache', 'policy', ...names)).stdout)
    } catch (error) {
      throw complaint === undefined ? error : new CommandFailed('failed', `apt-get update failed (${complaint})`)
    }
  }

  const candidate = async (name: string) => {
    const version = (await candidates([name]))[0]?.version
    if (version === undefined && complaint !== undefined)
      throw new CommandFailed('failed', `no mirror offers ${name} (${complaint})`)
    return version
  }

  const missing = async (names: readonly string[]) => {
    const { stdout } = await apt('apt-cache', ...DEPENDS, ...names)
    const reachable = new Set(stdout.split('\n').filter((line) => /^[a-z0-9]/.test(line) && !RUNTIME.test(line)))
    try {
      const simulated = await apt('apt-get', '-s', '--no-install-recommends', 'install', ...names)
      return parseSimulation(simulated.stdout).filter(({ name }) => reachable.has(name))
    } catch (error) {
      // The installed packages can be inconsistent. Then all dependencies are downloaded.
      if (!(error instanceof CommandFailed) || error.kind !== 'failed') throw error
      return candidates([...reachable])
    }
  }

  const unpack = async (packages: readonly AptPackage[], into: string) => {
    if (packages.length > 0) await apt('apt-get', 'download', ...packages.map((p) => `${p.name}=${p.version}`))
    mkdirSync(into, { recursive: true })
    const debs = readdirSync(join(folder, 'debs')).filter((name) => name.endsWith('.deb'))
    for (const deb of debs) await runCommand('dpkg', ['-x', join(folder, 'debs', deb), into], folder)
  }

  return { codename, candidate, missing, unpack }
}

const DEPENDS = [
  'depends',
  '--recurse',
  ...['recommends', 'suggests', 'conflicts', 'breaks', 'replaces', 'enhances'].map((relation) => `--no-${relation}`),
]

/** The C and C++ runtime: this process uses the system's, and a second one would break it. */
const RUNTIME = /^(libc6|libgcc-s1|libstdc\+\+6|gcc-\d+-base)(:|$)/

/** The `Inst name [old] (new ...)` lines of a simulated installation. */
export function parseSimulation(output: string): AptPackage[] {
  return [...output.matchAll(/^Inst (\S+) (?:\[[^\]]*\] )?\((\S+) /gm)].flatMap(([, name, version]) =>
    name === undefined || version === undefined ? [] : [{ name, version }],
  )
}

/** The packages of `apt-cache policy` that have a candidate. */
export function parsePolicy(output: string): AptPackage[] {
  return [...output.matchAll(/^(\S+):\n(?:[ \t].*\n)*?[ \t]+Candidate: (\S+)/gm)].flatMap(([, name, version]) =>
    name === undefined || version === undefined || version === '(none)' ? [] : [{ name, version }],
  )
}

/** The codename of this Debian or Ubuntu release; undefined on other systems. */
export function readCodename(places: AptPlaces = SYSTEM_APT): string | undefined {
  try {
    return releaseCodename(readFileSync(places.osRelease, 'utf8'))
  } catch {
    return undefined
  }
}

/** apt's configuration, read after the system's: keeps its proxies, drops its hooks. */
function configuration(folder: string, defaultRelease: string | undefined): string {
  const quoted = (path: string) => `"${path}"`
  return [
    '#clear APT::Update::Post-Invoke;',
    '#clear APT::Update::Post-Invoke-Success;',
    '#clear APT::Update::Pre-Invoke;',
    '#clear Acquire::IndexTargets::deb::DEP-11;',
    '#clear Acquire::IndexTargets::deb::CNF;',
    `Dir::State::Lists ${quoted(join(folder, 'lists'))};`,
    `Dir::Etc::SourceList ${quoted(join(folder, 'mirrors.sources'))};`,
    'Dir::Etc::SourceParts "/dev/null";',
    'Dir::Etc::Preferences "/dev/null";',
    'Dir::Etc::PreferencesParts "/dev/null";',
    `Dir::Cache ${quoted(folder)};`,
    'Dir::Cache::pkgcache "pkgcache.bin";',
    'Dir::Cache::srcpkgcache "srcpkgcache.bin";',
    // No sandbox user: run by root, it could not read a folder below /root, and an ordinary user cannot switch to it.
    'APT::Sandbox::User "";',
    'Debug::NoLocking "1";',
    'Acquire::Languages "none";',
    'Acquire::Retries "1";',
    'Acquire::http::Timeout "20";',
    'Acquire::https::Timeout "20";',
    defaultRelease === undefined ? '' : `APT::Default-Release ${quoted(defaultRelease)};`,
    '',
  ].join('\n')
}
