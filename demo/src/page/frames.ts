/**
 * When the page redraws. What changes many times a second is drawn a few times a second, and never two drawings in one
 * frame: each is a short task of its own, so that a key or a pointer never waits long.
 */

const waiting: (() => void)[] = []

function drawOne(): void {
  waiting.shift()?.()
  if (waiting.length > 0) requestAnimationFrame(drawOne)
}

/**
 * @param interval milliseconds between two drawings, at least.
 * @returns asks for a drawing. The last state is always drawn.
 */
export function throttled(draw: () => void, interval: number): () => void {
  let last = Number.NEGATIVE_INFINITY
  let asked = false
  const run = (): void => {
    asked = false
    last = performance.now()
    draw()
  }
  return () => {
    if (asked) return
    asked = true
    setTimeout(
      () => {
        waiting.push(run)
        if (waiting.length === 1) requestAnimationFrame(drawOne)
      },
      Math.max(0, last + interval - performance.now()),
    )
  }
}
