/**
 * `weftgrad weights`: lists the published weights and where they are on this computer; `weights get` downloads, verifies and
 * loads them.
 */

import { count, megabytes } from '../numbers.ts'
import { type FoundFile, findWeights, lookUpWeights } from '../weights/find.node.ts'
import { publishedNetworks, publishedOf } from '../weights/published.ts'
import { tryLoading } from '../weights/try-loading.node.ts'
import { type PublishedFile, zooNameIn } from '../weights/zoo.ts'
import { BytesBar } from './bar.ts'
import { exitCodeAfter } from './failure.ts'
import { interruptible } from './interrupt.ts'
import { openTerminal } from './terminal.ts'

export interface WeightsOptions {
  readonly json?: boolean
}

interface Listed extends PublishedFile {
  readonly model: string
  readonly top: boolean
  /** Whether weftgrad builds the network. */
  readonly built: boolean
  readonly found: FoundFile | undefined
}

export async function weightsCommand({ json }: WeightsOptions): Promise<void> {
  const terminal = openTerminal({ json })
  const listed: Listed[] = []
  for (const [model, { files }] of publishedNetworks) {
    const built = zooNameIn(model) !== undefined
    for (const top of [false, true]) {
      const file = files[top ? 'withTop' : 'base']
      listed.push({ ...file, model, top, built, found: await lookUpWeights(model, { withTop: top }) })
    }
  }
  if (json) {
    terminal.json({
      weights: listed.map(({ model, top, built, name, url, checksum, bytes, found }) => ({
        ...{ model, top, built, file: name, url, checksum, bytes: bytes ?? null },
        ...{ cached: found !== undefined, path: found?.path ?? null, place: found?.place ?? null },
      })),
    })
    return
  }
  const { say, colors } = terminal
  const { bold, dim, green } = colors
  const width = Math.max(...listed.map(({ model }) => model.length)) + 2
  const show = (rows: readonly Listed[]): void => {
    say(dim(`${'Network'.padEnd(width)}${'Top'.padEnd(5)}${'Size'.padStart(9)}  Downloaded`))
    for (const { model, top, url, checksum, bytes, found } of rows) {
      const size = (bytes === undefined ? '' : megabytes(bytes)).padStart(9)
      const here = found === undefined ? 'no' : `${green('yes')}, ${found.place}`
      say(`${bold(model.padEnd(width))}${(top ? 'yes' : 'no').padEnd(5)}${size}  ${here}`)
      say(dim(`  ${checksum}  ${url}`))
      if (found !== undefined) say(dim(`  ${found.path}`))
    }
    say()
  }
  show(listed.filter(({ built }) => built))
  say('Networks that weftgrad does not build; `weights.loadWeights` reads their weights into layers of your own:')
  show(listed.filter(({ built }) => !built))
  say(
    '`weftgrad weights get NETWORK` downloads the weights without the classifier, verifies and loads them; add `--top` to include it (1000 ImageNet classes).',
  )
}

export interface GetWeightsOptions {
  readonly top?: boolean
  readonly json?: boolean
}

export async function getWeightsCommand(network: string, { top = false, json }: GetWeightsOptions): Promise<void> {
  const { name: model, title } = publishedOf(network)
  const terminal = openTerminal({ json })
  const bar = new BytesBar(terminal, title)
  const interrupt = interruptible(
    () => {
      bar.close()
      terminal.interrupted('Stopping: the partial download is kept.')
    },
    () => bar.close(),
  )
  try {
    const { path, place } = await findWeights(model, {
      withTop: top,
      provision: true,
      signal: interrupt.signal,
      log: terminal.note,
      onProgress: (bytes, totalBytes) => bar.update(bytes, totalBytes),
    })
    bar.close()
    const { isPublished, isBuilt, parameters } = await tryLoading(model, path, { withTop: top })
    const where = place === 'downloaded' ? 'downloaded' : `already in ${place}`
    const verified = isPublished ? 'verified (checksum)' : 'not the published bytes'
    const use = isBuilt ? 'load' : 'can be read; weftgrad does not build this network'
    terminal.say(`${title}: ${where}, ${verified}: ${path}`)
    terminal.say(`${count(parameters)} parameters ${use}.`)
    if (json) terminal.json({ model, top, path, place, verified: isPublished, loaded: isBuilt, parameters })
  } catch (error) {
    bar.close()
    process.exitCode = exitCodeAfter(error, interrupt)
  } finally {
    interrupt.release()
  }
}
