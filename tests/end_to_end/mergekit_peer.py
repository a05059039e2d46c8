#!/usr/bin/env python3
"""The same recipes through mergekit itself, where it is installed: for this Python, or that of MPIMERGE_MERGEKIT_PYTHON."""

import json
import os
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import numpy as np  # noqa: E402

from bench.checkpoints import Shape  # noqa: E402
from support import tensors  # noqa: E402
from support.cases import Cases, expect  # noqa: E402

SKIPPED = 77
PYTHON = os.environ.get("MPIMERGE_MERGEKIT_PYTHON", sys.executable)
OFFLINE = {"HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
SHAPE = Shape(hidden=64, layers=4)
TOLERANCE = 1e-5  # of a tensor's largest entry: norms, arcs and sums of float32 come out a little different

# Every gamma makes an outlier of a norm's 64 elements: what becomes of a tensor without one changed with mergekit 0.1.5.
TASKS = "models: [{model: task0}, {model: task1}, {model: task2}]"
RECIPES = {
    "linear": """
merge_method: linear
models:
  - {model: task0, parameters: {weight: [0.2, 1, 0.4]}}
  - {model: task1, parameters: {weight: [{filter: mlp, value: 0.7}, {value: 0.1}]}}
  - {model: far, parameters: {weight: 0.3}}
""",
    "task_arithmetic": """
merge_method: task_arithmetic
base_model: base
models:
  - {model: task0, parameters: {weight: [0, 1]}}
  - {model: task1, parameters: {weight: [{filter: self_attn, value: [1, 0.5, 0]}, {filter: norm, value: 2}, {value: 0.5}]}}
parameters: {lambda: 0.8}
""",
    "ties": """
merge_method: ties
base_model: base
models:
  - {model: task0, parameters: {weight: 1, density: 0.5}}
  - {model: task1, parameters: {weight: 0.6, density: [0.2, 0.9]}}
  - {model: task2, parameters: {weight: [{filter: mlp, value: [1, 0.5]}, {value: 0.8}], density: 0.7}}
parameters: {lambda: 0.9, normalize: true}
""",
    "ties-where-nothing-else-is-said": f"merge_method: ties\nbase_model: base\n{TASKS}\nparameters: {{weight: 0.5}}\n",
    "breadcrumbs": f"""
merge_method: breadcrumbs
base_model: base
{TASKS}
parameters: {{weight: 0.4, density: [0.9, 0.5], gamma: 0.02}}
""",
    # Weights apart: equal ones cancel but for what float32 makes of the factors of `rescale`.
    "breadcrumbs_ties": """
merge_method: breadcrumbs_ties
base_model: base
models:
  - {model: task0, parameters: {weight: 0.4, gamma: 0.05}}
  - {model: task1, parameters: {weight: 0.3, gamma: 0.02}}
  - {model: task2, parameters: {weight: 0.7, gamma: 0.04}}
parameters: {density: 0.7, rescale: true}
""",
    "model_stock": f"merge_method: model_stock\nbase_model: base\n{TASKS}\n",
    "slerp": """
merge_method: slerp
base_model: base
models: [{model: base}, {model: far}]
parameters:
  t:
    - {filter: self_attn, value: [0, 0.5, 0.3, 0.7, 1]}
    - {filter: mlp, value: [1, 0.5, 0.7, 0.3, 0]}
    - value: 0.5
""",
    "nuslerp": """
merge_method: nuslerp
models:
  - {model: task0, parameters: {weight: [0.9, 0.1]}}
  - {model: far, parameters: {weight: 0.3}}
""",
    "passthrough": """
merge_method: passthrough
slices:
  - sources: [{model: task0, layer_range: [0, 3]}]
  - sources: [{model: far, layer_range: [1, 4], parameters: {scale: [{filter: o_proj, value: 0.5}, {value: 1}]}}]
""",
}

cases = Cases(__doc__)


def values(name, shape, seed, base=None):
    """float32. Task vectors have every magnitude once, so that no trim can choose between equal ones; and all differences
    are exact."""
    draw = np.random.default_rng([seed, *name.encode()])
    elements = int(np.prod(shape))
    if base is None:
        center = 1 if "norm" in name else 0
        return center + np.clip(np.round(draw.standard_normal(elements) * 80), -240, 240) / 4096
    step = 2.0**-11 / 2 ** (elements - 1).bit_length()
    return base + draw.choice([-step, step], elements) * (1 + draw.permutation(elements))


def write_models(directory):
    bases = {name: values(name, shape, 0) for name, shape in SHAPE.tensors().items()}
    for seed, model in enumerate(("base", "far", "task0", "task1", "task2")):
        content = {}
        for name, shape in SHAPE.tensors().items():
            drawn = values(name, shape, seed, bases[name] if model.startswith("task") else None)
            content[name] = tensors.round_to("F32", shape, drawn)
        tensors.write_model(directory / model, content, {"format": "pt"})
        (directory / model / "config.json").write_text(json.dumps(SHAPE.config()))


def by_mergekit(directory, recipe):
    program = pathlib.Path(PYTHON).with_name("mergekit-yaml")
    done = subprocess.run([str(program), recipe, "theirs", "--no-copy-tokenizer", "--no-write-model-card"], cwd=directory,
                          env={**os.environ, **OFFLINE}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False)
    expect(done.returncode == 0, f"mergekit: exit {done.returncode}; {done.stdout[-500:]}")
    return tensors.read_model(directory / "theirs")


def agrees(recipe):
    def check(context):
        write_models(context.directory)
        (context.directory / "recipe.yaml").write_text(recipe + "dtype: float32\nout_dtype: float32\n")
        context.run_well("merge", "recipe.yaml", "--output", "ours", "--set", "compat=mergekit", "-q")
        ours, theirs = tensors.read_model(context.directory / "ours"), by_mergekit(context.directory, "recipe.yaml")
        expect(set(ours) == set(theirs), f"tensors differ: {sorted(set(ours) ^ set(theirs))}")
        for name, tensor in theirs.items():
            expect(ours[name].shape == tensor.shape, f"{name} has shape {ours[name].shape}, expected {tensor.shape}")
            wanted = tensor.float32().astype(np.float64)
            distance = np.abs(ours[name].float32() - wanted).max() / np.abs(wanted).max()
            expect(distance <= TOLERANCE, f"{name} is {distance:.2g} of its largest entry off")
    return check


for recipe_name, recipe_text in RECIPES.items():
    cases.add("mergekit", recipe_name.replace("_", "-"), agrees(recipe_text))


if __name__ == "__main__":
    if subprocess.run([PYTHON, "-c", "import mergekit.scripts.run_yaml"], capture_output=True, check=False).returncode != 0:
        print(f"SKIPPED: {pathlib.Path(__file__).name}: mergekit is not installed ({PYTHON})")
        sys.exit(SKIPPED)
    cases.main()
