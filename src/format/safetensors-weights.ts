/**
 * A safetensors file as a weights file: tensors named `<layer>/<weight>` or `<layer>.<weight>`, in the header's order. Opening
 * reads the header; a tensor's bytes are read on demand.
 */
import { WeftgradError } from '../errors.ts'
import type { ByteSource } from './byte-source.ts'
import { readSafetensor, readSafetensorsHeader, type SafetensorsPlace, toFloat32 } from './safetensors.ts'
import { groupedByLayer, heldWeights, type WeightFile } from './weight-file.ts'

const dtypes: ReadonlyMap<string, string> = new Map([
  ['F64', 'float64'],
  ['F32', 'float32'],
  ['F16', 'float16'],
  ['BF16', 'bfloat16'],
  ['I64', 'int64'],
  ['I32', 'int32'],
  ['I16', 'int16'],
  ['I8', 'int8'],
  ['U64', 'uint64'],
  ['U32', 'uint32'],
  ['U16', 'uint16'],
  ['U8', 'uint8'],
  ['BOOL', 'bool'],
])

/** Opens a file. Closing it closes the source. Throws WeftgradError 'format' for a malformed file. */
export function openSafetensors(source: ByteSource): WeightFile {
  try {
    const { places, metadata } = readSafetensorsHeader(source)
    const held = places.map((place) => ({
      entry: { name: place.name, shape: place.shape, dtype: dtypes.get(place.dtype) ?? place.dtype },
      place,
    }))
    return heldWeights<SafetensorsPlace>({
      format: 'safetensors',
      source: source.name,
      groups: groupedByLayer(held),
      metadata,
      async read(place, { name, dtype }) {
        if (!/^b?float(16|32|64)$/.test(dtype)) {
          throw new WeftgradError(
            'format',
            `${source.name} keeps '${name}' as ${dtype}, and weights are floats of 16, 32 or 64 bits. Convert it.`,
            {
              source: source.name,
              name,
              dtype,
            },
          )
        }
        return toFloat32(readSafetensor(source, place))
      },
      close: () => source.close(),
    })
  } catch (error) {
    source.close()
    throw error
  }
}
