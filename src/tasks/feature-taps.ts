/** Which layers features come from, and what becomes of their images. */

/**
 * The mean of each channel; the means of a grid of 2x2 (as far as there are so many pixels; of odd extents the middle row
 * belongs to both halves); the maximum of each channel; every number.
 */
export const featurePoolings = ['avg', 'avg2', 'max', 'none'] as const
export type FeaturePooling = (typeof featurePoolings)[number]

export interface FeatureTap {
  readonly layer: string
  readonly pooling: FeaturePooling
}
