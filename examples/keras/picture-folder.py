"""A small network on a folder of pictures: the Keras twin of examples/picture-folder.ts."""
import os
import sys

import keras
import numpy as np
from keras import layers

epochs = int(os.environ.get("EPOCHS", 20))
train, validation = keras.utils.image_dataset_from_directory(
    sys.argv[1], image_size=(64, 64), validation_split=0.2, subset="both", seed=1, shuffle=True, batch_size=32
)
names = train.class_names
model = keras.Sequential([
    keras.Input((64, 64, 3)),
    layers.Rescaling(1 / 255),
    layers.RandomFlip("horizontal"),
    layers.RandomTranslation(4 / 64, 4 / 64, fill_mode="constant"),
    layers.Conv2D(16, 3, activation="relu"),
    layers.MaxPooling2D(),
    layers.Conv2D(32, 3, activation="relu"),
    layers.MaxPooling2D(),
    layers.Conv2D(64, 3, activation="relu"),
    layers.GlobalAveragePooling2D(),
    layers.Dropout(0.3),
    layers.Dense(len(names), activation="softmax"),
])
model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
best = keras.callbacks.EarlyStopping(monitor="val_accuracy", patience=epochs, restore_best_weights=True)
model.fit(train, validation_data=validation, epochs=epochs, callbacks=[best])

_, accuracy = model.evaluate(validation)
print(f"validation accuracy {100 * accuracy:.1f} %")
predictions = np.argmax(model.predict(validation), axis=1)
for path, prediction in zip(validation.file_paths[:5], predictions[:5]):
    print(f"{path}: {names[prediction]}")
