/**
 * A store in an S3-compatible service. Requests are signed by aws4fetch, an optional package. A PUT is seen whole or not
 * at all, as S3 promises. Credentials come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (AWS_SESSION_TOKEN, AWS_REGION).
 */
import type { AwsClient } from 'aws4fetch'
import { WeftgradError } from '../errors.ts'
import type { StoreAddress } from './address.ts'
import type { Store, StoredObject } from './store.ts'

/** Longest wait for an answer, in ms: 100 MB at 1 MB/s. */
const patienceMs = 120_000

export class S3Store implements Store {
  readonly shown: string
  readonly #client: AwsClient
  readonly #bucket: string
  readonly #prefix: string

  private constructor(client: AwsClient, { endpoint, bucket, prefix }: Extract<StoreAddress, { kind: 's3' }>) {
    this.#client = client
    this.#bucket = `${endpoint}/${bucket}`
    this.#prefix = prefix === '' ? '' : `${prefix}/`
    this.shown = `s3+${this.#bucket}/${prefix}`.replace(/\/$/, '')
  }

  /** Throws WeftgradError 'queue' without the package, 'argument' without credentials. */
  static async open(address: Extract<StoreAddress, { kind: 's3' }>, env = process.env): Promise<S3Store> {
    const { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey } = env
    if (!accessKeyId || !secretAccessKey)
      throw new WeftgradError(
        'argument',
        'A store on S3 needs credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.',
      )
    const { AwsClient } = await library()
    const sessionToken = env.AWS_SESSION_TOKEN
    const client = new AwsClient({
      ...{ accessKeyId, secretAccessKey, service: 's3', region: env.AWS_REGION || 'us-east-1' },
      ...(sessionToken ? { sessionToken } : {}),
      // `Results` tries again, and longer.
      retries: 0,
    })
    return new S3Store(client, address)
  }

  async put(name: string, bytes: Uint8Array): Promise<void> {
    await this.#request(name, { method: 'PUT', body: new Uint8Array(bytes) })
  }

  async create(name: string, bytes: Uint8Array): Promise<void> {
    // Services that do not know the header replace the object; then whoever reads next agrees on the last one.
    if ((await this.get(name)) !== undefined) return
    await this.#request(name, { method: 'PUT', body: new Uint8Array(bytes), headers: { 'If-None-Match': '*' } }, [412])
  }

  async get(name: string): Promise<Uint8Array | undefined> {
    const answer = await this.#request(name, { method: 'GET' }, [404])
    return answer.status === 404 ? undefined : new Uint8Array(await answer.arrayBuffer())
  }

  async list(folder: string): Promise<readonly StoredObject[]> {
    const found: StoredObject[] = []
    for (let token: string | undefined; ; ) {
      const query = new URLSearchParams({ 'list-type': '2', prefix: `${this.#prefix}${folder}/` })
      if (token !== undefined) query.set('continuation-token', token)
      const text = await (await this.#send(`${this.#bucket}?${query}`, { method: 'GET' })).text()
      for (const [, entry = ''] of text.matchAll(/<Contents>(.*?)<\/Contents>/gs)) {
        const name = field(entry, 'Key').slice(this.#prefix.length)
        found.push({ name, bytes: Number(field(entry, 'Size')), writtenAt: Date.parse(field(entry, 'LastModified')) })
      }
      token = field(text, 'NextContinuationToken') || undefined
      if (token === undefined) return found
    }
  }

  async delete(name: string): Promise<void> {
    await this.#request(name, { method: 'DELETE' }, [404])
  }

  async #request(name: string, init: RequestInit, accepted: readonly number[] = []): Promise<Response> {
    return await this.#send(`${this.#bucket}/${this.#prefix}${name}`, init, accepted)
  }

  async #send(url: string, init: RequestInit, accepted: readonly number[] = []): Promise<Response> {
    const answer = await this.#client.fetch(url, { ...init, signal: AbortSignal.timeout(patienceMs) })
    if (answer.ok || accepted.includes(answer.status)) return answer
    const code = field(await answer.text(), 'Code')
    throw new Error(`it answers ${answer.status} ${code}`.trim())
  }
}

/** The text of an element without children. Names of objects need no escapes. */
function field(xml: string, name: string): string {
  const text = new RegExp(`<${name}>([^<]*)</${name}>`).exec(xml)?.[1] ?? ''
  return text.replaceAll('&amp;', '&')
}

async function library(): Promise<typeof import('aws4fetch')> {
  try {
    return await import('aws4fetch')
  } catch (error) {
    throw new WeftgradError(
      'queue',
      'A store on S3 needs the package aws4fetch, which is not installed. Install it: npm install aws4fetch',
      {},
      error,
    )
  }
}
