/**
 * The pooled convolution of one-channel images (LeNet's first layer), with image columns in the lanes. A lane holds
 * four neighbouring columns of each row under the kernel and gets the next four from its neighbour, so each pixel is
 * loaded once for all taps and filters. The quad kernels instead put filters in the lanes, and such a layer has few.
 * LeNet's forward pass and filter gradient at batch 128 on lavapipe take 0.44 and 0.41 ms here, and 0.87 and 0.80 ms
 * with quads.
 */

import type { KernelPlan, Target, Variant } from '../../kernel.ts'
import { dispatch, input, output, reads, scratch, subgroupSizeOf, writes } from '../../kernel.ts'
import { oneChannelPartialSums, quadWorkgroups } from '../../schedule/occupancy.ts'
import type { LongSum } from '../../wgsl/long-sum.ts'
import { arrayElements, longSum, plainLoop } from '../../wgsl/long-sum.ts'
import { component, range, repeat } from '../../wgsl/text.ts'
import { sumWithBias } from './filter-gradient.ts'
import { pooledFunctions, storePooled } from './forward.ts'
import type { Conv2dPoolKey } from './quad.ts'
import { deadCode, fits } from './quad.ts'

const columnsPerLane = 4

interface OneChannelTiling {
  readonly lanes: number
  /** Filters processed together, and their WGSL types. */
  readonly filterVector: 1 | 2
  readonly filterVectors: number
  readonly type: 'f32' | 'vec2f'
  readonly codeType: 'u32' | 'vec2u'
  readonly boolType: 'bool' | 'vec2<bool>'
  readonly taps: number
  readonly quadsPerImage: number
  /** Units of work: images, or strips of pooled rows if the batch has fewer images than there are workgroups. */
  readonly units: number
  readonly unitsPerGroup: number
  readonly stripRows: number
  readonly groups: number
  readonly uniforms: Readonly<Record<string, number>>
}

function oneChannelTilingOf(key: Conv2dPoolKey, target: Target, groupsWanted: number): OneChannelTiling {
  const [pooledHeight, pooledWidth] = [Math.floor(key.outHeight / 2), Math.floor(key.outWidth / 2)]
  const isEven = key.filters % 2 === 0
  const filterVector = isEven ? 2 : 1
  const filterVectors = key.filters / filterVector
  const taps = key.kernelHeight * key.kernelWidth
  const stripRows = Math.ceil(pooledHeight / Math.min(pooledHeight, Math.ceil(groupsWanted / key.batch)))
  const strips = Math.ceil(pooledHeight / stripRows)
  const units = key.batch * strips
  const unitsPerGroup = Math.ceil(units / groupsWanted)
  const rowVectors = key.inputWidth / columnsPerLane
  return {
    lanes: subgroupSizeOf(target),
    filterVector,
    filterVectors,
    type: isEven ? 'vec2f' : 'f32',
    codeType: isEven ? 'vec2u' : 'u32',
    boolType: isEven ? 'vec2<bool>' : 'bool',
    taps,
    quadsPerImage: pooledHeight * pooledWidth,
    units,
    unitsPerGroup,
    stripRows,
    groups: Math.ceil(units / unitsPerGroup),
    uniforms: {
      units,
      unitsPerGroup,
      strips,
      stripRows,
      pooledHeight,
      pooledWidth,
      rowVectors,
      imageVectors: key.inputHeight * rowVectors,
      filters: key.filters,
      filterVectors,
      taps,
    },
  }
}

/**
 * Whether the kernels can serve the key: one channel, an image row fits one subgroup, and a lane needs no columns
 * beyond its neighbour's.
 */
function suits(key: Conv2dPoolKey, target: Target): boolean {
  if (!fits('pooled', key, target)) return false
  const lanes = subgroupSizeOf(target)
  return (
    key.channels === 1 &&
    key.inputWidth % columnsPerLane === 0 &&
    key.inputWidth / columnsPerLane <= lanes &&
    key.kernelWidth <= columnsPerLane + 1 &&
    key.filters <= lanes
  )
}

/**
 * Walks over the pooled rows of a workgroup's units; `loop` writes the inner loop. In the scope of `body`: `sample`,
 * `y` (pooled row), `place` (the address, in filter vectors, of this lane's first quad), `own<r>` and `right<r>` (this
 * lane's columns and the next ones, in row r under the quad).
 */
function eachPooledRow(key: Conv2dPoolKey, part: string, loop: LongSum['loop'], body: string): string {
  const above = key.kernelHeight - 1
  return `
  let column = min(lane, u.rowVectors - 1u);
  let next = min(lane + 1u, u.rowVectors - 1u);
  let endUnit = min((${part} + 1u) * u.unitsPerGroup, u.units);
  for (var unit = ${part} * u.unitsPerGroup; unit < endUnit; unit++) {
    let sample = unit / u.strips;
    let firstRow = (unit - sample * u.strips) * u.stripRows;
    let endRow = min(firstRow + u.stripRows, u.pooledHeight);
    var address = sample * u.imageVectors + firstRow * 2u * u.rowVectors + column;
${repeat(
  above,
  (r) => `    var own${r} = image[address + ${r}u * u.rowVectors];
    var right${r} = subgroupShuffle(own${r}, next);`,
)}
${loop(
  ['y', 'firstRow', 'endRow'],
  `${[above, above + 1]
    .map(
      (r) => `      let own${r} = image[address + ${r}u * u.rowVectors];
      let right${r} = subgroupShuffle(own${r}, next);`,
    )
    .join('\n')}
      let place = ((sample * u.pooledHeight + y) * u.pooledWidth + 2u * lane) * u.filterVectors;
${body}
${repeat(above, (r) => `      own${r} = own${r + 2};\n      right${r} = right${r + 2};`)}
      address += 2u * u.rowVectors;`,
)}
  }`
}

/** The pixel in row `r` under a lane's quads, `x` columns from its first. */
function pixel(r: number, x: number): string {
  return x < columnsPerLane ? component(`own${r}`, 4, x) : component(`right${r}`, 4, x - columnsPerLane)
}

export const oneChannelForward: Variant<Conv2dPoolKey, 'oneChannel'> = {
  name: 'oneChannel',
  supports: suits,
  plan(key, target): KernelPlan {
    const c = oneChannelTilingOf(key, target, quadWorkgroups)
    const { type, filterVector } = c
    const ofFilters = (value: string): string =>
      `${type}(${[0, 1]
        .slice(0, filterVector)
        .map((i) => `subgroupShuffle(${value}, vector * ${filterVector}u + ${i}u)`)
        .join(', ')})`
    const names = [0, 1].flatMap((a) => [0, 1, 2, 3].map((p) => `sum${a}_${p}`))
    const total = longSum(type, names, { terms: c.taps, start: 'start' })
    const products = range(c.taps).map((tap) => {
      const [ky, kx] = [Math.floor(tap / key.kernelWidth), tap % key.kernelWidth]
      const sums = [0, 1, 2, 3].flatMap((x) =>
        [0, 1].map((y) => {
          const name = `sum${x >> 1}_${y * 2 + (x & 1)}`
          return `        ${name} += tap${tap} * ${pixel(y + ky, x + kx)};${total.afterTerm(name)}`
        }),
      )
      return [`        let tap${tap} = ${ofFilters(`taps[${tap}]`)};`, ...sums].join('\n')
    })
    return {
      variant: 'oneChannel',
      scratchBytes: [],
      flops: 8 * key.batch * c.quadsPerImage * c.taps * key.filters,
      dispatches: [
        dispatch({
          label: 'conv2dPool/oneChannel',
          subgroups: target,
          bindings: [
            reads('image', input(0), 'vec4f'),
            reads('kernel', input(1)),
            writes('result', output(0), type),
            writes('codes', output(1), c.codeType),
            ...(key.bias ? [reads('bias', input(2))] : []),
          ],
          uniforms: c.uniforms,
          workgroupSize: c.lanes,
          workgroups: c.groups,
          declarations: pooledFunctions(key.activation, type),
          body: `
  if (group >= groups) { return; }
  let ownFilter = min(lane, u.filters - 1u);
  var taps: array<f32, ${c.taps}>;
  for (var tap = 0u; tap < u.taps; tap++) { ${elementOf('taps', 'tap', c.taps)} = kernel[tap * u.filters + ownFilter]; }
  let first = ${key.bias ? 'bias[ownFilter]' : '0.0'};
${eachPooledRow(
  key,
  'group',
  plainLoop,
  `      for (var vector = 0u; vector < u.filterVectors; vector++) {
        let start = ${ofFilters('first')};
${total.declare}
${products.join('\n')}
${total.finish}
${repeat(2, (a) =>
  storePooled(key.activation, c, a, {
    condition: `2u * lane + ${a}u < u.pooledWidth`,
    address: `place + ${a}u * u.filterVectors + vector`,
  }),
)}
      }`,
)}`,
        }),
      ],
    }
  },
}

export const oneChannelFilterGradient: Variant<Conv2dPoolKey, 'oneChannel'> = {
  name: 'oneChannel',
  supports: suits,
  plan(key, target): KernelPlan {
    const c = oneChannelTilingOf(key, target, oneChannelPartialSums)
    const { type, codeType, boolType } = c
    const rows = c.taps + 1 // the bias' gradient comes last
    const label = `conv2dPool.filterGradient/oneChannel/split${c.groups}`
    const sum = longSum(type, arrayElements('sums', rows), {
      terms: 2 * c.unitsPerGroup * c.stripRows,
      termsPerIteration: 2,
      iterations: c.stripRows,
    })
    const product = dispatch({
      label,
      subgroups: target,
      bindings: [
        reads('image', input(0), 'vec4f'),
        reads('gradient', input(1), type),
        reads('codes', input(2), codeType),
        writes('partial', scratch(0), type),
      ],
      uniforms: {
        ...c.uniforms,
        rows,
        lastVector: key.batch * c.quadsPerImage * c.filterVectors - 1,
      },
      workgroupSize: c.lanes,
      workgroups: c.groups * c.filterVectors,
      body: `
  if (group >= groups) { return; }
  let part = group / u.filterVectors;
  let vector = group - part * u.filterVectors;
  var sums: array<${type}, ${rows}>;
${sum.declare}
${eachPooledRow(
  key,
  'part',
  sum.loop,
  `${repeat(
    2,
    (a) => `      let place${a} = min(place + ${a}u * u.filterVectors + vector, u.lastVector);
      let code${a} = select(${codeType}(${deadCode}), codes[place${a}], 2u * lane + ${a}u < u.pooledWidth);
      let g${a} = select(gradient[place${a}], ${type}(0), code${a} == ${codeType}(${deadCode}));
      let atRight${a}: ${boolType} = (code${a} & ${codeType}(1)) != ${codeType}(0);
      let atBottom${a}: ${boolType} = (code${a} & ${codeType}(2)) != ${codeType}(0);`,
  )}
      sums[${c.taps}] += g0 + g1;
${columnSums(key, type)}`,
)}
${sum.finish}
  for (var row = 0u; row < u.rows; row++) {
    var total = ${elementOf('sums', 'row', rows)};
${repeat(Math.log2(c.lanes), (bit) => `    total += subgroupShuffleXor(total, ${2 ** bit}u);`)}
    if (lane == 0u) { partial[(part * u.rows + row) * u.filterVectors + vector] = total; }
  }`,
    })
    return {
      variant: 'oneChannel',
      scratchBytes: [c.groups * rows * key.filters * 4],
      flops: 8 * key.batch * c.quadsPerImage * c.taps * key.filters,
      dispatches: [product, sumWithBias(label, { splits: c.groups, taps: c.taps, filters: key.filters }, target)],
    }
  },
}

/**
 * An element of an array in a short loop. Mesa unrolls a loop whose counter is itself the index, with a load or a store
 * for every element: with another index, these kernels compile in half the time. The counter stays below the length.
 */
function elementOf(array: string, counter: string, length: number): string {
  return `${array}[min(${counter}, ${length - 1}u)]`
}

/**
 * Adds up columns as with quads: the pixel at the winning position is selected along y, then along x, and multiplied
 * once.
 */
function columnSums(key: Conv2dPoolKey, type: string): string {
  const lines: string[] = []
  for (let ky = 0; ky < key.kernelHeight; ky++) {
    for (let a = 0; a < 2; a++)
      for (let x = 0; x <= key.kernelWidth; x++) {
        const [top, bottom] = [pixel(ky, x + 2 * a), pixel(ky + 1, x + 2 * a)]
        lines.push(`      let v${a}_${ky}_${x} = select(${type}(${top}), ${type}(${bottom}), atBottom${a});`)
      }
    for (let kx = 0; kx < key.kernelWidth; kx++) {
      const products = [0, 1].map((a) => `select(v${a}_${ky}_${kx}, v${a}_${ky}_${kx + 1}, atRight${a}) * g${a}`)
      lines.push(`      sums[${ky * key.kernelWidth + kx}] += ${products.join(' + ')};`)
    }
  }
  return lines.join('\n')
}
