#!/usr/bin/env python3
"""Writes with the installed torch: make.py DIRECTORY. torch 2 also writes what is expected, and what is refused."""

import collections
import math
import pathlib
import sys

import torch

OUT = pathlib.Path(sys.argv[1])
TYPES = ("float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool",
         "float8_e4m3fn", "float8_e5m2", "uint64", "uint32", "uint16")


def counting(*shape, dtype=torch.float32):
    return torch.arange(1, math.prod(shape) + 1).reshape(shape).to(dtype)


def module():
    """The state dict of a module: parameters, buffers, a 0-d integer, `_metadata`."""
    net = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    with torch.no_grad():
        for number, tensor in enumerate(net.state_dict().values()):
            tensor.copy_(counting(*tensor.shape) + 100 * number)
    return net.state_dict()


def views():
    """Names that share a storage, parts of one, a parameter with an attribute, 0-d and empty tensors."""
    table = counting(6, 4)
    parameter = torch.nn.Parameter(counting(5).bfloat16())
    parameter.tensor_model_parallel = True
    return {"wte.weight": table, "lm_head.weight": table, "rows": table[2:4], "row": table[5], "element": table[1, 2],
            "column": counting(4, 1)[:, :1].expand(4, 1), "parameter": parameter, "empty": torch.zeros(0, 7),
            "empty.of.a.part": table[6:], "gewichtü θ😀": counting(2, dtype=torch.float16)}


def types():
    """Every type that this torch has."""
    return {name: counting(3, 2, dtype=getattr(torch, name)) for name in TYPES if hasattr(torch, name)}


def save(name, content, **options):
    torch.save(content, OUT / name, **options)


for function in (module, views, types):
    save(f"{function.__name__}.pt", function())

if torch.__version__.startswith("2"):
    from safetensors.torch import save_file

    for function in (module, views, types):
        plain = {name: tensor.detach().clone().contiguous() for name, tensor in function().items()}
        save_file(plain, OUT.parent / f"{function.__name__}.safetensors")

    (OUT.parent / "refused").mkdir(exist_ok=True)
    one = {"a": counting(3, 2)}
    save("../refused/legacy.pt", one, _use_new_zipfile_serialization=False)
    save("../refused/protocol_4.pt", one, pickle_protocol=4)
    save("../refused/transposed.pt", {**one, "b.weight": counting(3, 2).t()})
    save("../refused/channels_last.pt", {"conv": counting(1, 2, 2, 2).contiguous(memory_format=torch.channels_last)})
    save("../refused/wrapped.pt", {"epoch": 3, "state_dict": collections.OrderedDict(one),
                                   "optimizer": {"state": {}, "param_groups": [{"lr": 0.1, "betas": (0.9, 0.999)}]}})
    save("../refused/step.pt", {**one, "step": 3})
    save("../refused/single.pt", one["a"])
    save("../refused/whole_module.pt", torch.nn.Linear(2, 2))
    save("../refused/complex.pt", {"a": torch.ones(2, dtype=torch.complex64)})
    save("../refused/negative.pt", {"a": torch._neg_view(counting(4))})
    save("../refused/sparse.pt", {"a": torch.eye(3).to_sparse()})
    tagged = counting(2)
    tagged.tag = "not a plain tensor"
    save("../refused/attributes.pt", {"a": tagged})
