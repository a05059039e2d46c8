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


def cut(model, rows):
    """A model whose vocabulary has fewer rows."""
    found = dict(model)
    for name in ("lm_head.weight", "model.embed_tokens.weight"):
        found[name] = tensors.round_to("F32", (rows, 8), model[name].float32()[:rows * 8])
    return found


EMBEDDINGS = {
    "ties": "merge_method: ties\nbase_model: base\nparameters: {density: 0.4}\n",
    "ties_of_tensors": "merge_method: ties\nbase_model: base\nparameters: {density: 0.4}\ntrim_scope: tensor\n",
    "ties_by_share": "merge_method: ties\nbase_model: base\nparameters: {density: 0.4}\nelect: normmass\n",
    "dare_ties": "merge_method: dare_ties\nbase_model: base\nparameters: {density: 0.5}\nseed: 3\n",
    "model_stock": "merge_method: model_stock\nbase_model: base\nparameters: {filter_wise: true}\n",
    "sce": "merge_method: sce\nbase_model: base\nparameters: {select_topk: 0.5}\n",
    "linear": "merge_method: linear\nbase_model: base\nparameters: {weight: 1}\nout_dtype: bfloat16\n",
    "multislerp": "merge_method: multislerp\nbase_model: base\nparameters: {weight: 0.5}\n",
}


def rows_beyond_are_the_bases(job):
    def case(context):
        base, a, b = model(1, 2), cut(model(2, 2), 27), model(3, 2)
        for name in ("lm_head.weight", "model.embed_tokens.weight"):
            longer = np.concatenate([b[name].float32(), np.arange(24, dtype=np.float32)])
            b[name] = tensors.round_to("F32", (33, 8), longer)
        write(context, base=base, a=a, b=b, cut_base=cut(base, 27), cut_b=cut(b, 27))
        text = EMBEDDINGS[job] + "models: [{model: a}, {model: b}]\n"
        wanted, _ = merge(context, text.replace("base_model: base", "base_model: cut_base").replace("model: b}", "model: cut_b}"))
        found, _ = merge(context, text + "embeddings: common rows\n")
        rest = "BF16" if "bfloat16" in text else "F32"
        for name in ("lm_head.weight", "model.embed_tokens.weight"):
            tail = tensors.round_to(rest, (3, 8), base[name].float32()[27 * 8:]).float32()
            wanted[name] = np.concatenate([wanted[name], tail])
        expect_same(found, wanted)
        expect(Merged(context.directory / "out.h5").tensors["lm_head.weight"].shape == (30, 8), "not the base's shape")
        outcome = context.run("merge", "job.yaml", "--set", "embeddings=error", "--output", "no.h5")
        expect(outcome.code == 4 and len(outcome.err_lines) == 1 and "`embeddings: common rows`" in outcome.err,
               outcome.describe())
    return case


for a_job in EMBEDDINGS:
    cases.add("embeddings", f"{a_job}-rows-beyond-are-the-bases", rows_beyond_are_the_bases(a_job))


@cases.case("embeddings")
def mergekits_rules_cut_embeddings_without_being_asked(context):
    base, a = model(1, 1), model(2, 1)
    write(context, base=cut(base, 28), a=a)
    text = "merge_method: task_arithmetic\nbase_model: base\nmodels: [{model: a}]\ncompat: mergekit\n"
    found, _ = merge(context, text)
    expect_same(found, {name: tensor.float32() for name, tensor in cut(a, 28).items()})
    outcome = context.run("merge", "job.yaml", "--set", "embeddings=common", "--output", "no.h5")
    expect(outcome.code == 3 and "one of error, common rows" in outcome.err, outcome.describe())


def tied(model, kept=False):
    """A model that ties its head to the embeddings; kept: it stores it all the same, as something else."""
    found = {name: tensor for name, tensor in model.items() if name != "lm_head.weight"}
    if kept:
        found["lm_head.weight"] = tensors.round_to("F32", (30, 8), np.full(240, 7))
    return found


def write_config(context, name, **config):
    path = context.directory / name / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **config}))


TIES = {
    "ties": "merge_method: ties\nparameters: {density: 0.3}\n",
    "ties_of_tensors": "merge_method: ties\ntrim_scope: tensor\nparameters: {density: 0.3}\n",
    "ties_by_share": "merge_method: ties\nelect: normmass\nparameters: {density: 0.3}\n",
    "della": "merge_method: della\nparameters: {density: [{filter: lm_head, value: 0.3}, {value: 0.6}], epsilon: 0.1}\n",
    "model_stock": "merge_method: model_stock\n",
    "breadcrumbs": "merge_method: breadcrumbs\nparameters: {density: 0.5, gamma: 0.05}\n",
}


def tied_heads_are_the_merged_embeddings(job):
    """What the merge of models without heads is, and the embeddings again; nothing else has another bit."""
    def case(context):
        models = {name: model(seed, 2) for seed, name in enumerate(("base", "a", "b"))}
        write(context, **{name: tied(found, kept=name != "a") for name, found in models.items()},
              **{f"bare_{name}": tied(found) for name, found in models.items()})
        for name in ("base", "b"):
            write_config(context, name, tie_word_embeddings=True)

        def job_of(prefix):
            return TIES[job] + f"base_model: {prefix}base\nmodels: [{{model: {prefix}a}}, {{model: {prefix}b}}]\n"

        wanted, _ = merge(context, job_of("bare_"))
        counts = Merged(context.directory / "out.h5").summary
        found, config = merge(context, job_of(""))
        wanted["lm_head.weight"] = wanted["model.embed_tokens.weight"]
        expect_same(found, wanted)
        expect(config["tie_word_embeddings"] is True, f"{config}")
        summary = Merged(context.directory / "out.h5").summary
        for key in ("parameters", "signs", "conflicts"):
            expect(summary.get(key) == counts.get(key), f"{key}: {summary.get(key)}, without heads {counts.get(key)}")
        kept = [[task.get(key) for key in ("trim_rank", "threshold", "kept")] for report in (summary, counts)
                for task in report["tasks"]]
        expect(kept[:2] == kept[2:], f"{kept}")
    return case


for a_job in TIES:
    cases.add("ties", f"{a_job}-of-tied-heads", tied_heads_are_the_merged_embeddings(a_job))


@cases.case("ties")
def a_head_of_its_own_in_one_model_is_written_and_the_configuration_says_so(context):
    base, a, b = model(1, 1), model(2, 1), model(3, 1)
    write(context, base=tied(base), a=a, b=tied(b, kept=True))
    for name in ("base", "b"):
        write_config(context, name, tie_word_embeddings=True)
    found, config = merge(context, "merge_method: task_arithmetic\nbase_model: base\n"
                          "models: [{model: a}, {model: b}]\nparameters: {weight: 0.5}\n")
    half = np.float32(0.5)
    wanted = {}
    for name in base:
        of = [source[name if name != "lm_head.weight" or source is a else "model.embed_tokens.weight"].float32()
              for source in (base, a, b)]
        wanted[name] = of[0] + (half * (of[1] - of[0]) + half * (of[2] - of[0]))
    expect_same(found, wanted)
    expect(config["tie_word_embeddings"] is False, f"{config}")


@cases.case("ties")
def a_tied_head_that_the_base_lacks_is_left_out(context):
    base, a = model(1, 1), model(2, 1)
    write(context, base=tied(base), a=tied(a, kept=True))
    write_config(context, "a", tie_word_embeddings=True)
    (context.directory / "job.yaml").write_text("merge_method: linear\nmodels: [{model: base}, {model: a}]\nparameters: {weight: 0.5}\n")
    outcome = context.run_well("merge", "job.yaml", "--output", "out")
    expect("`lm_head.weight` of a is left out" in outcome.err, outcome.describe())
    expect("lm_head.weight" not in tensors.read_model(context.directory / "out"), "there is a head")
    planned = context.run_well("plan", "job.yaml", "--ranks", "2", "--json", ranks=1, launcher=False)
    expect(json.loads(planned.out)["tensors"] == len(tied(base)), planned.out)


@cases.case("ties")
def inspect_notes_what_is_tied(context):
    write(context, a=tied(model(1, 1), kept=True))
    write_config(context, "a", tie_word_embeddings=True)
    shown = context.run_well("inspect", "a", ranks=1)
    expect("`lm_head.weight` is `model.embed_tokens.weight` again, by config.json" in shown.out, shown.out)
    found = json.loads(context.run_well("inspect", "a", "--json", ranks=1).out)
    expect(found["tied"] == {"lm_head.weight": "model.embed_tokens.weight"}, f"{found['tied']}")


@cases.case("weights")
def weights_that_sum_to_zero_are_an_error_where_they_divide(context):
    write(context, a=model(1, 2), b=model(2, 2))
    for method, more, weights in (("linear", "", (1, -1)), ("average", "", (0.1, "-0.1")), ("multislerp", "", (0, 0)),
                                  ("linear", "", ("[0, 1]", "[0, 1]")), ("linear", "compat: mergekit", (0.5, -0.5))):
        (context.directory / "job.yaml").write_text(
            f"merge_method: {method}\n{more}\nmodels:\n  - {{model: a, parameters: {{weight: {weights[0]}}}}}\n"
            f"  - {{model: b, parameters: {{weight: {weights[1]}}}}}\n")
        for command in (["merge", "job.yaml", "--output", "out.h5"], ["plan", "job.yaml", "--ranks", "2"]):
            outcome = context.run(*command, ranks=1)
            expect(outcome.code == 3 and len(outcome.err_lines) == 1, outcome.describe())
            expect("which sum to 0" in outcome.err and "a 0" in outcome.err or "a 1" in outcome.err, outcome.describe())
    found, _ = merge(context, "merge_method: linear\nmodels:\n  - {model: a, parameters: {weight: 1.5}}\n"
                     "  - {model: b, parameters: {weight: -0.5}}\n")
    a, b = ({name: tensor.float32() for name, tensor in model(seed, 2).items()} for seed in (1, 2))
    expect_same(found, {name: np.float32(1.5) * a[name] + np.float32(-0.5) * b[name] for name in a})  # extrapolation
    merge(context, "merge_method: linear\nmodels:\n  - {model: a, parameters: {weight: 1}}\n"
          "  - {model: b, parameters: {weight: -1}}\nparameters: {normalize: false}\n")


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
    expect("`hf download org/other`" in outcome.err, outcome.describe())


if __name__ == "__main__":
    cases.main()
