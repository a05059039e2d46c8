#!/usr/bin/env python3
"""TIES as the paper's authors do it: every task vector flat in memory, the trim over the whole model, in torch.

Written from the paper (Yadav et al. 2023, algorithm 1) to be measured beside mpimerge; needs torch and safetensors.
"""

import argparse
import pathlib

import torch
from safetensors.torch import load_file, save_file


def load(directory):
    tensors = {}
    for file in sorted(pathlib.Path(directory).glob("*.safetensors")):
        tensors.update(load_file(file))
    return tensors


def flat(tensors, names):
    return torch.cat([tensors[name].flatten().float() for name in names])


def trim(vector, density):
    """Zeroes all but the largest magnitudes; equals of the threshold stay."""
    magnitudes = vector.abs()
    threshold = magnitudes.kthvalue(max(1, vector.numel() - int(vector.numel() * density))).values
    return vector * (magnitudes >= threshold)


def elect(vectors):
    """One sign per parameter; a sum of zero takes the majority of the model."""
    signs = vectors.sum(dim=0).sign()
    signs[signs == 0] = signs.sum(dtype=torch.float64).sign().float()
    return signs


def disjoint_mean(vectors, signs):
    agrees = torch.where(signs > 0, vectors > 0, vectors < 0)
    chosen = vectors * agrees
    return chosen.sum(dim=0) / (chosen != 0).sum(dim=0).clamp(min=1)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--density", type=float, default=0.2)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("output", help="directory")
    parser.add_argument("base")
    parser.add_argument("tasks", nargs="+")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    base = load(arguments.base)
    names = sorted(base)
    origin = flat(base, names)
    vectors = torch.stack([trim(flat(load(task), names) - origin, arguments.density) for task in arguments.tasks])
    merged = origin + disjoint_mean(vectors, elect(vectors))

    tensors, begin = {}, 0
    for name in names:
        end = begin + base[name].numel()
        tensors[name] = merged[begin:end].reshape(base[name].shape).to(base[name].dtype)
        begin = end
    directory = pathlib.Path(arguments.output)
    directory.mkdir(parents=True)
    save_file(tensors, directory / "model.safetensors")


if __name__ == "__main__":
    main()
