/**
 * Random numbers on the host: counter-based, so that a number depends on its seed, its stream and its position alone,
 * never on how many were drawn before by somebody else. Kernels have a generator of their own (kernels/random.ts).
 */

/**
 * Uniform numbers in [0, 1) with 32 random bits each, from splitmix32: a counter stepped by the golden ratio and mixed
 * (constants of the "lowbias32" family, https://nullprogram.com/blog/2018/07/31/).
 */
export class Random {
  #counter: number

  /** `stream` tells independent sequences of one seed apart: a layer's name, an epoch's number. */
  constructor(seed: number, stream: string | number = '') {
    this.#counter = mix(hash(String(stream)) ^ mix(seed >>> 0) ^ Math.floor(seed / 2 ** 32))
  }

  /** In [0, 1). */
  uniform(): number {
    this.#counter = (this.#counter + 0x9e3779b9) >>> 0
    return mix(this.#counter) / 2 ** 32
  }

  /** A whole number in [0, bound). */
  below(bound: number): number {
    return Math.floor(this.uniform() * bound)
  }

  /** Shuffles in place (Fisher and Yates). */
  shuffle<T extends Uint32Array | number[]>(items: T): T {
    for (let i = items.length - 1; i > 0; i--) {
      const j = this.below(i + 1)
      const [a = 0, b = 0] = [items[i], items[j]]
      items[i] = b
      items[j] = a
    }
    return items
  }
}

function mix(word: number): number {
  let x = word >>> 0
  x = Math.imul(x ^ (x >>> 16), 0x21f0aaad)
  x = Math.imul(x ^ (x >>> 15), 0x735a2d97)
  return (x ^ (x >>> 15)) >>> 0
}

/** FNV-1a over UTF-16 units, 32 bits. */
function hash(text: string): number {
  let h = 0x811c9dc5
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193)
  return h >>> 0
}
