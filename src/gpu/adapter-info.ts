/** Reads an adapter's description: whether it is hardware, and a readable driver name. */

/** The known software drivers. Some do not report themselves as fallback adapters, so their names are checked too. */
const softwareNames = /llvmpipe|lavapipe|swiftshader|basic render driver/i

/** False for an adapter that runs on the CPU. */
export function isHardware(info: GPUAdapterInfo): boolean {
  const text = `${info.architecture} ${info.device} ${info.description}`
  return !info.isFallbackAdapter && !softwareNames.test(text)
}

/** The adapter's name, or an empty text. wgpu reports a PCI id in digits instead, which tells people nothing. */
export function deviceName({ device }: Pick<GPUAdapterInfo, 'device'>): string {
  return /^\d+$/.test(device) ? '' : device
}

/**
 * The driver's name. Dawn's description holds the driver's name, its own description and, of most, a version: `llvmpipe:
 * Mesa 25.0.7 (LLVM 15.0.6) 0.0.1`. Browsers report vendor and architecture, and often nothing else.
 */
export function driverName(info: Pick<GPUAdapterInfo, 'vendor' | 'architecture' | 'device' | 'description'>): string {
  const description = info.description.replace(/^([^:]+): (.*?\S)(?: [\d.]+)?$/, '$1, $2')
  const device = deviceName(info).replace(/-+$/, '')
  // These drivers repeat their name and version as the device.
  const suffix = device !== '' && !/^(llvmpipe|lavapipe)/.test(device) ? ` on ${device}` : ''
  return (description || [info.vendor, info.architecture].filter(Boolean).join(' ') || 'unknown driver') + suffix
}
