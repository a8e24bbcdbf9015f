/**
 * Takes files by drop or by button. A file dropped on a zone goes to that zone; one dropped elsewhere is routed by its
 * kind. The browser never opens a dropped file in place of the page.
 */
import { findAny, findInput } from './elements.ts'

export type FilesTaker = (files: readonly File[]) => void

/** Connects a zone and its file input, which also works with the keyboard. */
export function fileZone(zoneSelector: string, inputSelector: string, take: FilesTaker): void {
  const zone = findAny(zoneSelector)
  const input = findInput(inputSelector)
  input.addEventListener('change', () => {
    const files = [...(input.files ?? [])]
    // So that the same file can be chosen again.
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

/** Takes the files that no zone took. */
export function restOfPage(take: FilesTaker): void {
  const veil = findAny('#drop-veil')
  const hasFiles = (event: DragEvent): boolean => event.dataTransfer?.types.includes('Files') ?? false
  addEventListener('dragover', (event) => {
    if (!hasFiles(event)) return
    event.preventDefault()
    veil.hidden = false
  })
  addEventListener('dragleave', (event) => {
    // Out of the window, not from one element to another.
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
