/** Stratified folds for cross-validation. */
import { WeftgradError } from '../errors.ts'
import { Random } from '../random.ts'

/**
 * Splits the positions of `labels` into folds, drawn by `seed`: each position is in one fold, and two folds differ by
 * at most one in size and in the count of each class. Positions increase within a fold.
 * @throws WeftgradError 'argument' for fewer than two folds, 'data' if a class has fewer examples than there are folds.
 */
export function stratifiedFolds(labels: ArrayLike<number>, folds: number, seed: number): Uint32Array[] {
  if (!Number.isSafeInteger(folds) || folds < 2)
    throw new WeftgradError('argument', `Cross-validation needs a whole number of folds from 2, not ${folds}.`, {
      folds,
    })
  const byClass = new Map<number, number[]>()
  for (let i = 0; i < labels.length; i++) {
    const label = labels[i] ?? 0
    const positions = byClass.get(label)
    if (positions === undefined) byClass.set(label, [i])
    else positions.push(i)
  }
  const classes = [...byClass].sort(([a], [b]) => a - b)
  const few = classes.find(([, positions]) => positions.length < folds)
  if (classes.length === 0 || few !== undefined) {
    const what = few === undefined ? 'There are no examples' : `Class ${few[0]} has ${few[1].length} examples`
    throw new WeftgradError('data', `${what}, too few for ${folds} folds. Use fewer folds or more images.`, { folds })
  }
  const dealt = Array.from({ length: folds }, (): number[] => [])
  // Dealt in turn through all classes, so that a class's remainder does not always go to the first folds.
  let next = 0
  for (const [label, positions] of classes)
    for (const position of new Random(seed, `folds of class ${label}`).shuffle(positions))
      dealt[next++ % folds]?.push(position)
  return dealt.map((fold) => Uint32Array.from(fold).sort())
}

/** The positions below `count` that are not held out. */
export function othersOf(held: Uint32Array, count: number): Uint32Array {
  const isHeld = new Uint8Array(count)
  for (const position of held) isHeld[position] = 1
  return Uint32Array.from({ length: count }, (_, i) => i).filter((i) => isHeld[i] === 0)
}
