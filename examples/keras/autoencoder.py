"""A convolutional autoencoder on Fashion-MNIST: the Keras twin of examples/autoencoder.ts."""
import os
import sys

import keras
import numpy as np
from keras import layers

epochs = int(os.environ.get("EPOCHS", 3))
file = sys.argv[1] if len(sys.argv) > 1 else "autoencoder.png"
(x, _), (x_test, _) = keras.datasets.fashion_mnist.load_data()
x, x_test = x[..., None].astype("float32") / 255, x_test[..., None].astype("float32") / 255

model = keras.Sequential([
    keras.Input((28, 28, 1)),
    layers.Conv2D(16, 3, strides=2, padding="same", activation="relu"),
    layers.Conv2D(32, 3, strides=2, padding="same", activation="relu"),
    layers.Flatten(),
    layers.Dense(32, name="code"),
    layers.Dense(7 * 7 * 32, activation="relu"),
    layers.Reshape((7, 7, 32)),
    layers.Conv2DTranspose(32, 3, strides=2, padding="same", activation="relu"),
    layers.Conv2DTranspose(16, 3, strides=2, padding="same", activation="relu"),
    layers.Conv2D(1, 3, padding="same", activation="sigmoid"),
])
model.compile(optimizer="adam", loss="mse")
model.fit(x, x, epochs=epochs, batch_size=128)
print(f"test mean squared error {model.evaluate(x_test, x_test, verbose=0):.4f}")

count = 10
originals = x_test[:count]
restored = model.predict(originals)
picture = np.concatenate([np.concatenate(list(half), axis=1) for half in (originals, restored)], axis=0)
keras.utils.save_img(file, picture)
