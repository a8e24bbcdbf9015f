/**
 * The frame of every report: one HTML file that needs no network, for any screen width, light or dark, and for print.
 *
 * Promises: data is escaped; the page has no script and loads nothing.
 */
import { section } from './blocks.ts'
import { type Html, html, trusted } from './html.ts'
import { style } from './style.ts'

export interface ReportDocument {
  readonly title: string
  /** A line below the title: which version, when, where. */
  readonly origin: string
  /** In order; the page lists their titles at its top. */
  readonly sections: readonly DocumentSection[]
  readonly footer: string
}

export interface DocumentSection {
  readonly id: string
  readonly title: string
  readonly content: Html
}

export function renderDocument({ title, origin, sections, footer }: ReportDocument): string {
  const page = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>${title}</title>
<style>${trusted(style)}</style>
</head>
<body>
<header>
<h1>${title}</h1>
<p class="quiet">${origin}</p>
<nav aria-label="Sections"><ul>${sections.map((one) => html`<li><a href="#${one.id}">${one.title}</a></li>`)}</ul></nav>
</header>
<main>
${sections.map((one) => section(one.id, one.title, one.content))}</main>
<footer class="quiet"><p>${footer}</p></footer>
</body>
</html>
`
  return page.text
}

/** The day of an ISO 8601 time. */
export function day(iso: string): string {
  return iso.slice(0, 10)
}

/** An ISO 8601 time to the minute. */
export function minute(iso: string): string {
  return `${iso.slice(0, 10)} ${iso.slice(11, 16)} UTC`
}
