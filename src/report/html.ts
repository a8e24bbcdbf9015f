/**
 * HTML text that is always escaped: `html` escapes every value except other `Html`. Data can therefore never become
 * markup.
 */

export class Html {
  readonly text: string

  constructor(text: string) {
    this.text = text
  }
}

export type Content = Html | string | number | readonly Html[]

/** A template tag: constant text is markup, inserted values are escaped. */
export function html(strings: TemplateStringsArray, ...values: readonly Content[]): Html {
  const parts = strings.flatMap((constant, i) => [constant, i < values.length ? markup(values[i] ?? '') : ''])
  return new Html(parts.join(''))
}

/** Marks text as trusted markup, such as the SVG of a plot. */
export function trusted(text: string): Html {
  return new Html(text)
}

export const nothing = new Html('')

function markup(value: Content): string {
  if (value instanceof Html) return value.text
  if (typeof value === 'object') return value.map(({ text }) => text).join('')
  return String(value)
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll("'", '&#39;')
}
