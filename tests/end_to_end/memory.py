#!/usr/bin/env python3
"""Memory and open files stay within what was given, whatever the number of models, and the bits stay the same."""

import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import numpy as np  # noqa: E402

from support import jobs, tensors  # noqa: E402
from support.cases import Cases, expect  # noqa: E402

MIB = 1 << 20
BEYOND_BUDGET = 64 * MIB  # the program, MPI and HDF5

cases = Cases(__doc__)


def to_bfloat16(values):
    bits = values.view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")


def make_models(context, tasks, elements, shards=1):
    """bfloat16 models whose deltas have few distinct values, as those of fine-tuned models have."""
    random = np.random.default_rng(5)
    base = (0.02 * random.standard_normal(elements)).astype(np.float32)
    base = (to_bfloat16(base).astype(np.uint32) << 16).view(np.float32)

    def write(name, values):
        parts = np.array_split(to_bfloat16(values), shards)
        content = [{f"layer.{number}": tensors.raw("BF16", (len(part),), part.tobytes())}
                   for number, part in enumerate(parts)]
        tensors.write_shards(context.directory / name, content)

    write("base", base)
    for task in range(tasks):
        write(f"task{task}", base + 3e-4 * random.standard_normal(elements).astype(np.float32))


def links(context, count, tasks):
    """Directories that lead to the tasks in turn: a job names each model once."""
    for number in range(count):
        link = context.directory / f"link{number}"
        if not link.exists():
            link.symlink_to(f"task{number % tasks}")
    return [f"link{number}" for number in range(count)]


def merge(context, models, output, *options, **how):
    (context.directory / "job.yaml").write_text(jobs.job_text("base", models))
    context.run_well("merge", "job.yaml", "--output", output, "--summary", "summary.json", "--overwrite", "-q", *options,
                     **how)
    return json.loads((context.directory / "summary.json").read_text())


def expect_same(context, one, other):
    outcome = context.run("diff", one, other, launcher=False)
    expect(outcome.code == 0, f"{other} differs from {one}: {outcome.describe()}")


@cases.case("memory")
def peak_memory_stays_within_the_budget_and_bits_are_the_same(context):
    make_models(context, tasks=4, elements=32 * MIB)  # 320 MiB in all
    models = [f"task{number}" for number in range(4)]
    for budget in (32, 64, 128, 200):
        summary = merge(context, models, f"{budget}.h5", "--memory", f"{budget}MiB")
        peak = summary["peak_rss_bytes"]
        expect(peak <= budget * MIB + BEYOND_BUDGET, f"budget {budget} MiB: peak of {peak / MIB:.1f} MiB")
        read = {phase["name"]: phase["bytes"] for phase in summary["phases"]}
        expect(read["select"] <= 320 * MIB, f"budget {budget} MiB: {read['select']} bytes read to select, more than once")
        expect(read["merge"] <= 320 * MIB, f"budget {budget} MiB: {read['merge']} bytes read to merge, more than once")
        expect_same(context, "32.h5", f"{budget}.h5")
    resident = merge(context, models, "resident.h5")
    expect(resident["memory"] == "resident", f"memory is {resident['memory']}")
    expect_same(context, "32.h5", "resident.h5")


@cases.case("memory")
def memory_does_not_grow_with_the_number_of_tasks(context):
    make_models(context, tasks=4, elements=2 * MIB)
    peaks = {}
    for tasks in (4, 64):
        summary = merge(context, links(context, tasks, 4), "out.h5", "--memory", "24MiB")
        peaks[tasks] = summary["peak_rss_bytes"]
        expect(peaks[tasks] <= 24 * MIB + BEYOND_BUDGET, f"{tasks} tasks: peak of {peaks[tasks] / MIB:.1f} MiB")
    expect(peaks[64] < peaks[4] + 24 * MIB, f"peaks of {peaks}")


@cases.case("files")
def many_sharded_models_need_few_open_files(context):
    make_models(context, tasks=2, elements=3000, shards=3)
    models = links(context, 256, 2)
    merge(context, models, "many.h5")
    merge(context, models, "few.h5", before=("prlimit", "--nofile=64"), launcher=False)
    expect_same(context, "many.h5", "few.h5")


cases.main()
