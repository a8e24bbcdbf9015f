/**
 * Versions of Mesa: from which one on its software driver, lavapipe, is fast, and what the mirrors of Debian and Ubuntu
 * releases offer.
 */

/** Major and minor version. */
export type MesaVersion = readonly [major: number, minor: number]

/**
 * From this version on lavapipe gathers the loads of all lanes; before, each lane's load was a compare and a branch. On
 * an Intel processor with AVX-512, a step of LeNet-5 took 4.4 ms instead of 7.0, and the first one 2.9 s instead of 13.
 * docs/environment.md has figures of a processor without fast gathers.
 */
export const FAST_MESA: MesaVersion = [26, 1]

/** Dawn refuses 22.3.6 and accepts 25.0.7. Versions between were not tried, so they are downloaded and Dawn decides. */
export const OLDEST_MESA: MesaVersion = [23, 0]

/** The version in a package's version or a driver's name: `1:25.0.7-2~bpo12+1`, `llvmpipe, Mesa 25.0.7 (LLVM 15.0.6)`. */
export function mesaVersion(text: string): MesaVersion | undefined {
  const [, major, minor] = /(?:^|^\d+:|\bMesa )(\d+)\.(\d+)/.exec(text) ?? []
  return major === undefined || minor === undefined ? undefined : [Number(major), Number(minor)]
}

/** Whether the version in `text` is `least` or newer. False without a version. */
export function isAtLeast(text: string, [major, minor]: MesaVersion): boolean {
  const [ownMajor, ownMinor] = mesaVersion(text) ?? [0, 0]
  return ownMajor > major || (ownMajor === major && ownMinor >= minor)
}

/** Whether a driver's name is lavapipe's. Its device is called llvmpipe. */
export function isLavapipe(driver: string): boolean {
  return /llvmpipe|lavapipe/i.test(driver)
}

/** Whether this is lavapipe from before `FAST_MESA`. */
export function isSlowLavapipe(driver: string): boolean {
  return isLavapipe(driver) && mesaVersion(driver) !== undefined && !isAtLeast(driver, FAST_MESA)
}

/** The newest Mesa on the mirrors of a release. */
export interface MesaOffer {
  /** The suite with it, if that is not the release itself or its updates. */
  readonly suite?: string
  readonly version: string
}

/** As of November 2026. Suites of other releases are not used: their packages need a newer C library. */
const OFFERS: Readonly<Record<string, MesaOffer>> = {
  // Debian. bookworm itself has 22.3, which lacks `shaderUniformArrayDynamicIndexing`; trixie itself has 25.0.
  bookworm: { suite: 'bookworm-backports', version: '25.0' },
  trixie: { suite: 'trixie-backports', version: '26.1' },
  forky: { version: '26.1' },
  // Ubuntu: 22.04, 24.04, 25.10, 26.04. Their backports have no Mesa.
  jammy: { version: '23.2' },
  noble: { version: '25.2' },
  questing: { version: '25.2' },
  resolute: { version: '26.0' },
}

/** What the release's mirrors offer; undefined if this table does not know the release. */
export function mesaOffer(codename: string): MesaOffer | undefined {
  return OFFERS[codename]
}

/** Whether the mirrors of a release have a fast Mesa, or may have one, as those of a release that is not known here. */
export function mayOfferFastMesa(codename: string): boolean {
  const offer = mesaOffer(codename)
  return offer === undefined || isAtLeast(offer.version, FAST_MESA)
}

/** What to do about a slow lavapipe, as the end of a sentence. `codename` is undefined without Debian's tools. */
export function waysToFastMesa(codename: string | undefined, driversAreGiven: boolean): string {
  const update = 'update it (Fedora: mesa-vulkan-drivers; Arch: vulkan-swrast; openSUSE: libvulkan_lvp)'
  if (codename === undefined) return update
  const offer = mesaOffer(codename)
  if (!mayOfferFastMesa(codename)) return `the mirrors of this release (${codename}) have ${offer?.version} at most`
  const first = driversAreGiven ? 'unset VK_DRIVER_FILES, which names this one, and ' : ''
  return offer === undefined
    ? `${first}run \`weftgrad setup\`, which looks for it on the mirrors of ${codename}`
    : `${first}run \`weftgrad setup\`, which downloads Mesa ${offer.version} from ${offer.suite ?? codename}`
}
