/**
 * The gradient of max pooling (pool.ts), and code shared with that of average pooling. The variants `plain`, `vec2` and
 * `vec4` gather: every element of dx adds up the windows that cover it, in row-major order. Overlapping windows
 * therefore work, and sums have a fixed order. `tiles` is for windows side by side, where no sums are needed.
 */

import { type Binding, type Family, input, type KernelPlan, output, reads, writes } from '../kernel.ts'
import { planRowStride } from '../schedule/row-stride.ts'
import { longSum } from '../wgsl/long-sum.ts'
import {
  type PoolKey,
  type PoolRequest,
  planPool,
  sideBySide,
  type VectorName,
  vectorVariants,
  widest,
  widestVariant,
} from './frame.ts'

/**
 * The gradient of max pooling. Inputs: dy f32 and code u32, [batch, outHeight, outWidth, channels]. Output: dx f32
 * [batch, height, width, channels].
 */
export const maxPoolGradient: Family<PoolKey, VectorName | 'tiles'> = /* @__PURE__ */ gradientFamily(
  'maxPoolGradient',
  planMaxPoolGradient,
)

export function gradientFamily(
  name: string,
  plan: (request: PoolRequest, tiles: boolean) => KernelPlan,
): Family<PoolKey, VectorName | 'tiles'> {
  const gathers = vectorVariants(name, (request) => plan(request, false))
  return {
    name,
    variants: [...gathers, widestVariant(name, 'tiles', sideBySide, (request) => plan(request, true))],
    // 28x28x6 at batch 128 on two cores of a CPU: maxima 0.5 against 1.3 ms, averages 0.4 against 1.1.
    prefer: (key) => (sideBySide(key) ? 'tiles' : widest(key)),
  }
}

interface GradientText {
  readonly bindings: readonly Binding[]
  /** Statements before a row of windows. In scope: `outY` and `wy`, this row's position in those windows. */
  readonly eachRow: string
  /**
   * The contribution of the window at element `at` of dy. In scope: `outX` (its column) and `wx`, this column's
   * position in it.
   */
  readonly contribution: string
  /** A further condition for `contribution`, on vectors; empty for none. */
  readonly condition: string
}

export function planGather(request: PoolRequest, text: GradientText): KernelPlan {
  const { key, target, vector } = request
  const { f: float, b: bool } = vector
  const columns = (key.inputWidth * key.channels) / vector.lanes
  const schedule = planRowStride({ images: key.batch, rows: key.inputHeight, columns }, target)
  // The most windows along an axis that can cover one column.
  const covering = Math.min(key.outWidth, Math.ceil(key.kernelWidth / key.strides[1]))
  const rows = Math.min(key.outHeight, Math.ceil(key.kernelHeight / key.strides[0]))
  const sum = longSum(float, ['sum'], { terms: rows * covering, iterations: covering })
  return planPool(request, {
    ...text,
    uniforms: covering > 3 ? { covering } : {},
    declarations: `

/** The first window that reaches the padded position, and the end of those that begin before it. */
fn firstWindow(position: u32, window: u32, stride: u32) -> u32 {
  return (max(position + 1u, window) - window + stride - 1u) / stride;
}`,
    schedule,
    setup: `
  let inX = column / u.channelVectors;
  let channel = column - inX * u.channelVectors;
  let paddedX = inX + u.padLeft;
  let xFirst = firstWindow(paddedX, kernelWidth, strideX);
  let xEnd = min(paddedX / strideX + 1u, u.outWidth);`,
    each: `
      let paddedY = imageRow + u.padTop;
      let yEnd = min(paddedY / strideY + 1u, u.outHeight);
${sum.declare}
      for (var outY = firstWindow(paddedY, kernelHeight, strideY); outY < yEnd; outY++) {
        let wy = paddedY - outY * strideY;
        let rowAt = (image * u.outHeight + outY) * u.outWidth;${text.eachRow}
${sum.loop(
  ['n', '0u', covering > 3 ? 'u.covering' : `${covering}u`],
  `          let covers = xFirst + n < xEnd;
          let outX = min(xFirst + n, u.outWidth - 1u);
          let wx = paddedX - outX * strideX;
          let at = (rowAt + outX) * u.channelVectors + channel;
          sum += select(${float}(0.0), ${text.contribution}, ${bool}(covers)${text.condition});`,
)}
      }
${sum.finish}
      dx[row * u.columns + column] = sum;`,
  })
}

/**
 * Plans the gradient for windows side by side: each lane takes a window, so that one read serves all elements under it;
 * the last windows also write the rows and columns of dx that no window covers.
 */
export function planTiles(request: PoolRequest, text: TilesText): KernelPlan {
  const { key, target, vector } = request
  const { f: float } = vector
  const columns = (key.outWidth * key.channels) / vector.lanes
  const schedule = planRowStride({ images: key.batch, rows: key.outHeight, columns }, target)
  const uncovered = Math.max(0, key.inputWidth + key.padLeft - key.outWidth * key.strides[1])
  const overhangs = key.padLeft > 0 || key.outWidth * key.strides[1] > key.inputWidth
  return planPool(request, {
    ...text,
    uniforms: { uncovered },
    declarations: '',
    schedule,
    setup: `
  let outX = column / u.channelVectors;
  let channel = column - outX * u.channelVectors;
  let left = outX * strideX - u.padLeft;
  let after = select(0u, u.uncovered, outX == u.outWidth - 1u);`,
    each: `
      let outY = imageRow;
      let top = outY * strideY;
      let wyBegin = max(top, u.padTop) - top;
      let wyEnd = select(min(kernelHeight, u.inputHeight + u.padTop - top), u.inputHeight + u.padTop - top, outY == u.outHeight - 1u);
      let at = row * u.columns + column;${text.window}
      for (var wy = wyBegin; wy < wyEnd; wy++) {
        let rowAt = (image * u.inputHeight + top + wy - u.padTop) * u.inputWidth;
        for (var wx = 0u; wx < kernelWidth; wx++) {${
          overhangs
            ? `
          if (left + wx < u.inputWidth) {
            dx[(rowAt + left + wx) * u.channelVectors + channel] = ${text.value};
          }`
            : `
          dx[(rowAt + left + wx) * u.channelVectors + channel] = ${text.value};`
        }
        }${
          uncovered === 0
            ? ''
            : `
        for (var n = 0u; n < after; n++) {
          dx[(rowAt + left + kernelWidth + n) * u.channelVectors + channel] = ${float}(0.0);
        }`
        }
      }`,
  })
}

interface TilesText {
  readonly bindings: readonly Binding[]
  /** Statements that read the window at element `at` of dy. In scope: `outX` and `outY`. */
  readonly window: string
  /** The value for the element at position `wy`, `wx` of the window; zero if `wy` is not below kernelHeight. */
  readonly value: string
}

function planMaxPoolGradient(request: PoolRequest, tiles: boolean): KernelPlan {
  const { f: float, u: uint } = request.vector
  const bindings = [reads('dy', input(0), float), reads('code', input(1), uint), writes('dx', output(0), float)]
  const place = `${uint}(wy * kernelWidth + wx)`
  if (tiles) {
    return planTiles(request, {
      bindings,
      window: `
      let gradient = dy[at];
      let taker = code[at];`,
      value: `select(${float}(0.0), gradient, taker == ${place})`,
    })
  }
  return planGather(request, {
    bindings,
    eachRow: '',
    contribution: 'dy[at]',
    condition: ` & (code[at] == ${place})`,
  })
}
