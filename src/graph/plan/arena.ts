/**
 * Memory for intermediates: a few buffers, *arenas*, each allocated by best fit at multiples of 256 bytes. The planner
 * reserves and releases in the order of the dispatches, so a region is reused as soon as its last reader has run.
 */

import { WeftgradError } from '../../errors.ts'
import { alignUp } from '../../gpu/alignment.ts'

/** A reserved part of an arena. Offset and length are in bytes. */
export interface Region {
  /** The arena's number. */
  readonly arena: number
  readonly offset: number
  readonly bytes: number
}

/** All arenas of one plan. */
export class Arenas {
  readonly #maxBufferBytes: number
  readonly #arenas: Arena[] = []

  constructor(maxBufferBytes: number) {
    this.#maxBufferBytes = maxBufferBytes
  }

  /** Bytes of each arena. */
  get sizes(): number[] {
    return this.#arenas.map((arena) => arena.bytes)
  }

  /**
   * Reserves memory outside the forbidden arenas: in the preferred one if possible, else where the arenas grow least.
   * Throws 'limit', naming `what`, if a buffer cannot hold that many bytes.
   */
  reserve(bytes: number, forbidden: ReadonlySet<number>, preferred: number | undefined, what: string): Region {
    const limit = this.#maxBufferBytes
    if (bytes > limit)
      throw new WeftgradError(
        'limit',
        `${what} needs ${bytes} bytes, but this adapter allows ${limit} bytes per buffer. Use a smaller batch or split the tensor.`,
        { bytes, maxBufferSize: limit },
      )
    const [best] = this.#arenas
      .map((arena, index) => ({ arena, index, growth: arena.growthFor(bytes) }))
      .filter(({ arena, index, growth }) => !forbidden.has(index) && arena.bytes + growth <= limit)
      .sort(
        (a, b) =>
          Number(b.index === preferred) - Number(a.index === preferred) || a.growth - b.growth || a.index - b.index,
      )
    const { arena, index } = best ?? this.#add()
    return { arena: index, offset: arena.reserve(bytes), bytes }
  }

  release({ arena, offset, bytes }: Region): void {
    this.#arenas[arena]?.release(offset, bytes)
  }

  #add(): { readonly arena: Arena; readonly index: number } {
    const arena = new Arena()
    return { arena, index: this.#arenas.push(arena) - 1 }
  }
}

/** A free region. */
interface Block {
  offset: number
  bytes: number
}

/** The memory of one buffer. */
class Arena {
  /** The size that the arena's buffer must have. */
  bytes = 0
  #free: Block[] = []

  /** The bytes by which the arena would grow to hold `bytes` more. */
  growthFor(bytes: number): number {
    const size = alignUp(bytes)
    if (this.#free.some((block) => block.bytes >= size)) return 0
    return size - (this.#tail()?.bytes ?? 0)
  }

  /** Takes the smallest free block that is large enough, or grows the arena. Returns the offset in bytes. */
  reserve(bytes: number): number {
    const size = alignUp(bytes)
    const fitting = this.#free.filter((block) => block.bytes >= size).sort((a, b) => a.bytes - b.bytes)[0]
    const block = fitting ?? this.#grow(size)
    const { offset } = block
    block.offset += size
    block.bytes -= size
    this.#free = this.#free.filter((candidate) => candidate.bytes > 0)
    return offset
  }

  /** Frees what `reserve` returned, and merges it with the free blocks beside it. */
  release(offset: number, bytes: number): void {
    const merged: Block = { offset, bytes: alignUp(bytes) }
    const rest: Block[] = []
    for (const block of this.#free) {
      if (block.offset + block.bytes === merged.offset) {
        merged.offset = block.offset
        merged.bytes += block.bytes
      } else if (merged.offset + merged.bytes === block.offset) {
        merged.bytes += block.bytes
      } else rest.push(block)
    }
    this.#free = [...rest, merged]
  }

  /** The free block at the end of the arena. */
  #tail(): Block | undefined {
    return this.#free.find((block) => block.offset + block.bytes === this.bytes)
  }

  /** Extends the arena until its last free block holds `size` bytes. */
  #grow(size: number): Block {
    const tail = this.#tail() ?? { offset: this.bytes, bytes: 0 }
    if (tail.bytes === 0) this.#free.push(tail)
    this.bytes += size - tail.bytes
    tail.bytes = size
    return tail
  }
}
