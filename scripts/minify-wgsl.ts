/**
 * Takes comments and spare blanks out of the WGSL in the kernels' sources, for the build: the sources stay readable, and
 * what is left has the same tokens.
 *
 * Kernels put their shaders together from template and string literals, so the minifier sees pieces of WGSL: where a piece
 * begins, ends or has a hole `${...}`, it does not know what stands next to a blank. There it keeps one, and a line break
 * as a line break: what fills the hole may end in a comment.
 */
import MagicString, { type SourceMap } from 'magic-string'
import ts from 'typescript'

/** A plugin for Rolldown that minifies the WGSL of `src/kernels/`. */
export function minifiedWgsl() {
  return {
    name: 'minified-wgsl',
    transform: {
      filter: { id: /[\\/]src[\\/]kernels[\\/].+(?<!\.d)\.ts$/ },
      handler: minifyKernelFile,
    },
  }
}

/** A TypeScript source with the WGSL in its literals minified. Throws for a comment that does not end in its piece. */
export function minifyKernelFile(code: string, path: string): { readonly code: string; readonly map: SourceMap } {
  const edited = new MagicString(code)
  for (const pieces of wgslLiterals(code, path)) {
    const minified = minifyWgsl(pieces.map(({ text }) => text))
    for (const [i, { start, text }] of pieces.entries()) {
      const shorter = minified[i] ?? ''
      if (shorter !== text) edited.update(start, start + text.length, shorter)
    }
  }
  return { code: edited.toString(), map: edited.generateMap({ source: path, hires: 'boundary' }) }
}

/** The text between two holes of a literal, and where it starts in the source. */
interface Piece {
  readonly start: number
  readonly text: string
}

/**
 * The literals of a source that are WGSL, in pieces: those of several lines, and those that end as a statement or a block
 * does. What an error says is none, nor is text with escapes.
 */
export function wgslLiterals(code: string, path: string): Piece[][] {
  const source = ts.createSourceFile(path, code, ts.ScriptTarget.Latest)
  const found: Piece[][] = []
  /** `quote` ends the piece: a quotation mark, a backtick, or what opens a hole. */
  const piece = (node: ts.Node, quote: number): Piece => {
    const start = node.getStart(source) + 1
    return { start, text: code.slice(start, node.end - quote) }
  }
  const visit = (node: ts.Node): void => {
    if (ts.isNewExpression(node) || ts.isImportDeclaration(node)) return
    let pieces: Piece[] = []
    if (ts.isStringLiteralLike(node)) pieces = [piece(node, 1)]
    else if (ts.isTemplateExpression(node)) {
      const last = node.templateSpans.length - 1
      pieces = [piece(node.head, 2), ...node.templateSpans.map(({ literal }, i) => piece(literal, i < last ? 2 : 1))]
    }
    if (isWgsl(pieces.map(({ text }) => text))) found.push(pieces)
    ts.forEachChild(node, visit)
  }
  visit(source)
  return found
}

function isWgsl(texts: readonly string[]): boolean {
  if (texts.some((text) => text.includes('\\'))) return false
  return texts.some((text) => text.includes('\n')) || /[;{}]\s*$/.test(texts.at(-1) ?? '')
}

/** Tokens that none can grow together with. */
const separate = new Set('(){}[],;:@')
const isOperator = (char: string): boolean => '+-*/%&|^~!<>='.includes(char)

/** `pieces` without comments and spare blanks. */
export function minifyWgsl(pieces: readonly string[]): string[] {
  return pieces.map((piece) => {
    const bare = withoutComments(piece)
    return bare.replaceAll(/\s+/g, (blank, at: number) => {
      const left = bare[at - 1] ?? ''
      const right = bare[at + blank.length] ?? ''
      if (separate.has(left) || separate.has(right)) return left === '' && blank.includes('\n') ? '\n' : ''
      if (left === '' || right === '') return blank.includes('\n') ? '\n' : ' '
      return isOperator(left) === isOperator(right) ? ' ' : ''
    })
  })
}

/** Comments as blanks. One that reaches the piece's end may go on beyond, and is refused. */
function withoutComments(piece: string): string {
  return piece.replaceAll(/\/\/[^\n]*|\/\*[\s\S]*?(?:\*\/|$)/g, (comment, at: number) => {
    if (at + comment.length === piece.length)
      throw new Error(`A comment in WGSL has to end before its literal does, or a hole in it: ${comment}`)
    return ' '
  })
}
