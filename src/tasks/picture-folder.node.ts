/**
 * A task of somebody's own pictures: a folder for each class, named after it. A small network is trained on them, or a
 * head on a pretrained network's features. Nothing is published about them, so nothing is compared.
 *
 * The pictures to test with are those in `validation` (or `test`), if the classes' folders are in it and in `train`; else
 * a fifth of each class, drawn by a fixed seed. The training never sees them: it validates on a part of the others.
 */
import { basename, resolve } from 'node:path'
import { folderNames, pictureFiles } from '../data/image-folder.node.ts'
import { type LabelledPictures, type PictureFile, pictureBytes, picturePixels } from '../data/pictures.ts'
import { randomSplit } from '../data/split.ts'
import { WeftgradError } from '../errors.ts'
import type { PretrainedName } from '../nn/models/pretrained.ts'
import type { LoadedData, LoadedImages } from '../runs/data.ts'
import { noAugmentation, type TrainSettings, type TransferSettings } from './recipe.ts'
import { smallCnn } from './small-cnn.ts'
import { Space } from './space.ts'
import type { Task, TaskData } from './task.ts'

/** The task's name in config.json. */
export const picturesTask = 'pictures'

/** What a run keeps of the pictures besides their folder. */
export interface PictureFacts {
  /** Height and width of the images, in pixels. */
  readonly size: number
  /** 1 for grey, 3 for red, green and blue. */
  readonly channels: 1 | 3
  readonly classNames: readonly string[]
}

/** Settles well on a CPU, and is enough for each pretrained network: Xception takes 71 pixels at least. */
const usualSize = 96

/** Of each class, when the folder has no halves of its own. */
const heldShare = 0.2
const splitSeed = 1

/** A label is a byte. */
const mostClasses = 256

/** What is known of the pictures of a new run, besides their folder. */
export type GivenFacts = { readonly [name in 'size' | 'channels']?: PictureFacts[name] | undefined }

/**
 * Finds out what a new run must know of its pictures. Lists the files; decodes one of each class to see whether there is
 * colour, if `channels` is not given.
 * @throws WeftgradError 'file' if the folder cannot be read; 'data' without pictures in two or more folders; 'limit' for more
 * than 256 classes.
 */
export async function pictureFacts(folder: string, { size = usualSize, channels }: GivenFacts): Promise<PictureFacts> {
  const { train } = await listed(folder)
  const classNames = classesOf(folder, train)
  return { size, channels: channels ?? (await channelsOf(train)), classNames }
}

/** The task of the pictures in a folder, which is read when a job needs them. */
export function pictureFolderTask(given: string, facts: PictureFacts): Task {
  const folder = resolve(given)
  const { size, channels, classNames } = facts
  const image = { height: size, width: size, channels }
  const data: TaskData = {
    title: `pictures in ${basename(folder)}`,
    option: '--images',
    forms: 'PNG, JPEG, WebP or GIF files in a folder for each class',
    classNames,
    image,
    halves: 'the folders train and validation (or test), or else a fifth of each class to test',
    things: 'pictures',
    async load({ dataDir, log } = {}) {
      if (dataDir === undefined) return await load(folder, facts, log)
      throw new WeftgradError('argument', 'A run on pictures has no --data-dir. Name their folder with --images.', {
        dataDir,
      })
    },
    inputOf(picture, { invert }) {
      if (!invert) return { pixels: picturePixels(picture, { ...image, channels }) }
      throw new WeftgradError('argument', 'This run was trained on pictures as they are. Leave --invert out.')
    },
  }
  return {
    name: picturesTask,
    facts: { [picturesTask]: facts },
    data,
    network: {
      title: 'small CNN',
      name: 'small-cnn',
      word: 'cnn',
      command: 'train',
      build: ({ dropout = 0, ...more }, model) => smallCnn({ ...more, ...image, dropout }, model),
    },
    recipes,
    search: {
      space: new Space({ units: [64, 128, 256], learning_rate: [1e-2, 1e-3, 1e-4] }),
      settingsOf({ units, learning_rate }) {
        if (typeof units !== 'number' || typeof learning_rate !== 'number')
          throw new WeftgradError('argument', 'A point of this search needs units and learning_rate.')
        return { units: [units], learningRate: learning_rate }
      },
      maxEpochs: 10,
    },
    transfer: transferOf(size),
  }
}

const trainDefaults: TrainSettings = {
  ...{ epochs: 20, batchSize: 32, learningRate: 1e-3, units: [128], seed: 1 },
  ...{ split: 'official', limit: null, restoreBest: true },
}

/** Customary settings, not measured: pictures differ. `best` is what usually helps against overfitting. */
const recipes: Task['recipes'] = {
  seed: {
    train: trainDefaults,
    recipe: {
      ...{ ...noAugmentation, recipe: 'seed', validation: 0.1, flips: false, shift: 0, dropout: 0, weightDecay: 0 },
      ...{ schedule: 'constant', warmupEpochs: 0, flipAverage: false },
    },
  },
  best: {
    train: { ...trainDefaults, epochs: 50, restoreBest: false },
    recipe: {
      ...{ ...noAugmentation, recipe: 'best', validation: 0, flips: true, shift: 4, dropout: 0.3, weightDecay: 0.02 },
      ...{ schedule: 'cosine', warmupEpochs: 1, flipAverage: true },
    },
  },
}

/** The mean of each channel of the last features, as is usual for photographs; a small batch, as pictures are few. */
function transferOf(size: number): { readonly [name in PretrainedName]: TransferSettings } {
  const shared = {
    size,
    pool: 'avg',
    preprocessing: null,
    weights: null,
    head: 'mlp',
    epochs: 30,
    batchSize: 32,
    learningRate: 1e-3,
    weightDecay: 0.05,
    dropout: 0.5,
    patience: 6,
    seed: 1,
    limitTrain: null,
    limitTest: null,
    unfreeze: null,
    fineTuneEpochs: 5,
    fineTuneRate: 1e-4,
  } as const satisfies Partial<TransferSettings>
  return {
    vgg16: { ...shared, layers: ['block5_pool'] },
    xception: { ...shared, layers: ['block14_sepconv2_act'] },
    resnet152v2: { ...shared, layers: ['post_relu'] },
  }
}

interface Halves {
  readonly train: readonly PictureFile[]
  readonly test: readonly PictureFile[]
  /** Folders that are not used. */
  readonly others: readonly string[]
}

async function listed(folder: string): Promise<Halves> {
  const names = await folderNames(folder)
  const held = ['test', 'validation'].find((name) => names.includes(name))
  if (names.includes('train') && held !== undefined) {
    const files = await pictureFiles(folder, ['train', held])
    const of = (part: string): PictureFile[] => files.filter((file) => file.part === part)
    return { train: of('train'), test: of(held), others: names.filter((name) => name !== 'train' && name !== held) }
  }
  const classes = byClass(await pictureFiles(folder))
  const halves = classes.map((own) => {
    if (own.length < 2) return { train: own, test: [] }
    const { rest, held } = randomSplit(own.length, heldShare, splitSeed)
    const at = (positions: Uint32Array): PictureFile[] => [...positions].flatMap((i) => own[i] ?? [])
    return { train: at(rest), test: at(held) }
  })
  return { train: halves.flatMap(({ train }) => train), test: halves.flatMap(({ test }) => test), others: [] }
}

/** The files of each class, by name. */
function byClass(files: readonly PictureFile[]): PictureFile[][] {
  const classes = new Map<string, PictureFile[]>()
  for (const file of files.toSorted((a, b) => (a.name < b.name ? -1 : 1)))
    classes.set(file.className, [...(classes.get(file.className) ?? []), file])
  return [...classes.values()]
}

function classesOf(folder: string, files: readonly PictureFile[]): readonly string[] {
  const names = [...new Set(files.map(({ className }) => className))].sort()
  if (names.length < 2)
    throw new WeftgradError(
      'data',
      `${folder} has ${names.length === 0 ? 'no pictures' : `pictures in one folder only, ${names[0]}`}. It needs at least two folders of pictures, one for each class, named after it.`,
      { folder, classNames: names },
    )
  if (names.length > mostClasses)
    throw new WeftgradError('limit', `${folder} has ${names.length} classes; a run takes at most ${mostClasses}.`, {
      folder,
    })
  return names
}

/** 3 if one of the first pictures of the classes has colour. Files that are no pictures are found later, with all others. */
async function channelsOf(files: readonly PictureFile[]): Promise<1 | 3> {
  for (const [first] of byClass(files)) {
    const picture = await first?.decode().catch(() => undefined)
    if (picture === undefined || picture.channels < 3) continue
    const { data, channels } = picture
    for (let at = 0; at < data.length; at += channels)
      if (data[at] !== data[at + 1] || data[at] !== data[at + 2]) return 3
  }
  return 1
}

const problemsListed = 5

async function load(
  folder: string,
  facts: PictureFacts,
  log: ((line: string) => void) | undefined,
): Promise<LoadedData> {
  const { train, test, others } = await listed(folder)
  if (others.length > 0) log?.(`Not used, beside the folders to train and to test: ${others.join(', ')} in ${folder}.`)
  const problems: string[] = []
  const onBad = (_: string, problem: string): void => void problems.push(problem.replace(/\.$/, ''))
  const read = async (files: readonly PictureFile[]): Promise<LabelledPictures | undefined> =>
    files.length === 0 ? undefined : (await pictureBytes(files, { ...facts, onBad })).train
  // A file that is no picture leaves the others; if all are bad, `read` says that there are none.
  const sets = [await read(train).catch(unlessBad(problems)), await read(test).catch(unlessBad(problems))]
  if (problems.length > 0) {
    const more = problems.length - problemsListed
    throw new WeftgradError(
      'data',
      `${problems.length} of ${train.length + test.length} files in ${folder} cannot be used: ${problems.sort().slice(0, problemsListed).join('; ')}${more > 0 ? `; and ${more} more` : ''}. Correct or remove them.`,
      { folder },
    )
  }
  const [trainSet, testSet] = sets
  if (trainSet === undefined || testSet === undefined)
    throw new WeftgradError('data', `${folder} has no pictures to test with. Each class needs two or more pictures.`, {
      folder,
    })
  return { folder, published: undefined, train: loaded(trainSet), test: loaded(testSet) }
}

/** Bad files are told all together. */
function unlessBad(problems: readonly string[]): (error: unknown) => undefined {
  return (error) => {
    if (problems.length === 0) throw error
    return undefined
  }
}

function loaded(set: LabelledPictures): LoadedImages {
  return { ...set, labels: Uint8Array.from(set.labels), count: set.labels.length }
}
