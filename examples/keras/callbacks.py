"""Early stopping, plateau, CSV log, class and sample weights: the Keras twin of examples/callbacks.ts."""
import os
import sys

import keras
import numpy as np
from keras import layers

epochs = int(os.environ.get("EPOCHS", 100))
log = sys.argv[1] if len(sys.argv) > 1 else "training.csv"
count = 2000
random = np.random.default_rng(1)
x = random.uniform(-1, 1, (count, 2))
is_doubtful = random.uniform(size=count) < 0.2
truth = (np.hypot(*x.T) < 0.35).astype(int)  # a tenth of all points
y = np.where(is_doubtful & (random.uniform(size=count) < 0.5), 1 - truth, truth)
class_weight = np.array([1, 5])
sample_weight = np.where(is_doubtful, 0.1, 1) * class_weight[y]  # Keras takes either, not both

held = count // 5
model = keras.Sequential([
    keras.Input((2,)),
    layers.Dense(32, activation="relu"),
    layers.Dense(32, activation="relu"),
    layers.Dense(1, activation="sigmoid"),
])
optimizer = keras.optimizers.Adam(1e-2)
model.compile(optimizer=optimizer, loss="binary_crossentropy", metrics=["accuracy", keras.metrics.Recall(name="recall")])
history = model.fit(
    x[held:], y[held:], sample_weight=sample_weight[held:], epochs=epochs, batch_size=32, verbose=0,
    validation_data=(x[:held], y[:held], sample_weight[:held]),
    callbacks=[
        keras.callbacks.EarlyStopping(patience=10, restore_best_weights=True),
        keras.callbacks.ReduceLROnPlateau(factor=0.5, patience=4),
        keras.callbacks.CSVLogger(log),
    ],
)
results = history.history
best = int(np.argmin(results["val_loss"]))
recall = results["val_recall"][best]
print(f"stopped after {len(results['loss'])} epochs; the best, {best + 1}, has a recall of {recall:.3f}")
