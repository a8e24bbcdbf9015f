/**
 * Downloads through the proxy in the environment: `HTTPS_PROXY` and `HTTP_PROXY`, except for hosts in `NO_PROXY`, also in lower
 * case. Node.js 20 ignores these variables.
 */

const variables = ['https_proxy', 'http_proxy', 'HTTPS_PROXY', 'HTTP_PROXY']

let fetchThroughProxy: Promise<typeof globalThis.fetch> | undefined

/** The `fetch` for downloads: Node's own without a proxy. */
export async function proxiedFetch(
  env: Readonly<Record<string, string | undefined>> = process.env,
): Promise<typeof globalThis.fetch> {
  if (!variables.some((name) => env[name])) return globalThis.fetch
  fetchThroughProxy ??= makeFetch()
  return await fetchThroughProxy
}

async function makeFetch(): Promise<typeof globalThis.fetch> {
  // Loaded only with a proxy. Uses undici's `fetch`, because an agent only works with the same version.
  const undici = await import('undici')
  // Tunnels only for https: many proxies refuse tunnels to port 80.
  const dispatcher = new undici.EnvHttpProxyAgent({ proxyTunnel: false })
  const fetch = (input: string | URL, init?: object): Promise<unknown> => undici.fetch(input, { ...init, dispatcher })
  // The same standard function; the two packages declare different types.
  return fetch as unknown as typeof globalThis.fetch
}
