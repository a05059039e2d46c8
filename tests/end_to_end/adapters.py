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


def vectors(seed, base, modules, feedforward=()):
    """Those of (IA)^3: of feedforward modules for the inputs, of the others for the outputs."""
    return {f"base_model.model.{module}.ia3_l":
            real(seed + number, *((1, base[f"{module}.weight"].shape[1]) if module in feedforward else
                                  (base[f"{module}.weight"].shape[0], 1)), dtype="BF16" if number % 2 else "F32")
            for number, module in enumerate(modules)}


@cases.case("scale")
def scaling_vectors_multiply_weights_and_biases(context):
    base = base_model()
    base["model.layers.0.k_proj.bias"] = real(60, 32, dtype="F16")
    base["model.layers.0.up_proj.bias"] = real(61, 96)
    ups = [module for module in LAYERS if module.endswith("up_proj")]
    adapters = {name: vectors(seed, base, [module for module in LAYERS if "q_proj" not in module], ups)
                for seed, name in ((300, "a"), (400, "b"))}
    tensors.write_model(context.directory / "base", base)
    for name, adapter in adapters.items():
        write_adapter(context.directory / name, adapter, peft_type="IA3", feedforward_modules=["up_proj"])
        whole = dict(base)
        for tensor, vector in adapter.items():
            module = tensor.removeprefix("base_model.model.").removesuffix(".ia3_l")
            weight = values(base[f"{module}.weight"]) * values(vector)
            whole[f"{module}.weight"] = tensors.round_to("F32", weight.shape, weight)
            if f"{module}.bias" in base and module not in ups:
                bias = values(base[f"{module}.bias"]) * values(vector)[:, 0]
                whole[f"{module}.bias"] = tensors.round_to("F32", bias.shape, bias)
        tensors.write_model(context.directory / f"whole_{name}", whole)
    for job in ("ties", "linear"):
        spelled = JOBS[job].replace("A", "base+a").replace("B", "base+b")
        expect_same(merge(context, spelled), merge(context, JOBS[job].replace("A", "whole_a").replace("B", "whole_b")))


@cases.case("scale")
def scaling_vectors_of_transposed_weights_are_transposed(context):
    base = {"h.0.c_attn.weight": real(1, 40, 60), "h.0.c_fc.weight": real(2, 40, 96)}
    adapter = {"base_model.model.h.0.c_attn.ia3_l": real(3, 60, 1), "base_model.model.h.0.c_fc.ia3_l": real(4, 1, 40)}
    tensors.write_model(context.directory / "base", base)
    write_adapter(context.directory / "a", adapter, peft_type="IA3", fan_in_fan_out=True)
    found = merge(context, "merge_method: passthrough\nmodels: [{model: base+a}]\n")
    expect_same(found, {name: values(base[name]) * values(vector).T for name, vector in zip(base, adapter.values())})


@cases.case("scale")
def refuses_vectors_that_do_not_fit(context):
    base = base_model()
    tensors.write_model(context.directory / "base", base)
    (context.directory / "job.yaml").write_text("merge_method: task_arithmetic\nbase_model: base\nmodels: [{model: a}]\n")
    good = vectors(1, base, LAYERS[:2])
    for number, (change, word) in enumerate((
            ({f"base_model.model.{LAYERS[0]}.ia3_l": real(1, 61, 1)}, "has shape [61, 1]; expected [60, 1]"),
            ({"base_model.model.model.layers.7.k_proj.ia3_l": real(1, 60, 1)}, "`model.layers.7.k_proj.weight`, which the base"),
            ({"base_model.model.model.norm.ia3_l": real(1, 40, 1)}, "expected a matrix"),
            ({f"{LAYERS[0]}.ia3_l": real(1, 60, 1)}, "does not begin with base_model.model."))):
        found = {**good, **change}
        write_adapter(context.directory / f"a{number}", found, peft_type="IA3")
        outcome = context.run("merge", "job.yaml", "--set", f"models.0.model=a{number}", "--output", "out.h5")
        expect(outcome.code == 4 and len(outcome.err_lines) == 1 and word in outcome.err, outcome.describe())


def delta(found, module, scaling):
    name = f"base_model.model.{module}"
    return scaling * (values(found[f"{name}.lora_B.weight"]).astype(np.float64)
                      @ values(found[f"{name}.lora_A.weight"]).astype(np.float64))


CAT = "merge_method: cat\nmodels:\n  - {model: a, parameters: {weight: 0.5}}\n  - {model: b}\n  - {model: c, parameters: {weight: -2}}\n"


@cases.case("cat")
def adapters_side_by_side_are_their_weighted_sum(context):
    ranks = {"a": lambda module: RANK, "b": lambda module: 2 if module.endswith("k_proj") else 3, "c": lambda module: 1}
    modules = {"a": LAYERS, "b": LAYERS[:4], "c": LAYERS[:1]}
    configs = {"a": CONFIG, "b": {**CONFIG, "r": 3, "use_rslora": True, "rank_pattern": {"k_proj": 2}},
               "c": {**CONFIG, "r": 1, "lora_alpha": 4}}
    scalings = {"a": lambda module: 0.5 * 6 / RANK, "b": lambda module: 6 / np.sqrt(ranks["b"](module)), "c": lambda module: -8}
    found = {name: lora(seed, modules[name], ranks[name], dtype)
             for name, seed, dtype in (("a", 500, "F32"), ("b", 600, "BF16"), ("c", 700, "F16"))}
    for name, adapter in found.items():
        write_adapter(context.directory / name, adapter, **configs[name])
    merged = merge(context, CAT)
    wanted = {}
    for module in LAYERS:
        having = [name for name in found if module in modules[name]]
        for factor, axis in (("A", 0), ("B", 1)):
            name = f"base_model.model.{module}.lora_{factor}.weight"
            wanted[name] = np.concatenate([values(found[of][name]) * np.float32(scalings[of](module) if axis == 0 else 1)
                                           for of in having], axis)
    expect_same(merged, wanted)
    out = context.directory / "out"
    config = json.loads((out / "adapter_config.json").read_text())
    expect(config["peft_type"] == "LORA" and config["use_rslora"] is False, f"{config}")
    expect(sorted(config["target_modules"]) == sorted(LAYERS), f"{config['target_modules']}")
    for module in LAYERS:
        rank, alpha = config["rank_pattern"].get(module, config["r"]), config["alpha_pattern"].get(module, config["lora_alpha"])
        expect(rank == alpha == wanted[f"base_model.model.{module}.lora_A.weight"].shape[0], f"{module}: {config}")
    written = tensors.read_file(out / "adapter_model.safetensors")
    for module in LAYERS:
        total = sum(delta(found[of], module, scalings[of](module)) for of in found if module in modules[of])
        expect(np.allclose(delta(written, module, 1), total, rtol=1e-6, atol=1e-6), f"{module}: not the sum")
    # Applied to a base, it is what all of them are, one after another.
    tensors.write_model(context.directory / "base", base_model("F32"))
    out.rename(context.directory / "sum")
    applied_cat = merge(context, "merge_method: passthrough\nmodels: [{model: base+sum}]\n")
    for module in LAYERS:
        total = sum(delta(found[of], module, scalings[of](module)) for of in found if module in modules[of])
        weight = values(base_model("F32")[f"{module}.weight"])
        expect(np.allclose(applied_cat[f"{module}.weight"], weight + total, rtol=1e-5, atol=1e-6), f"{module} differs")


@cases.case("cat")
def embeddings_and_long_rows_stand_side_by_side_too(context):
    found = {}
    for seed, name, rank in ((1, "a", 300), (5, "b", 700), (9, "c", 2)):
        found[name] = {"base_model.model.wte.lora_embedding_A": real(seed, rank, 70),
                       "base_model.model.wte.lora_embedding_B": real(seed + 1, 41, rank),
                       "base_model.model.conv.lora_A.weight": real(seed + 2, rank, 3, 2, 2),
                       "base_model.model.conv.lora_B.weight": real(seed + 3, 5, rank, 1, 1)}
        write_adapter(context.directory / name, found[name], peft_type="LORA", r=rank, lora_alpha=rank)
    weights = {"a": 0.5, "b": 1, "c": -2}
    merged = merge(context, CAT, "--memory", "1kB")
    expect_same(merged, {name: np.concatenate([values(found[of][name]) * np.float32(weights[of] if "_A" in name else 1)
                                               for of in found], 0 if "_A" in name else 1) for name in found["a"]})


@cases.case("cat")
def refuses_adapters_that_are_not_of_one_model(context):
    write_adapter(context.directory / "a", lora(1), **CONFIG)
    write_adapter(context.directory / "c", lora(1), **CONFIG)
    wide, extra = lora(2), {**lora(2), "base_model.model.model.norm.weight": real(1, 40)}
    wide[f"base_model.model.{LAYERS[0]}.lora_A.weight"] = real(1, RANK, 44)
    other = {name: tensor for name, tensor in lora(2, rank=lambda module: 5).items()}
    for found, config, word in ((wide, {}, "expected adapters of one model"), (extra, {}, "is no factor of LoRA"),
                                (other, {}, "expected rows of rank 4"), (lora(2), {"fan_in_fan_out": True}, "fan_in_fan_out: found true"),
                                (lora(2), {"use_dora": True}, "use_dora: found `true`"), (lora(2), {"peft_type": "IA3"}, "expected \"LORA\"")):
        for file in (context.directory / "b").glob("*"):
            file.unlink()
        (context.directory / "b").mkdir(exist_ok=True)
        tensors.write_file(context.directory / "b" / "adapter_model.safetensors", found)
        (context.directory / "b" / "adapter_config.json").write_text(json.dumps({**CONFIG, **config}))
        (context.directory / "job.yaml").write_text(CAT)
        outcome = context.run("merge", "job.yaml", "--output", "out")
        expect(outcome.code == 4 and len(outcome.err_lines) == 1 and word in outcome.err, outcome.describe())
    for more, word in (("base_model: base", "no use for a base"), ("parameters: {weight: [0, 1]}", "depend on the tensor")):
        (context.directory / "job.yaml").write_text("merge_method: cat\nmodels: [{model: a}, {model: c}]\n" + more + "\n")
        outcome = context.run("merge", "job.yaml", "--output", "out")
        expect(outcome.code == 3 and word in outcome.err, outcome.describe())


@cases.case("commands")
def other_commands_say_what_they_take_of_adapters(context):
    tensors.write_model(context.directory / "base", base_model())
    write_adapter(context.directory / "a", lora(100), **CONFIG)
    shown = context.run_well("inspect", "a", ranks=1)
    expect("note: an adapter of PEFT" in shown.out, shown.out)
    for command in (["inspect", "base+a"], ["diff", "base", "base+a"], ["convert", "base+a", "out.h5"]):
        outcome = context.run(*command, ranks=1)
        expect(outcome.code == 4 and len(outcome.err_lines) == 1, outcome.describe())
        expect("`merge_method: passthrough`" in outcome.err, outcome.describe())
    context.run_well("convert", "a", "whole")
    left = sorted(path.name for path in (context.directory / "whole").glob("adapter*"))
    expect(left == ["adapter_config.json", "adapter_model.safetensors"], f"the copy has {left}")
    context.run_well("diff", "a", "whole")


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
    "prefixes": ({"peft_type": "PREFIX_TUNING"}, "the only adapters that are applied"),
    "scaling-vectors-without-any": ({"peft_type": "IA3"}, "which the base"),
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
