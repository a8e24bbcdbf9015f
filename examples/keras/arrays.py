"""Two spirals, from arrays of numbers: the Keras twin of examples/arrays.ts."""
import os

import keras
import numpy as np

epochs = int(os.environ.get("EPOCHS", 200))
count = 400
turn = 3 * np.pi * np.arange(count) / count + 1
y = np.arange(count) % 2
x = np.stack([turn * np.cos(turn + np.pi * y), turn * np.sin(turn + np.pi * y)], axis=1)

order = np.random.default_rng(1).permutation(count)
train, test = order[100:], order[:100]
model = keras.Sequential([
    keras.Input((2,)),
    keras.layers.Dense(64, activation="tanh"),
    keras.layers.Dense(64, activation="tanh"),
    keras.layers.Dense(2, activation="softmax"),
])
model.compile(optimizer=keras.optimizers.Adam(5e-3), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(x[train], y[train], epochs=epochs, batch_size=32, verbose=0)
_, accuracy = model.evaluate(x[test], y[test], verbose=0)
print(f"test accuracy {100 * accuracy:.1f} %")
