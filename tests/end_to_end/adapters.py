#!/usr/bin/env python3
"""Adapters of PEFT: merged as they are, over a base of one value, and applied to a model while it is merged."""

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


RANK = 4
SHAPES = {"q_proj": (60, 40), "k_proj": (32, 40), "up_proj": (96, 40)}
LAYERS = [f"model.layers.{layer}.{name}" for layer in range(2) for name in SHAPES]


def shape_of(module):
    return SHAPES[module.rsplit(".", 1)[1]]


def real(seed, *shape, dtype="F32"):
    """Numbers whose sums depend on their order."""
    return tensors.round_to(dtype, shape, np.random.default_rng(seed).standard_normal(int(np.prod(shape))) / 8)


def base_model(dtype="BF16"):
    found = {f"{module}.weight": real(seed, *shape_of(module), dtype=dtype) for seed, module in enumerate(LAYERS)}
    found["model.embed_tokens.weight"] = real(50, 70, 40, dtype=dtype)
    found["model.norm.weight"] = real(51, 40, dtype=dtype)
    found["lm_head.weight"] = real(52, 70, 40, dtype=dtype)
    return found


def lora(seed, modules=LAYERS, rank=lambda module: RANK, dtype="F32"):
    found = {}
    for number, module in enumerate(modules):
        rows, columns = shape_of(module)
        name = f"base_model.model.{module}"
        found[f"{name}.lora_A.weight"] = real(seed + 2 * number, rank(module), columns, dtype=dtype)
        found[f"{name}.lora_B.weight"] = real(seed + 2 * number + 1, rows, rank(module), dtype=dtype)
    return found


def product(left, right):
    """Summed from the first rank to the last in float32, as the program does it."""
    total = np.zeros((left.shape[0], right.shape[1]), np.float32)
    for step in range(right.shape[0]):
        total += np.outer(left[:, step], right[step])
    return total


def applied(base, adapter, scaling):
    """What numpy makes of base and adapter, in float32; of what the adapter leaves alone the base's tensors."""
    found = dict(base)
    for name, tensor in adapter.items():
        if not name.endswith(".lora_A.weight"):
            continue
        module = name.removeprefix("base_model.model.").removesuffix(".lora_A.weight")
        delta = product(values(adapter[name.replace("lora_A", "lora_B")]), values(tensor))
        weight = values(base[f"{module}.weight"]) + np.float32(scaling(module)) * delta
        found[f"{module}.weight"] = tensors.round_to("F32", weight.shape, weight)
    return found


CONFIG = {"peft_type": "LORA", "r": RANK, "lora_alpha": 6, "bias": "none", "use_dora": False}

JOBS = {
    "task_arithmetic": "merge_method: task_arithmetic\nbase_model: base\nmodels:\n"
                       "  - {model: A, parameters: {weight: 0.5}}\n  - {model: B, parameters: {weight: 0.25}}\n",
    "ties": "merge_method: ties\nbase_model: base\nmodels:\n"
            "  - {model: A, parameters: {density: 0.3}}\n  - {model: B, parameters: {density: 0.6}}\n",
    "ties_of_tensors": "merge_method: ties\nbase_model: base\ntrim_scope: tensor\nmodels:\n"
                       "  - {model: A, parameters: {density: 0.3}}\n  - {model: B, parameters: {density: 0.6}}\n",
    "linear": "merge_method: linear\nmodels:\n"
              "  - {model: A, parameters: {weight: 0.5}}\n  - {model: B, parameters: {weight: 0.25}}\nout_dtype: float32\n",
    "dare_ties": "merge_method: dare_ties\nbase_model: base\nmodels:\n"
                 "  - {model: A, parameters: {density: 0.5}}\n  - {model: B, parameters: {density: 0.5}}\nseed: 5\n",
    "slerp": "merge_method: slerp\nbase_model: base\nmodels:\n  - {model: A}\nparameters: {t: 0.3}\n",
}


def same_as_applied_before(job):
    def case(context):
        base = base_model()
        adapters = {"a": lora(100, dtype="BF16"), "b": lora(200, LAYERS[:4])}
        tensors.write_model(context.directory / "base", base)
        for name, adapter in adapters.items():
            write_adapter(context.directory / name, adapter, **CONFIG)
            tensors.write_model(context.directory / f"whole_{name}", applied(base, adapter, lambda module: 6 / RANK))
        if "base_model" in JOBS[job] and job != "slerp":
            spelled = JOBS[job].replace("A", "a").replace("B", "{model: base, lora: b}")
        else:
            spelled = JOBS[job].replace("A", "base+a").replace("B", "base+b")
        found = merge(context, spelled)
        expect_same(found, merge(context, JOBS[job].replace("A", "whole_a").replace("B", "whole_b")))
        expect(any(not np.array_equal(found[name], values(tensor)) for name, tensor in base.items()), "nothing is merged")
    return case


for a_job in JOBS:
    cases.add("apply", f"{a_job}-of-adapters-is-that-of-models", same_as_applied_before(a_job))


@cases.case("apply")
def each_module_has_its_own_rank_and_scaling(context):
    def rank(module):
        return {"k_proj": 2, "up_proj": 8}.get(module.rsplit(".", 1)[1], RANK)

    def scaling(module):
        alpha = 3 if module == "model.layers.1.q_proj" else 5 if module.endswith("up_proj") else 6
        return alpha / np.sqrt(rank(module))

    base, adapter = base_model("F32"), lora(300, rank=rank)
    adapter["base_model.model.model.norm.weight"] = real(900, 40, dtype="F16")
    tensors.write_model(context.directory / "base", base)
    write_adapter(context.directory / "a", adapter, **CONFIG, use_rslora=True, rank_pattern={"k_proj": 2, "up_proj": 8},
                  alpha_pattern={"layers.1.q_proj": 3, "up_proj": 5, "proj": 7}, modules_to_save=["norm"])
    found = merge(context, "merge_method: passthrough\nmodels: [{model: base+a}]\n")
    wanted = applied(base, adapter, scaling)
    wanted["model.norm.weight"] = adapter["base_model.model.model.norm.weight"]
    expect_same(found, {name: values(tensor) for name, tensor in wanted.items()})


@cases.case("apply")
def transposed_weights_and_embeddings_take_their_adapters(context):
    base = {"h.0.c_attn.weight": real(1, 40, 60), "wte.weight": real(2, 70, 40)}
    adapter = {"base_model.model.h.0.c_attn.lora_A.weight": real(3, RANK, 40),
               "base_model.model.h.0.c_attn.lora_B.weight": real(4, 60, RANK),
               "base_model.model.wte.lora_embedding_A": real(5, RANK, 70),
               "base_model.model.wte.lora_embedding_B": real(6, 40, RANK)}
    tensors.write_model(context.directory / "base", base)
    write_adapter(context.directory / "a", adapter, **CONFIG, fan_in_fan_out=True)
    found = merge(context, "merge_method: passthrough\nmodels: [{model: base+a}]\n")
    factors = [values(tensor) for tensor in adapter.values()]
    wanted = {name: values(base[name]) + np.float32(1.5) * product(b, a).T
              for name, a, b in zip(base, factors[::2], factors[1::2])}
    expect_same(found, wanted)


@cases.case("apply")
def the_output_is_a_model_with_the_bases_companions(context):
    tensors.write_model(context.directory / "base", base_model())
    (context.directory / "base" / "config.json").write_text("{}")
    write_adapter(context.directory / "a", lora(100), **CONFIG)
    merge(context, "merge_method: passthrough\nmodels: [{model: base+a}]\n")
    left = {path.name for path in (context.directory / "out").iterdir()}
    expect({"config.json", "model.safetensors"} <= left and "adapter_config.json" not in left, f"the output has {left}")
    found = tensors.read_model(context.directory / "out")
    expect({tensor.dtype for tensor in found.values()} == {"BF16"}, "types are not the base's")


HOSTILE = {
    "deep": ("[" * 100000, "nested deeper"),
    "no-json": ("{", "not a JSON object"),
    "rank-0": ({"r": 0}, "r: found `0`"),
    "rank-below-0": ({"r": -4}, "r: found `-4`"),
    "huge-rank": ({"r": 2**63}, "r: found `9223372036854775808`"),
    "other-rank": ({"r": 8}, "is of rank 4"),
    "huge-alpha": ({"lora_alpha": 1e300}, "lora_alpha: found"),
    "text-for-alpha": ({"lora_alpha": "6"}, "lora_alpha: found"),
    "pattern-of-rank": ({"rank_pattern": {"(a+)+$": 2}}, "regular expression"),
    "dora": ({"use_dora": True}, "use_dora: found `true`"),
    "bias": ({"bias": "all"}, "bias: found"),
    "scaling-vectors": ({"peft_type": "IA3"}, "the only adapters that are applied"),
}


def refused(context, config, word, adapter=None):
    tensors.write_model(context.directory / "base", base_model())
    write_adapter(context.directory / "a", adapter or lora(100), **CONFIG)
    text = config if isinstance(config, str) else json.dumps({**CONFIG, **config})
    (context.directory / "a" / "adapter_config.json").write_text(text)
    (context.directory / "job.yaml").write_text("merge_method: task_arithmetic\nbase_model: base\nmodels: [{model: a}]\n")
    outcome = context.run("merge", "job.yaml", "--output", "out.h5")
    expect(outcome.code == 4 and not outcome.late and len(outcome.err_lines) == 1 and word in outcome.err, outcome.describe())


def hostile(config, word):
    return lambda context: refused(context, config, word)


for a_name, a_config in HOSTILE.items():
    cases.add("refuse", f"refuses-{a_name}", hostile(*a_config))


@cases.case("refuse")
def refuses_factors_that_do_not_fit(context):
    adapter = lora(100)
    adapter["base_model.model.model.layers.0.q_proj.lora_B.weight"] = real(1, 61, RANK)
    refused(context, {}, "has shape [61, 4]; expected [60, 4]", adapter)


@cases.case("refuse")
def refuses_a_module_that_the_base_lacks(context):
    adapter = lora(100)
    adapter["base_model.model.model.layers.7.q_proj.lora_A.weight"] = real(1, RANK, 40)
    adapter["base_model.model.model.layers.7.q_proj.lora_B.weight"] = real(2, 60, RANK)
    refused(context, {}, "`model.layers.7.q_proj.weight`, which the base", adapter)


@cases.case("refuse")
def refuses_a_factor_without_its_other(context):
    adapter = lora(100)
    del adapter["base_model.model.model.layers.0.q_proj.lora_B.weight"]
    refused(context, {}, "without the module's other factor", adapter)


if __name__ == "__main__":
    cases.main()
