"""Regression on a CSV file with a metric of its own: the Keras twin of examples/regression.ts."""
import os
from pathlib import Path

import keras
import numpy as np

epochs = int(os.environ.get("EPOCHS", 150))
table = np.loadtxt(Path(__file__).parent.parent / "data" / "diabetes.csv", delimiter=",", skiprows=1, dtype="float32")
order = np.random.default_rng(1).permutation(len(table))
held = len(table) // 5
x, y = table[:, :-1], table[:, -1:]
train, test = order[held:], order[:held]

normalization = keras.layers.Normalization()
normalization.adapt(x[train])
model = keras.Sequential([
    keras.Input((10,)),
    normalization,
    keras.layers.Dense(32, activation="relu"),
    keras.layers.Dense(16, activation="relu"),
    keras.layers.Dense(1),
])


def absolute_error(target, output):
    return keras.ops.abs(output - target)


model.compile(optimizer=keras.optimizers.Adam(3e-3), loss="mse", metrics=[absolute_error])
best = keras.callbacks.ModelCheckpoint(
    "best.weights.h5", monitor="val_absolute_error", mode="min", save_best_only=True, save_weights_only=True
)
model.fit(x[train], y[train], epochs=epochs, batch_size=32, validation_split=0.1, callbacks=[best], verbose=0)
model.load_weights("best.weights.h5")
_, error = model.evaluate(x[test], y[test], verbose=0)
print(f"test mean absolute error {error:.1f} on {len(test)} patients")
