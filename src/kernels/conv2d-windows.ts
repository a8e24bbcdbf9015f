/**
 * Convolutions with small kernels (LeNet's) by *windows*: two by two outputs at a time. A subgroup loads the patch of the
 * image under a window, one vector a lane, and holds the kernel's taps for its filters in a function-scope array whose
 * indices are constants wherever it is hot.
 *
 * Each of the three kernels comes in two forms. Plain, it is a variant of the convolution families in conv2d.ts. Pooled,
 * convolution, bias, relu and 2x2 max-pooling are one kernel, and the gradients start from the pooled numbers' gradient
 * and a *code* that the forward kernel leaves for each: which of the four positions won (0-3, row-major), or 4 where relu
 * cut it off and no gradient passes. Where a convolution does not fit, the graph keeps it and its pooling apart.
 */

import { activationFunction } from './activation.ts'
import type { Conv2dKey } from './conv2d-direct.ts'
import { checkConv } from './conv2d-direct.ts'
import type { Dispatch, Family, KernelPlan, Target, Variant } from './kernel.ts'
import { dispatch, input, output, plainWorkgroupSize, reads, scratch, writes } from './kernel.ts'
import { sumPartials } from './split-sum.ts'
import type { VectorWidth } from './subgroup-tile.ts'
import { columnVectorFor, vectorType, widestVector } from './subgroup-tile.ts'

/** `outHeight` and `outWidth` are those of the convolution, before pooling. */
export interface Conv2dPoolKey extends Conv2dKey {
  readonly activation: 'relu' | 'linear'
}

/** Relu cut this number off. */
const deadCode = 4

/** Beyond this many numbers a lane the taps no longer stay in the first-level cache, and the body compiles for seconds. */
const mostTapNumbers = 400

interface Window {
  readonly subgroupSize: number
  /** Filters a lane holds. */
  readonly columnVector: VectorWidth
  readonly columnVectors: number
  /** WGSL types of a lane's filters: their numbers, their codes, their conditions. */
  readonly type: string
  readonly codeType: string
  readonly boolType: string
  readonly columnTiles: number
  /** Windows in a column and in a row of an image; with pooling the last odd row and column are dropped. */
  readonly pooledHeight: number
  readonly pooledWidth: number
  readonly windows: number
  readonly taps: number
  /** Numbers a lane loads at once from the image. */
  readonly patchVector: VectorWidth
  readonly patchRows: number
  /** Vectors in a row of the patch, and loads for the whole patch. */
  readonly runVectors: number
  readonly loads: number
  readonly windowsPerGroup: number
  readonly windowGroups: number
}

type Form = 'plain' | 'pooled'

/**
 * Workgroups to share the windows. 32 on a CPU: each core gets several, and loading the taps into a lane costs little
 * beside the work. 2048 on a GPU: some thousands of subgroups keep a hundred cores of four schedulers busy.
 */
const groupsWanted = { cpu: 32, gpu: 2048 } as const

/** For the filter gradient, where each group leaves a partial sum of all taps that one lane a tap has to add up in turn. */
const partialSumsWanted = { cpu: 32, gpu: 256 } as const

function windowOf(key: Conv2dKey, target: Target, groups: number = groupsWanted[target.class]): Window {
  const subgroupSize = target.subgroupSize ?? 1
  const columnVector = columnVectorFor(key.filters, subgroupSize)
  const columnVectors = key.filters / columnVector
  const [pooledHeight, pooledWidth] = [Math.floor(key.outHeight / 2), Math.floor(key.outWidth / 2)]
  const patchVector = widestVector(2 * key.channels, key.inputWidth * key.channels)
  const patchRows = key.kernelHeight + 1
  const runVectors = Math.ceil(((key.kernelWidth + 1) * key.channels) / patchVector)
  const windows = key.batch * pooledHeight * pooledWidth
  const windowsPerGroup = Math.max(1, Math.ceil(windows / groups))
  return {
    subgroupSize,
    columnVector,
    columnVectors,
    type: vectorType(columnVector),
    codeType: columnVector === 1 ? 'u32' : `vec${columnVector}u`,
    boolType: columnVector === 1 ? 'bool' : `vec${columnVector}<bool>`,
    columnTiles: Math.ceil(columnVectors / subgroupSize),
    pooledHeight,
    pooledWidth,
    windows,
    taps: key.kernelHeight * key.kernelWidth * key.channels,
    patchVector,
    patchRows,
    runVectors,
    loads: Math.ceil((patchRows * runVectors) / subgroupSize),
    windowsPerGroup,
    windowGroups: Math.ceil(windows / windowsPerGroup),
  }
}

/** Stride and dilation 1, no padding, a kernel small enough; the plain form wants whole windows. */
function fits(form: Form, key: Conv2dKey, target: Target): boolean {
  if (target.subgroupSize === undefined) return false
  const { taps, columnVector, pooledHeight, pooledWidth } = windowOf(key, target)
  const isDense = [...key.strides, ...key.dilation].every((n) => n === 1)
  const isInside =
    key.padTop === 0 &&
    key.padLeft === 0 &&
    key.outHeight + key.kernelHeight - 1 <= key.inputHeight &&
    key.outWidth + key.kernelWidth - 1 <= key.inputWidth
  const isWhole = form === 'pooled' || (key.outHeight % 2 === 0 && key.outWidth % 2 === 0)
  return isDense && isInside && isWhole && pooledHeight > 0 && pooledWidth > 0 && taps * columnVector <= mostTapNumbers
}

/** Whether the three kernels of this file can serve a convolution that is pooled. */
export function canFusePool(key: Conv2dPoolKey, target: Target): boolean {
  return fits('pooled', key, target) && inputGradientFits('pooled', key, target)
}

const repeat = (count: number, line: (i: number) => string): string =>
  Array.from({ length: count }, (_, i) => line(i)).join('\n')

const flopsOf = (key: Conv2dKey, w: Window): number => 2 * 4 * w.windows * w.taps * key.filters

/** Uniforms and statements that find a workgroup's windows and this lane's column and patch addresses. */
function windowUniforms(key: Conv2dKey, w: Window): Record<string, number> {
  return {
    columnVectors: w.columnVectors,
    columnTiles: w.columnTiles,
    windows: w.windows,
    windowsPerGroup: w.windowsPerGroup,
    pooledHeight: w.pooledHeight,
    pooledWidth: w.pooledWidth,
    pooledPixels: w.pooledWidth * w.pooledHeight,
    rowVectors: (key.inputWidth * key.channels) / w.patchVector,
    imageVectors: (key.inputHeight * key.inputWidth * key.channels) / w.patchVector,
    windowVectors: (2 * key.channels) / w.patchVector,
    taps: w.taps,
  }
}

function declareWindows(w: Window): string {
  return `
  if (group >= groups) { return; }
  let part = group / u.columnTiles;
  let wanted = (group - part * u.columnTiles) * ${w.subgroupSize}u + lane;
  let column = min(wanted, u.columnVectors - 1u);
  let firstWindow = part * u.windowsPerGroup;
  let endWindow = min(firstWindow + u.windowsPerGroup, u.windows);
${repeat(
  w.loads,
  (r) => `  let slot${r} = min(${r * w.subgroupSize}u + lane, ${w.patchRows * w.runVectors - 1}u);
  let offset${r} = (slot${r} / ${w.runVectors}u) * u.rowVectors + slot${r} % ${w.runVectors}u;`,
)}`
}

/** Loads the patch under `window` into `patch0`, `patch1`, ... */
function loadPatch(w: Window): string {
  return `
    let sample = window / u.pooledPixels;
    let pixel = window - sample * u.pooledPixels;
    let pooledY = pixel / u.pooledWidth;
    let start = sample * u.imageVectors + pooledY * 2u * u.rowVectors + (pixel - pooledY * u.pooledWidth) * u.windowVectors;
${repeat(w.loads, (r) => `    let patch${r} = image[start + offset${r}];`)}`
}

/** The number at (row, position in the row) of the patch, for all lanes. */
function patchNumber(w: Window, row: number, position: number): string {
  const slot = row * w.runVectors + Math.floor(position / w.patchVector)
  const part = w.patchVector === 1 ? '' : `.${'xyzw'[position % w.patchVector]}`
  return `subgroupBroadcast(patch${Math.floor(slot / w.subgroupSize)}${part}, ${slot % w.subgroupSize}u)`
}

function forward(form: Form): Variant<Conv2dPoolKey> & Variant<Conv2dKey> {
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

/** In output vectors; a row of outputs is two windows' width. */
const declareCorner = `      let corner = ((sample * u.pooledHeight + pooledY) * 4u * u.pooledWidth + (pixel - pooledY * u.pooledWidth) * 2u) * u.columnVectors + column;`

function cornerAddress(position: number): string {
  const right = position & 1 ? ' + u.columnVectors' : ''
  const below = position & 2 ? ' + 2u * u.pooledWidth * u.columnVectors' : ''
  return `corner${right}${below}`
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

/** Adds a window to the sums of all taps: the gradients of its four outputs are `g0` to `g3`. */
function plainFilterSums(key: Conv2dKey, w: Window): string {
  const lines: string[] = []
  for (let position = 0; position < key.kernelWidth * key.channels; position++) {
    for (let ky = 0; ky < key.kernelHeight; ky++) {
      const products = [0, 1, 2, 3].map(
        (p) => `${patchNumber(w, ky + (p >> 1), position + (p & 1) * key.channels)} * g${p}`,
      )
      lines.push(`    sums[${ky * key.kernelWidth * key.channels + position}] += ${products.join(' + ')};`)
    }
  }
  return lines.join('\n')
}

/**
 * The same where only one of the four positions passes a gradient, `g`. For each tap the number of the patch at that
 * position is selected, first along x, then along y, and multiplied once: two selects instead of three multiply-adds.
 */
function pooledFilterSums(key: Conv2dKey, w: Window): string {
  const lines: string[] = []
  for (let position = 0; position < key.kernelWidth * key.channels; position++) {
    for (let row = 0; row <= key.kernelHeight; row++) {
      const [left, right] = [patchNumber(w, row, position), patchNumber(w, row, position + key.channels)]
      lines.push(`    let h${row}_${position} = select(${w.type}(${left}), ${w.type}(${right}), atRight);`)
    }
    for (let ky = 0; ky < key.kernelHeight; ky++) {
      const tap = ky * key.kernelWidth * key.channels + position
      lines.push(`    sums[${tap}] += select(h${ky}_${position}, h${ky + 1}_${position}, atBottom) * g;`)
    }
  }
  return lines.join('\n')
}

function filterGradient(form: Form): Variant<Conv2dPoolKey> & Variant<Conv2dKey> {
  return {
    name: 'windows',
    supports: (key: Conv2dKey, target) => fits(form, key, target),
    plan(key: Conv2dKey, target): KernelPlan {
      const w = windowOf(key, target, partialSumsWanted[target.class])
      const { type, codeType, boolType } = w
      const isPooled = form === 'pooled'
      const rows = isPooled ? w.taps + 1 : w.taps // the bias' gradient comes last
      const label = `${isPooled ? 'conv2dPool' : 'conv2d'}.filterGradient/windows/split${w.windowGroups}`
      const product = dispatch({
        label,
        subgroups: true,
        bindings: [
          reads('image', input(0), vectorType(w.patchVector)),
          reads('gradient', input(1), type),
          ...(isPooled ? [reads('codes', input(2), codeType)] : []),
          writes('partial', scratch(0), type),
        ],
        uniforms: { ...windowUniforms(key, w), rows },
        workgroupSize: w.subgroupSize,
        workgroups: w.windowGroups * w.columnTiles,
        body: `
${declareWindows(w)}
  var sums: array<${type}, ${rows}>;
  for (var window = firstWindow; window < endWindow; window++) {
${loadPatch(w)}
${
  isPooled
    ? `    let code = codes[window * u.columnVectors + column];
    let g = select(gradient[window * u.columnVectors + column], ${type}(0), code == ${codeType}(${deadCode}));
    let atRight: ${boolType} = (code & ${codeType}(1)) != ${codeType}(0);
    let atBottom: ${boolType} = (code & ${codeType}(2)) != ${codeType}(0);
${pooledFilterSums(key, w)}
    sums[${w.taps}] += g;`
    : `${declareCorner}
${repeat(4, (p) => `    let g${p} = gradient[${cornerAddress(p)}];`)}
${plainFilterSums(key, w)}`
}
  }
  if (wanted < u.columnVectors) {
    for (var row = 0u; row < u.rows; row++) {
      partial[(part * u.rows + row) * u.columnVectors + column] = sums[row];
    }
  }`,
      })
      const count = w.taps * key.filters
      const sum = isPooled
        ? sumWithBias(label, w, rows, type, target)
        : sumPartials({ label, count, splits: w.windowGroups, activation: 'linear' }, target)
      return {
        variant: 'windows',
        scratchBytes: [w.windowGroups * rows * key.filters * 4],
        flops: flopsOf(key, w),
        dispatches: [product, sum],
      }
    },
  }
}

/** Adds the partial sums in order: all rows but the last are the kernel's gradient (output 0), the last is the bias' (1). */
function sumWithBias(label: string, w: Window, rows: number, type: string, target: Target): Dispatch {
  const workgroupSize = plainWorkgroupSize(target)
  const vectors = rows * w.columnVectors
  const columns = w.columnVectors * w.columnVector
  const made = dispatch({
    label: `${label}/sumPartials`,
    bindings: [
      reads('partial', scratch(0), type),
      writes('kernelGradient', output(0), type),
      writes('biasGradient', output(1), type),
    ],
    uniforms: { vectors, splits: w.windowGroups, kernelVectors: w.taps * w.columnVectors },
    workgroupSize,
    workgroups: Math.ceil(vectors / workgroupSize),
    body: `
  if (index >= u.vectors) { return; }
  var total = ${type}(0);
  for (var split = 0u; split < u.splits; split++) { total += partial[split * u.vectors + index]; }
  if (index < u.kernelVectors) { kernelGradient[index] = total; }
  else { biasGradient[index - u.kernelVectors] = total; }`,
  })
  const targets = [
    { output: 0, from: 0, count: w.taps * columns },
    { output: 1, from: w.taps * columns, count: columns },
  ]
  return { ...made, partialSum: { splits: w.windowGroups, count: rows * columns, targets } }
}

/**
 * All filters must fit into the lanes of one subgroup, since their products are summed across it. Stride and dilation 1;
 * the plain form takes any padding, since only gradients are read.
 */
function inputGradientFits(form: Form, key: Conv2dKey, target: Target): boolean {
  if (target.subgroupSize === undefined) return false
  const w = windowOf(key, target)
  const isDense = [...key.strides, ...key.dilation].every((n) => n === 1)
  const isPowerOfTwo = (w.subgroupSize & (w.subgroupSize - 1)) === 0
  // 600 multiply-adds make LeNet's second layer; several times that would compile for tens of seconds.
  const isSmall = w.taps * w.columnVector <= mostTapNumbers && 4 * w.taps <= 1600
  return w.columnTiles === 1 && isDense && isPowerOfTwo && isSmall && (form === 'plain' || fits('pooled', key, target))
}

/**
 * Two by two numbers of the image's gradient at a time, moving along a row. Each depends on the windows up to
 * ceil(kernel / 2) before it; their gradients stay in variables and move on by one window at each step. Lanes hold
 * filters, so every product is summed over the lanes: by halves, exchanging results that other lanes keep.
 */
function inputGradient(form: Form): Variant<Conv2dPoolKey> & Variant<Conv2dKey> {
  return {
    name: 'windows',
    supports: (key: Conv2dKey, target) => inputGradientFits(form, key, target),
    plan(key: Conv2dKey, target): KernelPlan {
      const w = windowOf(key, target)
      const { type, codeType } = w
      const isPooled = form === 'pooled'
      const [reachY, reachX] = [Math.ceil((key.kernelHeight + 1) / 2), Math.ceil((key.kernelWidth + 1) / 2)]
      // Tiles count from the padding's edge, so that windows and tiles have the same parity.
      const tilesY = Math.ceil((key.inputHeight + key.padTop) / 2)
      const tilesX = Math.ceil((key.inputWidth + key.padLeft) / 2)
      const windowsY = isPooled ? w.pooledHeight : Math.ceil(key.outHeight / 2)
      const windowsX = isPooled ? w.pooledWidth : Math.ceil(key.outWidth / 2)
      const tileRows = key.batch * tilesY
      const rowsPerGroup = Math.max(1, Math.ceil(tileRows / groupsWanted[target.class]))
      const results = 4 * key.channels
      const groupsOfResults = Math.ceil(results / w.subgroupSize)
      return {
        variant: 'windows',
        scratchBytes: [],
        flops: flopsOf(key, w),
        dispatches: [
          dispatch({
            label: `${isPooled ? 'conv2dPool' : 'conv2d'}.inputGradient/windows`,
            subgroups: true,
            bindings: [
              reads('gradient', input(0), type),
              ...(isPooled ? [reads('codes', input(1), codeType)] : []),
              reads('kernel', input(isPooled ? 2 : 1), type),
              writes('result', output(0), 'f32'),
            ],
            uniforms: {
              columnVectors: w.columnVectors,
              tileRows,
              rowsPerGroup,
              tilesX,
              tilesY,
              taps: w.taps,
              windowsY,
              windowsX,
              outHeight: key.outHeight,
              outWidth: key.outWidth,
              inputHeight: key.inputHeight,
              inputWidth: key.inputWidth,
              padTop: key.padTop,
              padLeft: key.padLeft,
            },
            workgroupSize: w.subgroupSize,
            workgroups: Math.ceil(tileRows / rowsPerGroup),
            body: `
  if (group >= groups) { return; }
  let column = min(lane, u.columnVectors - 1u);
  var taps: array<${type}, ${w.taps}>;
  for (var tap = 0u; tap < u.taps; tap++) {
    taps[tap] = select(${type}(0), kernel[tap * u.columnVectors + column], lane < u.columnVectors);
  }
${repeat(
  groupsOfResults,
  (g) => `  let resultIndex${g} = ${g * w.subgroupSize}u + lane;
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
  (j) => `    let insideY${j} = tileY >= ${j}u && tileY - ${j}u < u.windowsY;
    let windowY${j} = select(0u, tileY - ${j}u, insideY${j});
${repeat(reachX, (i) => (isPooled ? declarePooled(j, i, w) : repeat(4, (p) => `    var g${j}_${i}_${p} = ${type}(0);`)))}`,
)}
    for (var tileX = 0u; tileX < u.tilesX; tileX++) {
      let windowX = min(tileX, u.windowsX - 1u);
${repeat(reachY, (j) => (isPooled ? enterPooled(j, reachX, w) : enterPlain(j, reachX, w)))}
${tileSums(key, reachY, w, (j) => (isPooled ? pooledProducts(key, j, reachX, w) : plainProducts(key, j, reachX)))}
${sumOverLanes(w, results)}
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

/** A pooled window's state: its gradient, and which of the four positions passes it. */
function declarePooled(j: number, i: number, { type, boolType }: Window): string {
  return `    var g${j}_${i} = ${type}(0);
    var right${j}_${i} = ${boolType}(false);
    var bottom${j}_${i} = ${boolType}(false);`
}

/** Windows move one place to the left as the tile moves to the right; a new one comes in. */
function enterPooled(j: number, reachX: number, { type, codeType }: Window): string {
  const moves: string[] = []
  for (let i = reachX - 1; i > 0; i--)
    for (const name of ['g', 'right', 'bottom']) moves.push(`      ${name}${j}_${i} = ${name}${j}_${i - 1};`)
  return `${moves.join('\n')}
      let place${j} = ((sample * u.windowsY + windowY${j}) * u.windowsX + windowX) * u.columnVectors + column;
      let code${j} = select(${codeType}(${deadCode}), codes[place${j}], insideY${j} && tileX < u.windowsX);
      g${j}_0 = select(gradient[place${j}], ${type}(0), code${j} == ${codeType}(${deadCode}));
      right${j}_0 = (code${j} & ${codeType}(1)) != ${codeType}(0);
      bottom${j}_0 = (code${j} & ${codeType}(2)) != ${codeType}(0);`
}

function enterPlain(j: number, reachX: number, { type }: Window): string {
  const moves: string[] = []
  for (let i = reachX - 1; i > 0; i--)
    for (let p = 0; p < 4; p++) moves.push(`      g${j}_${i}_${p} = g${j}_${i - 1}_${p};`)
  return `${moves.join('\n')}
${repeat(4, (p) => {
  const [dy, dx] = [p >> 1, p & 1]
  return `      let y${j}_${p} = min(windowY${j} * 2u + ${dy}u, u.outHeight - 1u);
      let x${j}_${p} = min(windowX * 2u + ${dx}u, u.outWidth - 1u);
      g${j}_0_${p} = select(
        ${type}(0),
        gradient[((sample * u.outHeight + y${j}_${p}) * u.outWidth + x${j}_${p}) * u.columnVectors + column],
        insideY${j} && windowY${j} * 2u + ${dy}u < u.outHeight && tileX * 2u + ${dx}u < u.outWidth,
      );`
})}`
}

/** What the windows of row j add to the results: every output of a window times the tap between it and the result. */
function plainProducts(key: Conv2dKey, j: number, reachX: number): string[] {
  const lines: string[] = []
  for (let n = 0; n < 4 * key.channels; n++) {
    const [result, channel] = [Math.floor(n / key.channels), n % key.channels]
    for (let i = 0; i < reachX; i++)
      for (let p = 0; p < 4; p++) {
        const tap = tapBetween(key, (result >> 1) - (p >> 1) + 2 * j, (result & 1) - (p & 1) + 2 * i, channel)
        if (tap !== undefined) lines.push(`        sum${n} += g${j}_${i}_${p} * ${tap};`)
      }
  }
  return lines
}

/**
 * The same for pooled windows, which pass one gradient each: the tap that fits the position is selected, first along x,
 * then along y, and multiplied once. A quarter fewer operations than four products, three of them with zero.
 */
function pooledProducts(key: Conv2dKey, j: number, reachX: number, { type }: Window): string[] {
  const lines: string[] = []
  const choose = (otherwise: string | undefined, chosen: string | undefined, condition: string): string | undefined =>
    otherwise === undefined && chosen === undefined
      ? undefined
      : `select(${otherwise ?? `${type}(0)`}, ${chosen ?? `${type}(0)`}, ${condition})`
  for (let channel = 0; channel < key.channels; channel++)
    for (let i = 0; i < reachX; i++)
      for (let dx = 0; dx < 2; dx++) {
        const rows = [2 * j - 1, 2 * j, 2 * j + 1].map((ky, r) => {
          const x = dx + 2 * i
          const chosen = choose(tapBetween(key, ky, x, channel), tapBetween(key, ky, x - 1, channel), `right${j}_${i}`)
          if (chosen === undefined) return undefined
          const name = `tap${j}_${i}_${dx}_${channel}_${r}`
          lines.push(`        let ${name} = ${chosen};`)
          return name
        })
        for (let dy = 0; dy < 2; dy++) {
          const tap = choose(rows[dy + 1], rows[dy], `bottom${j}_${i}`)
          if (tap !== undefined)
            lines.push(`        sum${(dy * 2 + dx) * key.channels + channel} += g${j}_${i} * ${tap};`)
        }
      }
  return lines
}

/** The tap at (ky, kx), if the kernel has it. */
function tapBetween(key: Conv2dKey, ky: number, kx: number, channel: number): string | undefined {
  if (ky < 0 || ky >= key.kernelHeight || kx < 0 || kx >= key.kernelWidth) return undefined
  return `taps[${(ky * key.kernelWidth + kx) * key.channels + channel}]`
}

/**
 * `part<n>`: this lane's share of result n = (y * 2 + x) * channels + channel. Rows of windows that lie outside are
 * skipped: a branch that all lanes take together costs less than the multiply-adds (4.4 against 3.3 ms for LeNet's
 * second layer at batch 128).
 */
function tileSums(
  key: Conv2dKey,
  reachY: number,
  { type }: Window,
  products: (j: number) => readonly string[],
): string {
  const results = Array.from({ length: 4 * key.channels }, (_, n) => n)
  const lines = results.map((n) => `      var sum${n} = ${type}(0);`)
  for (let j = 0; j < reachY; j++) lines.push(`      if (insideY${j}) {`, ...products(j), '      }')
  for (const n of results) {
    const lanes = type === 'f32' ? [`sum${n}`] : [...'xyzw'.slice(0, Number(type[3]))].map((c) => `sum${n}.${c}`)
    lines.push(`      let part${n} = ${lanes.join(' + ')};`)
  }
  return lines.join('\n')
}

/**
 * `total<g>`: in lane l the sum over all lanes of part<g * subgroupSize + l>. At each level two values become one: a
 * lane keeps the one its index bit says and gets the other lane's share of it.
 */
function sumOverLanes(w: Window, results: number): string {
  const lines: string[] = []
  for (let g = 0; g * w.subgroupSize < results; g++) {
    let values = Array.from({ length: w.subgroupSize }, (_, i) => {
      const n = g * w.subgroupSize + i
      return n < results ? `part${n}` : '0.0'
    })
    for (let bit = 1; bit < w.subgroupSize; bit *= 2) {
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

function preferFirst(key: Conv2dPoolKey): number {
  checkConv(key)
  return 0
}

/** Variants of the families in conv2d.ts. */
export const forwardByWindows: Variant<Conv2dKey> = forward('plain')
export const inputGradientByWindows: Variant<Conv2dKey> = inputGradient('plain')
export const filterGradientByWindows: Variant<Conv2dKey> = filterGradient('plain')

/** Inputs image, kernel and maybe bias; outputs [batch, outHeight / 2, outWidth / 2, filters] and the codes (u32). */
export const conv2dPool: Family<Conv2dPoolKey> = {
  name: 'conv2dPool',
  variants: [forward('pooled')],
  prefer: preferFirst,
}

/** Inputs image, gradient of the pooled numbers, codes; outputs the gradients of kernel and bias. */
export const conv2dPoolFilterGradient: Family<Conv2dPoolKey> = {
  name: 'conv2dPool.filterGradient',
  variants: [filterGradient('pooled')],
  prefer: preferFirst,
}

/** Inputs gradient of the pooled numbers, codes, kernel; output the image's gradient. */
export const conv2dPoolInputGradient: Family<Conv2dPoolKey> = {
  name: 'conv2dPool.inputGradient',
  variants: [inputGradient('pooled')],
  prefer: preferFirst,
}
