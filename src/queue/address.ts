/**
 * Addresses of queues and stores. They may carry credentials, which no message, log or file shows; `shownAddress` is how
 * an address appears there.
 */
import { resolve } from 'node:path'
import { WeftgradError } from '../errors.ts'

/** Variables with the queue's credentials, for those who do not want them in a command line. */
export const credentialVariables = { username: 'WEFTGRAD_QUEUE_USER', password: 'WEFTGRAD_QUEUE_PASSWORD' } as const

/** What a client of Redis needs to connect. */
export interface QueueAddress {
  readonly host: string
  readonly port: number
  readonly db: number
  readonly username?: string
  readonly password?: string
  readonly tls?: Record<string, never>
  /** Without credentials. */
  readonly shown: string
}

type Environment = Readonly<Record<string, string | undefined>>

/**
 * Parses `redis://[user:password@]host[:port][/database]`, or `rediss://` for TLS. Credentials that the address lacks come
 * from the environment. Throws WeftgradError 'argument'.
 */
export function queueAddress(text: string, env: Environment = process.env): QueueAddress {
  const url = parsed(text)
  const database = url === undefined ? '' : url.pathname.replace(/^\//, '')
  if (url === undefined || !/^rediss?:$/.test(url.protocol) || url.hostname === '' || !/^\d*$/.test(database))
    throw new WeftgradError(
      'argument',
      '--queue must be an address such as redis://host:6379, or rediss://host:6379 for TLS.',
    )
  const username = decodeURIComponent(url.username) || env[credentialVariables.username]
  const password = decodeURIComponent(url.password) || env[credentialVariables.password]
  return {
    host: url.hostname.replace(/^\[|\]$/g, ''),
    port: url.port === '' ? 6379 : Number(url.port),
    db: Number(database),
    ...(username ? { username } : {}),
    ...(password ? { password } : {}),
    ...(url.protocol === 'rediss:' ? { tls: {} } : {}),
    shown: shownAddress(text),
  }
}

export type StoreAddress =
  | { readonly kind: 'folder'; readonly folder: string }
  | { readonly kind: 's3'; readonly endpoint: string; readonly bucket: string; readonly prefix: string }

/**
 * Parses a store's address: a folder, or `s3+https://host[:port]/bucket[/prefix]` (also `s3+http://`). Its credentials come
 * from the environment only. Throws WeftgradError 'argument'.
 */
export function storeAddress(text: string): StoreAddress {
  if (!text.includes('://')) return { kind: 'folder', folder: resolve(text) }
  const url = parsed(text)
  const scheme = /^s3\+(https?):$/.exec(url?.protocol ?? '')?.[1]
  const [, bucket = '', ...rest] = url?.pathname.split('/') ?? []
  if (url === undefined || scheme === undefined || bucket === '' || url.username !== '' || url.password !== '')
    throw new WeftgradError(
      'argument',
      '--store must be a folder, or an address such as s3+https://host/bucket. Credentials come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.',
    )
  const prefix = rest.filter((part) => part !== '').join('/')
  return { kind: 's3', endpoint: `${scheme}://${url.host}`, bucket, prefix }
}

/** An address without credentials. */
export function shownAddress(text: string): string {
  const url = parsed(text)
  if (url === undefined) return text
  return `${url.protocol}//${url.host}${url.pathname}`.replace(/\/$/, '')
}

function parsed(text: string): URL | undefined {
  try {
    return new URL(text)
  } catch {
    return undefined
  }
}
