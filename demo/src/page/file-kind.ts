/** What a dropped file is for, by its name and size. What it holds is the session's business: it reads and checks it. */
import { refusal } from './refusals.ts'

export type FileKind = 'data' | 'model' | 'photo-network' | 'picture' | 'class-index'

export interface NamedFile {
  readonly name: string
  readonly size: number
  readonly type: string
}

/** Bytes. A LeNet-5 has some hundreds of kilobytes, VGG16 without its top 59 million bytes. */
const largestLenet = 20e6

export function kindOf({ name, size, type }: NamedFile): FileKind | undefined {
  const lower = name.toLowerCase()
  if (/\.(safetensors|h5|hdf5|keras)$/.test(lower))
    return size > largestLenet || lower.includes('vgg') ? 'photo-network' : 'model'
  if (/\.csv(\.gz)?$|\.idx$|idx[13]-ubyte(\.gz)?$|\.gz$/.test(lower)) return 'data'
  if (lower.endsWith('.json')) return 'class-index'
  if (type.startsWith('image/')) return 'picture'
  return undefined
}

/** All of one kind, as what is dropped at once must be. Throws a refusal that says what can be dropped. */
export function commonKind(files: readonly NamedFile[]): FileKind {
  const [first, ...others] = files
  const kind = first === undefined ? undefined : kindOf(first)
  const stranger = files.find((file) => kindOf(file) === undefined)
  if (kind === undefined || stranger !== undefined)
    throw refusal(
      'argument',
      `${stranger?.name ?? 'What was dropped'} is nothing that this page can use. Drop IDX or CSV files to train with, ` +
        'a .safetensors, .h5 or .keras file of weights, or a picture.',
    )
  const other = others.find((file) => kindOf(file) !== kind)
  if (other !== undefined)
    throw refusal('argument', `${first?.name} and ${other.name} are for different things. Drop one of them at a time.`)
  if (kind !== 'data' && others.length > 0)
    throw refusal('argument', `${files.length} files at once are for data only. Drop one weight file or picture.`)
  return kind
}
