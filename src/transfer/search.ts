/**
 * The plan of a search for the settings of a head on features: one question after the other, each answered with the best
 * answer to those before. It asks which layer, whether its neighbours help, how to pool, at which size, and then about
 * the head and its training.
 */
import type { TransferSettings } from '../tasks/recipe.ts'

/** What a trial changes. */
export type Change = Partial<Pick<TransferSettings, (typeof searched)[number]>>

/** The settings that the search chooses. */
export const searched = ['layers', 'pool', 'size', 'head', 'dropout', 'learningRate', 'weightDecay'] as const

/** The settings so far, and the layers to choose from. */
export interface SearchState {
  readonly best: TransferSettings
  readonly taps: readonly string[]
  /** The size that the search began with; null for a model with a size of its own. */
  readonly size: number | null
}

interface Question {
  readonly title: string
  /** The answers to try. The state's own settings are among those of the first question only. */
  readonly answers: (state: SearchState) => readonly Change[]
}

/**
 * The questions, in the order in which settings mattered for VGG16 and Xception: the layer first (8 % and more), then its
 * neighbours and 2x2 means (1 %), the size, and last the head, whose settings hardly mattered.
 */
export const questions: readonly Question[] = [
  { title: 'Layer', answers: ({ taps }) => taps.map((layer) => ({ layers: [layer] })) },
  {
    title: 'With its neighbours',
    answers({ best, taps }) {
      const at = taps.indexOf(best.layers[0] ?? '')
      const groups = [
        taps.slice(Math.max(0, at - 1), at + 1),
        taps.slice(at, at + 2),
        taps.slice(Math.max(0, at - 1), at + 2),
      ]
      const distinct = new Map(groups.filter(({ length }) => length > 1).map((layers) => [layers.join(), layers]))
      return [...distinct.values()].map((layers) => ({ layers }))
    },
  },
  {
    title: 'Pooling',
    answers: ({ best }) =>
      (['avg', 'avg2', 'max'] as const).filter((pool) => pool !== best.pool).map((pool) => ({ pool })),
  },
  // Half as large again takes 2.25 times the work; twice as large is only tried if that helped.
  { title: 'Size', answers: ({ size }) => larger(size, 1.5) },
  { title: 'Larger', answers: ({ best, size }) => (best.size === size ? [] : larger(size, 2)) },
  {
    title: 'Head',
    answers: ({ best: { head, dropout, learningRate, weightDecay } }) => [
      { head: head === 'mlp' ? 'linear' : 'mlp' },
      ...(head === 'mlp' ? [0.3, 0.7].filter((rate) => rate !== dropout).map((rate) => ({ dropout: rate })) : []),
      { learningRate: learningRate / 3 },
      { weightDecay: Math.min(0.9, 4 * weightDecay) },
    ],
  },
]

const largest = 1024

function larger(size: number | null, factor: number): readonly Change[] {
  const next = Math.round((size ?? largest) * factor)
  return next > largest ? [] : [{ size: next }]
}
