#!/usr/bin/env python3
"""Merges by every method against the results of public implementations, through the real program."""

import json
import pathlib
import shutil
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from reference_ties import worst_ulps  # noqa: E402
from support import jobs, tensors  # noqa: E402
from support.cases import Cases, expect  # noqa: E402
from support.merged import Merged  # noqa: E402

DATA = pathlib.Path(__file__).resolve().parents[1] / "data" / "methods"
AGGREGATES = {"dis-mean": "disjoint-mean", "dis-sum": "disjoint-sum", "dis-max": "disjoint-max"}
# Of a tensor's largest entry: norms, arcs and sums of float32 come out a little different in every program.
TOLERANCE = 1e-5
# mergekit's rule that drops all of a small tensor; its results are right under `compat: mergekit` alone.
QUIRKS = ("quirk_breadcrumbs_small_tensor",)
RANDOM = ("dare_linear", "dare_ties", "della", "della_linear")

cases = Cases(__doc__)


def merge(context, job, *options, name="out.h5", **how):
    output, summary = context.directory / name, context.directory / "summary.json"
    context.run_well("merge", job, "--output", output, "--summary", summary, "--overwrite", *options, **how)
    merged = Merged(output)
    expect(not merged.faults, "; ".join(merged.faults))
    return merged, json.loads(summary.read_text())


def official_job(context, directory, case):
    """The case as a job of ours."""
    keys = [f"merge_method: {case['method']}"]
    if case["method"] != "average":
        keys.append(f"base_model: {json.dumps(str(directory / case['base']))}")
    keys.append("models:")
    keys += [f"  - model: {json.dumps(str(directory / task))}" for task in case["tasks"]]
    parameters = {}
    if case["method"] != "average":
        parameters["lambda"] = repr(case["lambda"])
    if case["method"] == "ties":
        parameters["density"] = repr(case["trim"]["k_fraction"])
        sign = case["sign"]
        keys.append(f"elect: {json.dumps(str(directory / case['oracle'])) if sign == 'oracle' else sign}")
    if "aggregate" in case:
        keys.append(f"aggregate: {AGGREGATES.get(case['aggregate'], case['aggregate'])}")
    if parameters:
        keys.append("parameters: {" + ", ".join(f"{key}: {value}" for key, value in parameters.items()) + "}")
    keys.append("out_dtype: float32")
    job = context.directory / "job.yaml"
    job.write_text("\n".join(keys) + "\n")
    return job


def equals_official(directory):
    def check(context):
        case = json.loads((directory / "case.json").read_text())
        merged, summary = merge(context, official_job(context, directory, case))
        expect(summary["method"] == case["method"], f"the summary says {summary['method']}")
        expected = tensors.read_file(directory / case["expected"])
        found = {name: tensor.float32() for name, tensor in merged.tensors.items() if tensor.dtype == "F32"}
        distance = worst_ulps(found, {name: expected[name].float32() for name in found})
        expect(distance == 0, f"{distance} ulp off, expected the same bits")
    return check


def farthest(found, expected):
    """The largest difference of all tensors, as a part of the tensor's largest entry, and where it is."""
    worst, where = 0.0, ""
    for name, tensor in expected.items():
        wanted = tensor.float32().astype(np.float64)
        got = found[name].float32().astype(np.float64)
        if wanted.size == 0:
            continue
        expect(got.size == wanted.size, f"{name} has {got.size} elements, expected {wanted.size}")
        distance = float(np.abs(got - wanted).max() / max(np.abs(wanted).max(), 1e-30))
        if not distance <= worst:
            worst, where = distance, name
    return worst, where


MERGEKIT = ("--set", "compat=mergekit", "--set", "out_dtype=float32")


def expect_mergekits(merged, directory):
    expected = tensors.read_file(directory / "expected" / "model.safetensors")
    distance, where = farthest(merged.tensors, expected)
    expect(distance <= TOLERANCE, f"{where} is {distance:.2g} of its largest entry off")


def equals_mergekit(directory):
    def check(context):
        merged, _ = merge(context, directory / "config.yml", *MERGEKIT)
        expect_mergekits(merged, directory)
    return check


def equals_mergekit_everywhere(directory):
    def check(context):
        merged = same_bytes(lambda _: directory / "config.yml", *MERGEKIT)(context)
        expect_mergekits(merged, directory)
    return check


def config_of(context, method, parameters, own, source="task_arithmetic"):
    directory = DATA / "mergekit" / source
    lines = [f"merge_method: {method}", f"base_model: {json.dumps(str(directory / 'base'))}", "models:"]
    for number in range(3):
        lines.append(f"  - model: {json.dumps(str(directory / f'task_0{number}'))}")
        lines.append(f"    parameters: {json.dumps(own)}")
    lines.append(f"parameters: {json.dumps(parameters)}")
    lines.append("seed: 7")
    job = context.directory / f"{method}.yaml"
    job.write_text("\n".join(lines) + "\n")
    return job


def same_bytes(make_job, *options, ranks=(1, 2, 3, 5)):
    """Every rank count, chunk size and memory budget gives the same file content."""
    def check(context):
        job, first = make_job(context), None
        for number, count in enumerate(ranks):
            how = ("--chunk", "4KiB", "--memory", "1MiB") if number % 2 else ("--chunk", "1MiB")
            merged, _ = merge(context, job, *options, *how, ranks=count)
            first = first or merged.digest
            expect(merged.digest == first, f"other bytes with {count} ranks and {' '.join(how)}")
        return merged
    return check


def random_job(method):
    return lambda context: config_of(context, method, {}, {"weight": 1.0, "density": 0.5})


def another_seed_is_another_mask(method):
    def check(context):
        job = random_job(method)(context)
        digests = {merge(context, job, "--set", f"seed={seed}")[0].digest for seed in (1, 2, 3)}
        expect(len(digests) == 3, "seeds 1, 2, 3 do not give three files")
    return check


@cases.case("traps")
def small_tensors_keep_their_delta_by_default(context):
    directory = DATA / "mergekit" / "quirk_breadcrumbs_small_tensor"
    ours, _ = merge(context, directory / "config.yml")
    theirs, _ = merge(context, directory / "config.yml", "--set", "compat=mergekit")
    base = tensors.read_model(directory / "base")
    dropped = [name for name, tensor in base.items()
               if tensor.elements and np.array_equal(theirs.tensors[name].float32(), tensor.float32())]
    expect(dropped, "mergekit's rule drops no tensor of this case")
    for name in dropped:
        expect(not np.array_equal(ours.tensors[name].float32(), base[name].float32()), f"{name} is the base's")


@cases.case("traps")
def the_tensors_scope_is_not_the_models(context):
    directory = DATA / "mergekit" / "ties_plain"
    ours, _ = merge(context, directory / "config.yml")
    theirs, _ = merge(context, directory / "config.yml", "--set", "compat=mergekit")
    expect(ours.digest != theirs.digest, "the same bits with both scopes")


def with_value(context, value):
    """The second task with one value of another kind; returns the models' directories."""
    directory = DATA / "mergekit" / "task_arithmetic"
    broken = context.directory / "broken"
    shutil.copytree(directory / "task_01", broken)
    [file] = broken.glob("*.safetensors")
    data = bytearray(file.read_bytes())
    header = json.loads(data[8:8 + int.from_bytes(data[:8], "little")])
    name, entry = max(((key, value) for key, value in header.items() if key != "__metadata__"),
                      key=lambda item: item[1]["data_offsets"][1] - item[1]["data_offsets"][0])
    begin = 8 + int.from_bytes(data[:8], "little") + entry["data_offsets"][0]
    data[begin + 20:begin + 24] = np.array([value], "<f4").tobytes()
    file.write_bytes(data)
    expect(entry["dtype"] == "F32", f"{name} is {entry['dtype']}")
    return directory / "base", directory / "task_00", broken, name


def refuses(value, method, count, parameters):
    what = "is NaN" if np.isnan(value) else "is infinite in float32"

    def check(context):
        base, first, broken, name = with_value(context, value)
        models = [broken, first][:count]
        lines = [f"merge_method: {method}", f"base_model: {json.dumps(str(base))}", "models:"]
        lines += [f"  - model: {json.dumps(str(model))}" for model in models]
        lines += [f"parameters: {json.dumps(parameters)}"]
        job = context.directory / "job.yaml"
        job.write_text("\n".join(lines) + "\n")
        outcome = context.run("merge", job, "--output", context.directory / "out.h5", "-q")
        expect(outcome.code == 4, f"expected exit 4: {outcome.describe()}")
        expect(len(outcome.err_lines) == 1 and name in outcome.err and f"element 5 {what}" in outcome.err,
               outcome.describe())
        expect(not (context.directory / "out.h5").exists(), "there is an output")
    return check


for refused in ((np.nan, "task_arithmetic", 2, {}), (-np.inf, "slerp", 1, {"t": 0.5}),
                (np.inf, "breadcrumbs", 2, {"weight": 1}), (np.nan, "arcee_fusion", 1, {}),
                (np.nan, "sce", 2, {"select_topk": 0.5}), (np.nan, "model_stock", 2, {"filter_wise": True})):
    cases.add("nan", f"{refused[1]}-refuses-{refused[0]}", refuses(*refused))
for each in sorted((DATA / "official").iterdir()):
    cases.add("official", each.name, equals_official(each))
for each in sorted((DATA / "mergekit").iterdir()):
    cases.add("mergekit", each.name, equals_mergekit(each))
    cases.add("same-bytes", each.name + ".same-bytes", equals_mergekit_everywhere(each))
for each in RANDOM:
    cases.add("random", each + ".same-bytes", same_bytes(random_job(each), ranks=(1, 3, 7)))
    cases.add("random", each + ".seeds", another_seed_is_another_mask(each))

if __name__ == "__main__":
    cases.main()
