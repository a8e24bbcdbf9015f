/** The forward kernel by windows: convolution, bias and activation, with or without 2x2 max-pooling. */

import { activationFunction } from './activation.ts'
import type { Conv2dKey } from './conv2d-direct.ts'
import type { KernelPlan, Variant } from './kernel.ts'
import { dispatch, input, output, reads, writes } from './kernel.ts'
import { vectorType } from './subgroup-tile.ts'
import type { Conv2dPoolKey, Form, Window } from './window-patch.ts'
import {
  cornerAddress,
  deadCode,
  declareCorner,
  declareWindows,
  fits,
  flopsOf,
  loadPatch,
  patchNumber,
  repeat,
  windowOf,
  windowUniforms,
} from './window-patch.ts'

export function forward(form: Form): Variant<Conv2dPoolKey> & Variant<Conv2dKey> {
  return {
    name: 'windows',
    supports: (key: Conv2dKey, target) => fits(form, key, target),
    plan(key: Conv2dKey, target): KernelPlan {
      const w = windowOf(key, target)
      const { type, codeType } = w
      return {
        variant: 'windows',
        scratchBytes: [],
        flops: flopsOf(key, w),
        dispatches: [
          dispatch({
            label: form === 'pooled' ? 'conv2dPool/windows' : 'conv2d/windows',
            subgroups: true,
            bindings: [
              reads('image', input(0), vectorType(w.patchVector)),
              reads('kernel', input(1), type),
              writes('result', output(0), type),
              ...(form === 'pooled' ? [writes('codes', output(1), codeType)] : []),
              ...(key.bias ? [reads('bias', input(2), type)] : []),
            ],
            uniforms: windowUniforms(key, w),
            workgroupSize: w.subgroupSize,
            workgroups: w.windowGroups * w.columnTiles,
            declarations: `${isNanFunctionFor(type, codeType)}\n${activationFunction(key.activation, type)}`,
            body: `
${declareWindows(w)}
  var taps: array<${type}, ${w.taps}>;
  for (var tap = 0u; tap < u.taps; tap++) { taps[tap] = kernel[tap * u.columnVectors + column]; }
  let first = ${key.bias ? 'bias[column]' : `${type}(0)`};
  for (var window = firstWindow; window < endWindow; window++) {
${loadPatch(w)}
${repeat(4, (p) => `    var sum${p} = first;`)}
${forwardSums(key, w)}
${form === 'pooled' ? storePooled(key, w) : storeWindow()}
  }`,
          }),
        ],
      }
    },
  }
}

function storePooled(key: Conv2dKey, { codeType, type }: Window): string {
  return `
    var best = sum0;
    var code = ${codeType}(0);
${repeat(
  3,
  (i) => `    let better${i + 1} = (sum${i + 1} > best) | (isNan(sum${i + 1}) & !isNan(best));
    code = select(code, ${codeType}(${i + 1}), better${i + 1});
    best = select(best, sum${i + 1}, better${i + 1});`,
)}
${
  key.activation === 'relu'
    ? `    let dead = best <= ${type}(0);
    code = select(code, ${codeType}(${deadCode}), dead);
    best = select(best, ${type}(0), dead);`
    : ''
}
    if (wanted < u.columnVectors) {
      result[window * u.columnVectors + column] = best;
      codes[window * u.columnVectors + column] = code;
    }`
}

/** The four outputs of a window, from `corner`, the address of the first. */
function storeWindow(): string {
  return `
    if (wanted < u.columnVectors) {
${declareCorner}
${repeat(4, (p) => `      result[${cornerAddress(p)}] = activate(sum${p});`)}
    }`
}
/** `isNan` on a vector, by bits. */
function isNanFunctionFor(type: string, codeType: string): string {
  const bool = type === 'f32' ? 'bool' : `${type.slice(0, 4)}<bool>`
  return `fn isNan(x: ${type}) -> ${bool} {
  return (bitcast<${codeType}>(x) & ${codeType}(0x7fffffffu)) > ${codeType}(0x7f800000u);
}`
}

/** Each number of the patch, times the taps of the up to four outputs that it belongs to. */
function forwardSums(key: Conv2dKey, w: Window): string {
  const lines: string[] = []
  for (let row = 0; row <= key.kernelHeight; row++) {
    for (let position = 0; position < (key.kernelWidth + 1) * key.channels; position++) {
      const x = Math.floor(position / key.channels)
      const channel = position % key.channels
      lines.push(`    let v${row}_${position} = ${patchNumber(w, row, position)};`)
      for (let p = 0; p < 4; p++) {
        const [ky, kx] = [row - (p >> 1), x - (p & 1)]
        if (ky < 0 || ky >= key.kernelHeight || kx < 0 || kx >= key.kernelWidth) continue
        const tap = (ky * key.kernelWidth + kx) * key.channels + channel
        lines.push(`    sum${p} += v${row}_${position} * taps[${tap}];`)
      }
    }
  }
  return lines.join('\n')
}
