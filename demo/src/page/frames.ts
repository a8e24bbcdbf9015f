/**
 * Schedules drawing. Values that change many times a second are drawn a few times a second, and never two drawings in one
 * frame: each is a short task, so that keys and pointers never wait long.
 */

const waiting: (() => void)[] = []

function drawOne(): void {
  waiting.shift()?.()
  if (waiting.length > 0) requestAnimationFrame(drawOne)
}

/**
 * @param interval least milliseconds between two drawings.
 * @returns a function that requests a drawing. The last state is always drawn.
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
