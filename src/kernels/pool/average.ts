/**
 * Average pooling and its gradient, built like max pooling (pool.ts, gradient.ts). Padding is left out of the means.
 */

import { type Family, input, type KernelPlan, output, reads, writes } from '../kernel.ts'
import { longSum } from '../wgsl/long-sum.ts'
import { inside, type PoolKey, type PoolRequest, type VectorName, vectorVariants, widest } from './frame.ts'
import { gradientFamily, planGather, planTiles } from './gradient.ts'
import { planForward } from './pool.ts'

/**
 * Average pooling. Input: x f32 [batch, height, width, channels]. Output: y f32 [batch, outHeight, outWidth, channels]:
 * means without padding.
 */
export const averagePool: Family<PoolKey, VectorName> = {
  name: 'averagePool',
  variants: vectorVariants('averagePool', planAveragePool),
  prefer: widest,
}

/**
 * The gradient of average pooling. Input: dy f32 [batch, outHeight, outWidth, channels]. Output: dx f32 [batch, height,
 * width, channels].
 */
export const averagePoolGradient: Family<PoolKey, VectorName | 'tiles'> = gradientFamily(
  'averagePoolGradient',
  planAverageGradient,
)

function planAveragePool(request: PoolRequest): KernelPlan {
  const { f: float } = request.vector
  const { kernelHeight: height, kernelWidth: width } = request.key
  const sum = longSum(float, ['sum'], { terms: height * width, iterations: width })
  return planForward(request, {
    bindings: [reads('x', input(0), float), writes('y', output(0), float)],
    uniforms: {},
    declarations: '',
    loop: sum.loop,
    begin: `
${sum.declare}`,
    each: `
          sum += select(${float}(0.0), value, within);`,
    end: `
${sum.finish}
      y[at] = sum / taken;`,
  })
}

function planAverageGradient(request: PoolRequest, tiles: boolean): KernelPlan {
  const { key, vector } = request
  const masked = !inside(key)
  const bindings = [reads('dy', input(0), vector.f), writes('dx', output(0), vector.f)]
  /** The number of window positions inside the image, along one axis. */
  const taken = (out: string, stride: string, window: string, size: string, pad: string) =>
    masked
      ? `f32(min(${out} * ${stride} + ${window}, u.${size} + u.${pad}) - max(${out} * ${stride}, u.${pad}))`
      : `f32(${window})`
  const takenY = taken('outY', 'strideY', 'kernelHeight', 'inputHeight', 'padTop')
  const takenX = taken('outX', 'strideX', 'kernelWidth', 'inputWidth', 'padLeft')
  if (tiles) {
    return planTiles(request, {
      bindings,
      window: `
      let gradient = dy[at] / (${takenY} * ${takenX});`,
      value: `select(${vector.f}(0.0), gradient, wy < kernelHeight)`,
    })
  }
  return planGather(request, {
    bindings,
    eachRow: `
        let takenY = ${takenY};`,
    contribution: `dy[at] / (takenY * ${takenX})`,
    condition: '',
  })
}
