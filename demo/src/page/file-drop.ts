/**
 * Files by drop or by button. A file dropped into a zone goes to that zone; one dropped anywhere else is routed by its
 * kind. The browser never leaves the page for a dropped file.
 */
import { findAny, findInput } from './elements.ts'

export type FilesTaker = (files: readonly File[]) => void

/** @param input the zone's own file input, which works by keyboard, too. */
export function fileZone(zoneSelector: string, inputSelector: string, take: FilesTaker): void {
  const zone = findAny(zoneSelector)
  const input = findInput(inputSelector)
  input.addEventListener('change', () => {
    const files = [...(input.files ?? [])]
    // The same file can be chosen again.
    input.value = ''
    if (files.length > 0) take(files)
  })
  zone.addEventListener('dragover', () => zone.classList.add('over'))
  zone.addEventListener('dragleave', () => zone.classList.remove('over'))
  zone.addEventListener('drop', (event) => {
    zone.classList.remove('over')
    const files = [...(event.dataTransfer?.files ?? [])]
    if (files.length === 0) return
    event.preventDefault()
    take(files)
  })
}

/** Takes what no zone took. */
export function restOfPage(take: FilesTaker): void {
  const veil = findAny('#drop-veil')
  const hasFiles = (event: DragEvent): boolean => event.dataTransfer?.types.includes('Files') ?? false
  addEventListener('dragover', (event) => {
    if (!hasFiles(event)) return
    event.preventDefault()
    veil.hidden = false
  })
  addEventListener('dragleave', (event) => {
    // Out of the window, not from one element to the next.
    if (event.relatedTarget === null) veil.hidden = true
  })
  addEventListener('drop', (event) => {
    veil.hidden = true
    if (event.defaultPrevented || !hasFiles(event)) return
    event.preventDefault()
    const files = [...(event.dataTransfer?.files ?? [])]
    if (files.length > 0) take(files)
  })
}
