"""Exports networks of torchvision, with random weights, as ONNX files, and computes their outputs with ONNX Runtime.

    python write-models.py FOLDER [NAME ...]

Needs torch, torchvision, onnx, onnxscript and onnxruntime. For each network it writes FOLDER/NAME.onnx, NAME.input and
NAME.output (float32, row-major), and prints a line of JSON: the name, the exporter, and both shapes.
"""
import json
import os
import sys
import warnings

import numpy as np
import onnxruntime
import torch
import torchvision

warnings.filterwarnings("ignore")
# The network, the side of its images, and the exporter: the current one, or the older one by tracing.
MODELS = {
    "resnet18": ("resnet18", 64, "dynamo"),
    "resnet18_traced": ("resnet18", 64, "traced"),
    "mobilenet_v2": ("mobilenet_v2", 64, "dynamo"),
    "mobilenet_v3_small": ("mobilenet_v3_small", 64, "traced"),
    "efficientnet_b0": ("efficientnet_b0", 64, "dynamo"),
    "squeezenet1_1": ("squeezenet1_1", 64, "traced"),
    "densenet121": ("densenet121", 64, "dynamo"),
    "shufflenet_v2": ("shufflenet_v2_x0_5", 64, "traced"),
    "convnext_tiny": ("convnext_tiny", 64, "traced"),
    "googlenet": ("googlenet", 64, "traced"),
    "mnasnet": ("mnasnet0_5", 64, "traced"),
    "regnet": ("regnet_y_400mf", 64, "dynamo"),
    "vit_b_16": ("vit_b_16", 224, "dynamo"),
    "swin_t": ("swin_t", 224, "dynamo"),
    "vgg11": ("vgg11", 224, "traced"),
}


def network(name):
    torch.manual_seed(1)
    options = {"init_weights": False} if name == "googlenet" else {}
    model = getattr(torchvision.models, name)(weights=None, num_classes=20, **options)
    # Statistics other than 0 and 1, and a few that keep random networks from dying out.
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
        # Heads of transformers start at 0, which would hide all that comes before them.
        if isinstance(module, torch.nn.Linear) and not module.weight.any():
            torch.nn.init.normal_(module.weight, 0, 0.05)
    return model.eval()


def write(folder, key):
    name, side, exporter = MODELS[key]
    model = network(name)
    x = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(2))
    path = os.path.join(folder, f"{key}.onnx")
    named = {"input_names": ["image"], "output_names": ["scores"]}
    with open(os.devnull, "w") as quiet:
        sys.stdout, kept = quiet, sys.stdout
        try:
            if exporter == "dynamo":
                shapes = {next(iter(__import__("inspect").signature(model.forward).parameters)): {0: "examples"}}
                torch.onnx.export(model, (x,), path, dynamo=True, external_data=False, dynamic_shapes=shapes, **named)
            else:
                torch.onnx.export(model, (x[:1],), path, dynamo=False, opset_version=17, **named)
        finally:
            sys.stdout = kept
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    rows = [x] if exporter == "dynamo" else [x[:1], x[1:]]
    y = np.concatenate([session.run(None, {"image": row.numpy()})[0] for row in rows])
    x.numpy().tofile(os.path.join(folder, f"{key}.input"))
    y.tofile(os.path.join(folder, f"{key}.output"))
    print(json.dumps({"name": key, "exporter": exporter, "input": list(x.shape), "output": list(y.shape)}), flush=True)


if __name__ == "__main__":
    folder, *names = sys.argv[1:]
    os.makedirs(folder, exist_ok=True)
    for one in names or MODELS:
        write(folder, one)
