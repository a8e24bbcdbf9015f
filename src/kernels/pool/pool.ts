/**
 * Max pooling over [batch, height, width, channels], and code shared with average pooling (average.ts); the gradients
 * are in gradient.ts. As in TensorFlow, padding never wins a maximum and is left out of an average, and the first of
 * equal maxima takes the gradient. A NaN in a window makes the maximum NaN. Positions in a window are numbered row by
 * row: `wy * kernelWidth + wx`.
 */

import { type Binding, type Family, input, type KernelPlan, output, reads, writes } from '../kernel.ts'
import { planRowStride } from '../schedule/row-stride.ts'
import { declareFunctions, exceeds, takesMaximum, widths } from '../wgsl/functions.ts'
import type { LongSum } from '../wgsl/long-sum.ts'
import { plainLoop } from '../wgsl/long-sum.ts'
import { inside, type PoolKey, type PoolRequest, planPool, type VectorName, vectorVariants, widest } from './frame.ts'

export type { PoolKey } from './frame.ts'
export { maxPoolGradient } from './gradient.ts'

/**
 * Max pooling. Input: x f32 [batch, height, width, channels]. Outputs: y f32 [batch, outHeight, outWidth, channels],
 * and code u32 of the same shape: the position of the maximum in the window. Throws 'shape' if a window holds only
 * padding.
 */
export const maxPool: Family<PoolKey, VectorName> = {
  name: 'maxPool',
  variants: /* @__PURE__ */ vectorVariants('maxPool', (request) => planMaxPool(request)),
  prefer: widest,
}

/**
 * Max pooling of what relu passed on: as {@link maxPool}, but a maximum that is not positive has the given code, which
 * is no position, so that no gradient passes.
 */
export const maxPoolOfRelu = (deadCode: number): Family<PoolKey, VectorName> => ({
  name: 'maxPoolOfRelu',
  variants: vectorVariants('maxPoolOfRelu', (request) => planMaxPool(request, deadCode)),
  prefer: widest,
})

/**
 * Inputs: x f32 [batch, height, width, channels], and code u32 [batch, outHeight, outWidth, channels], positions from
 * maxPool. Output: y f32 of the shape of code: x at those positions. The transpose of maxPoolGradient.
 */
export const maxPoolGather: Family<PoolKey, VectorName> = {
  name: 'maxPoolGather',
  variants: /* @__PURE__ */ vectorVariants('maxPoolGather', planMaxPoolGather),
  prefer: widest,
}

export interface ForwardText {
  readonly bindings: readonly Binding[]
  readonly declarations: string
  readonly uniforms: Readonly<Record<string, number>>
  /** Statements before the window. In scope: `yBegin` and `xBegin`, the first position inside the image. */
  readonly begin: string
  /** Writes the loop over a row of the window. */
  readonly loop: LongSum['loop']
  /** Statements for every position. In scope: `value`, `wy`, `wx`, and `within`: whether it is inside the image. */
  readonly each: string
  /** Statements that write element `at`. In scope: `taken`, the number of positions inside the image. */
  readonly end: string
}

export function planForward(request: PoolRequest, text: ForwardText): KernelPlan {
  const { key, target, vector } = request
  const columns = (key.outWidth * key.channels) / vector.lanes
  const schedule = planRowStride({ images: key.batch, rows: key.outHeight, columns }, target)
  const masked = !inside(key)
  return planPool(request, {
    ...text,
    schedule,
    setup: `
  let outX = column / u.channelVectors;
  let channel = column - outX * u.channelVectors;
  let left = i32(outX * strideX) - i32(u.padLeft);
  let xBegin = ${masked ? 'u32(max(0, -left))' : '0u'};
  let xEnd = ${masked ? 'u32(min(i32(kernelWidth), i32(u.inputWidth) - left))' : 'kernelWidth'};`,
    each: `
      let top = i32(imageRow * strideY) - i32(u.padTop);
      let yBegin = ${masked ? 'u32(max(0, -top))' : '0u'};
      let yEnd = ${masked ? 'u32(min(i32(kernelHeight), i32(u.inputHeight) - top))' : 'kernelHeight'};
      let taken = f32((yEnd - yBegin) * (xEnd - xBegin));${text.begin}
      for (var wy = yBegin; wy < yEnd; wy++) {
        let rowAt = (image * u.inputHeight + u32(top + i32(wy))) * u.inputWidth;
${text.loop(
  ['wx', '0u', 'kernelWidth'],
  `          let within = ${masked ? 'wx >= xBegin && wx < xEnd' : 'true'};
          let inX = u32(left + i32(${masked ? 'clamp(wx, xBegin, xEnd - 1u)' : 'wx'}));
          let value = x[(rowAt + inX) * u.channelVectors + channel];${text.each}`,
)}
      }
      let at = row * u.columns + column;${text.end}`,
  })
}

function planMaxPool(request: PoolRequest, deadCode?: number): KernelPlan {
  const { f: float, u: uint, b: bool } = request.vector
  const marksDead = deadCode !== undefined
  return planForward(request, {
    bindings: [reads('x', input(0), float), writes('y', output(0), float), writes('code', output(1), uint)],
    // Minus infinity needs a zero that the compiler cannot see: WGSL rejects the constant.
    uniforms: { zero: 0 },
    declarations: declareFunctions(marksDead ? [takesMaximum, exceeds] : [takesMaximum], widths[float]),
    loop: plainLoop,
    begin: `
      var best = ${float}(bitcast<f32>(0xff800000u + u.zero));
      var position = ${uint}(yBegin * kernelWidth + xBegin);`,
    each: `
          let takes = ${bool}(within) & takesMaximum(value, best);
          best = select(best, value, takes);
          position = select(position, ${uint}(wy * kernelWidth + wx), takes);`,
    end: `
      y[at] = best;
      code[at] = ${marksDead ? `select(${uint}(${deadCode}), position, exceeds(best, ${float}(0)))` : 'position'};`,
  })
}

function planMaxPoolGather(request: PoolRequest): KernelPlan {
  const { f: float, u: uint } = request.vector
  return planForward(request, {
    bindings: [reads('x', input(0), float), reads('code', input(1), uint), writes('y', output(0), float)],
    uniforms: {},
    declarations: '',
    loop: plainLoop,
    begin: `
      let position = code[row * u.columns + column];
      var taker = ${float}(0.0);`,
    each: `
          taker = select(taker, value, position == ${uint}(wy * kernelWidth + wx));`,
    end: `
      y[at] = taker;`,
  })
}
