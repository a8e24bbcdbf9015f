/**
 * Row-stride loops of kernels that write rows of equal elements: every lane keeps its column and loops over rows, so
 * that everything that depends on the column (channel, position, bounds) is computed once, not once per element.
 * Integer division is slow on a CPU, where it runs lane by lane.
 */

import type { Target } from '../kernel.ts'
import { plainWorkgroupSize, rowWorkgroups } from './occupancy.ts'

export interface StridedRows {
  /** Number of images, one after the other; with one image, rows do not depend on it. */
  readonly images?: number
  /** Number of rows of an image. */
  readonly rows: number
  /** Number of items per row; a lane writes one at a time. */
  readonly columns: number
}

export interface RowStride {
  readonly workgroupSize: number
  readonly workgroups: number
  /** Uniforms of the loop: `rows`, `allRows`, `columns`, `tiles`, `rowsPerLane`. */
  readonly uniforms: Readonly<Record<string, number>>
  /**
   * The kernel's body. `setup` runs once per lane, with `column` in scope; `each` runs for every row, with `row`
   * (counted over all images), `image`, and `imageRow` (the row within it). Neither may return or hold a barrier.
   */
  body(setup: string, each: string): string
}

export function planRowStride(strided: StridedRows, target: Target): RowStride {
  const { images, rows, columns } = strided
  const workgroupSize = plainWorkgroupSize(target)
  const allRows = (images ?? 1) * rows
  // Rows shorter than the workgroup share it side by side.
  const rowsAtOnce = Math.max(1, Math.min(rows, Math.floor(workgroupSize / columns)))
  const tiles = Math.ceil(columns / workgroupSize)
  const bands = Math.ceil(allRows / rowsAtOnce)
  // More than 32 rows per lane gain nothing.
  const rowsPerLane = Math.max(1, Math.min(32, Math.ceil((bands * tiles) / rowWorkgroups(bands * tiles, target))))
  return {
    workgroupSize,
    workgroups: tiles * Math.ceil(bands / rowsPerLane),
    uniforms: { rows, allRows, columns, tiles, rowsPerLane },
    body: (setup, each) => `
  let band = group / u.tiles;
  let slot = (group - band * u.tiles) * ${workgroupSize}u + lane;
  let rowSlot = ${rowsAtOnce === 1 ? '0u' : 'slot / u.columns'};
  let column = slot - rowSlot * u.columns;
  if (group >= groups || rowSlot >= ${rowsAtOnce}u || column >= u.columns) {
    return;
  }
  var row = band * u.rowsPerLane * ${rowsAtOnce}u + rowSlot;${
    images === undefined
      ? ''
      : `
  var image = row / u.rows;
  var imageRow = row - image * u.rows;`
  }${setup}
  for (var iteration = 0u; iteration < u.rowsPerLane; iteration++) {
    if (row < u.allRows) {${each}
    }
    row += ${rowsAtOnce}u;${
      images === undefined
        ? ''
        : `
    imageRow += ${rowsAtOnce}u;
    let nextImage = imageRow >= u.rows;
    imageRow -= select(0u, u.rows, nextImage);
    image += select(0u, 1u, nextImage);`
    }
  }`,
  }
}
