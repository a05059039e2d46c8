#!/usr/bin/env python3
"""Merges into Hugging Face directories: the tensors of the HDF5 file, and all that goes with a model."""

import hashlib
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import numpy as np  # noqa: E402

from support import jobs, tensors  # noqa: E402
from support.cases import Cases, expect  # noqa: E402
from support.merged import Merged  # noqa: E402

COMPANIONS = {"config.json": '{"architectures": ["X"], "torch_dtype": "float32", "hidden_size": 64}',
              "generation_config.json": "{}", "tokenizer.json": '{"größe": 1}', "tokenizer.model": "\x00\x01",
              "chat_template.jinja": "{{ x }}", "modeling_own.py": "x = 1\n", "LICENSE": "free"}

cases = Cases(__doc__)


def model(seed):
    """Types mixed in storage: most of the floating elements are BF16."""
    random = np.random.default_rng(seed)
    return {
        "embed": tensors.round_to("BF16", (50, 40), random.standard_normal(2000)),
        "norm.0": tensors.round_to("F32", (40,), random.standard_normal(40)),
        "ids": tensors.raw("I64", (9,), bytes(72)),
        "layer.0": tensors.round_to("BF16", (40, 30), random.standard_normal(1200)),
        "scale": tensors.round_to("F16", (), [0.5]),
        "norm.1": tensors.round_to("F32", (40,), random.standard_normal(40)),
        "empty": tensors.round_to("F32", (0, 5), []),
        "größe": tensors.round_to("BF16", (30, 40), random.standard_normal(1200)),
    }


def models(context, companions=True):
    for seed, name in enumerate(("base", "math", "code")):
        tensors.write_model(context.directory / name, model(seed), {"format": "pt", "from": name})
    for name, content in (COMPANIONS if companions else {}).items():
        (context.directory / "base" / name).write_text(content)
    (context.directory / "base" / "README.md").write_text("of the base")
    (context.directory / "base" / "optimizer.pt").write_text("not a part of the model")


def write_job(context, outputs, **keys):
    (context.directory / "job.yaml").write_text(jobs.job_text("base", ["math", "code"], output=outputs, **keys))


def expect_refusal(outcome, code, *words):
    expect(outcome.code == code and not outcome.late and len(outcome.err_lines) == 1, outcome.describe())
    for word in words:
        expect(word in outcome.err, f"`{word}` is not named: {outcome.describe()}")


@cases.case("merge")
def one_pass_writes_both_kinds_with_the_same_tensors(context):
    models(context)
    write_job(context, ["merged/", "merged.h5", "again"])
    outcome = context.run_well("merge", "job.yaml", "--shard-size", "2kB")
    merged = Merged(context.directory / "merged.h5")
    expect(not merged.faults, "; ".join(merged.faults))
    expect(set(merged.tensors) == set(model(0)), f"tensors: {sorted(merged.tensors)}")
    for name in ("merged", "again"):
        expect(f"written    {context.directory / name}" in outcome.out or f"written    {name}" in outcome.out, outcome.out)
        found = tensors.read_model(context.directory / name)
        expect(found == merged.tensors, f"{name} has other tensors than the HDF5 file")
        shards = list((context.directory / name).glob("model-*.safetensors"))
        expect(len(shards) == 5, f"{len(shards)} shards")


@cases.case("merge")
def tensors_keep_the_order_of_the_base(context):
    models(context)
    write_job(context, "merged")
    context.run_well("merge", "job.yaml", "--shard-size", "1B")
    weight_map = json.loads((context.directory / "merged" / tensors.INDEX).read_text())["weight_map"]
    order = sorted((file, name) for name, file in weight_map.items() if name != "empty")
    expect([name for _, name in order] == [name for name in model(0) if name != "empty"], f"{order}")


@cases.case("merge")
def a_directory_is_a_model_with_all_that_goes_with_it(context):
    models(context)
    write_job(context, "merged", out_dtype="float16")
    context.run_well("merge", "job.yaml")
    merged = context.directory / "merged"
    found = {file.name for file in merged.iterdir()}
    own = {"model.safetensors", "README.md", "mpimerge_job.yaml", "mpimerge_summary.json", "mpimerge_checksums.json"}
    expect(found == own | set(COMPANIONS), f"it holds {sorted(found)}")
    for name, content in COMPANIONS.items():
        expect(name == "config.json" or (merged / name).read_text() == content, f"another {name}")
    config = json.loads((merged / "config.json").read_text())
    expect(config == {**json.loads(COMPANIONS["config.json"]), "torch_dtype": "float16"}, f"config: {config}")
    expect((merged / "mpimerge_job.yaml").read_text() == (context.directory / "job.yaml").read_text(), "another job")
    summary = json.loads((merged / "mpimerge_summary.json").read_text())
    expect(summary["method"] == "ties" and summary["ranks"] == context.ranks, f"summary: {summary}")
    expect(summary["hdf5"] == [], f"hdf5: {summary['hdf5']}")
    card = (merged / "README.md").read_text()
    for part in ("---\nbase_model:\n- \"base\"\n- \"math\"\n- \"code\"\nlibrary_name: transformers\ntags:\n- mpimerge\n- merge\n---\n",
                 "# merged\n", (context.directory / "job.yaml").read_text()):
        expect(part in card, f"the card lacks {part!r}: {card}")


@cases.case("merge")
def the_config_names_the_type_of_most_elements(context):
    models(context)
    write_job(context, "merged")
    context.run_well("merge", "job.yaml")
    config = json.loads((context.directory / "merged" / "config.json").read_text())
    expect(config["torch_dtype"] == "bfloat16", f"config: {config}")


@cases.case("merge")
def what_has_no_config_is_said_in_a_warning(context):
    models(context, companions=False)
    write_job(context, "merged")
    outcome = context.run_well("merge", "job.yaml", "-q")
    expect(len(outcome.err_lines) == 1 and "warning" in outcome.err and "config.json" in outcome.err, outcome.describe())
    outcome = context.run_well("merge", "job.yaml", "-q", "--output", "merged.h5")
    expect(not outcome.err, outcome.describe())


@cases.case("merge")
def the_command_line_may_name_directories(context):
    models(context)
    write_job(context, "merged.h5")
    context.run_well("merge", "job.yaml", "--output", "a/", "--output", "b")
    for name in ("a", "b"):
        expect((context.directory / name / "model.safetensors").is_file(), f"{name} was not written")
    expect(not (context.directory / "merged.h5").exists(), "the job's output was written too")
    for outputs in (("c", "c/"), ("c", "./c"), ("c", "c/x.h5"), ("c/d", "c")):
        words = [word for output in outputs for word in ("--output", output)]
        expect_refusal(context.run("merge", "job.yaml", "-q", *words), 2, "output", "c")


@cases.case("merge")
def a_directory_is_replaced_only_on_demand_and_never_an_input(context):
    models(context)
    write_job(context, "merged")
    context.run_well("merge", "job.yaml")
    expect_refusal(context.run("merge", "job.yaml", "-q"), 5, "merged", "--overwrite")
    context.run_well("merge", "job.yaml", "--overwrite", "--shard-size", "2kB")
    expect(len(list((context.directory / "merged").glob("*.safetensors"))) == 5, "it was not replaced")
    expect_refusal(context.run("merge", "job.yaml", "-q", "--output", "math", "--overwrite"), 5, "math", "input")


@cases.case("merge")
def a_merged_directory_is_a_base_like_any_other(context):
    models(context)
    write_job(context, "merged")
    context.run_well("merge", "job.yaml")
    (context.directory / "next.yaml").write_text(jobs.job_text("merged", ["math"], output="next"))
    context.run_well("merge", "next.yaml")
    found = {file.name for file in (context.directory / "next").iterdir()}
    expect(set(COMPANIONS) <= found, f"it holds {sorted(found)}")
    expect('- "merged"' in (context.directory / "next" / "README.md").read_text(), "another base in the card")


@cases.case("same-bytes")
def every_rank_count_chunk_and_budget_writes_the_same_tensors(context):
    models(context)
    write_job(context, "merged")
    first = None
    for ranks in (1, 2, 3, 4, 7):
        for options in (("--chunk", "4KiB", "--memory", "1MiB"), ("--chunk", "1MiB")):
            context.run_well("merge", "job.yaml", "--overwrite", "--shard-size", "3kB", *options, ranks=ranks)
            found = {file.name: hashlib.sha256(file.read_bytes()).hexdigest()
                     for file in (context.directory / "merged").iterdir() if file.name not in ("mpimerge_summary.json", "mpimerge_checksums.json")}
            first = first or found
            expect(found == first, f"other files with {ranks} ranks and {' '.join(options)}")


if __name__ == "__main__":
    cases.main()
