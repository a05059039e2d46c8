#!/usr/bin/env python3
"""Jobs as mergekit's users write them: slices of layers, gradients, filters, models of the Hub's cache, tensors by name."""

import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import numpy as np  # noqa: E402

from support import tensors  # noqa: E402
from support.cases import Cases, expect  # noqa: E402
from support.merged import Merged  # noqa: E402

cases = Cases(__doc__)


def model(seed, layers, dtype="F32"):
    random = np.random.default_rng(seed)

    def tensor(*shape):
        return tensors.round_to(dtype, shape, random.integers(-64, 64, int(np.prod(shape))) / 16)

    found = {"lm_head.weight": tensor(30, 8), "model.embed_tokens.weight": tensor(30, 8)}
    for layer in range(layers):
        found[f"model.layers.{layer}.mlp.up_proj.weight"] = tensor(12, 8)
        found[f"model.layers.{layer}.self_attn.q_proj.weight"] = tensor(8, 8)
    found["model.norm.weight"] = tensor(8)
    return found


def write(context, **models):
    for name, found in models.items():
        tensors.write_model(context.directory / name, found)
        layers = sum(tensor.endswith("up_proj.weight") for tensor in found)
        config = {"num_hidden_layers": layers, "layer_types": [f"{name}{layer}" for layer in range(layers)]}
        (context.directory / name / "config.json").write_text(json.dumps(config))


def merge(context, text):
    """The tensors of the merge as float32, and its configuration."""
    (context.directory / "job.yaml").write_text(text)
    context.run_well("merge", "job.yaml", "--output", "out", "--output", "out.h5", "--overwrite")
    merged = Merged(context.directory / "out.h5")
    expect(not merged.faults, "; ".join(merged.faults))
    config = context.directory / "out" / "config.json"
    return ({name: tensor.float32() for name, tensor in merged.tensors.items()},
            json.loads(config.read_text()) if config.exists() else None)


def expect_same(found, wanted):
    expect(set(found) == set(wanted), f"tensors differ: {sorted(set(found) ^ set(wanted))}")
    for name, values in wanted.items():
        expect(np.array_equal(found[name], values), f"{name}: {found[name][:4]}, expected {values[:4]}")


def stacked(*parts):
    """Layers of models, numbered anew: embeddings of the first, norm and head of the last."""
    found = {"model.embed_tokens.weight": parts[0][0]["model.embed_tokens.weight"].float32()}
    number = 0
    for source, first, last in parts:
        for layer in range(first, last):
            for rest in ("mlp.up_proj.weight", "self_attn.q_proj.weight"):
                found[f"model.layers.{number}.{rest}"] = source[f"model.layers.{layer}.{rest}"].float32()
            number += 1
    for name in ("model.norm.weight", "lm_head.weight"):
        found[name] = parts[-1][0][name].float32()
    return found


@cases.case("slices")
def layers_of_two_models_make_a_deeper_one(context):
    a, b = model(1, 4), model(2, 3)
    write(context, a=a, b=b)
    found, config = merge(context, """merge_method: passthrough
slices:
  - sources:
      - model: a
        layer_range: [0, 3]
  - sources:
      - model: b
        layer_range: [1, 3]
  - sources:
      - {model: a, layer_range: [1, 4]}
dtype: float32
""")
    expect_same(found, stacked((a, 0, 3), (b, 1, 3), (a, 1, 4)))
    expect(config["num_hidden_layers"] == 8, f"{config}")
    expect(config["layer_types"] == ["a0", "a1", "a2", "a1", "a2", "a1", "a2", "a3"], f"{config}")


@cases.case("slices")
def task_vectors_are_differences_of_the_layers_that_stand_side_by_side(context):
    base, a, b = model(1, 4), model(2, 4), model(3, 4)
    write(context, base=base, a=a, b=b)
    found, config = merge(context, """merge_method: task_arithmetic
base_model: base
slices:
  - sources:
      - {model: base, layer_range: [1, 3]}
      - {model: a, layer_range: [0, 2], parameters: {weight: 0.5}}
      - {model: b, layer_range: [2, 4], parameters: {weight: 2}}
  - sources:
      - {model: a, layer_range: [3, 4], parameters: {weight: 0.25}}
""")
    bases = stacked((base, 1, 3), (base, 3, 4))
    first = stacked((a, 0, 2), (a, 3, 4))
    second = stacked((b, 2, 4))
    wanted = {}
    for name, values in bases.items():
        in_second = name in ("lm_head.weight", "model.norm.weight") or ".layers.2." in name
        wanted[name] = values + np.float32(0.25 if in_second else 0.5) * (first[name] - values)
        if not in_second:
            wanted[name] = wanted[name] + np.float32(2) * (second[name] - values)
    expect_same(found, wanted)
    expect(config["num_hidden_layers"] == 3 and config["layer_types"] == ["base1", "base2", "base3"], f"{config}")


@cases.case("slices")
def gradients_run_over_the_layers_of_a_slice(context):
    base, a = model(1, 5), model(2, 5)
    write(context, base=base, a=a)
    found, _ = merge(context, """merge_method: task_arithmetic
base_model: base
slices:
  - sources: [{model: a, layer_range: [0, 3], parameters: {weight: [0, 1]}}]
  - sources: [{model: a, layer_range: [3, 5], parameters: {weight: [{filter: mlp, value: [1, 0]}, {value: 0.5}]}}]
""")
    weights = {name: 0 for name in found}
    weights.update({"model.norm.weight": 0.5, "lm_head.weight": 0.5})
    for layer, (mlp, attention) in enumerate(((0, 0), (0.5, 0.5), (1, 1), (1, 0.5), (0, 0.5))):
        weights[f"model.layers.{layer}.mlp.up_proj.weight"] = mlp
        weights[f"model.layers.{layer}.self_attn.q_proj.weight"] = attention
    expect_same(found, {name: base[name].float32() + np.float32(weight) * (a[name].float32() - base[name].float32())
                        for name, weight in weights.items()})


@cases.case("slices")
def a_layer_that_is_not_there_is_an_error_that_names_it(context):
    write(context, a=model(1, 4))
    (context.directory / "job.yaml").write_text(
        "merge_method: passthrough\nslices: [{sources: [{model: a, layer_range: [0, 5]}]}]\noutput: out\n")
    outcome = context.run("merge", "job.yaml")
    expect(outcome.code == 4 and len(outcome.err_lines) == 1, outcome.describe())
    expect("a: has no layer 4, which slices take; its last is 3" in outcome.err, outcome.describe())


@cases.case("tensors")
def excluded_tensors_are_the_bases_and_may_differ_in_shape(context):
    base, a = model(1, 2), model(2, 2)
    a["lm_head.weight"] = tensors.round_to("F32", (31, 8), np.ones(248))
    write(context, base=base, a=a)
    found, _ = merge(context, """merge_method: task_arithmetic
base_model: base
models: [{model: a}]
parameters: {weight: 1}
include: [mlp, lm_head, norm]
exclude: ["lm_*"]
""")
    expect_same(found, {name: (a if "mlp" in name or "norm" in name else base)[name].float32() for name in base})


@cases.case("tensors")
def a_model_that_lacks_a_tensor_is_left_out_or_counts_as_the_base(context):
    base, a, b = model(1, 2), model(2, 2), model(3, 2)
    lacking = {name: tensor for name, tensor in a.items() if "norm" not in name}
    write(context, base=base, a=lacking, b=b)
    for missing, share in (("skip", 1), ("base", 0.5)):
        found, _ = merge(context, f"""merge_method: task_arithmetic
base_model: base
models: [{{model: a}}, {{model: b}}]
parameters: {{weight: 1, normalize: true}}
missing: {missing}
""")
        wanted = {}
        for name, tensor in base.items():
            values = tensor.float32()
            second = b[name].float32() - values
            if name in lacking:
                wanted[name] = values + ((a[name].float32() - values) + second) / np.float32(2)
            else:
                wanted[name] = values + np.float32(share) * second
        expect_same(found, wanted)
    (context.directory / "job.yaml").write_text(
        "merge_method: linear\nmodels: [{model: base}, {model: a}]\nparameters: {weight: 1}\noutput: out\n")
    outcome = context.run("merge", "job.yaml", "--overwrite")
    expect(outcome.code == 4 and "`model.norm.weight` is missing" in outcome.err, outcome.describe())


@cases.case("tensors")
def ties_trims_what_each_model_has(context):
    base, a, b = model(1, 2), model(2, 2), model(3, 2)
    lacking = {name: tensor for name, tensor in a.items() if "norm" not in name}
    write(context, base=base, a=lacking, b=b)
    text = """merge_method: ties
base_model: base
models: [{model: a}, {model: b}]
parameters: {density: 1}
missing: skip
"""
    found, _ = merge(context, text + "trim_scope: tensor\n")
    name = "model.norm.weight"
    expect(np.array_equal(found[name], b[name].float32()), f"{found[name]}")
    (context.directory / "job.yaml").write_text(text)
    outcome = context.run("merge", "job.yaml", "--output", "no.h5")
    expect(outcome.code == 3 and "trim_scope: tensor" in outcome.err, outcome.describe())


@cases.case("references")
def models_are_found_in_the_hubs_cache(context):
    base, a = model(1, 2), model(2, 2)
    for name, found, commit in (("models--org--base", base, "aaa"), ("models--org--math", a, "bbb")):
        tensors.write_model(context.directory / "cache" / name / "snapshots" / commit, found)
        (context.directory / "cache" / name / "refs").mkdir()
        (context.directory / "cache" / name / "refs" / "main").write_text(commit)
    (context.directory / "job.yaml").write_text("""merge_method: task_arithmetic
base_model: org/base
models:
  - model: org/base
  - model: org/math@bbb
parameters: {weight: 1, int8_mask: true}
""")
    environment = {"HF_HUB_CACHE": str(context.directory / "cache")}
    context.run_well("merge", "job.yaml", "--output", "out.h5", environment=environment)
    found = {name: tensor.float32() for name, tensor in Merged(context.directory / "out.h5").tensors.items()}
    expect_same(found, {name: tensor.float32() for name, tensor in a.items()})
    outcome = context.run("merge", "job.yaml", "--set", "base_model=org/other", "--output", "other.h5",
                          environment=environment)
    expect(outcome.code == 4 and len(outcome.err_lines) == 1, outcome.describe())
    expect("`huggingface-cli download org/other`" in outcome.err, outcome.describe())


if __name__ == "__main__":
    cases.main()
