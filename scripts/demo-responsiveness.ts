/**
 * Measures how responsive the demo's page is while it loads, trains and is used: the longest tasks of its main thread, in
 * processor time of that thread, so that other programs on the machine do not count. Fails above 50 ms.
 *
 *     node --import ./scripts/tsx.mjs scripts/demo-responsiveness.ts
 */
import { openChromium } from '../test/support/chromium.ts'
import { hostDemo } from '../test/support/demo.ts'

/** An event in Chrome's trace; times in microseconds. */
interface TraceEvent {
  readonly name: string
  readonly ph: string
  readonly pid: number
  readonly tid: number
  readonly ts: number
  readonly dur?: number
  readonly tdur?: number
  readonly args: { readonly name?: string; readonly data?: Readonly<Record<string, unknown>> }
}

const limitMs = 50
const shown = 10

const demo = await hostDemo()
const browser = await openChromium({ webgpu: true })
try {
  const page = await browser.newPage({ viewport: { width: 1280, height: 900 } })
  page.setDefaultTimeout(600_000)
  await browser.startTracing(page, {
    categories: ['__metadata', 'toplevel', 'devtools.timeline', 'disabled-by-default-devtools.timeline', 'v8'],
  })
  await page.goto(demo.url)
  await page.locator('#data-facts div').first().waitFor()
  await page.locator('#bars .best').waitFor()
  await page.fill('#epochs', '3')
  await page.fill('#batch-size', '64')
  await page.click('#train-main')
  await page.locator('#train-status').filter({ hasText: 'Training: step' }).waitFor()
  for (const [i, sample] of (await page.locator('#try-samples button').all()).entries()) if (i < 4) await sample.click()
  await page.locator('#train-status').filter({ hasText: 'Finished.' }).waitFor()
  await page.waitForTimeout(2000)
  const trace = JSON.parse((await browser.stopTracing()).toString()) as { traceEvents: TraceEvent[] }
  const events = trace.traceEvents
  const main = new Set(
    events
      .filter(({ name, args }) => name === 'thread_name' && args.name === 'CrRendererMain')
      .map(({ pid, tid }) => `${pid}/${tid}`),
  )
  const own = events.filter(({ ph, pid, tid }) => ph === 'X' && main.has(`${pid}/${tid}`))
  const tasks = own
    .filter(({ name }) => name === 'RunTask' || name === 'ThreadControllerImpl::RunTask')
    .sort((a, b) => (b.tdur ?? 0) - (a.tdur ?? 0))
  console.log(`${tasks.length} tasks; the longest, in ms of processor time (wall-clock time):`)
  for (const task of tasks.slice(0, shown)) {
    const end = task.ts + (task.dur ?? 0)
    const within = own
      .filter((event) => event !== task && event.pid === task.pid && event.ts >= task.ts && event.ts < end)
      .filter(({ name }) => !name.includes('RunTask'))
      .sort((a, b) => (b.tdur ?? 0) - (a.tdur ?? 0))
      .slice(0, 4)
      .map(({ name, tdur = 0, args }) => {
        const { functionName = '', url = '' } = args.data ?? {}
        return `${name} ${functionName || String(url).split('/').at(-1)} ${(tdur / 1000).toFixed(1)}`
      })
    console.log(`${ms(task.tdur)} (${ms(task.dur)})  ${within.join(', ')}`)
  }
  const longest = (tasks[0]?.tdur ?? 0) / 1000
  if (tasks.length === 0 || longest > limitMs) {
    console.error(`The longest task takes ${longest.toFixed(1)} ms; ${limitMs} is the limit.`)
    process.exitCode = 1
  }
} finally {
  await browser.close()
  await demo.close()
}

function ms(microseconds = 0): string {
  return (microseconds / 1000).toFixed(1)
}
