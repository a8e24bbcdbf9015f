/** Measures a page's boxes in a browser: what a reader would see cut off, or on top of something else. */
import type { Page } from 'playwright'

/** The width of the text of an A4 page with margins of 16 mm, in CSS pixels. */
export const paperWidth = Math.floor(((210 - 2 * 16) / 25.4) * 96)

/**
 * Problems of the layout at the page's current width and medium: boxes or text beyond its sides, plots beyond their
 * figure, text beyond its table cell, blocks that overlap. A box that scrolls by itself may hold more than is visible.
 */
export async function layoutProblems(page: Page): Promise<string[]> {
  return await page.evaluate(() => {
    const problems: string[] = []
    const width = document.documentElement.clientWidth
    const named = (element: Element): string =>
      `${element.tagName.toLowerCase()} "${(element.textContent ?? '').trim().slice(0, 40)}"`
    const isClipped = (element: Element): boolean => {
      const box = element.parentElement?.closest('.scroll') ?? null
      return box !== null && getComputedStyle(box).overflowX !== 'visible'
    }
    if (document.documentElement.scrollWidth > width)
      problems.push(`the page is ${document.documentElement.scrollWidth} wide, not ${width}`)
    const beyond = (rect: DOMRect): boolean => rect.right > width + 1 || rect.left < -1

    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
    for (let node = texts.nextNode(); node !== null; node = texts.nextNode()) {
      const parent = node.parentElement
      if (parent === null || parent.closest('svg') !== null || isClipped(parent)) continue
      const range = document.createRange()
      range.selectNodeContents(node)
      if ([...range.getClientRects()].some(beyond)) problems.push(`text beyond the page: ${named(parent)}`)
    }
    for (const element of document.querySelectorAll('body *:not(svg *)'))
      if (!isClipped(element) && beyond(element.getBoundingClientRect())) problems.push(`beyond: ${named(element)}`)
    for (const cell of document.querySelectorAll('td, th'))
      if (cell.scrollWidth > cell.clientWidth + 1) problems.push(`text beyond its cell: ${named(cell)}`)
    for (const figure of document.querySelectorAll('figure')) {
      const [outer, inner] = [figure.getBoundingClientRect(), figure.querySelector('svg')?.getBoundingClientRect()]
      if (inner !== undefined && (inner.right > outer.right + 1 || inner.bottom > outer.bottom + 1))
        problems.push(`a plot beyond its figure: ${named(figure)}`)
    }

    const blocks = [...document.querySelectorAll('h1, h2, h3, p, li, dl > div, figure, table, pre')]
    const leaves = blocks.filter((one) => !blocks.some((other) => other !== one && one.contains(other)))
    const rects = leaves.map((one) => (one.closest('.scroll') ?? one).getBoundingClientRect())
    for (const [i, a] of rects.entries())
      for (const [j, b] of rects.entries()) {
        if (j <= i || a.width === 0 || b.width === 0) continue
        const across = Math.min(a.right, b.right) - Math.max(a.left, b.left)
        const down = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top)
        const [first, second] = [leaves[i], leaves[j]]
        if (across > 1 && down > 1 && first !== undefined && second !== undefined)
          problems.push(`${named(first)} overlaps ${named(second)}`)
      }
    return problems
  })
}
