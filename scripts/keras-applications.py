"""Prints src/weights/keras-applications.ts: the ImageNet weights that Keras publishes, as its own code downloads them.

Keras' code asks for each file by name, address and checksum; `get_file` is replaced by a function that notes them. Networks
whose files have no checksum are left out, and those that src/weights/zoo.ts has.

    pip install keras torch
    KERAS_BACKEND=torch python scripts/keras-applications.py > src/weights/keras-applications.ts
    npx biome check --write src/weights/keras-applications.ts
"""

import keras
import torch
from keras.src.applications import nasnet
from keras.src.utils import file_utils


class Noted(Exception):
    pass


def note(fname, origin, cache_subdir=None, file_hash=None):
    raise Noted(fname, origin, file_hash)


def nasnet_mobile(weights, include_top):
    # Keras refuses its own function with PyTorch, after the network is built; the arguments are those that it passes on.
    nasnet.NASNet((224, 224, 3), 1056, 4, 32, False, 2, include_top, weights, None, None, 1000, 224)


file_utils.get_file = note
own = {"VGG16", "Xception", "ResNet152V2"}
others = {"NASNetMobile": nasnet_mobile}


def file_of(make, top):
    """The name in Keras' cache, the address and the checksum."""
    try:
        with torch.device("meta"), keras.device("meta"):
            make(weights="imagenet", include_top=top)
    except Noted as noted:
        return noted.args
    raise SystemExit(f"{make} asks for no file")


def cached(file):
    return file.lower().replace("-", "_") if file.startswith("NASNet") else file


print(f"""/**
 * The ImageNet weights of networks that weftgrad does not build, as Keras {keras.__version__} publishes them: addresses and checksums.
 * scripts/keras-applications.py writes this file.
 */

/** Keras' name, the folder, then the file and its checksum: without the classifier, and with it. */
export const kerasApplications: readonly (readonly string[])[] = [""")
for name in sorted(name for name, value in vars(keras.applications).items() if callable(value) and name not in own):
    make = others.get(name, getattr(keras.applications, name))
    row = []
    for top in (False, True):
        fname, url, checksum = file_of(make, top)
        folder, file = url.rsplit("/", 1)
        assert cached(file) == fname, (file, fname)
        row += [file, checksum]
    if all(row):
        print("  " + repr([name, folder, *row]) + ",")
print("]")
