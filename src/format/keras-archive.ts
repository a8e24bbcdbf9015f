/**
 * Keras 3's `.keras` files: a zip archive of the model's configuration and its weights as HDF5. The configuration has the
 * layers' names and order, which the HDF5 file lacks. Keras stores both uncompressed, so the weights are read in place; from
 * a recompressed archive they are unpacked into memory.
 */
import { WeftgradError } from '../errors.ts'
import { type ByteSource, readBytes } from './byte-source.ts'
import { type Hdf5Loader, openHdf5 } from './hdf5.ts'
import { isRecord, parsedJson, textsOf } from './json.ts'
import { configuredLayers, inConfiguredOrder, layerCount } from './keras-config.ts'
import { keras3Groups, kerasFile } from './keras-h5.ts'
import { mostUnpacked } from './unpacked.ts'
import { majorVersion, metadataName, type WeightFile } from './weight-file.ts'
import { openZipEntry, type ZipEntry, zipEntries } from './zip.ts'

/** Configurations with thousands of layers have a few megabytes. */
const longestConfigBytes = 64 * 2 ** 20
/** A million class names. */
const longestMetadataBytes = 32 * 2 ** 20

/** Opens an archive. Closing it closes the source. Throws WeftgradError 'format'. */
export async function openKerasArchive(source: ByteSource, load?: Hdf5Loader): Promise<WeightFile> {
  try {
    const entries = zipEntries(source)
    const [config, weights] = ['config.json', 'model.weights.h5'].map((name) => entries.get(name))
    if (config === undefined || weights === undefined) {
      throw refusal(source, `it has no ${config === undefined ? 'config.json' : 'model.weights.h5'}`)
    }
    const text = openZipEntry(source, config, longestConfigBytes)
    const model = parsedJson(new TextDecoder().decode(readBytes(text, 0, text.size)))
    if (model === undefined) throw refusal(source, 'its config.json is not JSON, or far too large')
    const mostBytes = weights.isStored ? weights.bytes : mostUnpacked(source.size)
    const file = await openHdf5(openZipEntry(source, weights, mostBytes), load)
    const layers = configuredLayers(model)
    const groups = keras3Groups(file, source.name, layers.length > 0)
    const described = { architecture: model, ...metadataOf(source, entries.get('metadata.json')) }
    if (layers.length === 0) return { ...kerasFile('keras-archive', source.name, file, groups), ...described }
    const byPath = new Map(layers.map((layer) => [layer.path, layer]))
    const ordered = inConfiguredOrder(groups, layers, ({ path, names, ...group }) => {
      // The layer itself, or the innermost layer around it.
      const parts = path.replaceAll('_layer_checkpoint_dependencies', 'layers').split('/')
      for (let end = parts.length; end > 0; end--) {
        const layer = byPath.get(parts.slice(0, end).join('/'))
        if (layer === undefined) continue
        const { name, className } = layer
        if (end === parts.length) return { layer, group: { ...group, name, className, sequence: '' } }
        return {
          layer,
          group: { ...group, names: [...(names ?? []), `${name}/${parts.slice(end).join('/')}`], sequence: null },
        }
      }
      return undefined
    })
    return {
      ...kerasFile('keras-archive', source.name, file, ordered, layerCount(layers, ordered)),
      ...described,
    }
  } catch (error) {
    source.close()
    throw error
  }
}

/** The version of Keras, and weftgrad's texts, in `metadata.json`. */
function metadataOf(source: ByteSource, entry: ZipEntry | undefined): Pick<WeightFile, 'kerasVersion' | 'metadata'> {
  if (entry === undefined || entry.bytes > longestMetadataBytes) return { metadata: {} }
  const text = openZipEntry(source, entry, longestMetadataBytes)
  const parsed = parsedJson(new TextDecoder().decode(readBytes(text, 0, text.size)))
  const said = isRecord(parsed) ? parsed : {}
  const kerasVersion = majorVersion(said.keras_version)
  return { metadata: textsOf(said[metadataName]), ...(kerasVersion === undefined ? {} : { kerasVersion }) }
}

function refusal(source: ByteSource, problem: string): WeftgradError {
  const { name } = source
  return new WeftgradError('format', `${name} is not a .keras file: ${problem}. Save the model again with Keras.`, {
    source: name,
  })
}
