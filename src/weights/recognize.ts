/**
 * Guesses the network of a weights file, for the message that refuses it: the number of parameters before the dense layers at
 * the end identifies the networks of Keras Applications.
 */

import type { WeightGroup } from '../format/weight-file.ts'
import { elementCount } from '../kernels/kernel.ts'
import { zoo, zooNames } from './zoo.ts'

/** Number of parameters without the top. Source: Keras Applications. */
const otherNetworks: Readonly<Record<string, number>> = {
  DenseNet121: 7_037_504,
  DenseNet169: 12_642_880,
  DenseNet201: 18_321_984,
  InceptionResNetV2: 54_336_736,
  InceptionV3: 21_802_784,
  MobileNet: 3_228_864,
  MobileNetV2: 2_257_984,
  ResNet50: 23_587_712,
  ResNet101: 42_658_176,
  ResNet152: 58_370_944,
  ResNet50V2: 23_564_800,
  ResNet101V2: 42_626_560,
  VGG19: 20_024_384,
}

const networks: readonly { readonly title: string; readonly base: number; readonly withTop?: number }[] = [
  ...zooNames.map((name) => ({ title: zoo[name].title, ...zoo[name].parameters })),
  ...Object.entries(otherNetworks).map(([title, base]) => ({ title, base })),
]

/** A matrix, possibly with a bias. */
export function isDense({ weights }: WeightGroup): boolean {
  const shapes = weights.map(({ shape }) => shape).sort((a, b) => b.length - a.length)
  const [kernel, bias] = shapes
  if (kernel?.length !== 2 || shapes.length > 2) return false
  return bias === undefined || (bias.length === 1 && bias[0] === kernel[1])
}

/** The guess as one sentence. */
export function guessAt(groups: readonly WeightGroup[]): string {
  const base = parametersOf(groups.filter((group) => !isDense(group)))
  const all = parametersOf(groups)
  const network = networks.find((one) => one.base === base)
  if (network !== undefined) {
    if (all === base) return `It looks like the weights of ${network.title} without its top.`
    return `It looks like the weights of ${network.title} with ${all === network.withTop ? 'its' : 'a'} top.`
  }
  const isLenet = ['5,5,1,6', '5,5,6,16'].every((kernel, i) =>
    groups[i]?.weights.some(({ shape }) => String(shape) === kernel),
  )
  if (isLenet) return 'It looks like the weights of a LeNet-5.'
  const layers = `${groups.length} ${groups.length === 1 ? 'layer' : 'layers'} with weights`
  return `It has ${layers} and ${all.toLocaleString('en-US')} parameters, which matches no network known to weftgrad.`
}

function parametersOf(groups: readonly WeightGroup[]): number {
  return groups.flatMap(({ weights }) => weights).reduce((sum, { shape }) => sum + elementCount(shape), 0)
}
