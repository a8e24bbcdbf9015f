/** Tells what a dropped file is for, by its name and size. The session reads and checks the contents. */
import { refusal } from './refusals.ts'

export type FileKind = 'data' | 'model' | 'photo-network' | 'picture' | 'class-index'

export interface NamedFile {
  readonly name: string
  readonly size: number
  readonly type: string
}

/** Bytes. LeNet-5 files have some hundred kilobytes, VGG16 without its top has 59 million bytes. */
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

/** The one kind of files dropped together. Throws a refusal that says what can be dropped. */
export function commonKind(files: readonly NamedFile[]): FileKind {
  const [first, ...others] = files
  const kind = first === undefined ? undefined : kindOf(first)
  const stranger = files.find((file) => kindOf(file) === undefined)
  if (kind === undefined || stranger !== undefined)
    throw refusal(
      'argument',
      `This page cannot use ${stranger?.name ?? 'what was dropped'}. Drop IDX or CSV files with data, ` +
        'a .safetensors, .h5 or .keras file with weights, or a picture.',
    )
  const other = others.find((file) => kindOf(file) !== kind)
  if (other !== undefined)
    throw refusal('argument', `${first?.name} and ${other.name} are of different kinds. Drop one at a time.`)
  if (kind !== 'data' && others.length > 0)
    throw refusal('argument', `Only data can be ${files.length} files at once. Drop one weights file or one picture.`)
  return kind
}
