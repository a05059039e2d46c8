"""Files that the system does not give, and calls that fail on one rank only."""

import os
import shutil

from fault.system import failing, unprivileged
from fault.tiny import INPUT, JOB, OUTPUT, RESOURCES, Tiny, expect_abort
from support.cases import Cases, expect

FILE = "math/model.safetensors"


def register(cases: Cases):
    for function in (model_file_is_a_directory, model_file_is_a_fifo, model_file_is_a_link_to_itself,
                     model_file_is_a_device, model_file_is_unreadable, model_directory_is_unreadable,
                     job_file_is_unreadable, old_output_is_unreadable):
        cases.case("files")(function)
    for name, (fault, code, words) in ONE_RANK.items():
        cases.add("one-rank", name, one_rank(fault, code, words))


def replaced(context, make):
    """math's file is taken away and `make` puts something else there."""
    tiny = Tiny(context)
    tiny.file("math").unlink()
    make(tiny.file("math"))
    return tiny


def model_file_is_a_directory(context):
    replaced(context, lambda path: path.mkdir()).refused(INPUT, FILE, "directory")


def model_file_is_a_fifo(context):
    replaced(context, os.mkfifo).refused(INPUT, FILE)


def model_file_is_a_link_to_itself(context):
    replaced(context, lambda path: path.symlink_to(path.name)).refused(INPUT, FILE)


def model_file_is_a_device(context):
    replaced(context, lambda path: path.symlink_to("/dev/zero")).refused(INPUT, FILE)


def model_file_is_unreadable(context):
    tiny = Tiny(context)
    tiny.file("math").chmod(0)
    tiny.refused(INPUT, FILE, "ermission", before=unprivileged())


def model_directory_is_unreadable(context):
    tiny = Tiny(context)
    directory = tiny.root / "math"
    directory.chmod(0)
    tiny.refused(INPUT, "math", before=unprivileged())
    directory.chmod(0o755)
    shutil.rmtree(directory)


def job_file_is_unreadable(context):
    tiny = Tiny(context)
    (tiny.root / "job.yaml").chmod(0)
    tiny.refused(JOB, "job.yaml", "ermission", before=unprivileged())


def old_output_is_unreadable(context):
    """To replace a file one need not read it."""
    tiny = Tiny(context)
    tiny.target.write_bytes(b"old")
    tiny.target.chmod(0)
    tiny.merges("--overwrite", before=unprivileged())


# The last rank alone sees a call fail on files with that name; what the others do is the claim.
ONE_RANK = {
    "file-vanishes-for-the-last-rank": (
        {"call": "open", "path": "code/model", "error": "ENOENT", "after": 1}, INPUT, ["code/model"]),
    "disk-error-while-reading": ({"call": "pread", "path": "code/model", "error": "EIO", "after": 2}, INPUT, ["code/model"]),
    "file-shrinks-while-reading": ({"call": "pread", "path": "code/model", "error": 0, "after": 2}, INPUT, ["code/model"]),
    "disk-full-for-one-rank": ({"call": "pwrite", "path": "merged.h5", "error": "ENOSPC"}, RESOURCES, ["merged.h5"]),
    "disk-error-for-one-rank": ({"call": "pwrite", "path": "merged.h5", "error": "EIO"}, OUTPUT, ["merged.h5"]),
}


def one_rank(fault, code, words):
    def check(context):
        tiny = Tiny(context)
        settings = dict(fault)
        if context.ranks > 1:
            settings.pop("after", None)  # rank 0 reads the headers first, other ranks only data
        outcome = tiny.run(environment=failing(context, rank=context.ranks - 1, **settings))
        expect_abort(outcome, code, words, most_lines=1)
        expect(not tiny.target.exists(), "a file lies under the output's name")
    return check
