/** The layers that features come from, and how their outputs are pooled. */

/**
 * Poolings: the mean of each channel; the means of a grid of 2x2 (with fewer than two pixels, fewer means; the middle
 * row of an odd extent belongs to both halves); the maximum of each channel; every number.
 */
export const featurePoolings = ['avg', 'avg2', 'max', 'none'] as const
export type FeaturePooling = (typeof featurePoolings)[number]

export interface FeatureTap {
  readonly layer: string
  readonly pooling: FeaturePooling
}
