/**
 * Maps the weight names of files to Keras' current names. Files of Keras 1 use `W`, `b` and `running_std` (which holds the
 * variance), Keras 3 numbers weights, converters prefix paths.
 */

import type { WeightGroup } from '../format/weight-file.ts'
import { isCounter } from '../format/weight-file.ts'

const roleAtEnd =
  /(?:^|[/_.\\])(depthwise_kernel|pointwise_kernel|kernel|bias|gamma|beta|moving_mean|moving_variance|running_mean|running_std|running_var|mean|variance|weight|W|b)(?:_\d+)?(?::\d+)?$/

/** PyTorch's `weight` is not a `kernel`: its axes have another order. */
const rolesOfOthers: Readonly<Record<string, string>> = {
  W: 'kernel',
  b: 'bias',
  running_mean: 'moving_mean',
  running_std: 'moving_variance',
  running_var: 'moving_variance',
}

/** The role in a weight's name: `kernel`; undefined if it has none. */
export function roleInName(name: string): string | undefined {
  const role = roleAtEnd.exec(name)?.[1]
  return role === undefined ? undefined : (rolesOfOthers[role] ?? role)
}

/** The layer without the counters that Keras stores among its weights. */
export function withoutCounters<Group extends WeightGroup>(group: Group): Group {
  return { ...group, weights: group.weights.filter((entry) => !isCounter(entry)) }
}

/** The names of a layer's weights in the file's order, from the file's names, else from class and shapes. */
export function weightRoles(group: WeightGroup): readonly string[] {
  const names = group.weights.map(({ name }) => name)
  const roles = names.flatMap((name) => roleInName(name) ?? [])
  if (new Set(roles).size === names.length) return roles
  return rolesByShape(group) ?? names
}

/** Keras' order: trained weights first, statistics last. */
function rolesByShape({ weights, className }: WeightGroup): readonly string[] | undefined {
  const shapes = weights.map(({ shape }) => shape)
  const kernels = shapes.findIndex((shape) => shape.length < 2)
  const [matrices, vectors] = kernels < 0 ? [shapes, []] : [shapes.slice(0, kernels), shapes.slice(kernels)]
  if (vectors.some((shape) => shape.length !== 1)) return undefined
  // Only numbered weights are in Keras' order: a writer that sorts names puts beta before gamma.
  const areNumbered = weights.every(({ name }, i) => new RegExp(`(^|/)${i}$`).test(name))
  if (matrices.length === 0 && areNumbered) {
    if (vectors.length === 4) return ['gamma', 'beta', 'moving_mean', 'moving_variance']
    if (vectors.length === 2 && className === 'Normalization') return ['mean', 'variance']
  }
  if (vectors.length > 1) return undefined
  const bias = vectors.length === 1 ? ['bias'] : []
  if (matrices.length === 1) return ['kernel', ...bias]
  const [, pointwise] = matrices
  const isSeparable = matrices.length === 2 && pointwise?.[0] === 1 && pointwise[1] === 1
  return isSeparable ? ['depthwise_kernel', 'pointwise_kernel', ...bias] : undefined
}

/** A class name, possibly with a number: Keras' name of an unnamed layer. It does not identify the layer. */
const madeUpName =
  /^(conv2d|convolution2d|separable_?conv2d|separable_?convolution2d|depthwise_?conv2d|dense|batch_?normalization|normalization)(_\d+)?$/

/** Whether Keras generated a layer's name. */
export function isMadeUp(name: string): boolean {
  return madeUpName.test(name.replace(/.*[/\\.]/, ''))
}

/**
 * The group with each layer's name, in the layers' order; undefined if there is none, or several. Names can be part of a path,
 * as in `net/d1`, `base.conv`.
 */
export function groupsByName(
  layers: readonly string[],
  groups: readonly WeightGroup[],
): readonly (WeightGroup | undefined)[] {
  const whole = new Map<string, WeightGroup | undefined>()
  const ends = new Map<string, WeightGroup | undefined>()
  const note = (names: Map<string, WeightGroup | undefined>, name: string, group: WeightGroup): void => {
    const other = names.get(name)
    names.set(name, names.has(name) && other !== group ? undefined : group)
  }
  for (const group of groups) {
    for (const name of group.names ?? [group.name]) {
      const parts = name.split(/[/\\.]/)
      note(whole, parts.join('/'), group)
      for (let from = 1; from < parts.length; from++) note(ends, parts.slice(from).join('/'), group)
    }
  }
  const taken = new Map<WeightGroup, number>()
  const found = layers.map((layer) => {
    const name = layer.replace(/[\\.]/g, '/')
    const group = whole.has(name) ? whole.get(name) : ends.get(name)
    if (group !== undefined) taken.set(group, (taken.get(group) ?? 0) + 1)
    return group
  })
  return found.map((group) => (group !== undefined && taken.get(group) === 1 ? group : undefined))
}
