/** Loads a LeNet-5 from a weights file of the user. */
import { type Device, data, nn, weights } from 'weftgrad'

export interface LoadedLenet5 {
  readonly model: nn.Model
  readonly units: readonly [number, number]
}

/**
 * Loads the file's LeNet-5 onto the device; the sizes of its hidden dense layers come from the file.
 * @throws WeftgradError 'format' or 'file' if the file cannot be read, 'mismatch' if it holds no LeNet-5 of these
 * classes, 'data' for numbers that are not finite.
 */
export async function loadLenet5(device: Device, file: File): Promise<LoadedLenet5> {
  const opened = await weights.open(file)
  try {
    const units = unitsOf(opened)
    const model = nn.lenet5({ units, classes: data.fashionMnistClasses.length })
    try {
      await weights.loadWeights(model, device, opened)
    } catch (error) {
      model.dispose()
      throw error
    }
    return { model, units }
  } finally {
    opened.close()
  }
}

/** Reads the sizes off the three matrices. Otherwise returns the usual sizes; loading then refuses the file. */
function unitsOf({ groups }: weights.WeightFile): readonly [number, number] {
  const matrices = groups
    .flatMap((group) => group.weights.map(({ shape }) => shape))
    .filter(({ length }) => length === 2)
  const [first = 0, second = 0] = matrices.map((shape) => shape[1] ?? 0)
  return matrices.length === 3 && first >= 1 && second >= 1 ? [first, second] : defaultUnits
}

export const defaultUnits = [256, 32] as const
