/** The running versions, for config.json, so that a result can be traced to the code that made it. */
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import type { Versions } from './versions.ts'

export function versions(): Versions {
  return {
    weftgrad: weftgradVersion(),
    webgpu: packageVersion('webgpu'),
    node: process.version,
    platform: `${process.platform}-${process.arch}`,
  }
}

/** The version in weftgrad's own package.json: two folders up in a clone, one in a build, beside a bundled program. */
export function weftgradVersion(): string {
  for (const place of ['../../package.json', '../package.json', './package.json']) {
    const found = versionIn(new URL(place, import.meta.url))
    if (found !== undefined) return found
  }
  return 'unknown'
}

function packageVersion(name: string): string {
  try {
    return versionIn(createRequire(import.meta.url).resolve(`${name}/package.json`)) ?? 'unknown'
  } catch {
    return 'unknown'
  }
}

function versionIn(path: string | URL): string | undefined {
  try {
    const { version } = JSON.parse(readFileSync(path, 'utf8'))
    return typeof version === 'string' ? version : undefined
  } catch {
    return undefined
  }
}
