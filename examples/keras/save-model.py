"""A saved and reloaded model with a layer of its own: the Keras twin of examples/save-model.ts."""
import os
import sys

import keras
import numpy as np

epochs = int(os.environ.get("EPOCHS", 100))
file = sys.argv[1] if len(sys.argv) > 1 else "parabola.keras"


@keras.saving.register_keras_serializable()
class Swish(keras.layers.Layer):
    """x sigmoid(beta x), with a beta for each feature that is trained."""

    def __init__(self, start=1.0, **kwargs):
        super().__init__(**kwargs)
        self.start = start

    def build(self, shape):
        self.beta = self.add_weight(shape=shape[-1:], initializer=keras.initializers.Constant(self.start), name="beta")

    def call(self, x):
        return x * keras.ops.sigmoid(self.beta * x)

    def get_config(self):
        return {**super().get_config(), "start": self.start}


x = np.linspace(-1, 0.99, 200, dtype="float32")[:, None]
y = x**2
model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(16), Swish(1.5), keras.layers.Dense(1)])
model.compile(optimizer=keras.optimizers.Adam(1e-2), loss="mse")
model.fit(x, y, epochs=epochs, batch_size=20, verbose=0)

model.save(file)
loaded = keras.saving.load_model(file)
before, after = model.predict(x, verbose=0), loaded.predict(x, verbose=0)
print(f"the same predictions: {bool((before == after).all())}")
print(f"0.5 squared is about {after[150][0]:.3f}")
