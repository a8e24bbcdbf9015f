"""Transfer on pictures of one's own: the Keras twin of examples/transfer.ts."""
import os
import sys

import keras
import numpy as np
from keras import layers

epochs = int(os.environ.get("EPOCHS", 50))
size = 64
weights = sys.argv[2] if len(sys.argv) > 2 else "imagenet"
base = keras.applications.VGG16(include_top=False, weights=weights, input_shape=(size, size, 3), pooling="avg")


def features(dataset):
    pictures, labels = [np.concatenate([np.asarray(part) for part in parts]) for parts in zip(*dataset)]
    return base.predict(keras.applications.vgg16.preprocess_input(pictures)), labels


sets = keras.utils.image_dataset_from_directory(
    sys.argv[1], image_size=(size, size), validation_split=0.2, subset="both", seed=1
)
(x, y), validation = features(sets[0]), features(sets[1])

head = keras.Sequential([keras.Input(x.shape[1:]), layers.Dropout(0.3), layers.Dense(y.max() + 1)])
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
head.compile(optimizer="adam", loss=loss, metrics=["accuracy"])
early = keras.callbacks.EarlyStopping(monitor="val_accuracy", patience=5, restore_best_weights=True)
head.fit(x, y, validation_data=validation, epochs=epochs, batch_size=32, callbacks=[early], verbose=0)
_, accuracy = head.evaluate(*validation, verbose=0)
print(f"validation accuracy {100 * accuracy:.1f} %")
