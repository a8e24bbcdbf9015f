/** The forward kernel by quads: convolution, bias and activation, with or without 2x2 max-pooling. */

import type { KernelPlan, Variant } from '../../kernel.ts'
import { dispatch, input, output, reads, writes } from '../../kernel.ts'
import { vectorType } from '../../schedule/subgroup-tile.ts'
import type { FusedActivation } from '../../wgsl/activation.ts'
import { activationFunction } from '../../wgsl/activation.ts'
import type { FloatType } from '../../wgsl/functions.ts'
import { exceeds, takesMaximum } from '../../wgsl/functions.ts'
import { longSum } from '../../wgsl/long-sum.ts'
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

export function forward(form: Form): Variant<Conv2dPoolKey, 'quads'> & Variant<Conv2dKey, 'quads'> {
  return {
    name: 'quads',
    supports: (key: Conv2dKey, target) => fits(form, key, target),
    plan(key: Conv2dKey, target): KernelPlan {
      const tiling = quadTilingOf(key, target)
      const { type, codeType } = tiling
      return {
        variant: 'quads',
        scratchBytes: [],
        flops: flopsOf(key, tiling),
        dispatches: [
          dispatch({
            label: form === 'pooled' ? 'conv2dPool/quads' : 'conv2d/quads',
            subgroups: target,
            bindings: [
              reads('image', input(0), vectorType(tiling.patchVector)),
              reads('kernel', input(1), type),
              writes('result', output(0), type),
              ...(form === 'pooled' ? [writes('codes', output(1), codeType)] : []),
              ...(key.bias ? [reads('bias', input(2), type)] : []),
            ],
            uniforms: quadUniforms(key, tiling),
            workgroupSize: tiling.subgroupSize,
            workgroups: tiling.quadGroups * tiling.columnTiles,
            declarations:
              form === 'pooled' ? pooledFunctions(key.activation, type) : activationFunction(key.activation, type),
            body: `
${declareQuads(tiling)}
  var taps: array<${type}, ${tiling.taps}>;
  for (var tap = 0u; tap < u.taps; tap++) { taps[tap] = kernel[tap * u.columnVectors + column]; }
  let first = ${key.bias ? 'bias[column]' : `${type}(0)`};
  for (var quad = firstQuad; quad < endQuad; quad += ${tiling.across}u) {
${loadPatch(tiling)}
${forwardSums(key, tiling)}
${form === 'pooled' ? repeat(tiling.across, (a) => storePooled(key.activation, tiling, a, { condition: 'wanted < u.columnVectors', address: `(quad + ${a}u) * u.columnVectors + column` })) : storeQuads(tiling)}
  }`,
          }),
        ],
      }
    },
  }
}

/** Stores the maximum of `sum<a>_0` to `sum<a>_3`, and the code of its position. */
export function storePooled(
  activation: FusedActivation,
  { codeType, type }: Pick<QuadTiling, 'codeType' | 'type'>,
  a: number,
  { condition, address }: { readonly condition: string; readonly address: string },
): string {
  return `
    var best${a} = sum${a}_0;
    var code${a} = ${codeType}(0);
${[1, 2, 3]
  .map(
    (p) => `    let better${a}_${p} = takesMaximum(sum${a}_${p}, best${a});
    code${a} = select(code${a}, ${codeType}(${p}), better${a}_${p});
    best${a} = select(best${a}, sum${a}_${p}, better${a}_${p});`,
  )
  .join('\n')}
${
  activation === 'relu'
    ? `    code${a} = select(${codeType}(${deadCode}), code${a}, exceeds(best${a}, ${type}(0)));
    best${a} = activate(best${a});`
    : ''
}
    if (${condition}) {
      result[${address}] = best${a};
      codes[${address}] = code${a};
    }`
}

/** Stores the four outputs of each quad. */
function storeQuads({ across }: QuadTiling): string {
  return `
    if (wanted < u.columnVectors) {
${declareCorner}
${repeat(across, (a) => repeat(4, (p) => `      result[${cornerAddress(p, a)}] = activate(sum${a}_${p});`))}
    }`
}

/** The functions that `storePooled` calls. */
export function pooledFunctions(activation: FusedActivation, type: FloatType): string {
  return activationFunction(activation, type, [takesMaximum, exceeds])
}

/** Multiplies each number of the patch by the taps of the outputs it belongs to: up to four per quad. */
function forwardSums(key: Conv2dKey, tiling: QuadTiling): string {
  const names = range(4 * tiling.across).map((n) => `sum${n >> 2}_${n & 3}`)
  const total = longSum(tiling.type, names, { terms: tiling.taps, start: 'first' })
  const lines = [total.declare]
  for (let row = 0; row <= key.kernelHeight; row++)
    for (let channel = 0; channel < key.channels; channel++)
      for (let x = 0; x < key.kernelWidth + 2 * tiling.across - 1; x++) {
        const position = x * key.channels + channel
        lines.push(`    let v${row}_${position} = ${patchNumber(tiling, row, position)};`)
        for (let output = 0; output < 4 * tiling.across; output++) {
          const [a, p] = [output >> 2, output & 3]
          const [ky, kx] = [row - (p >> 1), x - (p & 1) - 2 * a]
          if (ky < 0 || ky >= key.kernelHeight || kx < 0 || kx >= key.kernelWidth) continue
          const tap = (ky * key.kernelWidth + kx) * key.channels + channel
          const name = `sum${a}_${p}`
          lines.push(`    ${name} += v${row}_${position} * taps[${tap}];${total.afterTerm(name)}`)
        }
      }
  lines.push(total.finish)
  return lines.join('\n')
}
