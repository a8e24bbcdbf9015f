/**
 * `weftgrad weights`: lists the published weights and where they are on this computer; `weights get` downloads them.
 */

import type { PretrainedName } from '../nn/models/pretrained.ts'
import { megabytes } from '../numbers.ts'
import { type FoundFile, findWeights, lookUpWeights } from '../weights/find.node.ts'
import { type PublishedFile, zoo, zooNameOf, zooNames } from '../weights/zoo.ts'
import { BytesBar } from './bar.ts'
import { exitCodeAfter } from './failure.ts'
import { interruptible } from './interrupt.ts'
import { openTerminal } from './terminal.ts'

export interface WeightsOptions {
  readonly json?: boolean
}

interface Listed extends PublishedFile {
  readonly model: PretrainedName
  readonly top: boolean
  readonly found: FoundFile | undefined
}

export async function weightsCommand({ json }: WeightsOptions): Promise<void> {
  const terminal = openTerminal({ json })
  const listed: Listed[] = []
  for (const model of zooNames) {
    for (const top of [false, true]) {
      const file = zoo[model].files[top ? 'withTop' : 'base']
      listed.push({ ...file, model, top, found: await lookUpWeights(model, { withTop: top }) })
    }
  }
  if (json) {
    terminal.json({
      weights: listed.map(({ model, top, name, url, md5, bytes, found }) => ({
        ...{ model, top, file: name, url, md5, bytes: bytes ?? null },
        ...{ cached: found !== undefined, path: found?.path ?? null, place: found?.place ?? null },
      })),
    })
    return
  }
  const { say, colors } = terminal
  const { bold, dim, green } = colors
  say(dim(`${'Network'.padEnd(14)}${'Top'.padEnd(5)}${'Size'.padStart(9)}  ${'MD5'.padEnd(34)}Downloaded`))
  for (const { model, top, url, md5, bytes, found } of listed) {
    const size = (bytes === undefined ? '' : megabytes(bytes)).padStart(9)
    const here = found === undefined ? 'no' : `${green('yes')}, ${found.place}`
    say(`${bold(model.padEnd(14))}${(top ? 'yes' : 'no').padEnd(5)}${size}  ${md5}  ${here}`)
    say(dim(`  ${url}`))
    if (found !== undefined) say(dim(`  ${found.path}`))
  }
  say()
  say(
    '`weftgrad weights get NETWORK` downloads the weights without the classifier; add `--top` to include it (1000 ImageNet classes).',
  )
}

export interface GetWeightsOptions {
  readonly top?: boolean
  readonly json?: boolean
}

export async function getWeightsCommand(name: string, { top = false, json }: GetWeightsOptions): Promise<void> {
  const model = zooNameOf(name)
  const terminal = openTerminal({ json })
  const bar = new BytesBar(terminal, zoo[model].title)
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
    const words = place === 'downloaded' ? 'downloaded and verified (MD5)' : `already in ${place}`
    terminal.say(`${zoo[model].title}: ${words}: ${path}`)
    if (json) terminal.json({ model, top, path, place })
  } catch (error) {
    bar.close()
    process.exitCode = exitCodeAfter(error, interrupt)
  } finally {
    interrupt.release()
  }
}
