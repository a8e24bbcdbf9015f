/** Which known names somebody may have meant. */

/** The known names that are most like the wanted one, most alike first: a few letters away, or holding it or held by it. */
export function nearNames(wanted: string, known: readonly string[], most = 3): string[] {
  const asked = wanted.toLowerCase()
  return known
    .map((name) => {
      const candidate = name.toLowerCase()
      const holds = asked !== '' && (candidate.includes(asked) || asked.includes(candidate))
      return { name, edits: editDistance(asked, candidate), holds }
    })
    .filter(({ edits, holds }) => holds || edits <= Math.max(2, Math.floor(asked.length / 3)))
    .sort((a, b) => a.edits - b.edits)
    .slice(0, most)
    .map(({ name }) => name)
}

/** Letters to insert, delete or replace (Levenshtein 1966), row by row of the table. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const replaced = (row[j - 1] ?? 0) + Number(a[i - 1] !== b[j - 1])
      next.push(Math.min(replaced, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1))
    }
    row = next
  }
  return row.at(-1) ?? 0
}
