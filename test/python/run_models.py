"""Opens models in Keras or ONNX Runtime and runs each on a batch.

    python3 run_models.py keras|onnx FOLDER

FOLDER/cases.json lists the models: {"model": FILE, "input": FILE, "shape": [...], "output": FILE, "save": FILE or null}. Inputs and
outputs are float32, row-major, in the machine's order of bytes. `save` is where Keras writes the model that it read. Prints a
line of JSON for each model: {"model": FILE, "shape": [...]} or {"model": FILE, "error": TEXT}.
"""

import importlib.util
import json
import os
import sys

import numpy as np

tool, folder = sys.argv[1:]


def path(name):
    return os.path.join(folder, name)


if tool == "keras":
    if "KERAS_BACKEND" not in os.environ:
        # Not torch: there, average pooling with padding "same" counts the zeros, which Keras' other backends do not.
        names = ["tensorflow", "jax"]
        found = [name for name in names if importlib.util.find_spec(name)]
        os.environ["KERAS_BACKEND"] = found[0] if found else "numpy"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import keras

    def run(case, x):
        model = keras.saving.load_model(path(case["model"]), compile=False)
        if case["save"] is not None:
            model.save(path(case["save"]))
        return keras.ops.convert_to_numpy(model(keras.ops.convert_to_tensor(x), training=False))

else:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3

    def run(case, x):
        session = onnxruntime.InferenceSession(path(case["model"]), options, providers=["CPUExecutionProvider"])
        [given] = session.get_inputs()
        return session.run(None, {given.name: x})[0]


with open(path("cases.json")) as file:
    cases = json.load(file)
for case in cases:
    try:
        x = np.fromfile(path(case["input"]), dtype="float32").reshape(case["shape"])
        y = np.asarray(run(case, x), dtype="float32")
        y.tofile(path(case["output"]))
        result = {"model": case["model"], "shape": list(y.shape)}
    except Exception as error:
        result = {"model": case["model"], "error": str(error)[:2000]}
    print(json.dumps(result), flush=True)
