/**
 * Numbers as text, for terminals, pages and reports: counts, shares, durations, sizes. What is not finite is a dash, never
 * NaN. A number and its unit are joined by a no-break space; the terminal prints it as a space.
 */

export const dash = '–'

const written = (value: number | null | undefined, text: (value: number) => string): string =>
  value === null || value === undefined || !Number.isFinite(value) ? dash : text(value)

/** 12345 as 12,345. */
export function count(value: number | null | undefined): string {
  return written(value, (number) => Math.round(number).toLocaleString('en-US'))
}

export function decimal(value: number | null | undefined, digits = 4): string {
  // Not -0.0000.
  return written(value, (number) => (Number(number.toFixed(digits)) + 0).toFixed(digits))
}

/** 0.8956 as 89.56 %. */
export function percent(share: number | null | undefined, digits = 2): string {
  return written(share, (number) => `${(100 * number).toFixed(digits)}\u00a0%`)
}

/** A difference of shares, 0.0123, as 1.2 points. */
export function points(difference: number | null | undefined): string {
  return written(difference, (number) => `${(100 * Math.abs(number)).toFixed(1)} points`)
}

/** '1 epoch', '1,200 epochs'. */
export function counted(value: number, noun: string): string {
  return `${count(value)} ${noun}${value === 1 ? '' : 's'}`
}

/** Decimal megabytes, as file sizes are published. */
export function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`
}

/** Seconds as m:ss or h:mm:ss. */
export function clock(seconds: number): string {
  if (!Number.isFinite(seconds)) return '-:--'
  const whole = Math.max(0, Math.round(seconds))
  const two = (value: number): string => String(value).padStart(2, '0')
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60]
  return hours > 0 ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`
}

/** 94 as 1 min 34 s. */
export function duration(seconds: number | null | undefined): string {
  return written(seconds, (number) => {
    if (number < 9.95) return `${number.toFixed(1)}\u00a0s`
    const whole = Math.round(number)
    const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60]
    if (hours > 0) return `${hours}\u00a0h ${minutes}\u00a0min`
    return minutes > 0 ? `${minutes}\u00a0min ${whole % 60}\u00a0s` : `${whole}\u00a0s`
  })
}

/** Of a test: small ones by their size alone. */
export function probability(value: number | null | undefined): string {
  return written(value, (number) => (number < 0.0001 ? '< 0.0001' : number.toFixed(4)))
}

/** A rate such as images a second. */
export function rate(value: number | null | undefined): string {
  return written(value, (number) => (number < 99.5 ? number.toFixed(1) : count(number)))
}

/** `1,204 images/s`, for progress; nothing while it is unknown. */
export const speed = (imagesPerSecond: number): readonly string[] =>
  Number.isFinite(imagesPerSecond) ? [`${rate(imagesPerSecond)} images/s`] : []

/** `0:12 left`, for progress; nothing while it is unknown. */
export const timeLeft = (seconds: number): readonly string[] =>
  Number.isFinite(seconds) ? [`${clock(seconds)} left`] : []

/** 0.001 as 1e-3, 256 as 256. */
export function setting(value: unknown): string {
  if (typeof value !== 'number') return String(value)
  return value !== 0 && Math.abs(value) < 0.1 ? value.toExponential() : String(value)
}

/** `a`, `a and b`, `a, b and c`. */
export function listed(words: readonly string[]): string {
  const last = words.at(-1) ?? ''
  return words.length < 2 ? last : `${words.slice(0, -1).join(', ')} and ${last}`
}
