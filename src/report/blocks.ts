/** What the report's sections are made of: tables that scroll in their own box, figures with captions, lists of facts. */
import { pngDataUri } from '../plots/pictures.ts'
import { type Content, type Html, html, nothing, trusted } from './html.ts'

export interface Column {
  readonly title: string
  /** Figures stand to the right. */
  readonly numeric?: boolean
  /** Stands out, as the best one does. */
  readonly strong?: boolean
}

export interface TableRow {
  readonly cells: readonly Content[]
  /** Stands out, as the best one does. */
  readonly strong?: boolean
}

/** The first cell of a row is its head. */
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

/** Items side by side, a column each, so that many figures of few items need no wide page. */
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

/** A plot, as `src/plots/` makes it. */
export function plot(svg: string, caption: Content): Html {
  return html`<figure class="plot-figure">${trusted(svg)}<figcaption>${caption}</figcaption></figure>
`
}

/** Side by side where there is room. */
export function beside(...blocks: readonly Html[]): Html {
  return html`<div class="beside">${blocks}</div>
`
}

export function paragraphs(texts: readonly Content[]): Html {
  return html`${texts.map((text) => html`<p>${text}</p>\n`)}`
}

/** Names with their values. */
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

export function subtitle(text: string): Html {
  return html`<h3>${text}</h3>
`
}

/** A part that was not run, and why. */
export function skipped(reason: string): Html {
  return html`<p class="note">Not part of this study. ${reason}</p>
`
}

export function picture(png: Uint8Array | string, text: string): Html {
  const address = typeof png === 'string' ? `data:image/png;base64,${png}` : pngDataUri(png)
  return html`<img src="${address}" alt="${text}" width="84" height="84">`
}
