/** Reads SVG text strictly: throws on every mistake that an XML parser would reject. */

export interface SvgElement {
  readonly name: string
  readonly attributes: Readonly<Record<string, string>>
  readonly children: readonly SvgElement[]
  readonly text: string
}

const tag = /<(\/?)([A-Za-z][\w-]*)((?:\s+[\w:-]+="[^"<]*")*)\s*(\/?)>/y
const words = /[^<]*/y

/** Accepts only what weftgrad writes: elements, attributes in double quotes, text; no comments, no declarations. */
export function parseSvg(svg: string): SvgElement {
  type Open = SvgElement & { children: SvgElement[]; text: string }
  const root: Open = { name: '', attributes: {}, children: [], text: '' }
  const open = [root]
  for (let at = 0; at < svg.length; ) {
    const top = open.at(-1) ?? root
    words.lastIndex = at
    const text = words.exec(svg)?.[0] ?? ''
    top.text += unescaped(text)
    at += text.length
    if (at >= svg.length) break
    tag.lastIndex = at
    const found = tag.exec(svg)
    if (found === null) throw new Error(`no XML at ${JSON.stringify(svg.slice(at, at + 60))}`)
    const [whole, closing, name = '', attributes = '', empty] = found
    at += whole.length
    if (closing) {
      if (name !== top.name) throw new Error(`</${name}> closes <${top.name}>`)
      open.pop()
      continue
    }
    const element: Open = { name, attributes: attributesOf(attributes), children: [], text: '' }
    top.children.push(element)
    if (!empty) open.push(element)
  }
  const [svgElement, ...others] = root.children
  if (open.length > 1 || svgElement === undefined || others.length > 0 || root.text.trim() !== '')
    throw new Error(`not a single complete element: ${open.map(({ name }) => name).join(' > ')}`)
  return svgElement
}

/** All descendants for which the test holds, in order. */
export function elementsOf(from: SvgElement, test: (element: SvgElement) => boolean): SvgElement[] {
  return from.children.flatMap((child) => [...(test(child) ? [child] : []), ...elementsOf(child, test)])
}

/** The elements that draw a mark, by Plot's name for it. */
export function marksOf(from: SvgElement, mark: string): SvgElement[] {
  return elementsOf(from, ({ attributes }) => attributes['data-mark'] === mark).flatMap(({ children }) => children)
}

/** All readable text. */
export function textOf(from: SvgElement): string {
  return [from.text, ...from.children.map(textOf)].join(' ')
}

function attributesOf(text: string): Record<string, string> {
  const pairs = [...text.matchAll(/([\w:-]+)="([^"]*)"/g)].map(([, name = '', value = '']) => [name, unescaped(value)])
  const attributes: Record<string, string> = Object.fromEntries(pairs)
  if (Object.keys(attributes).length !== pairs.length) throw new Error(`an attribute occurs twice in ${text}`)
  return attributes
}

function unescaped(text: string): string {
  const bad = /&(?!(amp|lt|gt|quot|#\d+);)/.exec(text)
  if (bad !== null) throw new Error(`not escaped: ${JSON.stringify(text.slice(bad.index, bad.index + 20))}`)
  return text.replaceAll('&lt;', '<').replaceAll('&gt;', '>').replaceAll('&quot;', '"').replaceAll('&amp;', '&')
}
