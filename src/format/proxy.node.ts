/**
 * Downloads through the proxies in the environment, which Node.js 20 ignores: `HTTPS_PROXY` for https addresses, `HTTP_PROXY` for
 * http, and `ALL_PROXY` for either if its variable is not set. Hosts in `NO_PROXY` are reached directly. The lower-case
 * name of a variable wins.
 */
import { WeftgradError } from '../errors.ts'

type Environment = Readonly<Record<string, string | undefined>>

/** The proxy of each protocol. */
export interface Proxies {
  readonly httpProxy?: string | undefined
  readonly httpsProxy?: string | undefined
}

let fetchThroughProxy: Promise<typeof globalThis.fetch> | undefined

/**
 * The `fetch` for downloads: Node's own without a proxy.
 * @throws WeftgradError 'argument' for a variable that holds no address of a proxy.
 */
export async function proxiedFetch(): Promise<typeof globalThis.fetch> {
  const proxies = proxiesIn(process.env)
  if (proxies.httpsProxy === undefined) return globalThis.fetch
  fetchThroughProxy ??= makeFetch(proxies)
  return await fetchThroughProxy
}

/** The proxies that the variables name. Empty variables count as unset. */
export function proxiesIn(env: Environment): Proxies {
  const all = proxyIn(env, 'all_proxy')
  const http = proxyIn(env, 'http_proxy') ?? all
  return { httpProxy: http, httpsProxy: proxyIn(env, 'https_proxy') ?? all ?? http }
}

function proxyIn(env: Environment, lowerCase: string): string | undefined {
  const name = env[lowerCase] ? lowerCase : lowerCase.toUpperCase()
  const value = env[name]
  if (!value) return undefined
  // As for curl, an address without a protocol is one of http.
  const address = value.includes('://') ? value : `http://${value}`
  // A SOCKS 5 proxy is given names, not numbers, in any case.
  const known = address.replace(/^socks(?:5h)?:/, 'socks5:')
  if (/^(?:https?|socks5):/.test(known) && URL.canParse(known)) return known
  // Without the value, which may hold a password.
  throw new WeftgradError(
    'argument',
    `The environment variable ${name} is not the address of a proxy. Write it as http://host:port or socks5://host:port.`,
    { name },
  )
}

async function makeFetch({ httpProxy = '', httpsProxy = '' }: Proxies): Promise<typeof globalThis.fetch> {
  // Loaded only with a proxy. Uses undici's `fetch`, because an agent only works with the same version.
  const undici = await import('undici')
  // Tunnels only for https: many proxies refuse tunnels to port 80.
  const dispatcher = new undici.EnvHttpProxyAgent({ httpProxy, httpsProxy, proxyTunnel: false })
  const fetch = (input: string | URL, init?: object): Promise<unknown> => undici.fetch(input, { ...init, dispatcher })
  // The same standard function; the two packages declare different types.
  return fetch as unknown as typeof globalThis.fetch
}
