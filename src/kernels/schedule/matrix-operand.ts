/** The operands of workgroup-tile.ts that are plain matrices, in either order. */

import type { Operand } from '../kernel.ts'
import { reads } from '../kernel.ts'
import type { TiledOperand } from './slab-piece.ts'

export interface TiledMatrix {
  readonly side: 'Left' | 'Right'
  readonly operand: Operand
  /** The contiguous axis. `k`: a left operand is [rows, k], a right one [columns, k]. */
  readonly along: 'k' | 'positions'
  /** Extent of the contiguous axis; vectors are loaded if it is a multiple of 4. */
  readonly inner: number
  /** The uniform with the stride from one batch to the next. */
  readonly batchStride: string
  /** Whether it is stored as f16. */
  readonly half?: boolean | undefined
}

export function matrixOperand({ side, operand, along, inner, batchStride, half }: TiledMatrix): TiledOperand {
  const name = side.toLowerCase()
  const positions = side === 'Left' ? 'u.rows' : 'u.columns'
  const isVector = inner % 4 === 0
  const [vector, number] = half === true ? (['vec4h', 'f16'] as const) : (['vec4f', 'f32'] as const)
  const place = (type: string, address: string): string => `alias ${side}Place = ${type};
fn place${side}(batch: u32, position: u32) -> ${side}Place {
  return ${address};
}`
  const load = (statements: string): string => `fn load${side}(place: ${side}Place, k: u32) -> ${vector} {
${statements}
}`
  const batchStart = `batch * ${batchStride}`
  const declarations =
    along === 'k'
      ? [
          place('u32', `${batchStart} + min(position, ${positions} - 1u) * u.terms`),
          isVector
            ? load(`  if (k >= u.terms) { return ${vector}(0); }
  return ${name}[(place + k) / 4u];`)
            : `${load(`  return ${vector}(${name}At(place, k), ${name}At(place, k + 1u), ${name}At(place, k + 2u), ${name}At(place, k + 3u));`)}
fn ${name}At(place: u32, k: u32) -> ${number} {
  if (k >= u.terms) { return 0; }
  return ${name}[place + k];
}`,
        ]
      : isVector
        ? [
            place('u32', `${batchStart} + min(position, ${positions} - 4u)`),
            load(`  if (k >= u.terms) { return ${vector}(0); }
  return ${name}[(place + k * ${positions}) / 4u];`),
          ]
        : [
            place('vec4u', `${batchStart} + min(position + vec4u(0, 1, 2, 3), vec4u(${positions} - 1u))`),
            load(`  if (k >= u.terms) { return ${vector}(0); }
  let at = place + k * ${positions};
  return ${vector}(${name}[at.x], ${name}[at.y], ${name}[at.z], ${name}[at.w]);`),
          ]
  return {
    binding: reads(name, operand, isVector ? vector : number),
    type: vector,
    along,
    declarations: declarations.join('\n'),
  }
}
