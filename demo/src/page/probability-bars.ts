/** Shows named probabilities as bars, each an accessible meter. */
import { percent } from '../../../src/numbers.ts'
import { make, setText } from './elements.ts'

interface Bar {
  readonly row: HTMLElement
  readonly name: HTMLElement
  readonly meter: HTMLElement
  readonly fill: HTMLElement
  readonly value: HTMLElement
}

export class ProbabilityBars {
  readonly #list: HTMLElement
  #bars: readonly Bar[] = []

  constructor(list: HTMLElement) {
    this.#list = list
  }

  /** Shows the names with their values; without values the bars are empty. */
  show(names: readonly string[], values?: ArrayLike<number>): void {
    if (this.#bars.length !== names.length) {
      this.#bars = names.map(() => emptyBar())
      this.#list.replaceChildren(...this.#bars.map(({ row }) => row))
    }
    const best = values === undefined ? -1 : indexOfLargest(values)
    for (const [i, { row, name, meter, fill, value }] of this.#bars.entries()) {
      const share = values?.[i]
      const text = share === undefined ? '–' : percent(share, 1)
      setText(name, names[i] ?? '')
      setText(value, text)
      meter.setAttribute('aria-label', names[i] ?? '')
      meter.setAttribute('aria-valuenow', (share ?? 0).toFixed(4))
      meter.setAttribute('aria-valuetext', share === undefined ? 'not known yet' : text)
      fill.style.setProperty('--share', String(share ?? 0))
      row.classList.toggle('best', i === best)
    }
  }
}

export function indexOfLargest(values: ArrayLike<number>): number {
  let best = 0
  for (let i = 1; i < values.length; i++) if ((values[i] ?? 0) > (values[best] ?? 0)) best = i
  return best
}

function emptyBar(): Bar {
  const name = make('span', { class: 'bar-name', 'aria-hidden': 'true' })
  const fill = make('span', { class: 'bar-fill' })
  const meter = make('span', { class: 'bar-track', role: 'meter', 'aria-valuemin': '0', 'aria-valuemax': '1' }, fill)
  const value = make('span', { class: 'bar-value', 'aria-hidden': 'true' })
  return { row: make('li', {}, name, meter, value), name, meter, fill, value }
}
