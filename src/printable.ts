/**
 * Text from elsewhere (names in files, paths, answers of servers) as it may be shown: without characters that steer a
 * terminal or reorder what is read, and not longer than a person reads.
 */

/** Controls, separators of lines, half characters, and invisible formatting but for the two joiners that scripts need. */
const unprintable = /[\p{Cc}\p{Zl}\p{Zp}\p{Cs}]|(?![\u200c\u200d])\p{Cf}/gu

/** The text with every unprintable character as JSON would escape it. */
export function escaped(text: string): string {
  return text.replace(unprintable, (character) =>
    Array.from(
      { length: character.length },
      (_, i) => `\\u${character.charCodeAt(i).toString(16).padStart(4, '0')}`,
    ).join(''),
  )
}

/** Escaped, in one line; of what is longer than `most` characters the middle is left out. */
export function printable(text: string, most = 120): string {
  if (text.length <= most) return escaped(text)
  const end = Math.floor((most - 3) / 3)
  return escaped(`${text.slice(0, most - 3 - end)}...${text.slice(text.length - end)}`)
}
