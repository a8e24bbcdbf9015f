import type { Slide } from './depthwise.ts'
import { type DepthwiseKey, depthwiseFlops } from './depthwise-plan.ts'
import { dispatch, input, type KernelPlan, output, plainWorkgroupSize, reads, type Target, writes } from './kernel.ts'

const range = (count: number) => Array.from({ length: count }, (_, i) => i)

export interface Options {
  rows: number
  turns: number
  order: 'tile' | 'band'
  unroll?: boolean
}

export function planStrips(key: DepthwiseKey, target: Target, slide: Slide, label: string, o: Options): KernelPlan {
  const [kernelHeight, kernelWidth] = key.kernel
  const channelVectors = key.channels / 4
  const lanes = plainWorkgroupSize(target)
  const bands = Math.ceil(slide.outHeight / o.rows)
  const R = Math.ceil(slide.outHeight / bands)
  const turns = o.turns
  const slots = (key.batch / turns) * channelVectors
  const tiles = Math.ceil(slots / lanes)
  const inRows = range(R + kernelHeight - 1)
  const state = (r: number): 'always' | 'never' | 'sometimes' => {
    const inside = range(bands).map((b) => {
      const y = b * R - slide.padTop + r
      return y >= 0 && y < slide.inHeight
    })
    return inside.every((i) => i) ? 'always' : inside.some((i) => i) ? 'sometimes' : 'never'
  }
  const outRows = range(R)
  const tap = (ky: number, kx: number) =>
    slide.turned ? (kernelHeight - 1 - ky) * kernelWidth + kernelWidth - 1 - kx : ky * kernelWidth + kx
  const w: string[] = []
  for (let ky = 0; ky < kernelHeight; ky++)
    for (let kx = 0; kx < kernelWidth; kx++)
      w.push(`let w_${ky}_${kx} = w[${tap(ky, kx)}u * u.channelVectors + channel];`)
  const product = (j: number, kx: number, start: string) => {
    const terms = range(kernelHeight)
      .filter((ky) => state(j + ky) !== 'never')
      .map((ky) => `v_${j + ky} * w_${ky}_${kx}`)
    const all = start === '' ? terms : [start, ...terms]
    return all.length === 0 ? 'vec4f(0.0)' : all.join(' + ')
  }
  const last = kernelWidth - 1
  const pending = range(last).map((k) => k + 1) // 1..last
  const body = `
  let tile = ${o.order === 'tile' ? 'group % u.tiles' : 'group / u.bands'};
  let band = ${o.order === 'tile' ? 'group / u.tiles' : 'group % u.bands'};
  let slot = tile * ${lanes}u + lane;
  ${slots % lanes === 0 ? 'if (group >= groups) { return; }' : 'if (group >= groups || slot >= u.slots) { return; }'}
  let imageGroup = slot / u.channelVectors;
  let channel = slot - imageGroup * u.channelVectors;
  ${w.join('\n  ')}
  let firstRow = band * ${R}u;
  let top = firstRow - u.padTop;
${inRows.map((r) => `  let in_${r} = top + ${r}u < u.inHeight;`).join('\n')}
  for (var turn = 0u; turn < u.turns; turn++) {
    let image = imageGroup * u.turns + turn;
    let inBase = (image * u.inHeight + top) * u.inRow + channel;
    var outAt = (image * u.outHeight + firstRow) * u.outRow + channel;
    var inAt = inBase + u.firstColumn * u.channelVectors;
${outRows.flatMap((j) => pending.map((k) => `    var s_${j}_${k} = vec4f(0.0);`)).join('\n')}
    for (var t = u.firstStep; t < u.steps; t++) {
${inRows
  .filter((r) => state(r) !== 'never')
  .map((r) => `      var v_${r} = vec4f(0.0);`)
  .join('\n')}
      if (t - u.padLeft < u.inWidth) {
${inRows
  .filter((r) => state(r) !== 'never')
  .map((r) => {
    const load = `v_${r} = x[inAt + ${r}u * u.inRow];`
    return state(r) === 'always'
      ? `        ${load}`
      : process.env.M === 'sel'
        ? `        v_${r} = select(vec4f(0.0), x[inAt + select(0u, ${r}u * u.inRow, in_${r})], in_${r});`
        : process.env.M === 'all'
          ? `        v_${r} = x[select(0u, inAt + ${r}u * u.inRow, in_${r})];`
          : `        if (top + ${r}u < u.inHeight) { ${load} }`
  })
  .join('\n')}
      }
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
${outRows
  .map((j) => {
    const store = `y[outAt + ${j}u * u.outRow] = done_${j};`
    return (bands - 1) * R + j < slide.outHeight
      ? `        ${store}`
      : `        if (firstRow + ${j}u < u.outHeight) { ${store} }`
  })
  .join('\n')}
        outAt += u.channelVectors;
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
          tiles,
          bands,
          slots,
          turns,
          padTop: slide.padTop,
          padLeft: slide.padLeft,
          firstStep,
          firstColumn: { i32: firstStep - slide.padLeft },
          steps: slide.outWidth + last,
        },
        workgroupSize: lanes,
        workgroups: bands * tiles,
        body: body.replace('u.firstColumn *', 'u32(u.firstColumn) *'),
      }),
    ],
    scratchBytes: [],
    flops: depthwiseFlops(key),
  }
}
