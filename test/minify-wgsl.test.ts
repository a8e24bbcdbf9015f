/** The build's minifier of WGSL: its output has the same tokens as its input, in every literal of every kernel. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { minifyKernelFile, minifyWgsl, wgslLiterals } from '../scripts/minify-wgsl.ts'
import { wgslTokens } from './support/wgsl-tokens.ts'

const folder = 'src/kernels'
const files = readdirSync(folder, { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.ts'))
  .map((name) => ({ name, code: readFileSync(join(folder, name), 'utf8') }))
/** Values for a hole in the text: no token may merge with a neighbour. */
const fillings = ['name', '-1.0-', '&x']

describe('the minifier', () => {
  test.each(files)('leaves the tokens of all WGSL in $name as they are', ({ name, code }) => {
    for (const pieces of wgslLiterals(code, name)) {
      const texts = pieces.map(({ text }) => text)
      const minified = minifyWgsl(texts)
      for (const filling of fillings)
        expect(wgslTokens(minified.join(filling))).toEqual(wgslTokens(texts.join(filling)))
    }
  })

  test('makes the WGSL of the kernels a fifth shorter or more', () => {
    const texts = files.flatMap(({ name, code }) => wgslLiterals(code, name).map((pieces) => pieces.map((p) => p.text)))
    const lengthOf = (all: readonly string[][]): number => all.flat().join('').length
    expect(lengthOf(texts)).toBeGreaterThan(30_000)
    expect(lengthOf(texts.map(minifyWgsl))).toBeLessThan(0.8 * lengthOf(texts))
  })

  test.each([
    ['let x = a - -b;', 'let x=a- -b;'],
    ['let y = p & &q;', 'let y=p& &q;'],
    ['if (a < -b) { return; }', 'if(a< -b){return;}'],
    ['let v: vec4<f32> = w;', 'let v:vec4<f32> =w;'],
    ['fn f() -> u32 {\n  return 1u; // one\n}', 'fn f()->u32{return 1u;}'],
    ['a /* b */ c', 'a c'],
  ])('keeps tokens apart that would merge into another one: %s', (text, minified) => {
    expect(minifyWgsl([text])).toEqual([minified])
  })

  test.each([
    [
      ['let x', ' = ', ';'],
      ['let x', ' = ', ';'],
    ],
    [
      ['\n  ', '\n}'],
      ['\n', '\n}'],
    ],
    [
      ['x[', ' + 1u];\n  ', ''],
      ['x[', ' +1u];', ''],
    ],
  ])('keeps a space or a line break next to a hole with unknown content: %j', (pieces, minified) => {
    expect(minifyWgsl(pieces)).toEqual(minified)
  })

  test.each([[['let a = 1u; // ', '']], [['/* ', ' */']], [['x; // to the end']]])(
    'refuses a comment that continues beyond the text it sees: %j',
    (pieces) => {
      expect(() => minifyWgsl(pieces)).toThrow(/comment in WGSL has to end/)
    },
  )

  // biome-ignore-start lint/suspicious/noTemplateCurlyInString: sources with templates
  test('changes WGSL only: no error message, no name, no text with escapes', () => {
    const sources = [
      "throw new WeftgradError('shape', `a = b; c is ${d} {`)",
      'const label = `conv2d / ${variant}`',
      "const escaped = 'a = b;\\n'",
      'const statement = `  let a${i} = ${text} + 1u;`',
      'const body = `\n  let x = 1u; // one\n`',
    ]
    const minified = minifyKernelFile(sources.join('\n'), 'kernel.ts')
    expect(minified.code.split('\n')).toEqual([
      ...sources.slice(0, 3),
      'const statement = ` let a${i} = ${text} +1u;`',
      'const body = `',
      'let x=1u;`',
    ])
    expect(minified.map.sources).toEqual(['kernel.ts'])
  })
  // biome-ignore-end lint/suspicious/noTemplateCurlyInString: sources with templates
})
