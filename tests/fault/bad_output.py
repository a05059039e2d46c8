"""Outputs that cannot be written, and what must not be lost."""

import numpy as np

from fault.system import failing, on_disk, unprivileged
from fault.tiny import INPUT, JOB, OUTPUT, RESOURCES, USAGE, Tiny, expect_abort, expect_refusal, snapshot
from support import jobs, tensors
from support.cases import Cases, expect


def register(cases: Cases):
    for function in (output_exists, output_exists_and_is_replaced_on_demand, output_is_a_directory,
                     output_directory_is_missing, output_directory_is_a_file, output_directory_refuses_writing,
                     output_on_a_read_only_file_system, output_name_is_too_long,
                     output_is_an_input, output_is_an_input_behind_a_link, second_of_two_outputs_is_impossible,
                     same_output_twice, stale_partial_file_is_no_obstacle, bad_input_leaves_an_old_output_alone,
                     summary_cannot_be_written):
        cases.case("output")(function)
    for function in (disk_full_when_space_is_reserved, disk_full_while_the_skeleton_is_made, disk_full_while_writing,
                     memory_budget_of_nothing_is_met_as_well_as_possible):
        cases.case("resources")(function)


def output_exists(context):
    tiny = Tiny(context)
    tiny.target.write_bytes(b"precious")
    tiny.refused(OUTPUT, "merged.h5", "--overwrite")


def output_exists_and_is_replaced_on_demand(context):
    tiny = Tiny(context)
    tiny.target.write_bytes(b"old")
    tiny.merges("--overwrite")


def output_is_a_directory(context):
    tiny = Tiny(context)
    tiny.target.mkdir()
    tiny.refused(OUTPUT, "merged.h5", "directory", options=["--overwrite"])


def output_directory_is_missing(context):
    tiny = Tiny(context)
    tiny.refused(OUTPUT, "nowhere", output=tiny.root / "nowhere" / "merged.h5")
    expect(not (tiny.root / "nowhere").exists(), "the directory was made")


def output_directory_is_a_file(context):
    tiny = Tiny(context)
    tiny.refused(OUTPUT, "job.yaml", output=tiny.root / "job.yaml" / "merged.h5")


def output_directory_refuses_writing(context):
    tiny = Tiny(context)
    tiny.out.chmod(0o555)
    tiny.refused(OUTPUT, "out", before=unprivileged())
    tiny.out.chmod(0o755)


def output_on_a_read_only_file_system(context):
    tiny = Tiny(context)
    how, left = on_disk(context, tiny.out, "ro", {"call": "open", "path": "merged.h5", "error": "EROFS"})
    tiny.refused(OUTPUT, "out", **how)
    expect(not left(), f"left behind: {left()}")


def output_name_is_too_long(context):
    tiny = Tiny(context)
    tiny.refused(OUTPUT, "xxxx", output=tiny.out / ("x" * 300 + ".h5"))


def merged_base(context):
    """The base becomes an HDF5 file that mpimerge wrote."""
    tiny = Tiny(context)
    base = tiny.out / "base.h5"
    tiny.merges(output=base)
    tiny.job(jobs.job_text(base, ["math", "code"]))
    return tiny, base


def output_is_an_input(context):
    tiny, base = merged_base(context)
    tiny.refused(OUTPUT, "base.h5", output=base, options=["--overwrite"])


def output_is_an_input_behind_a_link(context):
    tiny, base = merged_base(context)
    (tiny.out / "alias.h5").hardlink_to(base)
    tiny.refused(OUTPUT, "alias.h5", output=tiny.out / "alias.h5", options=["--overwrite"])


def second_of_two_outputs_is_impossible(context):
    tiny = Tiny(context)
    tiny.refused(OUTPUT, "nowhere", options=["--output", tiny.root / "nowhere" / "merged.h5"])


def same_output_twice(context):
    tiny = Tiny(context)
    before = snapshot(tiny.out)
    outcome = tiny.run("--output", tiny.out / "." / "merged.h5")
    expect(outcome.code in (USAGE, JOB, OUTPUT), outcome.describe())
    expect_refusal(outcome, outcome.code, ["merged.h5"])
    expect(snapshot(tiny.out) == before, "something was written")


def stale_partial_file_is_no_obstacle(context):
    tiny = Tiny(context)
    (tiny.out / "merged.h5.partial").write_bytes(b"what a killed job left")
    tiny.merges()


def bad_input_leaves_an_old_output_alone(context):
    tiny = Tiny(context)
    tiny.target.write_bytes(b"precious")
    tiny.file("code").write_bytes(b"")
    tiny.refused(INPUT, "code", options=["--overwrite"])


def summary_cannot_be_written(context):
    tiny = Tiny(context)
    tiny.refused(OUTPUT, "nowhere/summary.json", options=["--summary", tiny.root / "nowhere" / "summary.json"])


def large_models(tiny):
    """4 MB of float32 more in each, so that a file system of 2 MB is too small."""
    for name, content in tiny.models.items():
        values = np.full(1_000_000, ord(name[0]), np.float32)
        tiny.rewrite(name, {**content, "large.weight": tensors.round_to("F32", (1000, 1000), values)})


def disk_full_when_space_is_reserved(context):
    tiny = Tiny(context)
    large_models(tiny)
    how, left = on_disk(context, tiny.out, "size=2m", {"call": "fallocate", "path": "merged.h5", "error": "ENOSPC"})
    tiny.refused(RESOURCES, "merged.h5", **how)
    expect(not left(), f"left behind: {left()}")


def disk_full_while_the_skeleton_is_made(context):
    """HDF5 cannot close what it has begun: it must not crash when the process ends."""
    tiny = Tiny(context)
    fault = failing(context, "pwrite", path="merged.h5", error="ENOSPC", after=2, rank=0)
    tiny.refused(RESOURCES, "merged.h5.partial", "No space left", environment=fault)


def disk_full_while_writing(context):
    """The space seemed to be reserved, but the rounds of writing find the disk full."""
    tiny = Tiny(context)
    large_models(tiny)
    how, left = on_disk(context, tiny.out, "size=2m", {"call": "pwrite", "path": "merged.h5", "error": "ENOSPC", "after": 8})
    how.setdefault("environment", failing(context, "fallocate", path="merged.h5", error=0))
    outcome = tiny.run("--chunk", "256KiB", **how)
    expect_abort(outcome, RESOURCES, ["merged.h5", "No space left"], most_lines=context.ranks)
    expect("merged.h5" not in left(), "a file lies under the output's name")


def memory_budget_of_nothing_is_met_as_well_as_possible(context):
    tiny = Tiny(context)
    large_models(tiny)
    tiny.merges("--memory", "1KiB")
