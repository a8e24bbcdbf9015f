/** Text as a stream may show it: coloured only where colours work, and escaped but for line ends and our own colours. */
import pc from 'picocolors'
import { escaped } from '../printable.ts'

export type Colors = ReturnType<typeof pc.createColors>

export function colorsFor(
  stream: { readonly isTTY?: boolean },
  env: Readonly<Record<string, string | undefined>> = process.env,
): Colors {
  if (env.NO_COLOR) return pc.createColors(false)
  if (env.FORCE_COLOR) return pc.createColors(env.FORCE_COLOR !== '0')
  return pc.createColors(stream.isTTY === true && env.TERM !== 'dumb')
}

const sequenceStart = '\u001b'
/** Sequences that switch bold, dim and our colours on and off; the group makes `split` keep them. */
const ownColors = new RegExp(`(${sequenceStart}\\[(?:1|2|22|31|32|33|36|39)m)`)

/** Escapes text for a stream with these colours. */
export function shownLines(text: string, { isColorSupported }: Colors): string {
  const line = (own: string): string =>
    isColorSupported
      ? own
          .split(ownColors)
          .map((part, i) => (i % 2 === 1 ? part : escaped(part)))
          .join('')
      : escaped(own)
  // No-break spaces are meant for HTML.
  return text.replaceAll('\u00a0', ' ').split('\n').map(line).join('\n')
}
