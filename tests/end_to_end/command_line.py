#!/usr/bin/env python3
"""What the commands print, and with which code they end."""

import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import numpy as np  # noqa: E402

from support import jobs, tensors  # noqa: E402
from support.cases import Cases, expect  # noqa: E402

GOLDEN = pathlib.Path(__file__).resolve().parent / "golden"

cases = Cases(__doc__)


def model(change=0.0):
    """Six tensors; `change` moves one element of two of them, of the second by half as much."""
    weight = np.arange(12, dtype=np.float32) / 4
    bias = np.arange(300, dtype=np.float32)
    weight[7] += change
    bias[123] -= change / 2
    return {
        "body.0.weight": tensors.round_to("F32", (3, 4), weight),
        "body.0.bias": tensors.round_to("F32", (300,), bias),
        "head.weight": tensors.round_to("BF16", (2, 2), [1, 2, 3, 4]),
        "scale": tensors.round_to("F16", (), [0.5]),
        "empty": tensors.round_to("F32", (0, 5), []),
        "ids": tensors.raw("I64", (2,), bytes(16)),
    }


def store(context, name, content):
    tensors.write_model(context.directory / name, content, {"format": "pt"})
    return name


def merged(context, name):
    """An HDF5 file of mpimerge that holds `model()`."""
    store(context, "plain", model())
    store(context, "same", model())
    jobs.merge(context, jobs.job_text("plain", ["same"]), name=name)
    return name


def expect_text(found, golden):
    wanted = (GOLDEN / golden).read_text()
    expect(found == wanted, f"other than {golden}:\n{found}")


@cases.case("cli")
def help_names_the_commands_and_exit_codes(context):
    outcome = context.run_well("--help")
    for word in ("merge", "inspect", "diff", "Exit codes", "--version"):
        expect(word in outcome.out, f"`{word}` is not in the help")
    expect(not outcome.err_lines, outcome.describe())
    expect(outcome.out.count("Exit codes") == 1, "more than one rank printed")


@cases.case("cli")
def help_of_a_command_names_its_options(context):
    words = {"merge": ("JOB", "--output", "--memory", "--overwrite", "--summary", "--set", "--chunk", "--quiet"),
             "inspect": ("PATH", "--json"), "diff": ("--rtol", "--atol")}
    for command, options in words.items():
        outcome = context.run_well(command, "--help")
        for option in options:
            expect(option in outcome.out, f"`{option}` is not in the help of {command}")


@cases.case("cli")
def version_is_one_line(context):
    outcome = context.run_well("--version")
    expect(outcome.out.startswith("mpimerge ") and outcome.out.count("\n") == 1, f"it says {outcome.out!r}")
    expect(outcome.out.split()[1].count(".") == 2, f"it says {outcome.out!r}")


@cases.case("cli")
def runs_without_a_launcher(context):
    store(context, "base", model())
    store(context, "task", model(1))
    (context.directory / "job.yaml").write_text(jobs.job_text("base", ["task"], output="out.h5"))
    context.run_well("merge", "job.yaml", launcher=False)
    expect((context.directory / "out.h5").exists(), "nothing was written")


@cases.case("cli")
def merge_logs_to_stderr_and_tells_results_on_stdout(context):
    store(context, "base", model())
    store(context, "task", model(1))
    (context.directory / "job.yaml").write_text(jobs.job_text("base", ["task"], output="out.h5"))
    outcome = context.run_well("merge", "job.yaml")
    expect("out.h5" in outcome.out and "task" in outcome.out, f"stdout says {outcome.out!r}")
    for phase in ("open", "select", "merge", "write"):
        expect(sum(phase in line for line in outcome.err_lines) == 1, f"no line, or several, for {phase}: {outcome.err}")
    expect("\r" not in outcome.err and "%" not in outcome.err, "a progress line in a log that is no terminal")


@cases.case("cli")
def a_merge_without_output_writes_only_its_account(context):
    store(context, "base", model())
    store(context, "task", model(1))
    job = context.directory / "job.yaml"
    job.write_text(jobs.job_text("base", ["task"], output="out.h5"))
    before = {path.name for path in context.directory.iterdir()}
    outcome = context.run_well("merge", job, "--set", "output=none", "--summary", "account.json", "--resume",
                               "--journal", "journal", "--checkpoint-interval", 0)
    made = {path.name for path in context.directory.iterdir()} - before
    expect(made == {"account.json"}, f"made {sorted(made)}")
    expect("written    nothing" in outcome.out, outcome.out)
    account = json.loads((context.directory / "account.json").read_text())
    context.run_well("merge", job, "--summary", "account.json")
    written = json.loads((context.directory / "account.json").read_text())
    for key in ("parameters", "tasks", "signs", "conflicts"):
        expect(account[key] == written[key], f"{key}: {account[key]}, with an output {written[key]}")


@cases.case("cli")
def quiet_merge_says_nothing(context):
    store(context, "base", model())
    store(context, "task", model(1))
    (context.directory / "job.yaml").write_text(jobs.job_text("base", ["task"], output="out.h5"))
    outcome = context.run_well("merge", "job.yaml", "-q")
    expect(not outcome.out and not outcome.err, f"stdout {outcome.out!r}, stderr {outcome.err!r}")
    expect((context.directory / "out.h5").exists(), "nothing was written")


@cases.case("cli")
def inspect_shows_a_table(context):
    store(context, "checkpoint", model())
    expect_text(context.run_well("inspect", "checkpoint").out, "inspect.txt")


@cases.case("cli")
def inspect_writes_json(context):
    store(context, "checkpoint", model())
    outcome = context.run_well("inspect", "checkpoint", "--json")
    json.loads(outcome.out)
    expect_text(outcome.out, "inspect.json")


@cases.case("cli")
def inspect_knows_hdf5(context):
    merged(context, "merged.h5")
    found = json.loads(context.run_well("inspect", "merged.h5", "--json").out)
    shapes = {tensor["name"]: (tensor["dtype"], tensor["shape"]) for tensor in found["tensors"]}
    wanted = {name: (tensor.dtype, list(tensor.shape)) for name, tensor in model().items()}
    expect(shapes == wanted, f"{shapes}")
    table = context.run_well("inspect", "merged.h5").out
    expect(all(name in table for name in wanted), table)


@cases.case("cli")
def inspect_shows_shards_as_one_checkpoint(context):
    content = list(model().items())
    tensors.write_shards(context.directory / "sharded", [dict(content[:2]), dict(content[2:])])
    found = json.loads(context.run_well("inspect", "sharded", "--json").out)
    expect({tensor["name"] for tensor in found["tensors"]} == set(model()), "tensors are missing")
    expect(len({tensor["file"] for tensor in found["tensors"]}) == 2, "the shards are not named")


@cases.case("cli")
def inspect_of_nothing_is_an_input_error(context):
    outcome = context.run("inspect", "nowhere")
    expect(outcome.code == 4 and len(outcome.err_lines) == 1 and "nowhere" in outcome.err, outcome.describe())


def diff(context, a, b, *options):
    outcome = context.run("diff", a, b, *options)
    expect(outcome.code in (0, 1) and not outcome.late and not outcome.err_lines, outcome.describe())
    return outcome


@cases.case("cli")
def diff_of_the_same_is_0(context):
    store(context, "a", model())
    store(context, "b", dict(reversed(model().items())))
    outcome = diff(context, "a", "b")
    expect(outcome.code == 0 and outcome.out.startswith("same"), outcome.out)


@cases.case("cli")
def diff_of_safetensors_and_hdf5_of_the_same_is_0(context):
    merged(context, "merged.h5")
    outcome = diff(context, "plain", "merged.h5")
    expect(outcome.code == 0, outcome.out)


@cases.case("cli")
def diff_names_the_worst_tensor_first(context):
    store(context, "a", model())
    store(context, "b", model(0.5))
    outcome = diff(context, "a", "b")
    expect(outcome.code == 1, outcome.out)
    expect_text(outcome.out, "diff.txt")


@cases.case("cli")
def diff_within_the_tolerance_is_0(context):
    store(context, "a", model())
    store(context, "b", model(0.5))
    for options, code in ((("--atol", "0.5"), 0), (("--atol", "0.49"), 1), (("--rtol", "0.25"), 0),
                          (("--rtol", "0.1"), 1), (("--rtol", "0.1", "--atol", "0.3"), 0), (("--atol", "0"), 1)):
        outcome = diff(context, "a", "b", *options)
        expect(outcome.code == code, f"{' '.join(options)} gives {outcome.code}: {outcome.out}")


@cases.case("cli")
def diff_of_zeros_minds_the_sign_only_without_tolerance(context):
    store(context, "a", {"x": tensors.round_to("F32", (2,), [0.0, 1.0])})
    store(context, "b", {"x": tensors.round_to("F32", (2,), [-0.0, 1.0])})
    expect(diff(context, "a", "b").code == 1, "-0.0 and 0.0 have the same bits")
    expect(diff(context, "a", "b", "--atol", "0").code == 0, "-0.0 and 0.0 differ by more than nothing")


@cases.case("cli")
def diff_never_finds_infinity_close(context):
    store(context, "a", {"x": tensors.round_to("F32", (3,), [np.inf, 1.0, np.inf])})
    store(context, "same", {"x": tensors.round_to("F32", (3,), [np.inf, 1.0, np.inf])})
    store(context, "finite", {"x": tensors.round_to("F32", (3,), [1.0, 1.0, np.inf])})
    store(context, "negative", {"x": tensors.round_to("F32", (3,), [-np.inf, 1.0, np.inf])})
    expect(diff(context, "a", "same", "--rtol", "0.1").code == 0, "infinity is not itself")
    for other in ("finite", "negative"):
        expect(diff(context, "a", other, "--rtol", "0.1").code == 1, f"infinity equals {other}")
        expect(diff(context, other, "a", "--rtol", "0.1").code == 1, f"{other} equals infinity")


@cases.case("cli")
def diff_compares_floats_of_eight_bits_by_value(context):
    # 1.0 and the number after it: 1.125 with three bits of mantissa, 1.25 with two.
    for dtype, one, step in (("F8_E4M3", 0x38, 0.125), ("F8_E5M2", 0x3C, 0.25)):
        store(context, "a", {"w": tensors.round_to("F32", (1,), [1.0]), "x": tensors.raw(dtype, (2,), bytes([one, one]))})
        store(context, "b", {"w": tensors.round_to("F32", (1,), [1.0]), "x": tensors.raw(dtype, (2,), bytes([one, one + 1]))})
        for options, code in (((), 1), (("--atol", str(step)), 0), (("--atol", str(0.99 * step)), 1)):
            outcome = diff(context, "a", "b", *options)
            expect(outcome.code == code, f"{dtype} {' '.join(options)} gives {outcome.code}: {outcome.out}")


@cases.case("cli")
def diff_finds_a_nan(context):
    store(context, "a", {"x": tensors.round_to("F32", (3,), [1, np.nan, 3])})
    store(context, "b", {"x": tensors.round_to("F32", (3,), [1, 2, 3])})
    expect(diff(context, "a", "a").code == 0, "the same NaN differs")
    for options in ((), ("--atol", "1e30")):
        expect(diff(context, "a", "b", *options).code == 1, "NaN equals a number")


@cases.case("cli")
def diff_compares_large_integers_exactly(context):
    for name, value in (("a", 2**53), ("b", 2**53 + 1)):
        store(context, name, {"ids": tensors.raw("I64", (1,), np.array([value], "<i8").tobytes())})
    for options in ((), ("--atol", "0"), ("--rtol", "1e-3")):
        expect(diff(context, "a", "b", *options).code == 1, f"2^53 and 2^53 + 1 are the same {' '.join(options)}")


@cases.case("cli")
def diff_of_other_types_is_by_value_with_a_tolerance(context):
    store(context, "a", {"x": tensors.round_to("F32", (3,), [1, 2, 3])})
    store(context, "b", {"x": tensors.round_to("BF16", (3,), [1, 2, 3])})
    expect(diff(context, "a", "b").code == 1, "F32 and BF16 are the same")
    expect(diff(context, "a", "b", "--atol", "0").code == 0, "the same values differ")


@cases.case("cli")
def diff_names_missing_tensors_and_other_shapes(context):
    other = model()
    other.pop("scale")
    other["more"] = tensors.round_to("F32", (1,), [1])
    other["head.weight"] = tensors.round_to("BF16", (4, 1), [1, 2, 3, 4])
    store(context, "a", model())
    store(context, "b", other)
    outcome = diff(context, "a", "b")
    expect(outcome.code == 1, outcome.out)
    for word in ("scale", "more", "head.weight", "[2, 2]", "[4, 1]"):
        expect(word in outcome.out, f"`{word}` is not named: {outcome.out}")


@cases.case("cli")
def diff_of_nothing_in_common_is_1(context):
    store(context, "a", {"x": tensors.round_to("F32", (1,), [1])})
    store(context, "b", {"y": tensors.round_to("F32", (1,), [1])})
    expect(diff(context, "a", "b").code == 1, "nothing in common is the same")


@cases.case("cli")
def diff_with_a_missing_file_is_an_input_error(context):
    store(context, "a", model())
    outcome = context.run("diff", "a", "nowhere")
    expect(outcome.code == 4 and len(outcome.err_lines) == 1 and "nowhere" in outcome.err, outcome.describe())


if __name__ == "__main__":
    cases.main()
