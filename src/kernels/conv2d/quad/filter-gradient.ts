/**
 * The filter gradient by quads, from a plain or a pooled gradient; the pooled form also computes the bias' gradient.
 */

import type { Dispatch, KernelPlan, Target, Variant } from '../../kernel.ts'
import { dispatch, input, output, reads, scratch, writes } from '../../kernel.ts'
import { partialsShare, sumPartials } from '../../schedule/split-k.ts'
import { vectorType, widestVector } from '../../schedule/subgroup-tile.ts'
import { arrayElements, longSum } from '../../wgsl/long-sum.ts'
import { range, repeat } from '../../wgsl/text.ts'
import type { Conv2dKey } from '../plain.ts'
import type { Conv2dPoolKey, Form, QuadTiling } from './quad.ts'
import {
  cornerAddress,
  deadCode,
  declareCorner,
  declareQuads,
  fits,
  flopsOf,
  loadPatch,
  patchNumber,
  quadTilingOf,
  quadUniforms,
} from './quad.ts'

/** Adds the quads to the sums of all taps: the gradients of quad a's four outputs are `g<a>_0` to `g<a>_3`. */
function plainFilterSums(key: Conv2dKey, tiling: QuadTiling): string {
  const lines: string[] = []
  for (let position = 0; position < key.kernelWidth * key.channels; position++) {
    for (let ky = 0; ky < key.kernelHeight; ky++) {
      const products = range(4 * tiling.across).map((output) => {
        const [a, p] = [output >> 2, output & 3]
        const number = patchNumber(tiling, ky + (p >> 1), position + ((p & 1) + 2 * a) * key.channels)
        return `${number} * g${a}_${p}`
      })
      lines.push(`    sums[${ky * key.kernelWidth * key.channels + position}] += ${products.join(' + ')};`)
    }
  }
  return lines.join('\n')
}

/**
 * Adds pooled quads, where only one of a quad's four positions passes a gradient, `g<a>`. For each tap the number of
 * the patch at that position is selected, first along x, then along y, and multiplied once: two selects instead of
 * three multiply-adds.
 */
function pooledFilterSums(key: Conv2dKey, tiling: QuadTiling, a: number): string {
  const lines: string[] = []
  for (let position = 0; position < key.kernelWidth * key.channels; position++) {
    const start = position + 2 * a * key.channels
    for (let row = 0; row <= key.kernelHeight; row++) {
      const [left, right] = [patchNumber(tiling, row, start), patchNumber(tiling, row, start + key.channels)]
      lines.push(
        `    let h${a}_${row}_${position} = select(${tiling.type}(${left}), ${tiling.type}(${right}), atRight${a});`,
      )
    }
    for (let ky = 0; ky < key.kernelHeight; ky++) {
      const tap = ky * key.kernelWidth * key.channels + position
      lines.push(
        `    sums[${tap}] += select(h${a}_${ky}_${position}, h${a}_${ky + 1}_${position}, atBottom${a}) * g${a};`,
      )
    }
  }
  return lines.join('\n')
}

export function filterGradient(form: Form): Variant<Conv2dPoolKey, 'quads'> & Variant<Conv2dKey, 'quads'> {
  return {
    name: 'quads',
    supports: (key: Conv2dKey, target) => fits(form, key, target),
    plan(key: Conv2dKey, target): KernelPlan {
      const tiling = quadTilingOf(key, target)
      const { type, codeType, boolType } = tiling
      const isPooled = form === 'pooled'
      const rows = isPooled ? tiling.taps + 1 : tiling.taps // the bias' gradient comes last
      const products = isPooled ? 1 : 4
      const total = longSum(type, arrayElements('sums', rows), {
        terms: tiling.quadsPerGroup * products,
        termsPerIteration: tiling.across * products,
      })
      const label = `${isPooled ? 'conv2dPool' : 'conv2d'}.filterGradient/quads/split${tiling.quadGroups}`
      const product = dispatch({
        label,
        subgroups: target,
        bindings: [
          reads('image', input(0), vectorType(tiling.patchVector)),
          reads('gradient', input(1), type),
          ...(isPooled ? [reads('codes', input(2), codeType)] : []),
          writes('partial', scratch(0), type),
        ],
        uniforms: { ...quadUniforms(key, tiling), rows },
        workgroupSize: tiling.subgroupSize,
        workgroups: tiling.quadGroups * tiling.columnTiles,
        body: `
${declareQuads(tiling)}
  var sums: array<${type}, ${rows}>;
${total.declare}
${total.loop(
  ['quad', 'firstQuad', 'endQuad', tiling.across],
  `${loadPatch(tiling)}
${
  isPooled
    ? repeat(
        tiling.across,
        (a) => `    let place${a} = (quad + ${a}u) * u.columnVectors + column;
    let code${a} = codes[place${a}];
    let g${a} = select(gradient[place${a}], ${type}(0), code${a} == ${codeType}(${deadCode}));
    let atRight${a}: ${boolType} = (code${a} & ${codeType}(1)) != ${codeType}(0);
    let atBottom${a}: ${boolType} = (code${a} & ${codeType}(2)) != ${codeType}(0);
${pooledFilterSums(key, tiling, a)}
    sums[${tiling.taps}] += g${a};`,
      )
    : `${declareCorner}
${repeat(tiling.across, (a) => repeat(4, (p) => `    let g${a}_${p} = gradient[${cornerAddress(p, a)}];`))}
${plainFilterSums(key, tiling)}`
}`,
)}
${total.finish}
  if (wanted < u.columnVectors) {
    for (var row = 0u; row < u.rows; row++) {
      partial[(part * u.rows + row) * u.columnVectors + column] = sums[row];
    }
  }`,
      })
      const count = tiling.taps * key.filters
      const sum = isPooled
        ? sumWithBias(label, { splits: tiling.quadGroups, taps: tiling.taps, filters: key.filters }, target)
        : sumPartials({ label, count, splits: tiling.quadGroups, activation: 'linear' }, target)
      return {
        variant: 'quads',
        scratchBytes: [tiling.quadGroups * rows * key.filters * 4],
        flops: flopsOf(key, tiling),
        dispatches: [product, sum],
      }
    },
  }
}

export interface SumWithBias {
  readonly splits: number
  readonly taps: number
  readonly filters: number
}

/**
 * Adds the partial sums in order. All rows but the last are the kernel's gradient (output 0); the last is the bias'
 * (1).
 */
export function sumWithBias(label: string, { splits, taps, filters }: SumWithBias, target: Target): Dispatch {
  const vector = widestVector(filters)
  const type = vectorType(vector)
  const count = (taps + 1) * filters
  const share = partialsShare({ type, splits, partial: 'partial', vectors: 'u.vectors', count: 'u.splits' }, target)
  const made = dispatch({
    label: `${label}/sumPartials`,
    bindings: [
      reads('partial', scratch(0), type),
      writes('kernelGradient', output(0), type),
      writes('biasGradient', output(1), type),
    ],
    uniforms: { vectors: count / vector, splits, kernelVectors: (taps * filters) / vector },
    workgroupSize: share.workgroupSize,
    workgroups: Math.ceil(count / vector / share.vectorsPerGroup),
    declarations: share.declarations,
    body: share.body(
      'group',
      (index) => `if (${index} < u.kernelVectors) { kernelGradient[${index}] = total; }
    else { biasGradient[${index} - u.kernelVectors] = total; }`,
    ),
  })
  const targets = [
    { output: 0, from: 0, count: taps * filters },
    { output: 1, from: taps * filters, count: filters },
  ]
  return { ...made, flops: splits * count, splitSum: { splits, count, targets } }
}
