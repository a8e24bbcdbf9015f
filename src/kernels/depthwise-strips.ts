import type { Slide } from './depthwise.ts'
import { type DepthwiseKey, depthwiseFlops } from './depthwise-plan.ts'
import { dispatch, input, type KernelPlan, output, plainWorkgroupSize, reads, type Target, writes } from './kernel.ts'

const range = (count: number) => Array.from({ length: count }, (_, i) => i)

export interface Options {
  rows: number
  images: number
  channelGroups: number
  touch?: string
}

export function planStrips(key: DepthwiseKey, target: Target, slide: Slide, label: string, o: Options): KernelPlan {
  const [kernelHeight, kernelWidth] = key.kernel
  const channelVectors = key.channels / 4
  const lanes = plainWorkgroupSize(target)
  const bands = Math.ceil(slide.outHeight / o.rows)
  const R = Math.ceil(slide.outHeight / bands)
  const tiles = Math.ceil(channelVectors / lanes)
  const tilesPerGroup = Math.ceil(tiles / o.channelGroups)
  const channelGroups = Math.ceil(tiles / tilesPerGroup)
  const inRows = range(R + kernelHeight - 1)
  const state = (r: number): 'always' | 'never' | 'sometimes' => {
    const inside = range(bands).map((b) => {
      const y = b * R - slide.padTop + r
      return y >= 0 && y < slide.inHeight
    })
    return inside.every((i) => i) ? 'always' : inside.some((i) => i) ? 'sometimes' : 'never'
  }
  const loaded = inRows.filter((r) => state(r) !== 'never')
  const ifInside = (r: number, st: string) => state(r) === 'always' ? st : `if (top + ${r}u < u.inHeight) { ${st} }`
  const ifOut = (j: number, st: string) => (o.touch ?? '').includes('S') && j > 0 ? '' : (bands - 1) * R + j < slide.outHeight ? st : `if (firstRow + ${j}u < u.outHeight) { ${st} }`
  const outRows = range(R)
  const tap = (ky: number, kx: number) =>
    slide.turned ? (kernelHeight - 1 - ky) * kernelWidth + kernelWidth - 1 - kx : ky * kernelWidth + kx
  const w: string[] = []
  for (let ky = 0; ky < kernelHeight; ky++)
    for (let kx = 0; kx < kernelWidth; kx++)
      w.push(`let w_${ky}_${kx} = w[${tap(ky, kx)}u * u.channelVectors + channel];`)
  const product = (j: number, kx: number, start: string) => {
    const terms = range(kernelHeight)
      .filter((ky) => !(o.touch ?? '').includes('A') || ky === 1)
      .filter((ky) => state(j + ky) !== 'never')
      .map((ky) => `v_${j + ky} * w_${ky}_${kx}`)
    const all = start === '' ? terms : [start, ...terms]
    return all.length === 0 ? 'vec4f(0.0)' : all.join(' + ')
  }
  const last = kernelWidth - 1
  const pending = range(last).map((k) => k + 1) // 1..last
  const touch = o.touch ?? ''
  const loadSteps = Math.min(slide.outWidth + last, slide.inWidth + slide.padLeft)
  const beyond = slide.outWidth + last - loadSteps
  const far = touch.includes('8') ? 8 : 4
  const un = touch.includes('u') ? 4 : 1
  const touching = (n: string, f: string, e: string, h: string, row: string) => `
  for (var turn = 0u; turn < u.images; turn++) {
    let at = (imageGroup * u.images + turn) * u.${h} * u.${row} + lane * ${far}u;
    for (var k = ${f} * u.${row}; k < ${e} * u.${row}; k += ${lanes * far * un}u) {
      ${range(un).map((q) => `touched += ${n}[at + k + ${q * lanes * far}u].x;`).join(' ')}
    }
  }`
  const body = `
  if (group >= groups) { return; }
  let channelGroup = group % u.channelGroups;
  let strip = group / u.channelGroups;
  let imageGroup = strip / u.bands;
  let band = strip - imageGroup * u.bands;
  let firstRow = band * ${R}u;
  let top = firstRow - u.padTop;
  var none = 0u;
  ${touch === '' ? '' : `
  let firstIn = select(top, 0u, firstRow < u.padTop);
  let endIn = min(firstRow + ${R + kernelHeight - 1}u - u.padTop, u.inHeight);
  let endOut = min(firstRow + ${R}u, u.outHeight);
  var touched = 0.0;
  ${touch.includes('i') ? touching('x', 'firstIn', 'endIn', 'inHeight', 'inRow') : ''}
  ${touch.includes('o') ? touching('y', 'firstRow', 'endOut', 'outHeight', 'outRow') : ''}
  none = bitcast<u32>(touched) & u.zero;`}
  for (var tile = channelGroup * u.tilesPerGroup; tile < min(u.tiles, (channelGroup + 1u) * u.tilesPerGroup); tile++) {
  let channel = tile * ${lanes}u + lane + none;
  if (channel < u.channelVectors) {
  ${w.join('\n  ')}
  for (var turn = 0u; turn < u.images; turn++) {
    let image = imageGroup * u.images + turn;
    var outAt = (image * u.outHeight + firstRow) * u.outRow + channel;
    var inAt = (image * u.inHeight + top) * u.inRow + (u.firstStep - u.padLeft) * u.channelVectors + channel;
${outRows.flatMap((j) => pending.map((k) => `    var s_${j}_${k} = vec4f(0.0);`)).join('\n')}
    for (var t = u.firstStep; t < u.steps; t++) {
${loaded.map((r) => state(r) === 'always' ? `      let v_${r} = x[inAt + ${r}u * u.inRow];` : `      var v_${r} = vec4f(0.0);\n      ${ifInside(r, `v_${r} = x[inAt + ${r}u * u.inRow];`)}`).join('\n')}
      inAt += u.channelVectors;
${outRows
  .map(
    (j) => `      let done_${j} = ${product(j, last, last === 0 ? '' : `s_${j}_${last}`)};
${pending
  .toReversed()
  .map((k) => `      s_${j}_${k} = ${product(j, k - 1, k === 1 ? '' : `s_${j}_${k - 1}`)};`)
  .join('\n')}`,
  )
  .join('\n')}
      if (t >= ${last}u) {
${outRows.map((j) => ifOut(j, `y[outAt + ${j}u * u.outRow] = done_${j};`)).join('\n')}
        outAt += u.channelVectors;
      }
    }
${range(beyond).map((e) => outRows.map((j) => ifOut(j, `y[outAt + ${j}u * u.outRow + ${e}u * u.channelVectors] = s_${j}_${last - e};`)).join('\n')).join('\n')}
  }
  }
  }`
  const firstStep = Math.min(slide.padLeft, last)
  return {
    variant: 'strips',
    dispatches: [
      dispatch({
        label,
        bindings: [reads('x', input(0), 'vec4f'), reads('w', input(1), 'vec4f'), writes('y', output(0), 'vec4f')],
        uniforms: {
          inHeight: slide.inHeight,
          inWidth: slide.inWidth,
          outHeight: slide.outHeight,
          inRow: slide.inWidth * channelVectors,
          outRow: slide.outWidth * channelVectors,
          channelVectors,
          tiles, tilesPerGroup, channelGroups,
          bands,
          images: o.images,
          padTop: slide.padTop,
          padLeft: slide.padLeft,
          firstStep,
          steps: loadSteps,
          zero: 0,
        },
        workgroupSize: lanes,
        workgroups: bands * channelGroups * (key.batch / o.images),
        body,
      }),
    ],
    scratchBytes: [],
    flops: depthwiseFlops(key),
  }
}
