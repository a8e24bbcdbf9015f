/** The report's style: one readable column, light or dark as the reader's system, black on white in print. */
export const style = `
:root { color-scheme: light dark; --paper: #ffffff; --ink: #1f2328; --quiet: #57606a; --line: #d0d7de; --tint: #f6f8fa;
  --strong: #ddf0ff; --link: #0757b8; --plot-paper: var(--paper) }
@media (prefers-color-scheme: dark) { :root { --paper: #0d1117; --ink: #e6edf3; --quiet: #9aa4af; --line: #3d444d;
  --tint: #161b22; --strong: #12304f; --link: #6cb6ff } }
* { box-sizing: border-box }
html { -webkit-text-size-adjust: 100%; scroll-behavior: smooth }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.55 system-ui, sans-serif;
  overflow-wrap: break-word }
header, main, footer { max-width: 62rem; margin: 0 auto; padding: 0 1.25rem }
header { padding-top: 2rem }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .4rem }
h2 { font-size: 1.4rem; line-height: 1.25; margin: 2.8rem 0 .8rem; padding-top: .8rem; border-top: 1px solid var(--line) }
h3 { font-size: 1.1rem; margin: 1.8rem 0 .5rem }
h4 { font-size: 1rem; margin: 1.3rem 0 .4rem }
p, ul, ol { margin: .6rem 0; max-width: 46rem }
li { margin: .25rem 0 }
a { color: var(--link) }
.quiet, figcaption, caption, dt { color: var(--quiet) }
nav ul { display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; list-style: none; padding: 0; max-width: none }
.lead { font-size: 1.15rem }
.note { border-left: 4px solid var(--line); padding: .3rem 0 .3rem .9rem }
.warning { border-left: 4px solid #d9660b; background: var(--tint); padding: .5rem .9rem }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(13rem, 100%), 1fr)); gap: .8rem; margin: 1.2rem 0; padding: 0 }
.tiles > div { background: var(--tint); border: 1px solid var(--line); border-radius: 8px; padding: .7rem .9rem }
.tiles dt { font-size: .85rem }
.tiles dd { margin: 0; font-size: 1.45rem; font-weight: 650; line-height: 1.3 }
.tiles dd small { display: block; font-size: .85rem; font-weight: 400; color: var(--quiet) }
.facts { display: grid; gap: .15rem; margin: .8rem 0 }
.facts > div { display: grid; grid-template-columns: 11rem 1fr; gap: .8rem }
.facts dd { margin: 0; overflow-wrap: anywhere }
.scroll { overflow-x: auto; margin: 1rem 0; border: 1px solid var(--line); border-radius: 8px }
.scroll:focus-visible { outline: 2px solid var(--link); outline-offset: 2px }
table { border-collapse: collapse; width: 100%; font-size: .9rem; font-variant-numeric: tabular-nums }
caption { text-align: left; padding: .5rem 0 }
caption span { display: inline-block; position: sticky; left: .7rem; margin: 0 .7rem; max-width: calc(100vw - 4rem) }
th, td { padding: .38rem .7rem; text-align: left; vertical-align: top; border-top: 1px solid var(--line) }
thead th, thead td { background: var(--tint); vertical-align: bottom }
tbody th { font-weight: 500 }
tbody th:not(.number) { min-width: 7rem }
thead .number { white-space: normal }
.number { text-align: right; white-space: nowrap }
.strong th, .strong td, th.strong, td.strong { background: var(--strong); font-weight: 650 }
.beside { display: flex; flex-wrap: wrap; gap: 0 1.5rem; align-items: flex-start }
.beside > * { flex: 1 1 20rem; min-width: 0 }
figure { margin: 1rem 0; min-width: 0 }
.plot-figure svg { display: block }
figcaption { font-size: .88rem; max-width: 46rem; margin-top: .35rem }
img { image-rendering: pixelated; background: #000; border-radius: 4px }
.strip { display: flex; flex-wrap: wrap; gap: .4rem; max-width: none }
.copy { margin: .6rem 0; padding: .7rem .9rem; max-width: 46rem; background: var(--tint); border: 1px solid var(--line);
  border-radius: 8px; user-select: all }
.images { display: grid; grid-template-columns: repeat(auto-fill, minmax(8rem, 1fr)); gap: 1rem; padding: 0; list-style: none; max-width: none }
.images li { margin: 0; font-size: .85rem; line-height: 1.35 }
.images img { display: block; margin-bottom: .3rem }
footer { padding-top: 1.5rem; padding-bottom: 3rem; font-size: .9rem }
@media (max-width: 40rem) {
  body { font-size: 15px }
  header, main, footer { padding-left: .9rem; padding-right: .9rem }
  h1 { font-size: 1.5rem }
  .facts > div { grid-template-columns: 1fr; gap: 0; margin-bottom: .4rem }
}
@media print {
  :root { color-scheme: light; --paper: #ffffff; --ink: #000000; --quiet: #444444; --line: #bbbbbb; --tint: #ffffff;
    --strong: #eeeeee; --link: #000000 }
  @page { size: A4; margin: 16mm }
  * { print-color-adjust: exact }
  body { font-size: 10pt }
  header, main, footer { max-width: none; padding: 0 }
  p, ul, ol, figcaption { max-width: none }
  nav { display: none }
  h2 { margin-top: 1.6rem }
  h2, h3, h4, caption, thead, tbody tr:first-child { break-after: avoid }
  figure, tr, .tiles > div, .images li, .pair, .copy { break-inside: avoid }
  .scroll { overflow: visible; border: 0 }
  table { font-size: 8pt }
  th, td { padding: .2rem .3rem; overflow-wrap: anywhere }
  td.number { overflow-wrap: normal }
  tbody th:not(.number) { min-width: 6rem }
  caption span { position: static; margin: 0; max-width: none }
  .images { grid-template-columns: repeat(6, minmax(0, 1fr)); gap: .6rem }
  .images li { font-size: 7.5pt }
  .tiles { grid-template-columns: repeat(4, minmax(0, 1fr)) }
  .beside { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)) }
  .plot-figure svg { width: min(100%, 110mm) }
}
`
