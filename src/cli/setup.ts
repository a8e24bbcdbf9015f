/** `weftgrad setup`: sees to it that there are an adapter and data, fetching what is missing, and says what it did. */
import { loadFashionMnist } from '../data/fashion-mnist.node.ts'
import { setup } from '../gpu/node/setup.ts'
import { grouped, openTerminal } from './terminal.ts'

export interface SetupOptions {
  readonly dataDir?: string
}

export async function setupCommand({ dataDir }: SetupOptions): Promise<void> {
  const { say } = openTerminal()
  // `setup` ends with a line about the adapter; the lines before it tell what is fetched.
  await setup({ log: say })
  const { folder, published, train, test } = await loadFashionMnist({ dataDir, log: say })
  const kind = published ? '' : ', not the published bytes'
  say(
    `weftgrad: data ready: Fashion-MNIST, ${grouped(train.count)} and ${grouped(test.count)} images in ${folder}${kind}`,
  )
}
