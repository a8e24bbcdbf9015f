/**
 * The operands of a matrix product by blocks of workgroup memory (workgroup-tile.ts), and how the lanes of a workgroup
 * load a slab of one: each lane takes a 4x4 piece.
 */

import type { Binding } from '../kernel.ts'
import { component, range, repeat } from '../wgsl/text.ts'

/**
 * Successive k in a slab. 16 gives whole cache lines if vectors run along k (64 bytes), and 12 KiB of workgroup memory
 * for the largest block.
 */
export const slabTerms = 16

/** Vectors of float16 in workgroup memory halve its use and its traffic. They are float32 again before they are multiplied. */
export type SlabType = 'vec4f' | 'vec4h'

/** An address beyond all memory, also after the number of a channel was added to it. */
export const nowhere = '0x80000000u'

/** One operand of the product: the rows of the left one and the columns of the right one are its *positions*. */
export interface TiledOperand {
  readonly binding: Binding
  /** What its loads return; `vec4f` by default. */
  readonly type?: SlabType
  /** The contiguous axis in memory, along which vectors are loaded: successive k, or positions. */
  readonly along: 'k' | 'positions'
  /**
   * For the left operand (`Left`; `Right` likewise), a type `LeftPlace` and two functions:
   * - `placeLeft(batch: u32, row: u32) -> LeftPlace`: the part of an address that does not depend on k. `row` may be
   *   beyond the last;
   * - `loadLeft(place: LeftPlace, k: u32) -> vec4f`: four numbers from k and row on, zero from `u.terms` on. Numbers
   *   beyond the last row do not matter. The first of the four is a multiple of 4 along `along`.
   */
  readonly declarations: string
  /**
   * Set if k runs over the taps of a kernel, each of whole slabs: then a slab has one tap, and no address needs a
   * division. The product's `tapChannels` says how many channels a tap has. Instead of `loadLeft(place, k)` there are:
   * - `enterLeft(place: LeftPlace, ky: u32, kx: u32) -> u32`: the address, in numbers, of the tap's first channel, or
   *   `nowhere` if the channels are zero;
   * - `loadLeft(address: u32) -> vec4f`: zero from `nowhere` on.
   */
  readonly byTap?: boolean
}

/**
 * A lane's part in loading an operand's slabs: the statements before the loop, the loads from storage, and the stores
 * to workgroup memory.
 */
export interface Piece {
  readonly declare: string
  readonly load: string
  readonly keep: string
}

/** The piece of `extent` positions by 16 k that lane `firstLane + piece` loads; there are `extent` pieces. */
export function pieceOf(
  operand: TiledOperand,
  side: 'Left' | 'Right',
  extent: number,
  slabType: SlabType,
  firstLane = 0,
): Piece {
  const name = side.toLowerCase()
  const { type = 'vec4f' } = operand
  const vectors = extent / 4
  const first = side === 'Left' ? 'firstRow' : 'firstColumn'
  const isAlongK = operand.along === 'k'
  // Along k, eight neighbouring lanes take eight neighbouring vectors of positions, which are stored in different
  // banks; the 32 lanes from there on share 64 successive bytes of each row. Along positions, both are so without
  // arrangement.
  const [vector, k] = isAlongK
    ? [`(${name}Piece / 32u) * 8u + ${name}Piece % 8u`, `(${name}Piece / 8u % 4u) * 4u`]
    : [`${name}Piece % ${vectors}u`, `(${name}Piece / ${vectors}u) * 4u`]
  const position = (i: number): string => `${first} + ${name}Vector * 4u + ${i}u`
  const enter = `      if (tapSlab == 0u || slab == firstSlab) {
${repeat(4, (i) => `        ${name}At${i} = enter${side}(${name}Place${i}, ky, kx) + ${name}K;`)}
      }`
  const guarded = (lines: string): string => `    if (${name}Busy) {\n${lines}\n    }`
  return {
    declare: `  let ${name}Busy = lane >= ${firstLane}u && lane < ${firstLane + extent}u;
  let ${name}Piece = select(0u, lane - ${firstLane}u, ${name}Busy);
  let ${name}Vector = ${vector};
  let ${name}K = ${k};
${repeat(isAlongK ? 4 : 1, (i) => `  let ${name}Place${i} = place${side}(batch, ${position(i)});`)}
${operand.byTap === true ? repeat(4, (i) => `  var ${name}At${i} = 0u;`) : ''}
${repeat(4, (i) => `  var ${name}${i} = ${type}(0);`)}`,
    load: guarded(
      operand.byTap === true
        ? `${enter}\n${repeat(4, (i) => `      ${name}${i} = load${side}(${name}At${i} + tapSlab * ${slabTerms}u);`)}`
        : isAlongK
          ? repeat(4, (i) => `      ${name}${i} = load${side}(${name}Place${i}, slab * ${slabTerms}u + ${name}K);`)
          : repeat(
              4,
              (i) => `      ${name}${i} = load${side}(${name}Place0, slab * ${slabTerms}u + ${name}K + ${i}u);`,
            ),
    ),
    keep: guarded(
      repeat(4, (i) => {
        const across = `${type}(${range(4)
          .map((j) => component(`${name}${j}`, 4, i))
          .join(', ')})`
        return `      ${name}Slab[(${name}K + ${i}u) * ${vectors}u + ${name}Vector] = ${slabType}(${isAlongK ? across : `${name}${i}`});`
      }),
    ),
  }
}
