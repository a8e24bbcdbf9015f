/** Which task a command works on: the published one, or one of a folder of pictures, new or of an earlier run. */
import { join, resolve } from 'node:path'
import { WeftgradError } from '../errors.ts'
import { isRecord } from '../format/json.ts'
import { readAnyConfig, runFiles, shown } from '../runs/run-folder.node.ts'
import { fashionMnistLenet5 } from './fashion-mnist-lenet5.node.ts'
import type { PictureFacts } from './picture-folder.node.ts'
import type { Task } from './task.ts'

export interface PictureChoice {
  /** A folder of pictures, one folder a class. */
  readonly images?: string | undefined
  /** Height and width of the images, in pixels. */
  readonly size?: number | undefined
  readonly channels?: 1 | 3 | undefined
}

/** The task of a new run, or of the run in the folder `resume`. Throws as `pictureFacts` and `taskOfRun`. */
export async function chosenTask(given: PictureChoice & { readonly resume?: string | undefined }): Promise<Task> {
  if (given.resume !== undefined) return await taskOfRun(given.resume, given)
  if (given.images === undefined) return fashionMnistLenet5
  const { pictureFacts, pictureFolderTask } = await import('./picture-folder.node.ts')
  return pictureFolderTask(given.images, await pictureFacts(given.images, given))
}

/**
 * The task of a run; its pictures may have moved to another folder.
 * @throws WeftgradError 'format' if config.json is damaged, 'mismatch' for another size or other channels than the run's, or
 * for pictures of a run that had none.
 */
export async function taskOfRun(folder: string, given: PictureChoice = {}): Promise<Task> {
  const runDir = resolve(folder)
  // A folder without a configuration is refused later, with what the command needs it for.
  const config = await readAnyConfig(runDir).catch(() => undefined)
  const facts = config === undefined ? undefined : factsIn(config, join(runDir, runFiles.config))
  if (config !== undefined && facts === undefined && given.images !== undefined)
    throw new WeftgradError(
      'mismatch',
      `The run in ${shown(runDir)} is not on a folder of pictures. Leave --images out.`,
      {
        images: given.images,
      },
    )
  if (config === undefined || facts === undefined) return fashionMnistLenet5
  for (const name of ['size', 'channels'] as const)
    if (given[name] !== undefined && given[name] !== facts[name])
      throw new WeftgradError(
        'mismatch',
        `The run in ${shown(runDir)} has --${name} ${facts[name]}, not ${given[name]}. Leave the option out, or start a new run.`,
        { setting: name, run: facts[name], given: given[name] },
      )
  const { pictureFolderTask } = await import('./picture-folder.node.ts')
  return pictureFolderTask(given.images ?? config.data.folder, facts)
}

/**
 * The task that another process names, by its name and the facts of its configuration.
 * @param images the folder of pictures, for a task of pictures.
 * @throws WeftgradError 'mismatch' for a task of another name, 'argument' without the folder it needs, 'format'.
 */
export async function taskNamed(
  name: string,
  facts: Readonly<Record<string, unknown>>,
  images: string | undefined,
): Promise<Task> {
  if (name === fashionMnistLenet5.name) return fashionMnistLenet5
  const pictures = factsIn({ ...facts, task: name }, 'The job')
  if (pictures === undefined) throw new WeftgradError('mismatch', `There is no task ${name}.`, { task: name })
  if (images === undefined)
    throw new WeftgradError('argument', 'The job is on a folder of pictures. Name a copy of it with --images.')
  const { pictureFolderTask } = await import('./picture-folder.node.ts')
  return pictureFolderTask(images, pictures)
}

/** What config.json says of a run's pictures; undefined for another task. */
function factsIn({ task, pictures }: Readonly<Record<string, unknown>>, path: string): PictureFacts | undefined {
  if (task !== 'pictures') return undefined
  const { size, channels, classNames } = isRecord(pictures) ? pictures : {}
  const isSize = typeof size === 'number' && Number.isSafeInteger(size) && size > 0
  const isNames = Array.isArray(classNames) && classNames.every((name) => typeof name === 'string')
  if (isSize && (channels === 1 || channels === 3) && isNames) return { size, channels, classNames }
  throw new WeftgradError('format', `${path} does not say what its run's pictures are. Start a new run.`, { path })
}
