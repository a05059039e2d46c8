#!/usr/bin/env python3
"""`mpimerge perturb` against numpy: which values are hit, what becomes of them, and that no others change."""

import json
import pathlib
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support import random_numbers, tensors  # noqa: E402
from support.cases import Cases, expect  # noqa: E402
from support.merged import Merged  # noqa: E402

DIGITS = pathlib.Path(__file__).resolve().parents[2] / "jobs" / "digits"

cases = Cases(__doc__)


def expect_perturbed(found, base, model, density, bottom, drop, probability, seed):
    """Expects every bit of `found`; returns how many values were meant, and how many were hit."""
    deltas = {name: model[name].float32() - base[name].float32() for name in base}
    magnitudes = np.abs(np.concatenate(list(deltas.values())))
    threshold = np.sort(magnitudes)[magnitudes.size - int(density * magnitudes.size) - 1] if density < 1 else 0
    meant = hit = 0
    for name, delta in deltas.items():
        is_meant = (np.abs(delta) >= threshold) != bottom
        is_hit = is_meant & (random_numbers.uniform(seed, 0, name, delta.size) < np.float32(probability))
        values = base[name].float32()
        changed = values if drop else values - delta
        wanted = tensors.round_to(model[name].dtype, model[name].shape, np.where(is_hit, changed, model[name].float32()))
        expect(found[name] == wanted, f"{name} is not what numpy makes of it, bit for bit")
        meant, hit = meant + int(is_meant.sum()), hit + int(is_hit.sum())
    return meant, hit


def expect_share(meant, hit, probability):
    deviation = (meant * probability * (1 - probability)) ** 0.5
    expect(abs(hit - meant * probability) <= 5 * deviation, f"{hit} of {meant} were hit, with probability {probability}")


def digits_models():
    return tuple(tensors.read_file(DIGITS / name / "model.safetensors") for name in ("base", "task_plain"))


@cases.case("perturb")
def flips_signs_of_the_largest_values_of_the_whole_model(context):
    base, model = digits_models()
    summary = context.directory / "summary.json"
    context.run_well("perturb", DIGITS / "task_plain", "--base", DIGITS / "base", "--output", "out.h5", "--probability", 0.5,
                     "--seed", 12345678901234, "--summary", summary, "--chunk", "16KiB", "--memory", "1MiB")
    merged = Merged(context.directory / "out.h5")
    expect(not merged.faults, "; ".join(merged.faults))
    meant, hit = expect_perturbed(merged.tensors, base, model, 0.2, False, False, 0.5, 12345678901234)
    task = json.loads(summary.read_text())["tasks"][0]
    expect(meant == task["trim_rank"] + 1, f"{meant} values were meant, the summary has {task['trim_rank']}")
    expect_share(meant, hit, 0.5)


@cases.case("perturb")
def drops_the_smallest_values_into_both_kinds_of_output(context):
    base, model = digits_models()
    context.run_well("perturb", DIGITS / "task_plain", "--base", DIGITS / "base", "--output", "out", "--output", "out.h5",
                     "--probability", 0.9, "--bottom", "80%", "--drop")
    stored = tensors.read_file(context.directory / "out" / "model.safetensors")
    meant, hit = expect_perturbed(stored, base, model, 0.2, True, True, 0.9, 0)
    expect(meant == 86592 - int(0.2 * 86592) - 1, f"{meant} values were meant")
    expect_share(meant, hit, 0.9)
    expect(Merged(context.directory / "out.h5").tensors == stored, "the two outputs differ")


def mixed_models(context):
    """A base and a model of several types; one tensor is not merged."""
    random = np.random.default_rng(5)
    pair = [{}, {}]
    for name, dtype, shape in (("body.0.weight", "BF16", (30, 41)), ("body.0.bias_", "F16", (257,)),
                               ("body.1.weight", "F32", (7, 11, 3))):
        values = random.normal(size=shape)
        pair[0][name] = tensors.round_to(dtype, shape, values)
        pair[1][name] = tensors.round_to(dtype, shape, values + 0.01 * random.standard_t(3, size=shape))
    for name, content in zip(("base", "model"), pair):
        tensors.write_model(context.directory / name, {**content, "positions": tensors.raw("I64", (2,), bytes(16))},
                            {"format": "pt"})
    return pair


@cases.case("perturb")
def a_job_does_the_same_with_tensors_of_any_type(context):
    base, model = mixed_models(context)
    (context.directory / "job.yaml").write_text(
        "merge_method: perturb\nbase_model: base\nmodels: [{model: model}]\nseed: 7\n"
        "parameters: {probability: 0.25, density: 0.35, drop: true}\n")
    context.run_well("merge", "job.yaml", "--output", "job.h5")
    context.run_well("perturb", "model", "--base", "base", "--output", "command.h5", "--top", "0.35", "--drop", "--probability",
                     0.25, "--seed", 7)
    found = Merged(context.directory / "job.h5")
    expect(found.digest == Merged(context.directory / "command.h5").digest, "job and command make different files")
    expect_perturbed(found.tensors, base, model, 0.35, False, True, 0.25, 7)
    expect(found.tensors["positions"].dtype == "I64", "what is not merged is not copied")


@cases.case("perturb")
def keys_of_the_job_may_be_set_from_the_command_line(context):
    base, model = mixed_models(context)
    context.run_well("perturb", "model", "--base", "base", "--output", "out.h5", "--top", "100%", "--probability", 1, "--set",
                     "include=[bias_]")
    found = Merged(context.directory / "out.h5").tensors
    expect_perturbed({"body.0.bias_": found["body.0.bias_"]}, {"body.0.bias_": base["body.0.bias_"]}, model, 1, False, False,
                     1, 0)
    expect(found["body.1.weight"] == base["body.1.weight"], "what is not included is not the base's")


@cases.case("refusals")
def wrong_commands_and_jobs_end_in_one_line(context):
    mixed_models(context)
    (context.directory / "two.yaml").write_text(
        "merge_method: perturb\nbase_model: base\nmodels: [{model: model}, {model: base2}]\nparameters: {probability: 1}\n")
    (context.directory / "by_tensor.yaml").write_text(
        "merge_method: perturb\nbase_model: base\nmodels: [{model: model}]\n"
        "parameters: {probability: 1, density: [0.1, 0.2]}\n")
    command = ("perturb", "model", "--base", "base", "--output", "out.h5")
    for words, code, said in (
            (command, 2, "--probability is required"),
            ((*command, "--probability", 1, "--top", "20"), 2, "such as 20%"),
            ((*command, "--probability", 1, "--top", "20%", "--bottom", "80%"), 2, "--top excludes --bottom"),
            ((*command, "--probability", 1, "--seed", "-1"), 2, "expected a whole number"),
            ((*command, "--probability", 1, "--seed", "99999999999999999999"), 3, "seed"),
            ((*command, "--probability", 1, "--set", "elect=mass"), 3, "perturb has no use for elect"),
            (("perturb", "nowhere", "--base", "base", "--output", "out.h5", "--probability", 1), 4, "nowhere"),
            (("merge", "two.yaml", "--output", "out.h5"), 3, "expected 1 for perturb"),
            (("merge", "by_tensor.yaml", "--output", "out.h5"), 3, "depends on the tensor")):
        outcome = context.run(*words, launcher=False)
        expect(outcome.code == code, f"`{' '.join(map(str, words))}`: {outcome.describe()}")
        expect(len(outcome.err_lines) == 1 and said in outcome.err, f"`{said}` is not said: {outcome.describe()}")
    expect(not (context.directory / "out.h5").exists(), "there is an output")


if __name__ == "__main__":
    cases.main()
