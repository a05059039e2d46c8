#!/usr/bin/env python3
"""The copied merges of the authors' own code, through the real program: bits and counts."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from reference_ties import all_cases, bits, worst_ulps  # noqa: E402
from support import jobs, tensors  # noqa: E402
from support.cases import Cases, expect  # noqa: E402

# Cases of every kind for the comparison of files: shards, odd types, order of sums, cancellation, few elements.
VARIED = ("bf16_large_sharded", "mixed_dtypes_sharded", "odd_shapes", "tail_order", "cancel_balanced_dis_max_2tasks",
          "f32_11tasks_k20", "k_rounding_K0p01_d50", "f16_8tasks_k1")

cases = Cases(__doc__)


def job_of(case, **keys):
    models = [case.directory / task for task in case.job["tasks"]]
    return jobs.job_text(case.directory / case.job["base"], models,
                         {"density": repr(case.density), "lambda": repr(case.job["lambda"])},
                         aggregate=case.aggregate, sign_tie="majority", **keys)


def base_of(case):
    return tensors.read_model(case.directory / case.job["base"])


def agrees(case):
    def check(context):
        base = base_of(case)
        merged, summary = jobs.merge(context, job_of(case, out_dtype="float32"))
        expect(summary["ranks"] == context.ranks, f"{summary['ranks']} ranks in the summary")
        jobs.expect_shapes_and_copies(merged, base, "F32")
        check_statistics(case, summary)
        found = {name: tensor.float32() for name, tensor in merged.tensors.items() if tensor.dtype == "F32"}
        wanted = {name: case.expected[name].float32() for name in found}
        distance = worst_ulps(found, wanted)
        expect(distance <= case.ulps, f"{distance} ulp off, at most {case.ulps} expected")
    return check


def agrees_in_base_types(case):
    def check(context):
        merged, _ = jobs.merge(context, job_of(case))
        expected = tensors.read_file(case.directory / case.job["expected_base_dtype"])
        jobs.expect_shapes_and_copies(merged, base_of(case))
        for name, tensor in expected.items():
            expect(merged.tensors[name] == tensor, f"{name} differs in its {tensor.dtype} bits")
    return check


def check_statistics(case, summary):
    stats = case.stats
    tasks, signs, conflicts = summary["tasks"], summary["signs"], summary["conflicts"]
    elected = stats["signs_elected_raw"]
    pairs = [
        ("parameters", summary["parameters"], stats["parameters"]),
        ("kept", [task["kept"] for task in tasks], [task["kept"] for task in stats["task"]]),
        ("positive", signs["positive"], elected["positive"]),
        ("negative", signs["negative"], elected["negative"]),
        ("cancelled + untouched", signs["cancelled"] + signs["untouched"], elected["zero"]),
        ("conflicts before", conflicts["before_trim"], stats["conflicts_before_trim"]),
        ("conflicts after", conflicts["after_trim"], stats["conflicts_after_trim"]),
    ]
    if case.job["trim"]["type"] == "topk":
        pairs += [
            ("trim_rank", [task["trim_rank"] for task in tasks], [stats["k_int"]] * len(tasks)),
            ("threshold_bits", [task["threshold_bits"] for task in tasks],
             [task["threshold"]["bits"] for task in stats["task"]]),
            ("threshold", [bits(task["threshold"]) for task in tasks],
             [task["threshold"]["bits"] for task in stats["task"]]),
        ]
    for what, found, wanted in pairs:
        expect(found == wanted, f"{what}: {found}, expected {wanted}")


def same_bytes(case):
    """Every rank count, chunk size and memory budget gives the same file content."""
    def check(context):
        text = job_of(case)
        first = None
        for ranks in (1, 2, 3, 4, 7):
            for options in (("--chunk", "4KiB", "--memory", "1MiB"), ("--chunk", "1MiB")):
                merged, _ = jobs.merge(context, text, *options, ranks=ranks)
                first = first or merged.digest
                expect(merged.digest == first,
                       f"other bytes with {ranks} ranks and {' '.join(options)}: {merged.digest}, expected {first}")
    return check


for each in all_cases():
    cases.add("agree", each.name, agrees(each))
    if "expected_base_dtype" in each.job:
        cases.add("agree", f"{each.name}.base-types", agrees_in_base_types(each))
    if each.name in VARIED:
        cases.add("same-bytes", f"{each.name}.same-bytes", same_bytes(each))

if __name__ == "__main__":
    cases.main()
