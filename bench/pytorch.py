"""PyTorch's times for the same work, on the same machine.

    python3 pytorch.py CHECK.json [--out pytorch.json] [--minutes 5]
    python3 pytorch.py --serve

The first times the work of a check: LeNet-5's training steps at the check's batch sizes (eager, torch.compile, and CUDA graphs where there is CUDA), its
matrix products and its convolutions (float32, and with TF32 where the GPU has it). `node check.mjs --page CHECK.json
--pytorch pytorch.json` puts them into the check's page. The second is the other side of `npm run bench -- --against pytorch`: it
reads work and repeats as lines of JSON, and answers each when it is done. Both take whatever PyTorch is there, with a GPU
or without.
"""

import argparse
import json
import sys
import time

import torch
import torch.nn.functional as F

cuda = torch.cuda.is_available()
device = torch.device("cuda" if cuda else "cpu")


def synchronize():
    if cuda:
        torch.cuda.synchronize()


def median_milliseconds(work, seconds=0.5, samples=11):
    """One run: the median of samples of at least 20 ms each, after a warm-up."""
    for _ in range(3):
        work()
    synchronize()
    begun = time.perf_counter()
    work()
    synchronize()
    once = time.perf_counter() - begun
    repeats = max(1, min(1000, int(0.02 / max(once, 1e-7))))
    found = []
    end = time.perf_counter() + seconds
    while len(found) < samples and (len(found) < 3 or time.perf_counter() < end):
        begun = time.perf_counter()
        for _ in range(repeats):
            work()
        synchronize()
        found.append(1000 * (time.perf_counter() - begun) / repeats)
    return float(f"{sorted(found)[len(found) // 2]:.6g}")


def allow_tf32(allowed):
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed


def precisions():
    has_tf32 = cuda and torch.cuda.get_device_capability()[0] >= 8
    return [("fp32", False)] + ([("tf32", True)] if has_tf32 else [])


def lenet():
    nn = torch.nn
    return nn.Sequential(
        nn.Conv2d(1, 6, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(400, 256), nn.ReLU(), nn.Linear(256, 32), nn.ReLU(), nn.Linear(32, 10),
    ).to(device)


def lenet_step(batch, way):
    """A function that does one step: gather a batch of bytes, pad it, forward, backward, Adam. As weftgrad's step does."""
    torch.manual_seed(1)
    images = torch.randint(0, 256, (10_000, 1, 28, 28), dtype=torch.uint8, device=device)
    labels = torch.randint(0, 10, (10_000,), device=device)
    order = torch.randint(0, 10_000, (batch,), device=device)
    model = lenet()
    # Adam's step count has to be on the GPU for a graph to repeat it.
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, eps=1e-7, capturable=cuda)

    def forward(order):
        x = F.pad(images[order].float() / 255, (2, 2, 2, 2))
        return F.cross_entropy(model(x), labels[order])

    if way == "compiled":
        forward = torch.compile(forward)

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss = forward(order)
        loss.backward()
        optimizer.step()
        return loss

    if way != "graph":
        return step
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def convolution(row):
    """The row's convolution in PyTorch's own layout (NCHW); padding as in the row, uneven padding written out as zeros."""
    [n, h, w, c], [kh, kw, _, last] = row["shapes"]
    depthwise = row["kind"] == "depthwiseConv2d"
    stride, dilation = row["strides"], row["dilation"]

    def after(out, step, window, spread, extent, before):
        return max(0, (out - 1) * step + (window - 1) * spread + 1 - extent - before)

    bottom = after(row["outHeight"], stride[0], kh, dilation[0], h, row["padTop"])
    right = after(row["outWidth"], stride[1], kw, dilation[1], w, row["padLeft"])
    x = torch.rand(n, c, h, w, device=device) * 2 - 1
    kernel = torch.rand(c * last if depthwise else last, 1 if depthwise else c, kh, kw, device=device) * 2 - 1
    groups = c if depthwise else 1
    if (bottom, right) == (row["padTop"], row["padLeft"]):
        return lambda: F.conv2d(x, kernel, None, stride, (bottom, right), dilation, groups)
    padding = (row["padLeft"], right, row["padTop"], bottom)
    return lambda: F.conv2d(F.pad(x, padding), kernel, None, stride, 0, dilation, groups)


def vgg16_features(pixels, batch):
    """A function that takes a batch through VGG16 without its top, as a frozen feature extractor."""
    layers, channels = [], 3
    for filters, depth in [(64, 2), (128, 2), (256, 3), (512, 3), (512, 3)]:
        for _ in range(depth):
            layers += [torch.nn.Conv2d(channels, filters, 3, padding=1), torch.nn.ReLU(inplace=True)]
            channels = filters
        layers.append(torch.nn.MaxPool2d(2))
    model = torch.nn.Sequential(*layers, torch.nn.AdaptiveAvgPool2d(1)).to(device).eval()
    x = torch.rand(batch, 3, pixels, pixels, device=device) * 2 - 1
    return lambda: model(x)


def matmul(shapes):
    a, b = (torch.rand(*shape, device=device) * 2 - 1 for shape in shapes)
    return lambda: a @ b


def served_work(work):
    kind = work["kind"]
    if kind == "lenet":
        return lenet_step(work["batch"], "eager")
    if kind == "vgg16":
        return vgg16_features(work["pixels"], work["batch"])
    return matmul(work["shapes"])


def serve():
    """Answers each line of standard input: {"open": WORK} prepares work, {"run": N} does it N times."""

    def answer(message):
        print(json.dumps(message), flush=True)

    torch.backends.cudnn.benchmark = True
    answer({"torch": torch.__version__, "device": torch.cuda.get_device_name() if cuda else f"the processor, {torch.get_num_threads()} threads"})
    work, learns = None, False
    for line in sys.stdin:
        try:
            message = json.loads(line)
            if "open" in message:
                learns = message["open"]["kind"] == "lenet"
                work = served_work(message["open"])
            else:
                with torch.set_grad_enabled(learns):
                    for _ in range(message["run"]):
                        work()
                synchronize()
            answer({"done": True})
        except Exception as error:
            answer({"error": " ".join(str(error).split())[:300]})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("check", nargs="?", help="the report that check:gpu wrote")
    parser.add_argument("--serve", action="store_true", help="answer the benchmark's requests")
    parser.add_argument("--out", default="pytorch.json")
    parser.add_argument("--minutes", type=float, default=5)
    options = parser.parse_args()
    if options.serve:
        return serve()
    if options.check is None:
        parser.error("name the report that check:gpu wrote")
    with open(options.check) as file:
        check = json.load(file)
    parts = {part["name"]: part for part in check["parts"]}
    end = time.perf_counter() + 60 * options.minutes
    left = []
    report = {
        "what": "weftgrad check, PyTorch",
        "device": torch.cuda.get_device_name() if cuda else "the processor",
        "torch": torch.__version__,
        "lenet": {}, "matmul": {}, "convolutions": {}, "left": left,
    }

    def measure(table, name, how, make):
        if time.perf_counter() > end:
            left.append(f"{name}, {how}: time was up.")
            return
        try:
            with torch.set_grad_enabled(table == "lenet"):
                milliseconds = median_milliseconds(make())
            report[table].setdefault(name, {})[how] = milliseconds
            print(f"{table:14}{name}, {how}: {milliseconds:.4g} ms", flush=True)
        except Exception as error:  # the report lists what PyTorch cannot do here, and the rest continues
            left.append(f"{name}, {how}: {' '.join(str(error).split())[:300]}")
            print(f"{table:14}{name}, {how}: not measured", flush=True)

    for row in parts.get("lenet", {}).get("steps", []):
        for way in ["eager", "compiled"] + (["graph"] if cuda else []):
            allow_tf32(False)
            measure("lenet", str(row["batch"]), way, lambda: lenet_step(row["batch"], way))
    for how, allowed in precisions():
        allow_tf32(allowed)
        for row in parts.get("matmul", {}).get("products", []):
            size = row["shapes"][0][0]
            a, b = (torch.rand(size, size, device=device) * 2 - 1 for _ in range(2))
            measure("matmul", row["name"], how, lambda: lambda: a @ b)
        for row in parts.get("convolutions", {}).get("convolutions", []):
            measure("convolutions", row["name"], how, lambda: convolution(row))
    with open(options.out, "w") as file:
        json.dump(report, file, indent=1)
    print(options.out)
    if not any(report[table] for table in ("lenet", "matmul", "convolutions")):
        sys.exit("Nothing was measured: the report has no such parts.")


if __name__ == "__main__":
    main()
