/**
 * The driver part of `weftgrad setup`: makes sure there is an adapter, downloads a software driver if there is nothing
 * else or only a slow one, and reports what it found. The data part is in src/data/.
 */
import { type AdapterSource, findAdapter, noSetup } from './adapter.ts'
import { readCodename } from './apt.ts'
import { isSlowLavapipe, mayOfferFastMesa } from './mesa.ts'
import { fetchFastDriver } from './provision.ts'
import { driversAreGiven } from './vulkan.ts'

export interface SetupReport {
  readonly driver: string
  readonly source: AdapterSource
  readonly hardware: boolean
  /** Whether a driver was downloaded just now. */
  readonly fetched: boolean
  readonly elapsedMs: number
}

/**
 * Sets up an adapter. Throws WeftgradError 'no-adapter' or 'fetch', as `findAdapter` does; WEFTGRAD_NO_SETUP=1 switches
 * downloads off.
 */
export async function setup({ log }: { readonly log: (line: string) => void }): Promise<SetupReport> {
  const start = performance.now()
  const { driver, source, hardware, fetched } = await findAdapter({ log })
  const elapsedMs = performance.now() - start
  log(
    `weftgrad: adapter ready: ${driver}, ${sourceInWords[source]}${fetched ? `, fetched in ${Math.round(elapsedMs / 100) / 10} s` : ''}`,
  )
  const codename = readCodename()
  const mayReplace = !fetched && !noSetup() && !driversAreGiven()
  if (mayReplace && isSlowLavapipe(driver) && codename !== undefined && mayOfferFastMesa(codename)) {
    const faster = await fetchFastDriver({ log })
    if (faster) log(`weftgrad: Mesa ${faster.mesaVersion} is in ${faster.folder}; the next command uses it.`)
  }
  return { driver, source, hardware, fetched, elapsedMs }
}

/** Words for the end of a line about an adapter. */
export const sourceInWords: Readonly<Record<AdapterSource, string>> = {
  named: 'named by WEFTGRAD_ADAPTER',
  hardware: 'a GPU',
  'system-software': "the system's software driver, on the CPU",
  provisioned: "the software driver in weftgrad's cache, on the CPU",
}
