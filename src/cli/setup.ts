/** `weftgrad setup`: downloads what is missing (a driver, the data), measures what must be measured, and reports it. */

import { setup } from '../gpu/node/setup.ts'
import { count } from '../numbers.ts'
import type { Task } from '../tasks/task.ts'
import { openTerminal } from './terminal.ts'
import { settleVectorWidth } from './vector-width.ts'

export interface SetupOptions {
  readonly dataDir?: string
}

export async function setupCommand({ data }: Task, { dataDir }: SetupOptions): Promise<void> {
  const { say } = openTerminal()
  await settleVectorWidth(await setup({ log: say }), say)
  const { folder, published, train, test } = await data.load({ dataDir, log: say })
  const kind = published ? '' : ', not the published files'
  say(`weftgrad: data ready: ${data.title}, ${count(train.count)} and ${count(test.count)} images in ${folder}${kind}`)
}
