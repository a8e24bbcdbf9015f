/** Files beside a model's own file, which hold its weights: a model names them by their path from there. */
import type { ByteSource } from './byte-source.ts'

/** Opens a file beside the model's file, by its path from there. */
export type OpenShard = (path: string) => Promise<ByteSource>

/** A model must not make its reader open other files of the host, or contact other servers. */
export function isBeside(path: string): boolean {
  return path.length > 0 && !/^\/|\\|:|\0/.test(path) && !path.split('/').includes('..')
}
