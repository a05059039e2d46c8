#!/usr/bin/env python3
"""Files that mpimerge wrote are checkpoints like any other: as base, as task, and both."""

import json
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import h5py  # noqa: E402
import numpy as np  # noqa: E402

from reference_ties import CASES  # noqa: E402
from support import jobs, tensors  # noqa: E402
from support.cases import Cases, expect  # noqa: E402
from support.merged import Merged  # noqa: E402

cases = Cases(__doc__)


def as_hdf5(context, model, name):
    """Stores a model as HDF5 without a change: merged with itself, nothing moves."""
    source = context.directory / f"{name}-source"
    tensors.write_model(source, model)
    copy = context.directory / f"{name}-copy"
    tensors.write_model(copy, model)
    merged, _ = jobs.merge(context, jobs.job_text(source, [copy], {"density": 1}), name=f"{name}.h5")
    expect(merged.tensors == without_negative_zeros(model), f"{name}.h5 is not the model")
    return f"{name}.h5"


def without_negative_zeros(model):
    """-0.0 + 0.0 is +0.0, so a merge that changes nothing changes the sign of zeros."""
    plain = {}
    for name, tensor in model.items():
        floating = tensor.dtype in tensors.FLOATING
        plain[name] = tensors.round_to(tensor.dtype, tensor.shape, tensor.float32() + 0) if floating else tensor
    return plain


def check(case_name, hdf5_base, hdf5_tasks):
    def run(context):
        case = CASES / case_name
        job = json.loads((case / "case.json").read_text())
        models = {name: without_negative_zeros(tensors.read_model(case / name)) for name in [job["base"], *job["tasks"]]}
        for name, model in models.items():
            tensors.write_model(context.directory / name, model)
        plain = jobs.job_text(job["base"], job["tasks"], {"density": 0.2})
        expected, expected_summary = jobs.merge(context, plain, name="expected.h5")

        base = as_hdf5(context, models[job["base"]], "from-base") if hdf5_base else job["base"]
        tasks = [as_hdf5(context, models[name], f"from-{name}") if number in hdf5_tasks else name
                 for number, name in enumerate(job["tasks"])]
        found, summary = jobs.merge(context, jobs.job_text(base, tasks, {"density": 0.2}))

        expect(found.tensors == expected.tensors, "other bits than from safetensors")
        expect(summary["signs"] == expected_summary["signs"], "other signs than from safetensors")
    return run


for each in ("mixed_dtypes_sharded", "odd_shapes"):
    cases.add("hdf5", f"{each}.base", check(each, True, ()))
    cases.add("hdf5", f"{each}.second-task", check(each, False, (1,)))
    cases.add("hdf5", f"{each}.all", check(each, True, (0, 1, 2)))


@cases.case("hdf5")
def metadata_of_the_base_is_carried_on(context):
    model = tensors.read_model(CASES / "f32_2tasks_k20" / "base")
    tensors.write_model(context.directory / "base", model, {"format": "pt", "source": "a test"})
    tensors.write_model(context.directory / "task", model)
    first, _ = jobs.merge(context, jobs.job_text("base", ["task"]), name="first.h5")
    second, _ = jobs.merge(context, jobs.job_text("first.h5", ["task"]), name="second.h5")
    for merged in (first, second):
        kept = json.loads(merged.attributes["__metadata__"])
        expect(kept == {"format": "pt", "source": "a test"}, f"{merged.path.name} has {kept}")


@cases.case("hdf5")
def job_attribute_is_the_job_with_what_was_set(context):
    model = tensors.read_model(CASES / "f32_2tasks_k20" / "base")
    tensors.write_model(context.directory / "base", model)
    tensors.write_model(context.directory / "task", model)
    text = jobs.job_text("base", ["task"], {"density": 0.25})
    merged, _ = jobs.merge(context, text)
    expect(merged.attributes["job"] == text, "the job is not the file's text")
    merged, summary = jobs.merge(context, text, "--set", "parameters.density=0.5")
    expect(summary["tasks"][0]["density"] == 0.5, "--set had no effect")
    expect("0.5" in merged.attributes["job"] and "0.25" not in merged.attributes["job"],
           f"the job does not show what was set: {merged.attributes['job']}")


@cases.case("hdf5")
def output_named_in_the_job_lies_beside_it(context):
    model = tensors.read_model(CASES / "f32_2tasks_k20" / "base")
    for name in ("base", "task"):
        tensors.write_model(context.directory / "sub" / name, model)
    (context.directory / "sub" / "job.yaml").write_text(
        jobs.job_text("base", ["task"], output=["one.h5", "two.hdf5"]))
    context.run_well("merge", "sub/job.yaml")
    one, two = (Merged(context.directory / "sub" / name) for name in ("one.h5", "two.hdf5"))
    expect(not one.faults and not two.faults, "; ".join(one.faults + two.faults))
    expect(one.digest == two.digest, "the two outputs differ")


@cases.case("hdf5")
def h5py_reads_the_values_by_name(context):
    """As a user does it: no trick with types."""
    random = np.random.default_rng(1)
    model = {dtype: tensors.round_to(dtype, (5, 40), random.standard_normal(200)) for dtype in tensors.FLOATING}
    model["F16"] = tensors.round_to("F16", (4,), [65504, 6e-8, -2**-14, 0])
    model["BF16"] = tensors.round_to("BF16", (4,), [3e38, 1e-40, -1.5, 0])
    model["F8_E5M2"] = tensors.raw("F8_E5M2", (4,), [0x00, 0x3C, 0xC2, 0x01])
    model["I16"] = tensors.raw("I16", (2,), np.array([-7, 7], "<i2").tobytes())
    for name in ("base", "task"):
        tensors.write_model(context.directory / name, model)
    merged, _ = jobs.merge(context, jobs.job_text("base", ["task"]))
    with h5py.File(merged.path) as file:
        for name in tensors.FLOATING:
            found = np.asarray(file[f"tensors/{name}"][:], np.float32).ravel()
            expect((found == model[name].float32()).all(), f"{name} reads as {found[:4]}")
        eighth = file["tensors/F8_E5M2"][:].astype(np.float32)
        expect((eighth == [0, 1, -3, 2**-16]).all(), f"F8_E5M2 reads as {eighth}")
        expect((file["tensors/I16"][:] == [-7, 7]).all(), "I16 reads as something else")


@cases.case("hdf5")
def h5dump_reads_the_header(context):
    model = tensors.read_model(CASES / "odd_shapes" / "base")
    for name in ("base", "task"):
        tensors.write_model(context.directory / name, model)
    merged, _ = jobs.merge(context, jobs.job_text("base", ["task"], out_dtype="bfloat16"))
    done = subprocess.run(["h5dump", "-H", merged.path], capture_output=True, text=True, timeout=30, check=False)
    expect(done.returncode == 0, f"h5dump: {done.stderr.strip()[-300:]}")
    for name in model:
        expect(f'DATASET "{name}"' in done.stdout, f"h5dump does not show {name}")


@cases.case("hdf5")
def transfer_is_collective(context):
    model = tensors.read_model(CASES / "bf16_large_sharded" / "base")
    for name in ("base", "task"):
        tensors.write_model(context.directory / name, model)
    _, summary = jobs.merge(context, jobs.job_text("base", ["task"]), "--chunk", "16KiB")
    mode = summary["hdf5"]
    if context.ranks > 1:
        expect("collective" in mode["actual_io_mode"], f"HDF5 reports {mode}")
        expect(mode["no_collective_cause"] == "none", f"HDF5 reports {mode}")


@cases.case("hdf5")
def summary_has_every_key_of_the_contract(context):
    model = tensors.read_model(CASES / "f32_2tasks_k20" / "base")
    for name in ("base", "task"):
        tensors.write_model(context.directory / name, model)
    _, summary = jobs.merge(context, jobs.job_text("base", ["task"]))
    wanted = {"mpimerge", "ranks", "method", "parameters", "tensors", "tasks", "signs", "conflicts", "phases",
              "peak_rss_bytes", "hdf5"}
    expect(wanted <= set(summary), f"missing: {sorted(wanted - set(summary))}")
    expect(summary["method"] == "ties" and summary["ranks"] == context.ranks, f"{summary['method']}, {summary['ranks']}")
    expect({"name", "density", "trim_rank", "threshold", "threshold_bits", "kept"} <= set(summary["tasks"][0]),
           f"a task has {sorted(summary['tasks'][0])}")
    expect(all({"name", "seconds", "bytes"} <= set(phase) for phase in summary["phases"]), "a phase lacks a key")
    expect(summary["peak_rss_bytes"] > 1_000_000, f"peak_rss_bytes is {summary['peak_rss_bytes']}")


if __name__ == "__main__":
    cases.main()
