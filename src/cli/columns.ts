/** Text in columns that never touch. */

/** Pads the text to the column's width. Longer text is still followed by a gap of two spaces. */
export function column(text: string, width: number): string {
  return text.padEnd(Math.max(width, text.length + 2))
}
