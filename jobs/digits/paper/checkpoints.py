"""Several checkpoints of one task: the base fine-tuned again, each time on other images in another order.

The data have one fine-tuned model per task and seed. So these are trained here, in numpy, as the others were: the
body by SGD from the same base, the task's head frozen.
"""

import json
import pathlib
import struct
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from evaluate import folder, heads_of, images_of, read_model  # noqa: E402

EPOCHS, BATCH, RATE, IMAGES = 10, 20, 0.05, 500
LAYERS = 3


def write_safetensors(path, model):
    header, data = {}, b""
    for name, values in model.items():
        header[name] = {"dtype": "F32", "shape": list(values.shape), "data_offsets": [len(data), len(data) + values.nbytes]}
        data += values.astype("<f4").tobytes()
    text = json.dumps(header).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def fine_tune(seed, task, number):
    """The body after some epochs on half of the task's train images; `number` chooses which, and their order."""
    random = np.random.default_rng([seed, number])
    model = {name: values.copy() for name, values in read_model(folder(seed) / "base").items()}
    images = images_of(task)
    chosen = random.permutation(len(images["train.x"]))[:IMAGES]
    x, y = images["train.x"][chosen], images["train.y"][chosen]
    head = heads_of(seed)
    for _ in range(EPOCHS):
        order = random.permutation(IMAGES)
        for begin in range(0, IMAGES, BATCH):
            batch = order[begin:begin + BATCH]
            _step(model, head[f"{task}.weight"], head[f"{task}.bias"], x[batch], y[batch])
    return model


def _step(model, head, head_bias, x, y):
    activations = [x]
    for layer in range(LAYERS):
        activations.append(np.maximum(activations[-1] @ model[f"layers.{layer}.weight"].T + model[f"layers.{layer}.bias"], 0))
    scores = activations[-1] @ head.T + head_bias
    shares = np.exp(scores - scores.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    shares[np.arange(len(y)), y] -= 1
    slope = shares / len(y) @ head
    for layer in reversed(range(LAYERS)):
        slope = slope * (activations[layer + 1] > 0)
        change, bias_change = slope.T @ activations[layer], slope.sum(axis=0)
        slope = slope @ model[f"layers.{layer}.weight"]
        model[f"layers.{layer}.weight"] -= np.float32(RATE) * change
        model[f"layers.{layer}.bias"] -= np.float32(RATE) * bias_change
