/** Which known names somebody may have meant. */

/** The letters and the pairs of neighbours. */
const partsOf = (name: string): string[] =>
  [...name.toLowerCase()].flatMap((letter, i, letters) => [letter, letter + (letters[i + 1] ?? '')])

/** The three known names that share most parts with the wanted one (Dice 1945), three of five at least. */
export function nearNames(wanted: string, known: readonly string[]): string[] {
  const asked = partsOf(wanted)
  const likeness = (name: string): number => {
    const own = partsOf(name)
    return (2 * asked.filter((part) => own.includes(part)).length) / (asked.length + own.length)
  }
  return known
    .filter((name) => likeness(name) >= 0.6)
    .sort((a, b) => likeness(b) - likeness(a))
    .slice(0, 3)
}

/** The end of a sentence about a name that is not known: which one may have been meant, else what `otherwise` says. */
export function nameHint(
  wanted: string,
  known: readonly string[],
  otherwise = `there are ${known.join(', ')}.`,
): string {
  const near = nearNames(wanted, known)
  return near.length > 0 ? `; did you mean ${near.join(', ')}?` : `; ${otherwise}`
}
