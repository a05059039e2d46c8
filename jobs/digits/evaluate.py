#!/usr/bin/env python3
"""Accuracy of one model on the eight digit tasks.

MODEL is a safetensors file, a folder with model.safetensors, or an HDF5 file
that mpimerge wrote. Needs numpy, and h5py for HDF5.
"""
import argparse
import functools
import json
import pathlib
import struct

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
TASKS = ["plain", "rot90", "negative", "mirror", "perm_a", "perm_b", "shift", "noise"]
NUMPY_TYPES = {"F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8"}


def read_safetensors(path):
    data = pathlib.Path(path).read_bytes()
    (header_bytes,) = struct.unpack_from("<Q", data)
    begin = 8 + header_bytes
    tensors = {}
    for name, entry in json.loads(data[8:begin]).items():
        if name == "__metadata__":
            continue
        first, last = entry["data_offsets"]
        values = np.frombuffer(data[begin + first:begin + last], NUMPY_TYPES[entry["dtype"]])
        if entry["dtype"] == "BF16":
            values = (values.astype(np.uint32) << 16).view(np.float32)
        tensors[name] = values.reshape(entry["shape"])
    return tensors


def read_hdf5(path):
    import h5py

    with h5py.File(path, "r") as file:
        return {name: dataset[...] for name, dataset in file["tensors"].items()}


def read_model(path):
    path = pathlib.Path(path)
    if path.is_dir():
        path = path / "model.safetensors"
    return read_hdf5(path) if path.suffix in (".h5", ".hdf5") else read_safetensors(path)


def folder(seed=0):
    """Where the models of a seed lie; the images are the same for all."""
    return HERE / f"seed{seed}" if seed else HERE


@functools.lru_cache(maxsize=None)
def heads_of(seed=0):
    return read_safetensors(folder(seed) / "heads.safetensors")


@functools.lru_cache(maxsize=None)
def images_of(task):
    return read_safetensors(HERE / "data" / f"{task}.safetensors")


def scores(model, task, split="test", seed=0):
    """[images, 10]: what the body and the task's own head make of the task's images."""
    x = images_of(task)[f"{split}.x"]
    for layer in range(3):
        weight, bias = (model[f"layers.{layer}.{part}"].astype(np.float32) for part in ("weight", "bias"))
        x = np.maximum(x @ weight.T + bias, np.float32(0))
    return x @ heads_of(seed)[f"{task}.weight"].T + heads_of(seed)[f"{task}.bias"]


def share_right(found, task, split="test"):
    """Share of the task's images whose digit has the largest score."""
    return float((found.argmax(axis=1) == images_of(task)[f"{split}.y"]).mean())


def accuracy(model, task, split="test", seed=0):
    """Share of the task's images whose digit the body and the task's own head get right."""
    return share_right(scores(model, task, split, seed), task, split)


def finetuned_accuracy(split="test", seed=0):
    """By task: the accuracy of the model that was fine-tuned on it, which normalises the others."""
    return json.loads((folder(seed) / "finetuned_accuracy.json").read_text())[split]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument("--tasks", default=",".join(TASKS), help="the tasks that were merged (default: all eight)")
    parser.add_argument("--split", default="test", choices=("test", "val", "train"))
    parser.add_argument("--seed", type=int, default=0, choices=(0, 1, 2), help="of the models (default: 0)")
    arguments = parser.parse_args()

    model = read_model(arguments.model)
    finetuned = finetuned_accuracy(arguments.split, arguments.seed)
    rows = []
    for task in arguments.tasks.split(","):
        reached = accuracy(model, task, arguments.split, arguments.seed)
        rows.append((task, reached, finetuned[task], reached / finetuned[task]))
    rows.append(("mean", *np.mean([row[1:] for row in rows], axis=0)))
    print(f"{'task':<10}{'accuracy':>10}{'fine-tuned':>12}{'normalised':>12}")
    for task, reached, alone, normalised in rows:
        print(f"{task:<10}{reached:>10.4f}{alone:>12.4f}{normalised:>12.4f}")


if __name__ == "__main__":
    main()
