/** What the report's sections are made of: tables that scroll in their own box, figures with captions, lists of facts. */
import { pngDataUri } from '../plots/pictures.ts'
import { type Content, type Html, html, nothing, trusted } from './html.ts'

export interface Column {
  readonly title: string
  /** Figures stand to the right. */
  readonly numeric?: boolean
}

export interface TableRow {
  readonly cells: readonly Content[]
  /** Stands out, as the best one does. */
  readonly strong?: boolean
}

/** The first cell of a row is its head. */
export function table(caption: string, columns: readonly Column[], rows: readonly TableRow[]): Html {
  const kind = (i: number): Html => (columns[i]?.numeric ? html` class="number"` : nothing)
  const head = columns.map(({ title }, i) => html`<th scope="col"${kind(i)}>${title}</th>`)
  const body = rows.map(({ cells, strong }) => {
    const own = cells.map((cell, i) =>
      i === 0 ? html`<th scope="row"${kind(i)}>${cell}</th>` : html`<td${kind(i)}>${cell}</td>`,
    )
    return html`<tr${strong ? html` class="strong"` : nothing}>${own}</tr>\n`
  })
  return html`<div class="scroll" role="region" tabindex="0" aria-label="${caption}">
<table><caption>${caption}</caption>
<thead><tr>${head}</tr></thead>
<tbody>
${body}</tbody></table></div>
`
}

/** A plot, as `src/study/plots/` makes it. */
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

/** Names with what is to be said of them. */
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
