/** How each kind of figure is to be read, in one sentence that its caption ends with. */
export const readings = {
  loss: 'Lower is better; validation that rises while training falls means that the model learns its training images by heart.',
  accuracy: 'Higher is better; the further training is ahead of validation, the more the model overfits.',
  allCurves:
    'Lines that still rise at their end would gain from more epochs; a model without a solid line had no validation images.',
  confusion:
    'Rows are true classes, columns are predictions: blue on the diagonal is right, orange beside it is wrong, and darker is more frequent.',
  reliability:
    'Each dot stands for the images with about the same probability of the predicted class, larger for more images: on the dashed line the model is right as often as it claims, below it less often.',
  interval: 'The dot is the measured accuracy, and the bar is where the true accuracy plausibly lies.',
  cost: 'Higher is more accurate and further left is cheaper; from one labelled power of ten to the next, the cost grows tenfold.',
  trials: 'One line per trial, from its hyperparameters on the left to its validation accuracy on the right.',
  classes: 'Bars of equal length mean that no class is rarer than another.',
  grid: 'White is the largest value in the columns of means and variances.',
  correlation:
    'Both axes go through the image row by row: orange pixels are bright together, blue ones are bright when the other is dark, and squares along the diagonal are rows of the image.',
} as const
