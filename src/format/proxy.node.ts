/**
 * Downloads by way of the proxy that the environment names: `HTTPS_PROXY` and `HTTP_PROXY`, but for the hosts in `NO_PROXY`,
 * each in small letters as well. Node.js 20 does not look at them by itself.
 */

const variables = ['https_proxy', 'http_proxy', 'HTTPS_PROXY', 'HTTP_PROXY']

let fetchThroughProxy: Promise<typeof globalThis.fetch> | undefined

/** The `fetch` to download with: Node's own where no proxy is named. */
export async function proxiedFetch(
  env: Readonly<Record<string, string | undefined>> = process.env,
): Promise<typeof globalThis.fetch> {
  if (!variables.some((name) => env[name])) return globalThis.fetch
  fetchThroughProxy ??= makeFetch()
  return await fetchThroughProxy
}

async function makeFetch(): Promise<typeof globalThis.fetch> {
  // Loaded only where there is a proxy. Its own `fetch`, because an agent fits the one of its own version only.
  const undici = await import('undici')
  // Tunnels for https alone: many proxies let nobody tunnel to port 80.
  const dispatcher = new undici.EnvHttpProxyAgent({ proxyTunnel: false })
  const fetch = (input: string | URL, init?: object): Promise<unknown> => undici.fetch(input, { ...init, dispatcher })
  // The same function by the standard; the two packages write its types differently.
  return fetch as unknown as typeof globalThis.fetch
}
