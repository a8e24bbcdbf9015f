/** Reading apt's sources and answers. */
import { describe, expect, test } from 'vitest'
import { parsePolicy, parseSimulation } from '../src/gpu/node/apt.ts'
import {
  formatDeb822Sources,
  parseDeb822Sources,
  parseOneLineSources,
  releaseCodename,
  sourcesOfRelease,
} from '../src/gpu/node/apt-sources.ts'
import { reasonIn } from '../src/gpu/node/command.ts'

describe('apt sources', () => {
  const debian = `# a comment
Types: deb deb-src
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 mQ==
`

  test('are read in the deb822 notation, with a key embedded in the file', () => {
    const [main, security] = parseDeb822Sources(debian)
    expect(main).toMatchObject({ uris: ['http://mirror.example/debian'], suites: ['bookworm', 'bookworm-updates'] })
    expect(security?.options).toEqual([['Signed-By', '\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mQ==']])
    expect(parseDeb822Sources(formatDeb822Sources(parseDeb822Sources(debian)))).toEqual(parseDeb822Sources(debian))
  })

  test('leave out disabled entries and source packages', () => {
    expect(parseDeb822Sources('Types: deb\nEnabled: no\nURIs: a\nSuites: b\nComponents: main')).toEqual([])
    expect(parseDeb822Sources('Types: deb-src\nURIs: a\nSuites: b\nComponents: main')).toEqual([])
    expect(parseOneLineSources('# deb http://x y main\ndeb-src http://x y main')).toEqual([])
  })

  test('are read in the one-line notation with its options', () => {
    const line = 'deb [arch=amd64,arm64 signed-by=/k.gpg check-valid-until=no] http://x/ubuntu noble main universe # hm'
    expect(parseOneLineSources(line)).toEqual([
      {
        uris: ['http://x/ubuntu'],
        suites: ['noble'],
        components: ['main', 'universe'],
        options: [
          ['Architectures', 'amd64 arm64'],
          ['Signed-By', '/k.gpg'],
          ['Check-Valid-Until', 'no'],
        ],
      },
    ])
  })

  test('of a release exclude other vendors and gain the backports on the main mirror', () => {
    const all = [
      ...parseOneLineSources(
        'deb https://vendor.example/node_20.x nodistro main\ndeb https://vendor.example/linux/debian bookworm stable',
      ),
      ...parseOneLineSources('deb cdrom:[Debian]/ bookworm main\ndeb http://third.example/bookworm bookworm main'),
      ...parseDeb822Sources(debian),
    ]
    const chosen = sourcesOfRelease(all, 'bookworm', 'bookworm-backports')
    expect(chosen.map((source) => source.uris[0])).not.toContain('https://vendor.example/node_20.x')
    expect(chosen.map((source) => source.uris[0])).not.toContain('https://vendor.example/linux/debian')
    expect(chosen.at(-1)).toMatchObject({
      uris: ['http://mirror.example/debian'],
      suites: ['bookworm-backports'],
      components: ['main'],
      options: [['Signed-By', '/usr/share/keyrings/debian-archive-keyring.gpg']],
    })
  })

  test('are not changed if they already have backports', () => {
    const all = parseOneLineSources('deb http://m/debian bookworm main\ndeb http://b/debian bookworm-backports main')
    expect(sourcesOfRelease(all, 'bookworm', 'bookworm-backports')).toEqual(all)
  })

  test("belong to the release this system is built on: Mint's are Ubuntu's", () => {
    expect(releaseCodename('ID=debian\nVERSION_CODENAME=bookworm\n')).toBe('bookworm')
    expect(releaseCodename('VERSION_CODENAME=wilma\nUBUNTU_CODENAME="noble"\n')).toBe('noble')
    expect(releaseCodename('ID=fedora\nVERSION_CODENAME=""\n')).toBeUndefined()
  })
})

test("apt's output is parsed", () => {
  expect(
    parseSimulation(
      'Reading...\nInst libdrm2 [2.4.114-1] (2.4.123-1~bpo12+1 Debian Backports:x [amd64])\nInst zlib1g (1:1.2 Debian:12 [amd64]) []\nConf x (1 y)\n',
    ),
  ).toEqual([
    { name: 'libdrm2', version: '2.4.123-1~bpo12+1' },
    { name: 'zlib1g', version: '1:1.2' },
  ])
  expect(
    parsePolicy(
      'a:\n  Installed: (none)\n  Candidate: 1:2-3\n  Version table:\n     1:2-3 500\nb:\n  Installed: 1\n  Candidate: (none)\n',
    ),
  ).toEqual([{ name: 'a', version: '1:2-3' }])
  expect(reasonIn('W: meh\nE: this\nE: that\n')).toBe('E: this')
})
