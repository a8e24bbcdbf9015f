/** Opens the store that `--store` names, or the one in the cache, which serves the workers of one machine. */
import { join } from 'node:path'
import { cacheFolder } from '../gpu/node/cache.ts'
import { storeAddress } from './address.ts'
import { FolderStore } from './folder-store.ts'
import { Results } from './store.ts'

/** Throws WeftgradError 'argument', 'queue'. */
export async function openResults(address: string | undefined): Promise<Results> {
  const place = storeAddress(address ?? join(cacheFolder(), 'store'))
  if (place.kind === 'folder') return new Results(new FolderStore(place.folder))
  const { S3Store } = await import('./s3-store.ts')
  return new Results(await S3Store.open(place))
}
