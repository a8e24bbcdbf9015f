"""A training loop of one's own with two optimizers, clipping and schedules: the Keras twin of examples/own-loop.ts."""
import os

import keras
import numpy as np
from keras import layers, optimizers

epochs = int(os.environ.get("EPOCHS", 2))
batch = 64
(x, y), (x_test, y_test) = keras.datasets.fashion_mnist.load_data()
x, x_test = x[..., None].astype("float32") / 255, x_test[..., None].astype("float32") / 255
steps_per_epoch = len(x) // batch
steps = epochs * steps_per_epoch

model = keras.Sequential([
    keras.Input((28, 28, 1)),
    layers.Conv2D(16, 3, activation="relu", name="conv1"),
    layers.MaxPooling2D(),
    layers.Conv2D(32, 3, activation="relu", name="conv2"),
    layers.MaxPooling2D(),
    layers.Flatten(),
    layers.Dropout(0.3),
    layers.Dense(10, name="logits"),
])
cosine = optimizers.schedules.CosineDecay(0.05, steps)
falling = optimizers.schedules.ExponentialDecay(1e-3, steps_per_epoch, 0.1, staircase=True)
groups = [
    ("conv", optimizers.SGD(cosine, momentum=0.9, global_clipnorm=1)),
    ("logits", optimizers.Adam(falling, clipnorm=1)),
]
groups = [([v for v in model.trainable_variables if v.path.startswith(name)], own) for name, own in groups]
crossentropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
random = np.random.default_rng(1)

for epoch in range(1, epochs + 1):
    order = random.permutation(len(x))
    losses = []
    for i in range(steps_per_epoch):
        rows = order[i * batch : (i + 1) * batch]
        model.zero_grad()  # the torch backend's way to gradients
        loss = crossentropy(y[rows], model(x[rows], training=True))
        loss.backward()
        for variables, optimizer in groups:
            optimizer.apply([v.value.grad for v in variables], variables)
        losses.append(loss.item())
    print(f"epoch {epoch}: loss {np.mean(losses):.3f}")
model.compile(loss=crossentropy, metrics=["accuracy"])
_, accuracy = model.evaluate(x_test, y_test, verbose=0)
print(f"test accuracy {100 * accuracy:.2f} %")
