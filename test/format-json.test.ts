/** JSON of untrusted files: what it unpacks to is bounded. */
import { describe, expect, it } from 'vitest'
import { boundedJson, parsedJson } from '../src/format/json.ts'

describe('JSON', () => {
  const most = 2 ** 21
  const listOf = (items: string, count: number): string => `[${Array(count).fill(items).join()}]`

  it('may be long, and hold as many lists and objects as the largest files do', () => {
    expect(boundedJson(`{"a":"${'x'.repeat(2 * most)}"}`)).toEqual({ a: 'x'.repeat(2 * most) })
    expect(boundedJson(listOf('{"name":[]}', most / 2 - 1))).toHaveLength(most / 2 - 1)
  })

  it.each([
    ['lists', listOf('[]', most)],
    ['objects', listOf('{}', most)],
    ['depth', '['.repeat(most + 1) + ']'.repeat(most + 1)],
  ])('is refused for more of them: %s', (_, text) => {
    expect(() => boundedJson(text)).toThrow('more than 2097152 lists and objects')
    expect(parsedJson(text)).toBeUndefined()
  })
})
