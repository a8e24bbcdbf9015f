/**
 * Building blocks of the report's sections: tables that scroll in their own box, figures with captions, lists of facts.
 */
import { type Content, type Html, html, nothing, trusted } from './html.ts'

export interface Column {
  readonly title: string
  /** Whether the column holds numbers, which are right-aligned. */
  readonly numeric?: boolean
  /** Whether to highlight it, as the best one. */
  readonly strong?: boolean
}

export interface TableRow {
  readonly cells: readonly Content[]
  /** Whether to highlight it, as the best one. */
  readonly strong?: boolean
}

/** A table; the first cell of a row is its header. */
export function table(caption: string, columns: readonly Column[], rows: readonly TableRow[]): Html {
  const kind = (i: number): Html => {
    const { numeric, strong } = columns[i] ?? {}
    const names = [...(numeric ? ['number'] : []), ...(strong ? ['strong'] : [])]
    return names.length === 0 ? nothing : html` class="${names.join(' ')}"`
  }
  const head = columns.map(({ title }, i) =>
    title === '' ? html`<td></td>` : html`<th scope="col"${kind(i)}>${title}</th>`,
  )
  const body = rows.map(({ cells, strong }) => {
    const own = cells.map((cell, i) =>
      i === 0 ? html`<th scope="row"${kind(i)}>${cell}</th>` : html`<td${kind(i)}>${cell}</td>`,
    )
    return html`<tr${strong ? html` class="strong"` : nothing}>${own}</tr>\n`
  })
  return html`<div class="scroll" role="region" tabindex="0" aria-label="${caption}">
<table><caption><span>${caption}</span></caption>
<thead><tr>${head}</tr></thead>
<tbody>
${body}</tbody></table></div>
`
}

export interface Compared<Item> {
  readonly title: string
  readonly of: (item: Item) => Content
}

/** A table with one column per item, so that many numbers about few items need no wide page. */
export function columnsTable<Item>(
  caption: string,
  items: readonly Item[],
  head: (item: Item) => Omit<Column, 'numeric'>,
  rows: readonly Compared<Item>[],
): Html {
  return table(
    caption,
    [{ title: '' }, ...items.map((item) => ({ ...head(item), numeric: true }))],
    rows.map(({ title, of }) => ({ cells: [title, ...items.map(of)] })),
  )
}

/** A plot from `src/plots/`. */
export function plot(svg: string, caption: Content): Html {
  return html`<figure class="plot-figure">${trusted(svg)}<figcaption>${caption}</figcaption></figure>
`
}

/** Blocks side by side, if there is room. */
export function beside(...blocks: readonly Html[]): Html {
  return html`<div class="beside">${blocks}</div>
`
}

export function paragraphs(texts: readonly Content[]): Html {
  return html`${texts.map((text) => html`<p>${text}</p>\n`)}`
}

/** A list of names with their values. */
export function facts(rows: readonly (readonly [string, Content])[]): Html {
  return html`<dl class="facts">${rows.map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>\n`)}</dl>
`
}

export function section(id: string, title: string, ...content: readonly Html[]): Html {
  return html`<section id="${id}" aria-labelledby="${id}-title">
<h2 id="${id}-title">${title}</h2>
${content}</section>
`
}

export function subtitle(text: string, level: 3 | 4 = 3): Html {
  return level === 3 ? html`<h3>${text}</h3>\n` : html`<h4>${text}</h4>\n`
}

/** Plain text to be copied: a click selects all of it. */
export function toCopy(sentences: readonly string[]): Html {
  return html`${subtitle('To copy')}
<blockquote class="copy">${sentences.join(' ')}</blockquote>
`
}

/** A note on a part that was not run, with the reason. */
export function skipped(reason: string): Html {
  return html`<p class="note">Not part of this study. ${reason}</p>
`
}

/** A square picture, given as a PNG in base64. */
export function picture(png: string, text: string, size: number): Html {
  return html`<img src="data:image/png;base64,${png}" alt="${text}" title="${text}" width="${size}" height="${size}">`
}
