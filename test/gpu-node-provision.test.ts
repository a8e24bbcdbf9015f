/**
 * Downloading a driver into the cache. apt-get, apt-cache and dpkg are small fakes in PATH: their failures must be
 * forced, and tests use no network.
 */
import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { WeftgradError } from '../src/errors.ts'
import {
  driverFolder,
  driversFolder,
  inspectDriver,
  newStagingFolder,
  removeStaleStaging,
} from '../src/gpu/node/driver-folder.ts'
import { neededLibraries } from '../src/gpu/node/elf.ts'
import { cachedDriver, fetchFastDriver, provisionDriver } from '../src/gpu/node/provision.ts'
import {
  DriverDoesNotLoad,
  driversAreGiven,
  systemIcds,
  useCachedDriver,
  useSystemIcds,
} from '../src/gpu/node/vulkan.ts'
import { failure } from './support/failure.ts'

/** A 64-bit ELF library that contains only a list of the libraries it needs. */
function elfLibrary(needs: readonly string[]): Buffer {
  const names = Buffer.from(`\0${needs.map((name) => `${name}\0`).join('')}`, 'latin1')
  const dynamicAt = 64 + 2 * 56
  const stringsAt = dynamicAt + (needs.length + 2) * 16
  const elf = Buffer.alloc(stringsAt + names.length)
  Buffer.from([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]).copy(elf)
  elf.writeBigUInt64LE(64n, 32)
  elf.writeUInt16LE(56, 54)
  elf.writeUInt16LE(2, 56)
  const address = 0x1000n
  const segment = (at: number, type: number, offset: number, bytes: number) => {
    elf.writeUInt32LE(type, at)
    elf.writeBigUInt64LE(BigInt(offset), at + 8)
    elf.writeBigUInt64LE(address + BigInt(offset), at + 16)
    elf.writeBigUInt64LE(BigInt(bytes), at + 32)
  }
  segment(64, 1, 0, elf.length)
  segment(64 + 56, 2, dynamicAt, stringsAt - dynamicAt)
  let nameAt = 1
  const entries: (readonly [number, bigint])[] = [[5, address + BigInt(stringsAt)]]
  for (const name of needs) {
    entries.push([1, BigInt(nameAt)])
    nameAt += name.length + 1
  }
  entries.forEach(([tag, value], index) => {
    elf.writeBigUInt64LE(BigInt(tag), dynamicAt + index * 16)
    elf.writeBigUInt64LE(value, dynamicAt + index * 16 + 8)
  })
  names.copy(elf, stringsAt)
  return elf
}

describe('the dependencies of a shared library', () => {
  const elf = elfLibrary(['libdrm.so.2', 'libc.so.6'])

  test('are read in order', () => {
    expect(neededLibraries(elf, 'x.so')).toEqual(['libdrm.so.2', 'libc.so.6'])
    expect(neededLibraries(elfLibrary([]), 'x.so')).toEqual([])
  })

  test('are refused with a message, and never read past the end, for any damage to the file', () => {
    const readOrRefuse = (bytes: Buffer) => {
      try {
        neededLibraries(bytes, 'x.so')
      } catch (error) {
        expect(error).toBeInstanceOf(WeftgradError)
        expect(error).toMatchObject({ code: 'format' })
      }
    }
    for (let bytes = 0; bytes < elf.length; bytes++) readOrRefuse(elf.subarray(0, bytes))
    fc.assert(
      fc.property(fc.nat(elf.length - 1), fc.nat(255), (at, value) => {
        const damaged = Buffer.from(elf)
        damaged[at] = value
        readOrRefuse(damaged)
      }),
      { numRuns: 500 },
    )
  })
})

describe.runIf(process.platform === 'linux')('provisioning', () => {
  const before = { ...process.env }
  let folder: string
  let places: { etcApt: string; osRelease: string }
  const lines: string[] = []
  const log = (line: string) => void lines.push(line)

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'weftgrad-test-'))
    places = { etcApt: join(folder, 'etc-apt'), osRelease: join(folder, 'os-release') }
    mkdirSync(places.etcApt)
    writeFileSync(join(places.etcApt, 'sources.list'), 'deb http://mirror.example/debian bookworm main\n')
    writeFileSync(places.osRelease, 'ID=debian\nVERSION_CODENAME=bookworm\n')
    process.env.WEFTGRAD_CACHE_DIR = join(folder, 'cache')
    process.env.FAKE_TREE = join(folder, 'tree')
    lines.length = 0
    unpackedTree({
      'libvulkan_lvp.so': ['libdrm.so.2', 'libc.so.6'],
      'libdrm.so.2': ['libm.so.6'],
      'libc.so.6': [],
      'libextra.so.1': [],
    })
    fakeApt()
  })

  afterEach(() => {
    for (const name of Object.keys(process.env)) if (!(name in before)) delete process.env[name]
    Object.assign(process.env, before)
    rmSync(folder, { recursive: true, force: true })
  })

  /** The files that the fake `dpkg -x` unpacks. */
  function unpackedTree(libraries: Readonly<Record<string, readonly string[]>>): void {
    const lib = join(folder, 'tree/usr/lib')
    mkdirSync(lib, { recursive: true })
    for (const [name, needs] of Object.entries(libraries)) writeFileSync(join(lib, name), elfLibrary(needs))
  }

  function fakeProgram(name: string, script: string): void {
    writeFileSync(join(folder, 'bin', name), `#!/bin/sh\n${script}\n`)
    chmodSync(join(folder, 'bin', name), 0o755)
  }

  function fakeApt({ version = '25.0.7-2' }: { version?: string } = {}): void {
    mkdirSync(join(folder, 'bin'), { recursive: true })
    process.env.PATH = [join(folder, 'bin'), '/usr/bin', '/bin'].join(delimiter)
    fakeProgram(
      'apt-get',
      `case "$*" in *download*) : > mesa.deb;; *install*) echo "Inst libdrm2 (2.4-1 x [amd64])"; echo "Inst unrelated (1 x [amd64])";; esac`,
    )
    fakeProgram(
      'apt-cache',
      `case "$*" in *policy*) printf 'mesa-vulkan-drivers:\\n  Installed: (none)\\n  Candidate: ${version}\\n';; *) printf 'mesa-vulkan-drivers\\n  Depends: libdrm2\\nlibdrm2\\n';; esac`,
    )
    fakeProgram('dpkg', 'cp -r "$FAKE_TREE/." "$3"')
  }

  async function refusal(): Promise<WeftgradError> {
    const error = await failure(provisionDriver({ log, places }))
    if (!(error instanceof WeftgradError)) throw error
    expect(error.message).toContain('WEFTGRAD_ADAPTER')
    expect(error.message).toContain('mesa-vulkan-drivers')
    expect(existsSync(driversFolder()) ? readdirSync(driversFolder()) : []).toEqual([])
    return error
  }

  test('installs the driver and only what it needs into the cache, and reports it in one line', async () => {
    const driver = await provisionDriver({ log, places })
    expect(driver.libraries).toEqual(['libdrm.so.2', 'libvulkan_lvp.so'])
    expect(readdirSync(driversFolder())).toEqual([`lavapipe-bookworm-${process.arch}`])
    const icd: unknown = JSON.parse(readFileSync(driver.icd, 'utf8'))
    expect(icd).toMatchObject({ ICD: { library_path: join(driver.folder, 'lib/libvulkan_lvp.so') } })
    expect(cachedDriver(places)).toEqual({ state: 'whole', driver })
    expect(lines).toHaveLength(1)
    expect(lines[0]).toContain('WEFTGRAD_NO_SETUP=1')
  })

  /** Debian 13 with Mesa 25.0.7, and 26.1.6 in its backports, or what `backports` (a line of shell) makes of them. */
  function fakeTrixie({ backports = 'true' }: { backports?: string } = {}): void {
    writeFileSync(join(places.etcApt, 'sources.list'), 'deb http://mirror.example/debian trixie main\n')
    writeFileSync(places.osRelease, 'ID=debian\nVERSION_CODENAME=trixie\n')
    // The second argument is the configuration, the sources lie beside it.
    const usesBackports = 'grep -q trixie-backports "$(dirname "$2")/mirrors.sources" "$2"'
    fakeProgram(
      'apt-get',
      `case "$*" in *update*) if ${usesBackports}; then ${backports}; fi;; *download*) : > mesa.deb;; esac`,
    )
    fakeProgram(
      'apt-cache',
      `version=25.0.7-2; if ${usesBackports}; then version=26.1.6-1~bpo13+1; fi
       case "$*" in *policy*) printf "mesa-vulkan-drivers:\\n  Installed: (none)\\n  Candidate: $version\\n";; esac`,
    )
  }
  const noBackports = `echo "E: The repository 'trixie-backports' does not have a Release file." >&2; exit 100`

  test('takes the faster Mesa in the backports of Debian 13', async () => {
    fakeTrixie()
    expect((await provisionDriver({ log, places })).mesaVersion).toBe('26.1.6-1~bpo13+1')
    expect(lines).toHaveLength(1)
  })

  test("takes the release's own Mesa if the backports cannot be used, and says why", async () => {
    fakeTrixie({ backports: noBackports })
    expect((await provisionDriver({ log, places })).mesaVersion).toBe('25.0.7-2')
    expect(lines[1]).toMatch(
      /trixie-backports cannot be used .*does not have a Release file.* itself has Mesa 25\.0\.7/,
    )
  })

  test('names both reasons if the backports cannot be used and the own Mesa is too old', async () => {
    fakeProgram(
      'apt-get',
      `case "$*" in *update*) if grep -q backports "$2"; then ${noBackports}; fi;; *download*) : > mesa.deb;; esac`,
    )
    fakeProgram('apt-cache', `printf 'mesa-vulkan-drivers:\\n  Candidate: 22.3.6-1\\n'`)
    const { message } = await refusal()
    expect(message).toContain('offers only mesa-vulkan-drivers 22.3.6-1')
    expect(message).toContain('does not have a Release file')
  })

  test('replaces a slow driver by a fast one', async () => {
    fakeTrixie({ backports: noBackports })
    await provisionDriver({ log, places })
    fakeTrixie()
    expect((await fetchFastDriver({ log, places }))?.mesaVersion).toBe('26.1.6-1~bpo13+1')
    expect(cachedDriver(places)).toMatchObject({ state: 'whole', driver: { mesaVersion: '26.1.6-1~bpo13+1' } })
    expect(readdirSync(driversFolder())).toEqual([`lavapipe-trixie-${process.arch}`])
  })

  test('leaves a slow driver where it is if there is no faster one, or no network, and says so', async () => {
    fakeTrixie({ backports: noBackports })
    await provisionDriver({ log, places })
    expect(await fetchFastDriver({ log, places })).toBeUndefined()
    expect(lines.at(-1)).toContain('the mirrors of trixie have Mesa 25.0.7-2 at most')
    fakeProgram('apt-get', 'echo "E: Could not connect to mirror.example" >&2; exit 100')
    expect(await fetchFastDriver({ log, places })).toBeUndefined()
    expect(lines.at(-1)).toContain('Could not connect to mirror.example')
    expect(cachedDriver(places)).toMatchObject({ state: 'whole', driver: { mesaVersion: '25.0.7-2' } })
    expect(readdirSync(driversFolder())).toEqual([`lavapipe-trixie-${process.arch}`])
  })

  test('by several processes at once leaves one complete driver and nothing else', async () => {
    const drivers = await Promise.all([1, 2, 3].map(() => provisionDriver({ log, places })))
    expect(new Set(drivers.map((driver) => driver.folder)).size).toBe(1)
    expect(cachedDriver(places).state).toBe('whole')
    expect(readdirSync(driversFolder())).toHaveLength(1)
  })

  test('detects every kind of damage, and repairs it', async () => {
    const { folder: at } = await provisionDriver({ log, places })
    const damages: (readonly [RegExp, () => void])[] = [
      [/never finished/, () => rmSync(join(at, 'complete.json'))],
      [/not readable/, () => writeFileSync(join(at, 'complete.json'), '{"mesaVersion": 1}')],
      [/libdrm\.so\.2 is missing/, () => rmSync(join(at, 'lib/libdrm.so.2'))],
      [/has 7 bytes instead of/, () => truncateSync(join(at, 'lib/libvulkan_lvp.so'), 7)],
    ]
    for (const [reason, damage] of damages) {
      damage()
      const state = cachedDriver(places)
      expect(state).toMatchObject({ state: 'damaged', reason: expect.stringMatching(reason) })
      await provisionDriver({ log, places })
      expect(cachedDriver(places).state).toBe('whole')
    }
    expect(inspectDriver(join(at, 'nowhere')).state).toBe('absent')
  })

  /** All paths of a driver: the folder of all drivers, its own folder, and every file in it. */
  const partsOf = (at: string): string[] => [
    driversFolder(),
    at,
    join(at, 'lib'),
    join(at, 'complete.json'),
    join(at, 'icd.json'),
    join(at, 'lib/libdrm.so.2'),
  ]

  test('installs for the owner only, under any umask', async () => {
    const umask = process.umask(0)
    try {
      const { folder: at } = await provisionDriver({ log, places })
      for (const path of [join(folder, 'cache'), ...partsOf(at)]) expect(statSync(path).mode & 0o077, path).toBe(0)
    } finally {
      process.umask(umask)
    }
  })

  test('refuses a driver if others can write any part of it', async () => {
    const { folder: at } = await provisionDriver({ log, places })
    for (const path of [join(folder, 'cache'), ...partsOf(at)]) {
      const { mode } = statSync(path)
      for (const others of [0o020, 0o002]) {
        chmodSync(path, mode | others)
        expect(cachedDriver(places), path).toMatchObject({
          state: 'damaged',
          reason: `${path} can be written by others (mode ${((mode | others) & 0o777).toString(8)})`,
        })
      }
      chmodSync(path, mode)
    }
    chmodSync(folder, 0o777)
    expect(cachedDriver(places)).toMatchObject({
      state: 'damaged',
      reason: `${folder} can be written by others (mode 777)`,
    })
    chmodSync(folder, 0o1777)
    expect(cachedDriver(places).state).toBe('whole')
  })

  // Only root can give files away.
  test.skipIf(process.geteuid?.() !== 0)('refuses a driver if any part of it belongs to another user', async () => {
    const { folder: at } = await provisionDriver({ log, places })
    for (const path of [join(folder, 'cache'), ...partsOf(at)]) {
      chownSync(path, 12_345, 12_345)
      expect(cachedDriver(places), path).toMatchObject({
        state: 'damaged',
        reason: `${path} belongs to another user (uid 12345)`,
      })
      chownSync(path, 0, 0)
    }
    expect(cachedDriver(places).state).toBe('whole')
    // A planted one is replaced.
    chownSync(at, 12_345, 12_345)
    await provisionDriver({ log, places })
    expect(cachedDriver(places).state).toBe('whole')
  })

  test('downloads nothing into a folder that others can write, and says what to do', async () => {
    mkdirSync(driversFolder(), { recursive: true })
    chmodSync(driversFolder(), 0o777)
    await expect(provisionDriver({ log, places })).rejects.toMatchObject({
      code: 'file',
      message: expect.stringMatching(/can be written by others .* chmod go-w.* WEFTGRAD_CACHE_DIR/),
    })
    expect(readdirSync(driversFolder())).toEqual([])
  })

  test('detects a replaced library of the same size, and a library that is a link', async () => {
    const { folder: at } = await provisionDriver({ log, places })
    const library = join(at, 'lib/libvulkan_lvp.so')
    const bytes = readFileSync(library)
    bytes[bytes.length - 1] = 0x41
    writeFileSync(library, bytes)
    expect(cachedDriver(places)).toMatchObject({ state: 'damaged', reason: expect.stringContaining('SHA-256') })
    await provisionDriver({ log, places })
    renameSync(library, join(folder, 'elsewhere'))
    symlinkSync(join(folder, 'elsewhere'), library)
    expect(cachedDriver(places)).toMatchObject({ state: 'damaged' })
  })

  test('adds checksums for a driver that was installed without them', async () => {
    const { folder: at } = await provisionDriver({ log, places })
    const marker = join(at, 'complete.json')
    const { sha256, ...earlier } = JSON.parse(readFileSync(marker, 'utf8'))
    writeFileSync(marker, JSON.stringify(earlier))
    expect(cachedDriver(places).state).toBe('whole')
    expect(JSON.parse(readFileSync(marker, 'utf8'))).toEqual({ ...earlier, sha256 })
    expect(readdirSync(at).sort()).toEqual(['complete.json', 'icd.json', 'lib'])
  })

  test.skipIf(driversAreGiven())("first looks for the system's drivers where the loader looks", () => {
    const icds = join(folder, 'share/vulkan/icd.d')
    mkdirSync(icds, { recursive: true })
    writeFileSync(join(icds, 'radeon_icd.x86_64.json'), '{}')
    process.env.XDG_DATA_DIRS = ['relative', join(folder, 'nowhere'), join(folder, 'share')].join(delimiter)
    expect(systemIcds()).toContain(join(icds, 'radeon_icd.x86_64.json'))
  })

  test("hides the system's lavapipe for a faster one, and shows it again", () => {
    const files = process.env.VK_DRIVER_FILES
    useSystemIcds({ withoutLavapipe: true })
    expect(process.env.VK_LOADER_DRIVERS_DISABLE).toBe('lvp_icd*')
    useSystemIcds()
    expect(process.env.VK_LOADER_DRIVERS_DISABLE).toBe(before.VK_LOADER_DRIVERS_DISABLE)
    if (files !== undefined) process.env.VK_DRIVER_FILES = files
  })

  test('of a driver that does not load says so before it changes the environment', async () => {
    const driver = await provisionDriver({ log, places })
    const icd = process.env.VK_DRIVER_FILES
    expect(() => useCachedDriver(driver)).toThrow(DriverDoesNotLoad)
    expect(process.env.VK_DRIVER_FILES).toBe(icd)
  })

  test('explains that there is no apt-get', async () => {
    process.env.PATH = join(folder, 'nothing')
    const error = await refusal()
    expect(error.code).toBe('no-adapter')
    expect(error.message).toContain('there is no apt-get here')
  })

  test('explains a system that is neither Debian nor Ubuntu', async () => {
    writeFileSync(places.osRelease, 'ID=fedora\nVERSION_CODENAME=""\n')
    expect(await refusal()).toMatchObject({
      code: 'no-adapter',
      message: expect.stringContaining('only on Debian and Ubuntu'),
    })
  })

  const failures: Readonly<Record<string, readonly [code: string, reason: string, arrange: () => void]>> = {
    'a mirror that does not answer': [
      'fetch',
      'Temporary failure resolving',
      () => {
        fakeProgram('apt-get', `echo "W: Failed to fetch http://m: Temporary failure resolving 'm'" >&2`)
        fakeProgram('apt-cache', 'exit 0')
      },
    ],
    'a download that fails': [
      'fetch',
      'E: Hash Sum mismatch',
      () =>
        fakeProgram(
          'apt-get',
          'case "$*" in *download*) : > half.deb; echo "E: Hash Sum mismatch" >&2; exit 100;; esac',
        ),
    ],
    'a full disk': [
      'fetch',
      'is full',
      () => fakeProgram('apt-get', 'echo "E: Write error - write (28: No space left on device)" >&2; exit 100'),
    ],
    'a package that does not unpack': [
      'fetch',
      'not a Debian format archive',
      () => fakeProgram('dpkg', 'mkdir -p "$3/usr"; echo "dpkg-deb: error: not a Debian format archive" >&2; exit 2'),
    ],
    'a package without the driver': [
      'fetch',
      'does not contain libvulkan_lvp.so',
      () => rmSync(join(folder, 'tree/usr/lib/libvulkan_lvp.so')),
    ],
    'a truncated library': [
      'fetch',
      'libvulkan_lvp.so is not a usable shared library',
      () => truncateSync(join(folder, 'tree/usr/lib/libvulkan_lvp.so'), 100),
    ],
    'a Mesa that is too old': ['fetch', '20.3.5', () => fakeApt({ version: '20.3.5-1' })],
    'sources that name no mirror': [
      'fetch',
      'names no mirror for bookworm',
      () => writeFileSync(join(places.etcApt, 'sources.list'), 'deb http://x/node nodistro main\n'),
    ],
    'a cache that cannot be written': ['fetch', 'cannot be written', () => writeFileSync(join(folder, 'cache'), '')],
  }
  for (const [what, [code, reason, arrange]] of Object.entries(failures))
    test(`explains ${what} and leaves no partial file behind`, async () => {
      arrange()
      expect(await refusal()).toMatchObject({ code, message: expect.stringContaining(reason) })
    })

  test('removes what a killed process left, but not the work of a running one', () => {
    const mine = newStagingFolder()
    const dead = spawnSync('/bin/sh', ['-c', 'echo $$'], { encoding: 'utf8' }).stdout.trim()
    mkdirSync(join(driversFolder(), `staging-${dead}-abc`))
    mkdirSync(driverFolder('bookworm'))
    removeStaleStaging()
    expect(
      readdirSync(driversFolder())
        .map((name) => join(driversFolder(), name))
        .sort(),
    ).toEqual([driverFolder('bookworm'), mine].sort())
  })
})
