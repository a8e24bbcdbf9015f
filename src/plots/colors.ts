/**
 * Colours of plots. A plot cannot know whether its page is light or dark: text and axes take the page's text colour
 * (`currentColor`), and coloured parts use middle tones, with a contrast of at least 3 to 1 on white and on #0d1117
 * (WCAG 2.2, 1.4.11).
 */

/** Colours of series. Blue and orange, the first two, are distinct for the common kinds of colour blindness. */
export const seriesColors = ['#2f7fd1', '#d9660b', '#2a9d5c', '#a463d6', '#12939a', '#cc5a9b', '#94821f'] as const
export const [blue, orange] = seriesColors
/** The colour of unimportant parts: stopped trials, pixels without a correlation. */
export const grey = '#7d8590'

/** The outline of text on lines: the page's background, from its own variable or its `color-scheme`. */
export const paper = 'var(--plot-paper, Canvas)'

/** The colour of a series; repeats after the last. */
export function seriesColor(index: number): string {
  return seriesColors[index % seriesColors.length] ?? blue
}

export type Rgb = readonly [number, number, number]

export const greyRgb: Rgb = [0x7d, 0x85, 0x90]

/**
 * A colour from blue at -1 through near white at 0 to orange at 1, in steps of 0.05: finer steps look the same, and
 * fewer colours make a smaller PNG.
 */
export function divergingColor(value: number): Rgb {
  const share = Math.min(1, Math.round(Math.abs(value) * 20) / 20)
  const end: Rgb = value < 0 ? [0x1f, 0x5f, 0xa8] : [0xc2, 0x50, 0x0a]
  const mixed = (channel: 0 | 1 | 2): number => Math.round(0xf5 + (end[channel] - 0xf5) * share)
  return [mixed(0), mixed(1), mixed(2)]
}
