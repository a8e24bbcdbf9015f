/** The input gradient by quads, from a plain or a pooled gradient. */

import type { KernelPlan, Target, Variant } from '../../kernel.ts'
import { dispatch, input, output, reads, writes } from '../../kernel.ts'
import { prefersSubgroups, quadWorkgroups } from '../../schedule/occupancy.ts'
import { longSum } from '../../wgsl/long-sum.ts'
import { allOf, component, range, repeat } from '../../wgsl/text.ts'
import type { Conv2dKey } from '../plain.ts'
import { conv2dSupports, oneGroupByOne } from '../plain.ts'
import type { Conv2dPoolKey, Form, QuadTiling } from './quad.ts'
import { deadCode, fits, flopsOf, mostTapNumbers, quadTilingOf } from './quad.ts'

const supports = /* @__PURE__ */ conv2dSupports({ ...oneGroupByOne, padTop: true, padLeft: true }, (_, target) =>
  prefersSubgroups(target),
)

/**
 * Whether the kernel can serve the key: all filters must fit into the lanes of one subgroup, since their products are
 * summed across it. Stride and dilation 1; the plain form takes any padding, since only gradients are read.
 */
export function inputGradientFits(form: Form, key: Conv2dKey, target: Target): boolean {
  if (!supports(key, target)) return false
  const tiling = quadTilingOf(key, target)
  const isPowerOfTwo = (tiling.subgroupSize & (tiling.subgroupSize - 1)) === 0
  // LeNet's second layer unrolls to 600 multiply-adds; several times that would compile for tens of seconds.
  const isSmall = tiling.taps * tiling.columnVector <= mostTapNumbers && 4 * tiling.taps <= 1600
  return tiling.columnTiles === 1 && isPowerOfTwo && isSmall && (form === 'plain' || fits('pooled', key, target))
}

/**
 * Computes the image's gradient two by two pixels at a time, moving along a row. Each pixel depends on the quads up to
 * ceil(kernel / 2) before it; their gradients stay in variables and shift by one quad at each step. Lanes hold filters,
 * so every product is summed over the lanes: by halves, with lanes exchanging the results that the other one keeps.
 */
export function inputGradient(form: Form): Variant<Conv2dPoolKey, 'quads'> & Variant<Conv2dKey, 'quads'> {
  return {
    name: 'quads',
    supports: (key: Conv2dKey, target) => inputGradientFits(form, key, target),
    plan(key: Conv2dKey, target): KernelPlan {
      const tiling = quadTilingOf(key, target)
      const { type, codeType } = tiling
      const isPooled = form === 'pooled'
      const [reachY, reachX] = [Math.ceil((key.kernelHeight + 1) / 2), Math.ceil((key.kernelWidth + 1) / 2)]
      // Tiles count from the padding's edge, so that quads and tiles have the same parity.
      const tilesY = Math.ceil((key.inputHeight + key.padTop) / 2)
      const tilesX = Math.ceil((key.inputWidth + key.padLeft) / 2)
      const quadsY = isPooled ? tiling.pooledHeight : Math.ceil(key.outHeight / 2)
      const quadsX = isPooled ? tiling.pooledWidth : Math.ceil(key.outWidth / 2)
      const tileRows = key.batch * tilesY
      const rowsPerGroup = Math.max(1, Math.ceil(tileRows / quadWorkgroups))
      const results = 4 * key.channels
      const groupsOfResults = Math.ceil(results / tiling.subgroupSize)
      return {
        variant: 'quads',
        scratchBytes: [],
        flops: flopsOf(key, tiling),
        dispatches: [
          dispatch({
            label: `${isPooled ? 'conv2dPool' : 'conv2d'}.inputGradient/quads`,
            subgroups: target,
            bindings: [
              reads('gradient', input(0), type),
              ...(isPooled ? [reads('codes', input(1), codeType)] : []),
              reads('kernel', input(isPooled ? 2 : 1), type),
              writes('result', output(0), 'f32'),
            ],
            uniforms: {
              columnVectors: tiling.columnVectors,
              tileRows,
              rowsPerGroup,
              tilesX,
              tilesY,
              taps: tiling.taps,
              quadsY,
              quadsX,
              outHeight: key.outHeight,
              outWidth: key.outWidth,
              inputHeight: key.inputHeight,
              inputWidth: key.inputWidth,
              padTop: key.padTop,
              padLeft: key.padLeft,
            },
            workgroupSize: tiling.subgroupSize,
            workgroups: Math.ceil(tileRows / rowsPerGroup),
            body: `
  if (group >= groups) { return; }
  let column = min(lane, u.columnVectors - 1u);
  var taps: array<${type}, ${tiling.taps}>;
  for (var tap = 0u; tap < u.taps; tap++) {
    taps[tap] = select(${type}(0), kernel[tap * u.columnVectors + column], lane < u.columnVectors);
  }
${repeat(
  groupsOfResults,
  (g) => `  let resultIndex${g} = ${g * tiling.subgroupSize}u + lane;
  let resultY${g} = resultIndex${g} / ${2 * key.channels}u;
  let resultX${g} = (resultIndex${g} % ${2 * key.channels}u) / ${key.channels}u;
  let resultChannel${g} = resultIndex${g} % ${key.channels}u;`,
)}
  let endRow = min((group + 1u) * u.rowsPerGroup, u.tileRows);
  for (var tileRow = group * u.rowsPerGroup; tileRow < endRow; tileRow++) {
    let sample = tileRow / u.tilesY;
    let tileY = tileRow - sample * u.tilesY;
${repeat(
  reachY,
  (j) => `    let insideY${j} = ${allOf(`tileY >= ${j}u`, `tileY - ${j}u < u.quadsY`)};
    let quadY${j} = select(0u, tileY - ${j}u, insideY${j});
${repeat(reachX, (i) => (isPooled ? declarePooled(j, i, tiling) : repeat(4, (p) => `    var g${j}_${i}_${p} = ${type}(0);`)))}`,
)}
    for (var tileX = 0u; tileX < u.tilesX; tileX++) {
      let quadX = min(tileX, u.quadsX - 1u);
${repeat(reachY, (j) => (isPooled ? enterPooled(j, reachX, tiling) : enterPlain(j, reachX, tiling)))}
${repeat(reachX, (i) => `      let insideX${i} = ${allOf(`tileX >= ${i}u`, `tileX - ${i}u < u.quadsX`)};`)}
${tileSums(key, [reachY, reachX], tiling, (j, i, afterTerm) =>
  isPooled ? pooledProducts(key, j, i, tiling, afterTerm) : plainProducts(key, j, i, afterTerm),
)}
${sumOverLanes(tiling, results)}
${repeat(
  groupsOfResults,
  (g) => `      let y${g} = tileY * 2u + resultY${g} - u.padTop;
      let x${g}_ = tileX * 2u + resultX${g} - u.padLeft;
      if (resultIndex${g} < ${results}u && y${g} < u.inputHeight && x${g}_ < u.inputWidth) {
        result[((sample * u.inputHeight + y${g}) * u.inputWidth + x${g}_) * ${key.channels}u + resultChannel${g}] = total${g};
      }`,
)}
    }
  }`,
          }),
        ],
      }
    },
  }
}

/** A pooled quad's state: its gradient, and which of the four positions passes it. */
function declarePooled(j: number, i: number, { type, boolType }: QuadTiling): string {
  return `    var g${j}_${i} = ${type}(0);
    var right${j}_${i} = ${boolType}(false);
    var bottom${j}_${i} = ${boolType}(false);`
}

/** Shifts the quads one place to the left as the tile moves to the right, and loads the next one. */
function enterPooled(j: number, reachX: number, { type, codeType }: QuadTiling): string {
  const moves: string[] = []
  for (let i = reachX - 1; i > 0; i--)
    for (const name of ['g', 'right', 'bottom']) moves.push(`      ${name}${j}_${i} = ${name}${j}_${i - 1};`)
  return `${moves.join('\n')}
      let place${j} = ((sample * u.quadsY + quadY${j}) * u.quadsX + quadX) * u.columnVectors + column;
      let code${j} = select(${codeType}(${deadCode}), codes[place${j}], ${allOf(`insideY${j}`, 'tileX < u.quadsX')});
      g${j}_0 = select(gradient[place${j}], ${type}(0), code${j} == ${codeType}(${deadCode}));
      right${j}_0 = (code${j} & ${codeType}(1)) != ${codeType}(0);
      bottom${j}_0 = (code${j} & ${codeType}(2)) != ${codeType}(0);`
}

function enterPlain(j: number, reachX: number, { type }: QuadTiling): string {
  const moves: string[] = []
  for (let i = reachX - 1; i > 0; i--)
    for (let p = 0; p < 4; p++) moves.push(`      g${j}_${i}_${p} = g${j}_${i - 1}_${p};`)
  return `${moves.join('\n')}
${repeat(4, (p) => {
  const [dy, dx] = [p >> 1, p & 1]
  return `      let y${j}_${p} = min(quadY${j} * 2u + ${dy}u, u.outHeight - 1u);
      let x${j}_${p} = min(quadX * 2u + ${dx}u, u.outWidth - 1u);
      g${j}_0_${p} = select(
        ${type}(0),
        gradient[((sample * u.outHeight + y${j}_${p}) * u.outWidth + x${j}_${p}) * u.columnVectors + column],
        ${allOf(`insideY${j}`, `quadY${j} * 2u + ${dy}u < u.outHeight`, `tileX * 2u + ${dx}u < u.outWidth`)},
      );`
})}`
}

type AfterTerm = (accumulator: string) => string

/** Adds the quad at (j, i) to the results: every output of the quad times the tap between it and the result. */
function plainProducts(key: Conv2dKey, j: number, i: number, afterTerm: AfterTerm): string[] {
  const lines: string[] = []
  for (let n = 0; n < 4 * key.channels; n++) {
    const [result, channel] = [Math.floor(n / key.channels), n % key.channels]
    for (let p = 0; p < 4; p++) {
      const tap = tapBetween(key, (result >> 1) - (p >> 1) + 2 * j, (result & 1) - (p & 1) + 2 * i, channel)
      if (tap !== undefined) lines.push(`          sum${n} += g${j}_${i}_${p} * ${tap};${afterTerm(`sum${n}`)}`)
    }
  }
  return lines
}

/**
 * Adds pooled quads, which pass one gradient each: selects the tap for that position, first along x, then along y, and
 * multiplies once. This takes a quarter fewer operations than four products, three of them with zero.
 */
function pooledProducts(key: Conv2dKey, j: number, i: number, { type }: QuadTiling, afterTerm: AfterTerm): string[] {
  const lines: string[] = []
  const choose = (otherwise: string | undefined, chosen: string | undefined, condition: string): string | undefined =>
    otherwise === undefined && chosen === undefined
      ? undefined
      : `select(${otherwise ?? `${type}(0)`}, ${chosen ?? `${type}(0)`}, ${condition})`
  for (let channel = 0; channel < key.channels; channel++)
    for (let dx = 0; dx < 2; dx++) {
      const rows = [2 * j - 1, 2 * j, 2 * j + 1].map((ky, r) => {
        const x = dx + 2 * i
        const chosen = choose(tapBetween(key, ky, x, channel), tapBetween(key, ky, x - 1, channel), `right${j}_${i}`)
        if (chosen === undefined) return undefined
        const name = `tap${j}_${i}_${dx}_${channel}_${r}`
        lines.push(`          let ${name} = ${chosen};`)
        return name
      })
      for (let dy = 0; dy < 2; dy++) {
        const tap = choose(rows[dy + 1], rows[dy], `bottom${j}_${i}`)
        const sum = `sum${(dy * 2 + dx) * key.channels + channel}`
        if (tap !== undefined) lines.push(`          ${sum} += g${j}_${i} * ${tap};${afterTerm(sum)}`)
      }
    }
  return lines
}

/** The tap at (ky, kx), if it is inside the kernel. */
function tapBetween(key: Conv2dKey, ky: number, kx: number, channel: number): string | undefined {
  if (ky < 0 || ky >= key.kernelHeight || kx < 0 || kx >= key.kernelWidth) return undefined
  return `taps[${(ky * key.kernelWidth + kx) * key.channels + channel}]`
}

/**
 * Computes `part<n>`, this lane's share of result n = (y * 2 + x) * channels + channel. Skips quads outside the image:
 * a branch that all lanes take together costs less than the multiply-adds (LeNet's second layer at batch 128, in one
 * run: 1.18 ms when only rows are skipped, 1.01 ms when columns are too).
 */
function tileSums(
  key: Conv2dKey,
  [reachY, reachX]: readonly [number, number],
  { type, columnVector }: QuadTiling,
  products: (j: number, i: number, afterTerm: AfterTerm) => readonly string[],
): string {
  const results = range(4 * key.channels)
  const names = results.map((n) => `sum${n}`)
  const total = longSum(type, names, { terms: key.kernelHeight * key.kernelWidth })
  const lines = [total.declare]
  for (let j = 0; j < reachY; j++) {
    lines.push(`      if (insideY${j}) {`)
    for (let i = 0; i < reachX; i++)
      lines.push(`        if (insideX${i}) {`, ...products(j, i, total.afterTerm), '        }')
    lines.push('      }')
  }
  lines.push(total.finish)
  for (const n of results) {
    const lanes = range(columnVector).map((i) => component(`sum${n}`, columnVector, i))
    lines.push(`      let part${n} = ${lanes.join(' + ')};`)
  }
  return lines.join('\n')
}

/**
 * Computes `total<g>`: in lane l the sum over all lanes of part<g * subgroupSize + l>. Each level merges two values: a
 * lane keeps the one that its index bit selects and adds the other lane's share. Written out: as loops over an array, the
 * kernel took 1.4 to 2.4 times as long on lavapipe (LeNet's second layer at batch 128: 8.0 against 4.5 ms).
 */
function sumOverLanes(tiling: QuadTiling, results: number): string {
  const lines: string[] = []
  for (let g = 0; g * tiling.subgroupSize < results; g++) {
    let values = range(tiling.subgroupSize).map((i) => {
      const n = g * tiling.subgroupSize + i
      return n < results ? `part${n}` : '0.0'
    })
    for (let bit = 1; bit < tiling.subgroupSize; bit *= 2) {
      const next: string[] = []
      for (let i = 0; i < values.length; i += 2) {
        const name = `half${g}_${bit}_${i}`
        const [even, odd] = [values[i], values[i + 1]]
        lines.push(`      let ${name} = select(${even}, ${odd}, (lane & ${bit}u) != 0u)
        + subgroupShuffleXor(select(${odd}, ${even}, (lane & ${bit}u) != 0u), ${bit}u);`)
        next.push(name)
      }
      values = next
    }
    lines.push(`      let total${g} = ${values[0]};`)
  }
  return lines.join('\n')
}
