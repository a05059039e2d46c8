"""Directories of safetensors that cannot be written, and what must not be lost."""

import os

import numpy as np

from fault.system import failing, on_disk, unprivileged
from fault.tiny import INPUT, OUTPUT, RESOURCES, Tiny, start
from support import tensors
from support.cases import Cases, expect

SHARDS = ("--shard-size", "5kB")  # the tiny base becomes several files


def register(cases: Cases):
    for function in (directory_exists, directory_name_is_a_file, directory_name_is_a_link, directory_was_not_ours,
                     directory_above_is_missing, directory_above_refuses_writing, directory_on_a_read_only_file_system,
                     directory_name_is_too_long, directory_that_is_always_there, stale_partial_directory_is_no_obstacle,
                     strange_partial_directory_is_left_alone, companion_is_unreadable,
                     directory_disk_full_when_space_is_reserved, directory_disk_full_while_writing):
        cases.case("directory")(function)
    for name, (fault, code, words) in ONE_RANK.items():
        cases.add("directory", name, one_rank(fault, code, words))


class TinyDirectory(Tiny):
    """The tiny base, to be converted into out/merged."""

    OUTPUT_NAME = "merged"

    def run(self, *options, output=None, **how):
        return start(self.context, "convert", "base", output or self.target, "-q", *SHARDS, *options, **how)

    def converts(self, *options, **how):
        """Nothing is wrong: exit 0, a whole directory and nothing beside it."""
        (self.root / "base" / "config.json").write_text("{}")
        outcome = self.run(*options, **how)
        expect(outcome.code == 0 and not outcome.late and not outcome.err_lines, outcome.describe())
        expect(tensors.read_model(self.target) == self.models["base"], "the output is not the input")
        left = set(os.listdir(self.out)) - {self.target.name}
        expect(not left, f"beside the output lies {sorted(left)}")

    def refused(self, code, *words, **how):
        (self.root / "base" / "config.json").write_text("{}")  # else a warning comes first
        return super().refused(code, *words, **how)


def directory_exists(context):
    tiny = TinyDirectory(context)
    tiny.target.mkdir()
    (tiny.target / "mpimerge_summary.json").write_text("precious")
    tiny.refused(OUTPUT, "merged: exists", "--overwrite")
    tiny.converts("--overwrite")


def directory_name_is_a_file(context):
    tiny = TinyDirectory(context)
    tiny.target.write_bytes(b"precious")
    tiny.refused(OUTPUT, "merged", "not a directory", options=["--overwrite"])


def directory_name_is_a_link(context):
    tiny = TinyDirectory(context)
    (tiny.root / "elsewhere").mkdir()
    tiny.target.symlink_to(tiny.root / "elsewhere")
    tiny.refused(OUTPUT, "merged", "not a directory", options=["--overwrite"])


def directory_was_not_ours(context):
    tiny = TinyDirectory(context)
    tiny.target.mkdir()
    (tiny.target / "model.safetensors").write_text("precious")
    tiny.refused(OUTPUT, "merged", "mpimerge did not write", options=["--overwrite"])
    expect((tiny.target / "model.safetensors").read_text() == "precious", "it was touched")


def directory_above_is_missing(context):
    tiny = TinyDirectory(context)
    tiny.refused(OUTPUT, "nowhere: no such directory", output=tiny.root / "nowhere" / "merged")


def directory_above_refuses_writing(context):
    tiny = TinyDirectory(context)
    tiny.out.chmod(0o555)
    tiny.refused(OUTPUT, "out", "ermission", before=unprivileged())
    tiny.out.chmod(0o755)


def directory_on_a_read_only_file_system(context):
    tiny = TinyDirectory(context)
    how, left = on_disk(context, tiny.out, "ro", {"call": "open", "path": "merged.partial", "error": "EROFS"})
    tiny.refused(OUTPUT, "out", "ead-only", **how)
    expect(not left(), f"left behind: {left()}")


def directory_name_is_too_long(context):
    tiny = TinyDirectory(context)
    tiny.refused(OUTPUT, "xxxx", "too long", output=tiny.out / ("x" * 300))


def directory_that_is_always_there(context):
    tiny = TinyDirectory(context)
    tiny.refused(OUTPUT, "is not the name of a directory", output=f"{tiny.out}/..", options=["--overwrite"])


def stale_partial_directory_is_no_obstacle(context):
    tiny = TinyDirectory(context)
    (tiny.out / "merged.partial").mkdir()
    (tiny.out / "merged.partial" / "model-00001-of-00009.safetensors").write_bytes(b"what a killed job left")
    tiny.converts()


def strange_partial_directory_is_left_alone(context):
    tiny = TinyDirectory(context)
    (tiny.out / "merged.partial").mkdir()
    (tiny.out / "merged.partial" / "notes.txt").write_text("precious")
    tiny.refused(OUTPUT, "merged.partial", "notes.txt")


def companion_is_unreadable(context):
    tiny = TinyDirectory(context)
    (tiny.root / "base" / "tokenizer.json").write_text("{}")
    (tiny.root / "base" / "tokenizer.json").chmod(0)
    tiny.refused(INPUT, "tokenizer.json", "ermission", before=unprivileged())


def large_base(tiny):
    """4 MB of float32 more, so that a file system of 2 MB is too small."""
    values = np.full(1_000_000, 1, np.float32)
    tiny.rewrite("base", {**tiny.models["base"], "large.weight": tensors.round_to("F32", (1000, 1000), values)})


def directory_disk_full_when_space_is_reserved(context):
    tiny = TinyDirectory(context)
    large_base(tiny)
    how, left = on_disk(context, tiny.out, "size=2m", {"call": "fallocate", "path": "merged", "error": "ENOSPC"})
    tiny.refused(RESOURCES, "merged.partial", "needs", "free", **how)
    expect(not left(), f"left behind: {left()}")


def directory_disk_full_while_writing(context):
    """The space seemed to be reserved, but the rounds of writing find the disk full: all ranks agree on it."""
    tiny = TinyDirectory(context)
    large_base(tiny)
    faults = failing(context, "pwrite", path="merged.partial/model", error="ENOSPC", after=8)
    tiny.refused(RESOURCES, "merged.partial", "No space left", environment=faults)


# The last rank alone sees a call fail on the files of tensors; nobody hangs, nothing stays.
ONE_RANK = {
    "shard-cannot-be-opened-by-the-last-rank": ({"call": "open", "error": "EACCES", "after": 0}, OUTPUT, ["ermission"]),
    "disk-error-of-the-last-rank-while-writing": ({"call": "pwrite", "error": "EIO", "after": 0}, OUTPUT,
                                                  ["cannot be written", "Input/output error"]),
    "quota-of-the-last-rank": ({"call": "pwrite", "error": "EDQUOT", "after": 1}, RESOURCES, ["quota exceeded"]),
    "disk-error-of-the-last-rank-while-checking": ({"call": "pread", "error": "EIO", "after": 0}, OUTPUT,
                                                   ["Input/output error"]),
}


def one_rank(fault, code, words):
    def check(context):
        tiny = TinyDirectory(context)
        faults = failing(context, path="merged.partial/model", rank=context.ranks - 1, **fault)
        tiny.refused(code, "merged.partial/model", *words, environment=faults)
    return check
