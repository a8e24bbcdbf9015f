/** Finds and makes elements of the page. */

/** Throws if the page has no such element or one of another kind: the page and its script belong together. */
export function find<Kind extends Element>(selector: string, kind: abstract new () => Kind): Kind {
  const found = document.querySelector(selector)
  if (!(found instanceof kind)) throw new Error(`The page has no ${kind.name} ${selector}.`)
  return found
}

export const findAny = (selector: string): HTMLElement => find(selector, HTMLElement)
export const findButton = (selector: string): HTMLButtonElement => find(selector, HTMLButtonElement)
export const findInput = (selector: string): HTMLInputElement => find(selector, HTMLInputElement)
export const findCanvas = (selector: string): HTMLCanvasElement => find(selector, HTMLCanvasElement)

export function make<Name extends keyof HTMLElementTagNameMap>(
  name: Name,
  attributes: Readonly<Record<string, string>> = {},
  ...content: readonly (Node | string)[]
): HTMLElementTagNameMap[Name] {
  const element = document.createElement(name)
  for (const [attribute, value] of Object.entries(attributes)) element.setAttribute(attribute, value)
  element.append(...content)
  return element
}

/** Does nothing if the text is the same: every change costs layout and is reported to assistive technology. */
export function setText(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text
}
