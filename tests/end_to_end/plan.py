#!/usr/bin/env python3
"""What `plan` predicts, against what merges then report."""

import json
import pathlib
import struct
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import numpy as np  # noqa: E402

from support import jobs, tensors  # noqa: E402
from support.cases import Cases, expect  # noqa: E402

RANKS = (1, 2, 3)
# Of data per rank: all stays; some does; at most what is left over. What lies in the brackets takes far more than an
# eighth of the lower two, and far less than an eighth of the first.
BUDGETS = ("1GiB", "3MB", "400kB")

# Prints the peak of a program's memory, in KiB, on the last line of stderr.
WITH_PEAK = """import resource, subprocess, sys
code = subprocess.run(sys.argv[1:]).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
sys.exit(code)"""

cases = Cases(__doc__, count_allreduces="the library made from count_allreduces.cpp")


def make_models(context, tasks=2, elements=150_000, types=("F32",)):
    """A base and its tasks, which all lean to one side: their majority sign is guessed right."""
    random = np.random.default_rng(20240917)
    originals = [random.standard_normal(elements + 1000 * number).astype(np.float32) for number in range(7)]

    def write(name, values):
        content = {f"layer.{number}": tensors.round_to(types[number % len(types)], (len(each),), each)
                   for number, each in enumerate(values)}
        content["ids"] = tensors.raw("I64", (5000,), bytes(40_000))
        tensors.write_model(context.directory / name, content)
        return name

    base = write("base", originals)
    changed = [[each + 0.1 * random.standard_normal(len(each)).astype(np.float32) + np.float32(0.1) for each in originals]
               for _ in range(tasks)]
    return base, [write(f"task{number}", values) for number, values in enumerate(changed)]


def write_job(context, base, models, parameters=None, **keys):
    (context.directory / "job.yaml").write_text(jobs.job_text(base, models, parameters, output="out.h5", **keys))


def plan(context, ranks, *options):
    outcome = context.run_well("plan", "job.yaml", "--ranks", ranks, "--json", *options, launcher=False)
    return json.loads(outcome.out)


def merge(context, ranks, *options):
    context.run_well("merge", "job.yaml", "--overwrite", "-q", "--summary", "summary.json", *options, ranks=ranks)
    return json.loads((context.directory / "summary.json").read_text())


def expect_agreement(context, ranks, *options):
    """Plans and merges; returns the plan."""
    predicted, measured = plan(context, ranks, *options), merge(context, ranks, *options)
    phases = {phase["name"]: phase["bytes"] for phase in measured["phases"]}
    reads, everything, memory = predicted["all"]["read_bytes"], predicted["all"], measured["memory_plan"]
    pairs = [(name, reads[name], phases[name]) for name in ("sample", "select", "guess", "merge")]
    pairs += [("total", reads["total"], sum(reads[name] for name in ("sample", "select", "guess", "merge"))),
              ("write", everything["written_bytes"], phases["write"]),
              ("mode", predicted["mode"], measured["memory"]), ("mode", predicted["mode"], memory["mode"]),
              ("budget", predicted["memory_budget_bytes"], memory["budget_bytes"]),
              ("resident bytes", everything["resident_bytes"], memory["resident_bytes"]),
              ("resident blocks", everything["resident_blocks"], memory["resident_blocks"]),
              ("blocks", everything["blocks"], memory["blocks"]),
              ("parameters", predicted["parameters"], measured["parameters"]),
              ("ranks", predicted["ranks"], measured["ranks"])]
    for what, expected, found in pairs:
        expect(found == expected, f"{ranks} ranks, {' '.join(options)}: {what}: planned {expected}, measured {found}")
    return predicted


@cases.case("bytes")
def bytes_of_a_trim_are_the_planned_ones(context):
    # In budgets between these it depends on the values whether the brackets fit.
    write_job(context, *make_models(context, types=("BF16",)))
    modes = {expect_agreement(context, ranks, "--memory", budget, "--chunk", "64KiB")["mode"]
             for ranks in RANKS for budget in ("1kB", "2MB", "1GiB")}
    expect(modes == {"resident", "partly resident", "streaming"}, f"modes are {modes}")


@cases.case("bytes")
def bytes_of_the_check_alone_are_the_planned_ones(context):
    write_job(context, *make_models(context), {"density": 1.0})
    modes = {expect_agreement(context, ranks, "--memory", budget, "--chunk", "64KiB")["mode"]
             for ranks in RANKS for budget in (*BUDGETS, "1kB")}
    expect(modes == {"resident", "partly resident", "streaming"}, f"modes are {modes}")


@cases.case("bytes")
def bytes_of_one_pass_are_the_planned_ones(context):
    write_job(context, *make_models(context), {"density": 1.0}, nan="allow")
    for ranks in RANKS:
        predicted = expect_agreement(context, ranks, "--memory", "1GiB")
        expect(predicted["passes"] == 1 and predicted["all"]["read_bytes"]["select"] == 0, "inputs are read twice")
        expect(predicted["smallest_resident_ranks"] is None, "something has to stay resident")


@cases.case("bytes")
def bytes_of_mixed_types_and_many_tasks_are_the_planned_ones(context):
    base, models = make_models(context, tasks=17, elements=9000, types=("F32", "BF16", "F64"))
    for keys in ({}, {"out_dtype": "bfloat16"}, {"sign_tie": "positive"}):
        write_job(context, base, models, **keys)
        for ranks, budget in zip(RANKS, ("1GiB", "1kB", "2GiB")):
            expect_agreement(context, ranks, "--memory", budget, "--chunk", "16KiB")


# Methods that ask for sums of tensors and of the model, for ranks, for a trim over the model, and for nothing.
METHODS = {
    "average": {"base": False},
    "ties": {},
    "ties by tensor": {"trim_scope": "tensor"},
    "ties, normfrac": {"elect": "normfrac"},
    "ties, mean": {"aggregate": "mean", "nan": "allow"},
    "breadcrumbs": {"parameters": {"density": 0.3, "gamma": 0.2}},
    "dare_ties": {"parameters": {"density": 0.5}},
    "sce": {"parameters": {"select_topk": 0.5}},
    "model_stock": {},
    "nuslerp": {"parameters": {"weight": 0.5, "nuslerp_flatten": False}},
}


def methods_job(context, base, models, name):
    keys = dict(METHODS[name])
    text = jobs.job_text(base, models, keys.pop("parameters", None), output="out.h5",
                         **{key: value for key, value in keys.items() if key != "base"})
    text = text.replace("merge_method: ties", f"merge_method: {name.split(' ')[0].rstrip(',')}")
    if not keys.get("base", True):
        text = text.replace(f"base_model: {json.dumps(base)}\n", "")
    (context.directory / "job.yaml").write_text(text)


def expect_bytes(what, planned, summary):
    """Bytes read before the merge, whatever the passes are called, and while merging."""
    reads, found = planned["all"]["read_bytes"], {"before": 0, "merge": 0}
    for phase in summary["phases"]:
        if phase["name"] in ("sample", "guess", "select", "measure"):
            found["before"] += phase["bytes"]
        elif phase["name"] == "merge":
            found["merge"] = phase["bytes"]
    expected = {"before": reads["sample"] + reads["select"] + reads["guess"], "merge": reads["merge"]}
    expect(found == expected, f"{what}: planned {expected}, measured {found}")
    expect(planned["mode"] == summary["memory"], f"{what}: planned {planned['mode']}, measured {summary['memory']}")


@cases.case("methods")
def bytes_of_passes_over_streams_are_the_planned_ones(context):
    base, models = make_models(context, elements=30_000)
    for name, passes in (("average", 1), ("model_stock", 2), ("dare_ties", 3), ("ties, normfrac", 5)):  # what lies in the brackets does not fit
        methods_job(context, base, models, name)
        options = ("--memory", "1kB", "--chunk", "16KiB")
        planned = plan(context, 3, *options)
        expect(planned["passes"] == passes, f"{name}: {planned['passes']} passes are planned")
        expect_bytes(name, planned, merge(context, 3, *options))


@cases.case("methods")
def allreduces_of_methods_are_the_planned_ones(context):
    library = pathlib.Path(context.arguments.count_allreduces).resolve()
    environment = {"LD_PRELOAD": str(library), "ALLREDUCES": str(context.directory / "counted")}
    # Long tensors are sampled, short ones listed; both are cut by the ends of shards.
    base, models = make_models(context, elements=30_000)
    for ranks in (2, 3):
        others = set()  # Allreduces before and after the merge: the same for all methods
        for name in METHODS:
            methods_job(context, base, models, name)
            planned = plan(context, ranks, "--chunk", "16KiB")
            predicted = planned["allreduce"]
            context.run_well("merge", "job.yaml", "--overwrite", "-q", "--summary", "summary.json", "--chunk", "16KiB",
                             ranks=ranks, environment=environment)
            calls, counted = map(int, (context.directory / "counted").read_text().split())
            summary = json.loads((context.directory / "summary.json").read_text())
            expect_bytes(f"{name}, {ranks} ranks", planned, summary)
            phases = len(summary["phases"])
            # Of each phase seconds and bytes are reduced.
            others.add((calls - 2 * phases - predicted["calls"],
                        counted - 16 * phases - predicted["bytes_per_rank"]))
            expect(len(others) == 1, f"{name}, {ranks} ranks: planned {predicted['calls']} calls of "
                   f"{predicted['bytes_per_rank']} bytes, counted {calls} of {counted}; others {others}")
        calls, counted = others.pop()
        expect(0 < calls < 200 and 0 < counted < 4000, f"{calls} calls of {counted} bytes beside those of the merge")


@cases.case("bytes")
def bytes_of_embeddings_of_unlike_rows_are_the_planned_ones(context):
    random = np.random.default_rng(7)
    for name, rows in (("base", 3000), ("a", 2500), ("b", 4000)):
        content = {"model.embed_tokens.weight": tensors.round_to("BF16", (rows, 64), random.standard_normal(rows * 64) + rows),
                   "w": tensors.round_to("BF16", (30_000,), random.standard_normal(30_000) + rows)}
        tensors.write_model(context.directory / name, content)
    write_job(context, "base", ["a", "b"], {"density": 1.0}, embeddings="common rows", out_dtype="float32")
    for ranks, budget in zip(RANKS, ("1GiB", "1kB", "2MiB")):
        expect_agreement(context, ranks, "--memory", budget, "--chunk", "16KiB")


@cases.case("bytes")
def ranks_add_up(context):
    write_job(context, *make_models(context))
    for budget in BUDGETS:
        one = plan(context, 1, "--memory", budget)
        for part in ("read_bytes", "written_bytes", "resident_bytes", "blocks"):
            expect(one["per_rank"][part] == one["all"][part], f"{part} of the only rank are not those of all")
        many = plan(context, 100, "--memory", budget)
        expect(many["all"]["written_bytes"] == one["all"]["written_bytes"], "other bytes are written by 100 ranks")
        expect(many["per_rank"]["read_bytes"]["total"] * 100 >= many["all"]["read_bytes"]["total"],
               "the rank that is shown is not the largest")


@cases.case("bytes")
def one_rank_less_than_the_smallest_is_not_resident(context):
    write_job(context, *make_models(context))
    for budget in ("500kB", "3MB", "1GiB"):
        options = ("--memory", budget, "--chunk", "64KiB")
        smallest = plan(context, 7, *options)["smallest_resident_ranks"]
        expect(plan(context, smallest, *options)["mode"] == "resident", f"{smallest} ranks are not resident")
        if smallest > 1:
            expect(plan(context, smallest - 1, *options)["mode"] != "resident", f"{smallest - 1} ranks are")
    expect(smallest == 1, "1 GiB is not enough for one rank")


@cases.case("bytes")
def the_budget_that_would_keep_all_does(context):
    write_job(context, *make_models(context))
    for ranks in (1, 3, 50):
        enough = plan(context, ranks, "--memory", "1MB")["resident_budget_bytes"]
        expect(plan(context, ranks, "--memory", enough)["mode"] == "resident", "it does not")
        expect(plan(context, ranks, "--memory", enough - 1)["mode"] != "resident", "less would do")


@cases.case("bytes")
def options_add_what_they_say(context):
    write_job(context, *make_models(context))
    plain = plan(context, 6, "--memory", "3MB")
    expect("seconds" not in plain and "nodes" not in plain, "a time, or nodes, without asking")
    expect(plain["memory_budget_assumed"] is None, "something was assumed")
    expect(plain["output_files"] == ["out.h5"] and plain["outputs"] == 1, f"outputs are {plain['output_files']}")
    timed = plan(context, 6, "--memory", "3MB", "--bandwidth", "2MB/s", "--ranks-per-node", "4")
    moved = timed["all"]["read_bytes"]["total"] + timed["all"]["written_bytes"]
    expect(abs(timed["seconds"] - moved / 2e6) < 1e-6, f"{timed['seconds']} s for {moved} bytes")
    expect(timed["nodes"] == 2 and timed["memory_per_node_bytes"] == 4 * timed["memory_per_rank_bytes"], "wrong nodes")
    assumed = plan(context, 6, "--ranks-per-node", "3")
    expect("3 ranks" in assumed["memory_budget_assumed"], f"assumed {assumed['memory_budget_assumed']}")
    denser = plan(context, 6, "--memory", "3MB", "--set", "parameters.density=1")
    expect(denser["all"]["read_bytes"]["sample"] == 0, "--set has no effect")


@cases.case("bytes")
def the_table_says_the_same(context):
    write_job(context, *make_models(context))
    outcome = context.run_well("plan", "job.yaml", "--ranks", 5, "--bandwidth", "200GB/s", launcher=False)
    for word in ("5 ranks", "budget", "assumed", "memory", "mode", "select", "all ranks", "allreduce", "output", "time"):
        expect(word in outcome.out, f"`{word}` is not in the table: {outcome.out}")
    expect(not outcome.err_lines, outcome.describe())
    expect(not (context.directory / "out.h5").exists(), "something was written")


@cases.case("bytes")
def refusals_are_one_line_with_the_right_code(context):
    base, models = make_models(context, elements=100)
    write_job(context, base, models)
    (context.directory / "faulty.yaml").write_text("merge_method: ties\n")
    (context.directory / "lost.yaml").write_text(jobs.job_text("nowhere", models))
    table = [(2, ("job.yaml",)), (2, ("job.yaml", "--ranks", "0")), (2, ("job.yaml", "--ranks", "-1")),
             (2, ("job.yaml", "--ranks", "1.5")), (2, ("job.yaml", "--ranks", "1000001")),
             (2, ("job.yaml", "--ranks", "4", "--ranks-per-node", "0")), (2, ("--ranks", "4")),
             (2, ("job.yaml", "--ranks", "4", "--memory", "much")),
             (3, ("lost-job.yaml", "--ranks", "4")), (4, ("lost.yaml", "--ranks", "4"))]
    table += [(2, ("job.yaml", "--ranks", "4", "--bandwidth", rate)) for rate in ("200GB", "fast", "0GB/s", "-1GB/s", "/s")]
    for code, words in table:
        outcome = context.run("plan", *words, launcher=False)
        expect(outcome.code == code and len(outcome.err_lines) == 1 and not outcome.out,
               f"{' '.join(words)}: expected {code}: {outcome.describe()}")
    expect(context.run("plan", "faulty.yaml", "--ranks", "4", launcher=False).code == 3, "a faulty job is planned")
    outcome = context.run("plan", "job.yaml", "--ranks", "4", ranks=2)
    expect(outcome.code == 2 and len(outcome.err_lines) == 1 and "one rank" in outcome.err, outcome.describe())


@cases.case("memory")
def memory_is_within_a_tenth(context):
    base, models = make_models(context, tasks=4, elements=2_000_000)
    write_job(context, base, models)
    for ranks in RANKS:
        for budget in ("12MiB", "1GiB"):
            predicted = expect_agreement(context, ranks, "--memory", budget)["memory_per_rank_bytes"]
            measured = json.loads((context.directory / "summary.json").read_text())["peak_rss_bytes"]
            expect(abs(predicted / measured - 1) < 0.1, f"{ranks} ranks, {budget}: planned {predicted}, measured {measured}")


@cases.case("memory")
def the_output_is_as_large_as_planned(context):
    write_job(context, *make_models(context, tasks=1, types=("F32", "BF16")))
    merge(context, 1)
    predicted, found = plan(context, 1)["output_bytes"], (context.directory / "out.h5").stat().st_size
    expect(abs(predicted / found - 1) < 0.02, f"planned {predicted}, found {found}")


def write_hollow_model(directory, parameters, tensors_of_all, files):
    """A checkpoint of BF16 tensors whose headers are right and whose data are a hole."""
    directory.mkdir()
    elements, weight_map = parameters // tensors_of_all, {}
    for file in range(files):
        name, header, end = f"model-{file}.safetensors", {}, 0
        for number in range(tensors_of_all // files):
            begin, end = end, end + 2 * elements
            header[f"layers.{file}.{number}.weight"] = {"dtype": "BF16", "shape": [elements // 1000, 1000],
                                                        "data_offsets": [begin, end]}
        text = json.dumps(header).encode()
        with open(directory / name, "wb") as stream:
            stream.write(struct.pack("<Q", len(text)) + text)
            stream.truncate(8 + len(text) + end)
        weight_map.update({tensor: name for tensor in header})
    (directory / tensors.INDEX).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


@cases.case("memory")
def a_million_million_parameters_take_little_memory(context):
    names = ["base", "task0", "task1", "task2", "task3"]
    for name in names:
        write_hollow_model(context.directory / name, 10**12, 8000, 16)
    write_job(context, names[0], names[1:])
    for ranks, budget in ((512, "2GiB"), (512, "30GiB"), (100_000, "2GiB")):
        outcome = context.run_well("plan", "job.yaml", "--ranks", ranks, "--memory", budget, "--json", launcher=False,
                                   before=(sys.executable, "-c", WITH_PEAK))
        predicted, peak = json.loads(outcome.out), int(outcome.err_lines[-1]) * 1024
        expect(predicted["parameters"] == 10**12, f"{predicted['parameters']} parameters")
        expect(predicted["all"]["read_bytes"]["select"] == 5 * 2 * 10**12, "not every byte is read once")
        expect(predicted["all"]["written_bytes"] == 2 * 10**12, "not every byte is written")
        expect(peak < 500e6, f"{ranks} ranks: {peak} bytes of memory")


if __name__ == "__main__":
    cases.main()
