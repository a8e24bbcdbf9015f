"""Writes the ONNX project's node cases: one operator each, with inputs and outputs, in the layout of its own tests.

    python write-node-cases.py FOLDER

Needs onnx, whose package holds the cases as programs. Each becomes FOLDER/NAME/model.onnx and
FOLDER/NAME/test_data_set_0/{input,output}_N.pb.
"""
import os
import sys
import warnings

warnings.filterwarnings("ignore")

from onnx import numpy_helper  # noqa: E402
from onnx.backend.test.case.node import collect_testcases  # noqa: E402


def write(path, value, port):
    # Sequences and optional values are no tensors: such cases are left without data.
    if not hasattr(value, "dtype") and not isinstance(value, (int, float)):
        return
    with open(path, "wb") as file:
        tensor = value if hasattr(value, "SerializeToString") else numpy_helper.from_array(value, port.name)
        file.write(tensor.SerializeToString())


if __name__ == "__main__":
    folder = sys.argv[1]
    for case in collect_testcases(None):
        data = os.path.join(folder, case.name, "test_data_set_0")
        os.makedirs(data, exist_ok=True)
        with open(os.path.join(folder, case.name, "model.onnx"), "wb") as file:
            file.write(case.model.SerializeToString())
        inputs, outputs = case.data_sets[0]
        for kind, values, ports in (("input", inputs, case.model.graph.input), ("output", outputs, case.model.graph.output)):
            for i, (value, port) in enumerate(zip(values, ports)):
                write(os.path.join(data, f"{kind}_{i}.pb"), value, port)
