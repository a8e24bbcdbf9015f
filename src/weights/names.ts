/**
 * What a layer's weights are called here, whatever its file calls them: Keras' names of today. Files of Keras 1 say `W`,
 * `b` and `running_std` (which holds the variance), Keras 3 numbers them, converters put paths before them.
 */

import type { WeightGroup } from '../format/weight-file.ts'

const roleAtEnd =
  /(?:^|[/_])(depthwise_kernel|pointwise_kernel|kernel|bias|gamma|beta|moving_mean|moving_variance|running_mean|running_std|W|b)(?:_\d+)?(?::\d+)?$/

const rolesOfOld: Readonly<Record<string, string>> = {
  W: 'kernel',
  b: 'bias',
  running_mean: 'moving_mean',
  running_std: 'moving_variance',
}

/** The names of a layer's weights in the file's order, by what the file calls them, else by their shapes. */
export function weightRoles(group: WeightGroup): readonly string[] {
  const told = group.weights.map(({ name }) => {
    const role = roleAtEnd.exec(name)?.[1]
    return role === undefined ? undefined : (rolesOfOld[role] ?? role)
  })
  const roles = told.flatMap((role) => role ?? [])
  if (new Set(roles).size === told.length) return roles
  return rolesByShape(group.weights.map(({ shape }) => shape)) ?? group.weights.map(({ name }) => name)
}

/** Keras' order: what is trained first, statistics last. */
function rolesByShape(shapes: readonly (readonly number[])[]): readonly string[] | undefined {
  const kernels = shapes.findIndex((shape) => shape.length < 2)
  const [matrices, vectors] = kernels < 0 ? [shapes, []] : [shapes.slice(0, kernels), shapes.slice(kernels)]
  if (vectors.some((shape) => shape.length !== 1)) return undefined
  if (matrices.length === 0 && vectors.length === 4) return ['gamma', 'beta', 'moving_mean', 'moving_variance']
  if (vectors.length > 1) return undefined
  const bias = vectors.length === 1 ? ['bias'] : []
  if (matrices.length === 1) return ['kernel', ...bias]
  const [, pointwise] = matrices
  const isSeparable = matrices.length === 2 && pointwise?.[0] === 1 && pointwise[1] === 1
  return isSeparable ? ['depthwise_kernel', 'pointwise_kernel', ...bias] : undefined
}
