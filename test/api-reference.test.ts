/**
 * The API reference is complete: every public name has a comment, every type that a public name mentions is public, and
 * every link in a comment leads somewhere. (Only people can judge what a comment says.)
 */
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Application, Logger, LogLevel, TSConfigReader, TypeDocReader } from 'typedoc'
import { beforeAll, describe, expect, test } from 'vitest'

const root = fileURLToPath(new URL('..', import.meta.url))

/** Collects TypeDoc's messages. */
class Warnings extends Logger {
  readonly texts: string[] = []
  override log(message: string, level: LogLevel): void {
    if (level >= LogLevel.Warn) this.texts.push(message)
  }
}

describe('the API reference', () => {
  const warnings = new Warnings()
  let names: string[] = []

  beforeAll(async () => {
    const options = {
      options: join(root, 'typedoc.json'),
      tsconfig: join(root, 'tsconfig.json'),
      logLevel: LogLevel.Warn,
    }
    const app = await Application.bootstrapWithPlugins(options, [new TypeDocReader(), new TSConfigReader()])
    app.logger = warnings
    const project = await app.convert()
    if (project === undefined) throw new Error(`TypeDoc could not read the sources:\n${warnings.texts.join('\n')}`)
    app.validate(project)
    names = Object.values(project.reflections).map((reflection) => reflection.getFullName())
  })

  test('has the names of both entry points, and of the namespaces', () => {
    expect(names).toContain('weftgrad.matmul')
    expect(names).toContain('weftgrad.nn.fit')
    expect(names).toContain('weftgrad/node.open')
    expect(names).toContain('weftgrad/node.weights.find')
  })

  test('documents every public name, and mentions no type or name that is missing', () => {
    expect(warnings.texts.join('\n')).toBe('')
  })
})
