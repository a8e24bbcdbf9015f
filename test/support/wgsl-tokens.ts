/** Splits WGSL into the tokens of its grammar (https://www.w3.org/TR/WGSL/#tokens), without whitespace and comments. */

/** Longest alternatives first. */
const token =
  /[\p{XID_Start}_][\p{XID_Continue}]*|0[xX][\da-fA-F.]+(?:[pP][+-]?\d+)?[iufh]?|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?[iufh]?|<<=|>>=|->|--|\+\+|&&|\|\||[=!<>+\-*/%&|^]=|<<|>>|[-+*/%&|^~!<>=.,:;@(){}[\]]/u
const skipped = /\s+|\/\/.*|\/\*[\s\S]*?\*\//u

export function wgslTokens(text: string): string[] {
  const found: string[] = []
  const next = new RegExp(`(?:${skipped.source})|(${token.source})|(.)`, 'gu')
  for (const [, known, unknown] of text.matchAll(next)) {
    if (unknown !== undefined) throw new Error(`WGSL has no token that begins with ${unknown}: ${text}`)
    if (known !== undefined) found.push(known)
  }
  return found
}
