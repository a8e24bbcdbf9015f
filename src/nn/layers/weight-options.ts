/** The options of a layer's weights: how each starts, and the penalty of its numbers. */

import type { Shape } from '../../graph/node.ts'
import type { Kind } from '../../options.ts'
import type { Initializer, InitializerOption } from '../initializers.ts'
import { anInitializer, initializerOf, zerosInitializer } from '../initializers.ts'
import type { RegularizerOption } from '../regularizers.ts'
import { aRegularizer, regularizerOf } from '../regularizers.ts'
import type { WeightSpec } from './layer.ts'

/** Options of a layer's `bias`. */
export interface BiasOptions {
  /** Initial bias; 'zeros' by default. */
  readonly biasInitializer?: InitializerOption
  /** Penalty of the bias; none by default. */
  readonly biasRegularizer?: RegularizerOption
}

/** Options of a layer's `kernel` and `bias`. */
export interface KernelOptions extends BiasOptions {
  /** Initial kernel; 'glorot_uniform' by default. */
  readonly kernelInitializer?: InitializerOption
  /** Penalty of the kernel; none by default. */
  readonly kernelRegularizer?: RegularizerOption
}

type WeightOption = 'Initializer' | 'Regularizer'

/** The kinds of the options of these weights. */
export function weightKinds<Role extends string>(...roles: readonly Role[]) {
  const kinds = roles.flatMap((role): [string, Kind][] => [
    [`${role}Initializer`, anInitializer],
    [`${role}Regularizer`, aRegularizer],
  ])
  return Object.fromEntries(kinds) as Readonly<Record<`${Role}${WeightOption}`, Kind>>
}

/** The kinds of {@link KernelOptions}. */
export const kernelKinds = /* @__PURE__ */ weightKinds('kernel', 'bias')

/** A trained weight, with what the layer's options say about it: `role` begins their names. */
export function trained<Role extends string>(
  options: { readonly [Name in `${Role}Initializer`]?: InitializerOption } & {
    readonly [Name in `${Role}Regularizer`]?: RegularizerOption
  },
  role: Role,
  shape: Shape,
  initial: Initializer,
  name: string = role,
): WeightSpec {
  const own = options as Readonly<Record<string, unknown>>
  const initializer = (own[`${role}Initializer`] ?? initial) as InitializerOption
  const regularizer = own[`${role}Regularizer`] as RegularizerOption | undefined
  return {
    ...{ name, shape, trainable: true },
    initializer: initializerOf(initializer),
    ...(regularizer === undefined ? {} : { regularizer: regularizerOf(regularizer) }),
  }
}

/** The bias, [channels], if there is one. */
export const biasOf = (
  options: BiasOptions & { readonly useBias?: boolean },
  channels: number,
): readonly WeightSpec[] => (options.useBias === false ? [] : [trained(options, 'bias', [channels], zerosInitializer)])
