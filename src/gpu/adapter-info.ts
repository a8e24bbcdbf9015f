/** What an adapter's own description says: whether it is hardware, and its driver's name for people. */

/** The software drivers there are. Some call themselves ordinary adapters, so their names count, too. */
const softwareNames = /llvmpipe|lavapipe|swiftshader|basic render driver/i

/** False for an adapter that runs on the CPU. */
export function isHardware(info: GPUAdapterInfo): boolean {
  const text = `${info.architecture} ${info.device} ${info.description}`
  return !info.isFallbackAdapter && !softwareNames.test(text)
}

/**
 * Dawn's description is the driver's name, its own account of itself, and a version: `llvmpipe: Mesa 25.0.7 (LLVM
 * 15.0.6) 0.0.1`. Browsers tell vendor and architecture, and often nothing else.
 */
export function driverName(info: Pick<GPUAdapterInfo, 'vendor' | 'architecture' | 'device' | 'description'>): string {
  const description = info.description.replace(/^([^:]+): (.*\S) [\d.]+$/, '$1, $2')
  const device = info.device.replace(/-+$/, '')
  // A device that is only the driver's name again, with its version spelt in dashes, says nothing new.
  const told = device !== '' && !/^(llvmpipe|lavapipe)/.test(device) ? ` on ${device}` : ''
  return (description || [info.vendor, info.architecture].filter(Boolean).join(' ') || 'unknown driver') + told
}
