#!/usr/bin/env python3
"""Merges into directories that are stopped or killed, and gone on with: no hang, nothing lost, the same bits."""

import hashlib
import json
import os
import pathlib
import random
import signal
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from fault.interrupted import ROUNDS, STOPPED, Long, refused  # noqa: E402
from fault.system import failing  # noqa: E402
from fault.tiny import INPUT, OUTPUT, RESOURCES, expect_refusal  # noqa: E402
from support import tensors  # noqa: E402
from support.cases import Cases, expect  # noqa: E402

cases = Cases(__doc__, failing_calls="the library made from failing_calls.cpp")

SHARDS = ("--shard-size", "100kB")
MERGING = {"call": "pwrite", "path": "merged.partial/model", "after": 5}


class LongDirectory(Long):
    """The long merge, into out/merged with several shards."""

    OUTPUT_NAME = "merged"

    def __init__(self, context):
        super().__init__(context)
        (self.root / "base" / "config.json").write_text("{}")

    def run(self, *options, **how):
        shards = () if "--shard-size" in options else SHARDS
        return super().run(*shards, *options, **how)

    def whole(self, output):
        outcome = self.context.run("merge", "job.yaml", "--output", output, "-q", *SHARDS, ranks=1, launcher=False)
        expect(outcome.code == 0, outcome.describe())
        return self.result(output)

    @staticmethod
    def result(output):
        summary = json.loads((output / "mpimerge_summary.json").read_text())
        names = sorted(tensors.read_model(output))
        digests = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in output.glob("*.safetensors*")}
        return names, digests, summary["signs"], summary["conflicts"], [task["kept"] for task in summary["tasks"]]


@cases.case("stop")
def a_signal_stops_and_another_number_of_ranks_goes_on(context):
    long = LongDirectory(context)
    long.stopped_by(MERGING)
    expect(long.partial.is_dir() and not long.target.exists(), "not a partial directory")
    for ranks in (3, 1):
        long.stopped_by(MERGING, "--resume", ranks=ranks)
    long.resumes(ranks=2)


@cases.case("stop")
def both_kinds_of_output_go_on_together(context):
    long = LongDirectory(context)
    second = long.root / "second.h5"
    long.stopped_by(MERGING, "--output", second)
    long.resumes("--output", second)
    same = context.run("diff", long.target, second)
    expect(same.code == 0, same.out)


@cases.case("stop")
def an_old_directory_stays_until_the_new_one_is_complete(context):
    long = LongDirectory(context)
    outcome = long.run()
    expect(outcome.code == 0, outcome.describe())
    (long.target / "mpimerge_summary.json").write_text("old")
    environment = failing(context, sends=signal.SIGUSR1, rank=context.ranks - 1, **MERGING)
    outcome = long.run(*ROUNDS, "--overwrite", environment=environment)
    expect(outcome.code == STOPPED and not outcome.late, outcome.describe())
    expect((long.target / "mpimerge_summary.json").read_text() == "old", "the old directory is gone")
    long.resumes("--overwrite")


# Kills at moments that chance seldom meets.

KILLED_AT = {
    "the-first-write": ({"call": "pwrite", "path": "merged.partial/model"}, -1),
    "a-later-write": ({"call": "pwrite", "path": "merged.partial/model", "after": 12}, -1),
    "the-sync-before-a-journal": ({"call": "fsync", "path": "merged.partial/model", "after": 9}, -1),
    "the-index-being-written": ({"call": "pwrite", "path": "index.json"}, 0),
    "the-summary-being-synced": ({"call": "fsync", "path": "mpimerge_summary.json"}, 0),
    "the-directory-getting-its-name": ({"call": "rename", "path": "out/merged$"}, 0),
}


def killed_at(fault, rank):
    def check(context):
        long = LongDirectory(context)
        environment = failing(context, sends=signal.SIGKILL, rank=rank % context.ranks, **fault)
        outcome = long.run(*ROUNDS, environment=environment)
        expect(outcome.code not in (0, STOPPED) and not outcome.late, f"was not killed: {outcome.describe()}")
        expect(not long.target.exists(), "a directory lies under the output's name")
        long.resumes(ranks=context.ranks % 3 + 1)
    return check


for moment_name, (moment_fault, moment_rank) in KILLED_AT.items():
    cases.add("moment", f"killed-at-{moment_name}", killed_at(moment_fault, moment_rank))


@cases.case("refuse")
def a_lost_partial_directory_costs_the_merge_but_not_the_result(context):
    long = LongDirectory(context)
    shard = "model-00002-of-*.safetensors"
    damages = {"lost": lambda file: file.unlink(), "shorter": lambda file: os.truncate(file, 5000),
               "other": lambda file: file.write_bytes(b"x" * file.stat().st_size)}
    for name, damage in damages.items():
        long.begin_again()
        long.stopped_by(MERGING)
        damage(next(long.partial.glob(shard)))
        outcome = long.resumes()
        expect("all is merged again" in outcome.err, f"{name}: {outcome.describe()}")


@cases.case("refuse")
def another_shard_size_costs_the_merge_but_not_the_tensors(context):
    long = LongDirectory(context)
    long.stopped_by(MERGING)
    outcome = long.run("--resume", "--shard-size", "1GB")
    expect(outcome.code == 0 and "all is merged again" in outcome.err, outcome.describe())
    expect(sorted(tensors.read_model(long.target)) == long.expected[0], "other tensors")


@cases.case("refuse")
def a_changed_byte_of_the_partial_directory_is_found(context):
    long = LongDirectory(context)
    long.stopped_by(MERGING)
    wanted = tensors.read_model(long.root / "expected")["large.weight"].data[:64]
    changed = 0
    for file in long.partial.glob("*.safetensors"):
        data = file.read_bytes()
        at = data.find(wanted)
        if at > 0:
            file.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1:])
            changed += 1
    expect(changed == 1, "the first round is not in the partial directory")
    outcome = long.run("--resume", *ROUNDS)
    expect(outcome.code == OUTPUT and "do not read back" in outcome.err, outcome.describe())
    expect(not long.target.exists(), "a directory lies under the output's name")


@cases.case("refuse")
def a_journal_left_by_a_run_that_was_complete_is_removed(context):
    long = LongDirectory(context)
    long.stopped_by(MERGING)
    journal = long.journal.read_bytes()
    long.resumes()
    long.journal.write_bytes(journal)
    long.resumes()


@cases.case("refuse")
def a_partial_directory_is_not_thrown_away_by_accident(context):
    long = LongDirectory(context)
    long.stopped_by(MERGING)
    refused(long, OUTPUT, "merged.journal", "--resume", "--overwrite", options=())


# Failures in the middle, after a journal.

FAILURES = {
    "disk-full-while-syncing": ({"call": "fsync", "path": "merged.partial/model", "error": "ENOSPC", "after": 9}, RESOURCES),
    "disk-full-while-writing": ({"call": "pwrite", "path": "merged.partial/model", "error": "ENOSPC", "after": 12}, RESOURCES),
    "disk-error-while-writing": ({"call": "pwrite", "path": "merged.partial/model", "error": "EIO", "after": 12}, OUTPUT),
    "disk-full-at-the-summary": ({"call": "pwrite", "path": "mpimerge_summary.json", "error": "ENOSPC"}, RESOURCES),
}


def fails_and_goes_on(fault, code):
    def check(context):
        long = LongDirectory(context)
        rank = 0 if "summary" in fault["path"] else context.ranks - 1
        outcome = long.run(*ROUNDS, environment=failing(context, rank=rank, **fault))
        expect(outcome.code == code and not outcome.late, outcome.describe())
        expect(long.journal.is_file() and not long.target.exists(), "no journal, or a directory under the output's name")
        long.resumes()
    return check


for failure_name, (failure_fault, failure_code) in FAILURES.items():
    cases.add("failure", f"goes-on-after-{failure_name}", fails_and_goes_on(failure_fault, failure_code))


# verify

@cases.case("verify")
def every_damaged_byte_of_every_file_is_found(context):
    long = LongDirectory(context)
    merged = long.root / "expected"
    draw = random.Random(9)
    context.run_well("verify", merged)
    for file in sorted(merged.iterdir()):
        good = file.read_bytes()
        for place in {0, len(good) - 1, *(draw.randrange(len(good)) for _ in range(3))}:
            file.write_bytes(good[:place] + bytes([good[place] ^ (1 << draw.randrange(8))]) + good[place + 1:])
            outcome = context.run("verify", merged, launcher=context.ranks > 1)
            expect(outcome.code == INPUT and not outcome.late, f"{file.name}, byte {place}: {outcome.describe()}")
            expect(any(file.name in line for line in outcome.err_lines), outcome.describe())
        file.write_bytes(good)
    expect("whole" in context.run_well("verify", merged).out, "it is whole")


@cases.case("verify")
def a_lost_or_shorter_file_is_found(context):
    long = LongDirectory(context)
    merged = long.root / "expected"
    for name in ("model-00002-of-00002.safetensors", "mpimerge_job.yaml", "mpimerge_checksums.json"):
        good = (merged / name).read_bytes()
        for damage in (lambda file: file.unlink(), lambda file: os.truncate(file, file.stat().st_size - 1)):
            damage(merged / name)
            outcome = context.run("verify", merged, launcher=context.ranks > 1)
            expect(outcome.code == INPUT and len(outcome.err_lines) == 1 and name in outcome.err, outcome.describe())
            (merged / name).write_bytes(good)


@cases.case("verify")
def damage_in_a_tensor_names_it(context):
    long = LongDirectory(context)
    merged = long.root / "expected"
    wanted = tensors.read_model(merged)["large.weight"].data
    for file in merged.glob("*.safetensors"):
        data = file.read_bytes()
        at = data.find(wanted)
        if at > 0:
            file.write_bytes(data[:at + 77] + bytes([data[at + 77] ^ 16]) + data[at + 78:])
    outcome = context.run("verify", merged)
    expect(outcome.code == INPUT and "tensor `large.weight`" in outcome.err, outcome.describe())


@cases.case("verify")
def a_directory_that_mpimerge_did_not_write_has_no_checksums(context):
    long = LongDirectory(context)
    outcome = context.run("verify", long.root / "base")
    expect_refusal(outcome, INPUT, ["base", "mpimerge_checksums.json"])


@cases.case("verify")
def a_converted_checkpoint_can_be_verified(context):
    long = LongDirectory(context)
    for name in ("again", "again.h5"):
        context.run_well("convert", long.root / "expected", long.root / name, "-q")
        context.run_well("verify", long.root / name)


if __name__ == "__main__":
    cases.main()
