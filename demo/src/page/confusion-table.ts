/** The confusion matrix as a table: correct in blue, wrong in orange, stronger for larger counts. */
import { count, percent } from '../../../src/numbers.ts'
import { findAny, make, setText } from './elements.ts'

export class ConfusionTable {
  readonly #place = findAny('#confusion')
  #cells: readonly (readonly HTMLTableCellElement[])[] = []
  #caption: HTMLElement = make('span')
  #names: readonly string[] = []

  /** Makes an empty cell for each pair of classes. */
  prepare(names: readonly string[]): void {
    this.#names = names
    const cells = names.map(() => names.map(() => make('td')))
    this.#cells = cells
    this.#caption = make('span', {}, 'Validation images, updated after each epoch.')
    const head = make(
      'tr',
      {},
      make('td', { class: 'corner' }, make('span', {}, 'true'), make('span', {}, 'predicted')),
      ...names.map((name) => make('th', { scope: 'col' }, make('span', {}, name))),
    )
    const rows = names.map((name, i) => make('tr', {}, make('th', { scope: 'row' }, name), ...(cells[i] ?? [])))
    this.#place.replaceChildren(
      make('h3', {}, 'Confusion matrix'),
      make(
        'div',
        { class: 'matrix', role: 'region', tabindex: '0', 'aria-label': 'Confusion matrix' },
        make('table', {}, make('caption', {}, this.#caption), make('thead', {}, head), make('tbody', {}, ...rows)),
      ),
    )
  }

  /** @param confusion rows are the true classes, columns the predicted ones. */
  fill(confusion: readonly (readonly number[])[], epoch: number): void {
    let [right, total] = [0, 0]
    for (const [truth, row] of confusion.entries()) {
      const ofClass = row.reduce((sum, number) => sum + number, 0)
      for (const [predicted, number] of row.entries()) {
        const cell = this.#cells[truth]?.[predicted]
        if (cell === undefined) continue
        const share = ofClass === 0 ? 0 : number / ofClass
        total += number
        if (truth === predicted) right += number
        setText(cell, number === 0 ? '' : String(number))
        cell.className = truth === predicted ? 'right' : 'wrong'
        // The square root makes rare mistakes visible; at most 75 % keeps the numbers legible, light and dark.
        cell.style.setProperty('--strength', `${(75 * Math.sqrt(share)).toFixed(1)}%`)
        cell.title = `${this.#names[truth]} predicted as ${this.#names[predicted]}: ${number} (${percent(share, 1)})`
      }
    }
    setText(
      this.#caption,
      `After epoch ${epoch}: ${count(right)} of ${count(total)} validation images classified correctly.`,
    )
  }
}
