#!/usr/bin/env python3
"""Adapters of PEFT: merged as they are, over a base of one value."""

import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import numpy as np  # noqa: E402

from support import tensors  # noqa: E402
from support.cases import Cases, expect  # noqa: E402
from support.merged import Merged  # noqa: E402

cases = Cases(__doc__)

CHUNKS = ("4096", "8MiB")


def some(seed, *shape, dtype="F32"):
    """Numbers of few bits, so that sums of some of them are exact."""
    random = np.random.default_rng(seed)
    return tensors.round_to(dtype, shape, random.integers(-64, 64, int(np.prod(shape))) / 16)


def values(tensor):
    return tensor.float32().reshape(tensor.shape)


def write_adapter(directory, found, **config):
    directory.mkdir()
    tensors.write_file(directory / "adapter_model.safetensors", found, {"format": "pt"})
    (directory / "adapter_config.json").write_text(json.dumps(config))


def merge(context, text, *options):
    """The tensors of the merge as float32, the same for every size of chunks."""
    (context.directory / "job.yaml").write_text(text)
    found = []
    for chunk in CHUNKS:
        context.run_well("merge", "job.yaml", "--output", "out", "--output", "out.h5", "--overwrite", "--chunk", chunk,
                         *options)
        merged = Merged(context.directory / "out.h5")
        expect(not merged.faults, "; ".join(merged.faults))
        found.append(merged)
    expect(found[0].digest == found[1].digest, "chunks of another size give other bytes")
    return {name: values(tensor) for name, tensor in found[0].tensors.items()}


def expect_same(found, wanted):
    expect(set(found) == set(wanted), f"tensors differ: {sorted(set(found) ^ set(wanted))}")
    for name, expected in wanted.items():
        bad = np.flatnonzero(found[name].ravel() != expected.ravel())[:4]
        expect(bad.size == 0, f"{name}, elements {bad}: {found[name].ravel()[bad]}, expected {expected.ravel()[bad]}")


def ties(base, tasks, density):
    """Trimmed in each tensor, elected by mass, the mean of those that agree; for values without ties."""
    kept = []
    for task in tasks:
        delta = (task - base).ravel()
        keep = int(delta.size * density) + 1  # the published code keeps the threshold too
        order = np.argsort(-np.abs(delta), kind="stable")[:keep]
        kept.append(np.zeros_like(delta))
        kept[-1][order] = delta[order]
    kept = np.array(kept)
    sign = np.where(kept.sum(0) >= 0, 1, -1)
    agree = (np.sign(kept) == sign) & (kept != 0)
    mean = np.where(agree, kept, 0).sum(0) / np.maximum(agree.sum(0), 1)
    return (base.ravel() + mean.astype(np.float32)).reshape(base.shape)


@cases.case("constant")
def scaling_vectors_are_merged_over_ones(context):
    name = "base_model.model.layers.0.k_proj.ia3_l"
    found = [tensors.round_to("F32", (400, 1), 1 + np.random.default_rng(seed).permutation(np.arange(1, 401)) / 1024
                              * np.random.default_rng(seed + 9).choice([-1, 1], 400)) for seed in (1, 2)]
    for task, tensor in zip("ab", found):
        write_adapter(context.directory / task, {name: tensor}, peft_type="IA3", task=task)
    merged = merge(context, """merge_method: ties
base_model: {constant: 1}
models:
  - {model: a, parameters: {density: 0.5}}
  - {model: b, parameters: {density: 0.5}}
trim_scope: tensor
sign_tie: positive
""")
    expect_same(merged, {name: ties(np.float32(1) + np.zeros((400, 1), np.float32), [values(each) for each in found], 0.5)})


@cases.case("constant")
def factors_are_merged_over_zeros_and_make_an_adapter(context):
    names = [f"base_model.model.layers.{layer}.q_proj.lora_{factor}.weight" for layer in range(3) for factor in "AB"]
    found = {}
    for number, task in enumerate("ab"):
        found[task] = {name: some(10 * number + at, 8, 40, dtype="BF16" if at % 2 else "F32")
                       for at, name in enumerate(names)}
        write_adapter(context.directory / task, found[task], peft_type="LORA", r=8, task=task)
    merged = merge(context, """merge_method: task_arithmetic
base_model: {constant: 0}
models:
  - {model: a, parameters: {weight: 0.5}}
  - {model: b, parameters: {weight: 2}}
""", "--shard-size", "1KiB")
    expect_same(merged, {name: tensors.round_to(found["a"][name].dtype, (8, 40), 0.5 * values(found["a"][name])
                                                + 2 * values(found["b"][name])).float32().reshape(8, 40)
                         for name in names})
    out = context.directory / "out"
    expect(json.loads((out / "adapter_config.json").read_text())["task"] == "a", "the configuration is not the first's")
    left = sorted(path.name for path in out.glob("*.safetensors*"))
    expect(left == ["adapter_model.safetensors"], f"the output has {left}")
    written = tensors.read_file(out / "adapter_model.safetensors")
    expect({name: tensor.dtype for name, tensor in written.items()}
           == {name: tensor.dtype for name, tensor in found["a"].items()}, "types differ from the first model's")
    expect_same({name: values(tensor) for name, tensor in written.items()}, merged)


@cases.case("constant")
def what_is_not_merged_is_the_first_models(context):
    found = {task: {"x": some(seed, 30), "y": some(seed + 5, 30), "ids": tensors.raw("U8", (3,), bytes([seed, 7, 9]))}
             for seed, task in enumerate("ab")}
    for task, content in found.items():
        write_adapter(context.directory / task, content, peft_type="LORA")
    (context.directory / "job.yaml").write_text(
        "merge_method: task_arithmetic\nbase_model: {constant: 1}\nmodels: [{model: a}, {model: b}]\nexclude: y\n")
    context.run_well("merge", "job.yaml", "--output", "out.h5")
    merged = Merged(context.directory / "out.h5").tensors
    for name in ("y", "ids"):
        expect(merged[name].data == found["a"][name].data, f"{name} is not the first model's")
    expect_same({"x": merged["x"].float32()}, {"x": values(found["a"]["x"]) + values(found["b"]["x"]) - 1})


if __name__ == "__main__":
    cases.main()
