#!/usr/bin/env python3
"""Merges that are stopped or killed at some moment, and gone on with: no hang, nothing lost, the same bits."""

import json
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import numpy as np  # noqa: E402

from fault.system import failing, shell  # noqa: E402
from fault.tiny import INPUT, JOB, OUTPUT, RESOURCES, Tiny, expect_refusal, snapshot  # noqa: E402
from support import tensors  # noqa: E402
from support.cases import Cases, expect  # noqa: E402
from support.merged import Merged  # noqa: E402
from support.program import OPEN_MPI  # noqa: E402

STOPPED = 75
BUG = 70
PATIENCE = 30  # seconds that a job may take to end after a rank was killed
cases = Cases(__doc__, failing_calls="the library made from failing_calls.cpp",
              moments="how many random moments each kind of end gets (default 3)")

# Small rounds and a journal after each: many moments at which something can be lost.
ROUNDS = ("--chunk", "4KiB", "--checkpoint-interval", "0")


class Long(Tiny):
    """A merge of some 60 rounds of one rank, long enough to be met in the middle."""

    def __init__(self, context, job=None):
        super().__init__(context)
        self.job((job or (self.root / "job.yaml").read_text()) + "report: full\n")
        draw = np.random.default_rng(5)
        for name in list(self.models):
            large = {"large.weight": tensors.round_to("F32", (300, 200), draw.standard_normal(60_000)),
                     **self.models[name]}
            self.rewrite(name, large)
        self.journal = pathlib.Path(f"{self.target}.journal")
        self.partial = pathlib.Path(f"{self.target}.partial")
        self.saved = pathlib.Path(f"{self.target}.pass")
        self.expected = self.whole(self.root / self.OUTPUT_NAME.replace("merged", "expected"))

    def run(self, *options, ranks=None, **how):
        ranks = ranks or self.context.ranks
        return self.context.run("merge", "job.yaml", "--output", self.target, "-q", *options, ranks=ranks,
                                launcher=ranks > 1, **how)

    def whole(self, output):
        """The digest of an uninterrupted merge, and what it counted."""
        outcome = self.context.run("merge", "job.yaml", "--output", output, "-q", ranks=1, launcher=False)
        expect(outcome.code == 0, outcome.describe())
        return self.result(output)

    @staticmethod
    def result(output):
        merged = Merged(output)
        expect(not merged.faults, f"not whole: {merged.faults}")
        summary = merged.summary
        kept = [task.get("kept") for task in summary["tasks"]]  # methods without a trim or without signs count none
        return merged.digest, summary.get("signs"), summary.get("conflicts"), kept, summary.get("report")

    def resumes(self, *options, ranks=None, rounds=ROUNDS):
        """Goes on, to the bits and counts of an uninterrupted merge, and leaves nothing else behind."""
        ranks = ranks or self.context.ranks
        outcome = self.run("--resume", *rounds, *options, ranks=ranks)
        expect(outcome.code == 0 and not outcome.late, f"--resume: {outcome.describe()}")
        expect(self.result(self.target) == self.expected, "another result than without an interruption")
        left = sorted(path.name for path in self.out.iterdir())
        expect(left == [self.target.name], f"beside the output lies {left}")
        verified = self.context.run("verify", self.target, ranks=ranks)
        expect(verified.code == 0, verified.describe())
        return outcome

    def begin_again(self):
        shutil.rmtree(self.out)
        self.out.mkdir()

    def stopped_by(self, fault, *options, ranks=None, exists=False):
        """A run in which a system call raises SIGUSR1 on one rank: exit 75 and the line that says how to go on."""
        where = {"rank": (ranks or self.context.ranks) - 1, **fault}
        environment = failing(self.context, sends=signal.SIGUSR1, **where)
        outcome = self.run(*ROUNDS, *options, environment=environment, ranks=ranks or self.context.ranks)
        expect(outcome.code == STOPPED and not outcome.late, outcome.describe())
        lines = [line for line in outcome.err_lines if line.startswith("mpimerge: ")]
        expect(len(lines) == 1 and "stopped by" in lines[0] and "--resume" in lines[0], outcome.describe())
        expect(self.target.exists() == exists and self.journal.is_file(), "no journal, or a file under the output's name")
        return outcome


# Kills and signals from outside, at random moments.

def started(long, slow, *options):
    """A run under way, with the environment `slow`."""
    environment = {**OPEN_MPI, **os.environ, **slow}
    command = [long.context.program.mpirun, "-q", "--oversubscribe", "--bind-to", "none", "-n", str(long.context.ranks),
               long.context.program.path, "merge", "job.yaml", "--output", long.target, "-q", *ROUNDS, *options]
    return subprocess.Popen([str(word) for word in command], cwd=long.root, env=environment, stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True, text=True)


def ranks_of(child):
    """The process ids of the ranks, in no order."""
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(child.pid)], capture_output=True, text=True, check=False)
    return [int(word) for word in found.stdout.split()]


def begun(child, partial):
    """Waits until the ranks are at work: what the launcher does while it starts them is its own affair."""
    while child.poll() is None and not partial.exists():
        time.sleep(0.01)


def ended(child, begin):
    """Waits until a run has ended that was interrupted at `begin`; returns its stderr."""
    try:
        _, err = child.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        left = subprocess.run(["ps", "-o", "pid,stat,wchan:20,args", "-s", str(child.pid)], capture_output=True, text=True,
                              check=False).stdout
        os.killpg(child.pid, signal.SIGKILL)
        child.communicate()
        expect(False, f"the job did not end {time.monotonic() - begin:.0f} s after it was interrupted; left are: {left}")
    clean_up_after(child)
    return err


def clean_up_after(child):
    """What Open MPI leaves of a job that was killed."""
    for path in pathlib.Path("/dev/shm").glob("vader_segment.*"):
        if str(child.pid) in path.name:
            path.unlink(missing_ok=True)


def at_random_moments(context, interrupt, seed):
    """Interrupts runs at random moments; each is gone on with, by another number of ranks."""
    draw = random.Random(seed)
    long = Long(context)
    for _ in range(int(context.arguments.moments or 3)):
        long.begin_again()
        child = started(long, failing(context, "pread", path="model.safetensors", delay=8, rank=context.ranks - 1))
        begun(child, long.partial)
        time.sleep(draw.uniform(0, 1.2))
        moment = time.monotonic()
        interrupt(child, draw)
        ended(child, moment)
        if long.target.exists():  # it was faster
            expect(long.result(long.target) == long.expected, "a whole file, but not the right one")
            continue
        long.resumes(ranks=draw.choice([1, 2, 3, 4]))


@cases.case("kill")
def a_rank_is_killed_at_random_moments(context):
    def interrupt(child, draw):
        ranks = ranks_of(child)
        if ranks:
            os.kill(draw.choice(ranks), signal.SIGKILL)
    at_random_moments(context, interrupt, 1)


@cases.case("kill")
def the_launcher_is_killed_at_random_moments(context):
    def interrupt(child, draw):
        ranks = ranks_of(child)
        child.kill()
        time.sleep(0.1)
        for rank in ranks:  # a node that is lost takes them along
            try:
                os.kill(rank, signal.SIGKILL)
            except ProcessLookupError:
                pass
    at_random_moments(context, interrupt, 2)


@cases.case("kill")
def the_launcher_gets_sigterm_at_random_moments(context):
    at_random_moments(context, lambda child, _: child.send_signal(signal.SIGTERM), 3)


@cases.case("kill")
def the_launcher_gets_sigusr1_at_random_moments(context):
    at_random_moments(context, lambda child, _: child.send_signal(signal.SIGUSR1), 4)


# A rank that hangs, and the others with it.

@cases.case("watchdog")
def ranks_that_wait_for_one_that_hangs_end_and_say_where(context):
    long = Long(context)
    slow = failing(context, "pwrite", path="merged.h5.partial", delay=300, rank=0)
    child = started(long, slow, "--watchdog", "2")
    begin = time.monotonic()
    while (long.saved.exists() or not long.journal.exists()) and time.monotonic() - begin < PATIENCE:
        time.sleep(0.05)
    os.kill(ranks_of(child)[-1], signal.SIGSTOP)
    err = ended(child, time.monotonic())
    barks = re.findall(rf"^mpimerge: error: \[rank \d/{context.ranks} {os.uname().nodename}\] no progress for 2 s in phase merge, "
                       r"round [1-9]\d*; .*--resume goes on from the journal$", err, re.MULTILINE)
    expect(child.returncode == BUG and barks, f"exit {child.returncode}; {err}")
    expect(not long.target.exists() and long.journal.is_file(), "no journal, or a file under the output's name")
    long.resumes(ranks=context.ranks % 3 + 1)


def is_slow_but_goes_on(rounds=ROUNDS, **slow):
    def check(context):
        long = Long(context)
        outcome = long.run(*rounds, "--memory", "1KiB", "--watchdog", "3", environment=failing(context, **slow))
        expect(outcome.code == 0 and outcome.seconds > 4, outcome.describe())
    return check


@cases.case("watchdog")
def the_other_commands_are_watched_too(context):
    tiny = Tiny(context)
    tiny.merges()
    hangs = {"call": "pread", "delay": 20_000, "rank": context.ranks - 1}
    commands = {("verify", tiny.target): {**hangs, "path": "merged.h5", "rank": 0},
                ("diff", "base", "math"): {**hangs, "path": "math/model"},
                ("convert", "base", tiny.root / "copy.h5"): {**hangs, "path": "base/model"}}
    for command, fault in commands.items():
        outcome = context.run(*command, "--watchdog", "1", environment=failing(context, **fault))
        barks = [line for line in outcome.err_lines if "no progress for 1 s in phase" in line]
        expect(outcome.code == BUG and not outcome.late and outcome.seconds < 15, f"{command}: {outcome.describe()}")
        expect(barks and all(line.endswith("; run it again") for line in barks), f"{command}: {outcome.describe()}")


@cases.case("watchdog")
def a_slow_diff_is_left_alone(context):
    long = Long(context)
    slow = failing(context, "pread", path="base/model", delay=900, after=6)  # the headers come first
    outcome = context.run("diff", "base", "base", "--watchdog", "3", ranks=1, launcher=False, environment=slow)
    expect(outcome.code == 0 and outcome.seconds > 4, outcome.describe())


cases.add("watchdog", "a-slow-check-is-left-alone",
          is_slow_but_goes_on(("--chunk", "1KiB"), call="pread", path="merged.h5.partial", delay=200))
cases.add("watchdog", "a-slow-selection-is-left-alone", is_slow_but_goes_on(call="pread", path="code/model", delay=50, rank=0))
cases.add("watchdog", "a-slow-merge-is-left-alone", is_slow_but_goes_on(call="pwrite", path="merged.h5.partial", delay=300, rank=1))


# Kills at moments that chance seldom meets.

KILLED_AT = {
    "the-first-read": ({"call": "pread", "path": "code/model"}, -1),
    "a-read-of-the-merge": ({"call": "pread", "path": "code/model", "after": 12}, -1),
    "the-first-write": ({"call": "pwrite", "path": "merged.h5.partial"}, -1),
    "a-later-write": ({"call": "pwrite", "path": "merged.h5.partial", "after": 4}, -1),
    "the-sync-before-a-journal": ({"call": "fsync", "path": "merged.h5.partial", "after": 3}, -1),
    "the-first-write-of-a-journal": ({"call": "pwrite", "path": "journal.new"}, 0),
    "a-later-write-of-a-journal": ({"call": "pwrite", "path": "journal.new", "after": 3}, 0),
    "the-sync-of-a-journal": ({"call": "fsync", "path": "journal.new", "after": 2}, 0),
    "a-journal-getting-its-name": ({"call": "rename", "path": "merged.h5.journal", "after": 2}, 0),
    "the-output-getting-its-name": ({"call": "rename", "path": "merged.h5$"}, 0),
}


def killed_at(fault, rank):
    def check(context):
        long = Long(context)
        environment = failing(context, sends=signal.SIGKILL, rank=rank % context.ranks, **fault)
        outcome = long.run(*ROUNDS, environment=environment)
        expect(outcome.code not in (0, STOPPED) and not outcome.late, f"was not killed: {outcome.describe()}")
        expect(not long.target.exists(), "a file lies under the output's name")
        long.resumes(ranks=context.ranks % 3 + 1)
    return check


for moment_name, (moment_fault, moment_rank) in KILLED_AT.items():
    cases.add("moment", f"killed-at-{moment_name}", killed_at(moment_fault, moment_rank))


# Signals that are obeyed.

SELECTING = {"call": "pread", "path": "code/model", "after": 1}
MERGING = {"call": "fsync", "path": "merged.h5.partial", "after": 5, "rank": 0}  # one per round, before its journal


@cases.case("stop")
def a_signal_while_selecting_stops_after_the_part(context):
    long = Long(context)
    long.stopped_by(SELECTING)
    expect(not long.partial.exists(), "a partial file without anything in it")
    expect(long.saved.is_file(), "what was looked at is not saved")
    long.resumes()


@cases.case("stop")
def a_signal_while_merging_stops_after_the_round(context):
    long = Long(context)
    outcome = long.stopped_by(MERGING)
    percent = int(re.search(r"(\d+) % of the output", outcome.err).group(1))
    expect(0 < percent < 100, f"{percent} % are written")
    expect(long.partial.is_file(), "the partial file is gone")
    logs = long.root / "logs"
    long.resumes("--log-dir", logs, ranks=1)
    log = (logs / "rank-0.log").read_text()
    expect("thresholds are known" in log and "select" not in log, log)


@cases.case("stop")
def every_signal_of_the_contract_stops(context):
    long = Long(context)
    for wanted in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):
        environment = failing(context, sends=wanted, **MERGING)
        outcome = long.run(*ROUNDS, "--overwrite", environment=environment)
        expect(outcome.code == STOPPED and f"stopped by {wanted.name}" in outcome.err, outcome.describe())
    long.resumes()


@cases.case("stop")
def a_stop_that_cannot_be_told_is_a_stop(context):
    long = Long(context)
    environment = failing(context, sends=signal.SIGUSR1, **MERGING)
    outcome = long.run(*ROUNDS, environment=environment, inside=shell('exec "$@" 2>/dev/full'))
    expect(outcome.code == STOPPED and not outcome.late, outcome.describe())
    long.resumes()


@cases.case("stop")
def may_be_stopped_again_and_again_by_other_numbers_of_ranks(context):
    long = Long(context)
    long.stopped_by(MERGING)
    for ranks in (3, 1, 2):
        long.stopped_by(MERGING, "--resume", ranks=ranks)
    long.resumes(rounds=("--chunk", "16KiB"))
    runs = Merged(long.target).summary["provenance"]["runs"]
    expect([run["ranks"] for run in runs] == [context.ranks, 3, 1, 2, context.ranks], f"runs: {runs}")


@cases.case("stop")
def the_line_that_it_prints_goes_on(context):
    long = Long(context)
    line = long.stopped_by(MERGING).err_lines[-1]
    command = line.split("go on with: ")[1]
    done = subprocess.run(command, shell=True, cwd=long.root, env={**os.environ, **OPEN_MPI}, capture_output=True,
                          text=True, check=False)
    expect(done.returncode == 0, f"{command}: {done.stderr}")
    expect(long.result(long.target) == long.expected, "another result")


@cases.case("stop")
def the_journal_may_lie_on_another_file_system(context):
    long = Long(context)
    shared = pathlib.Path("/dev/shm") / f"{long.root.name}.journal"
    try:
        environment = failing(context, sends=signal.SIGUSR1, **MERGING)
        outcome = long.run(*ROUNDS, "--journal", shared, environment=environment)
        expect(outcome.code == STOPPED and shared.is_file() and not long.journal.exists(), outcome.describe())
        long.resumes("--journal", shared)
        expect(not shared.exists(), "the journal is left")
    finally:
        shared.unlink(missing_ok=True)


@cases.case("stop")
def several_outputs_go_on_together(context):
    long = Long(context)
    second = long.root / "second.h5"
    long.stopped_by(MERGING, "--output", second)
    long.resumes("--output", second)
    expect(long.result(second) == long.expected, "the second output is another")


# The moment after the first output got its name, and that at which the second would get its own.
BETWEEN = {
    "right-after-the-first": ({"call": "fsync", "path": "/out$", "after": 1}, True),  # the journal's comes before
    "right-before-the-second": ({"call": "rename", "path": "second.h5$"}, False),  # which is complete, but for its name
}


def killed_between_two_outputs(fault, keeps_second):
    def check(context):
        long = Long(context)
        others = [long.root / "second.h5", long.root / "third"]
        options = [word for other in others for word in ("--output", other)]
        outcome = long.run("--chunk", "4KiB", *options, environment=failing(context, sends=signal.SIGKILL, rank=0, **fault))
        expect(outcome.code not in (0, STOPPED) and long.target.is_file(), f"was not killed: {outcome.describe()}")
        expect(not any(other.exists() for other in others), "they were finished")
        before = long.target.stat()
        read, _ = account(long, *options, ranks=context.ranks % 3 + 1)
        after = long.target.stat()
        expect((after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns), "the first was made again")
        expect(not any(read.get(phase, 0) for phase in ("sample", "select")), f"it was begun anew: {read}")
        expect((read["merge"] == 0) == keeps_second, f"what was merged: {read}")
        expect(long.result(others[0]) == long.expected, "the second output is another")
        same = context.run("diff", others[1], long.target)
        expect(same.code == 0, same.describe())
    return check


for between_name, between in BETWEEN.items():
    cases.add("stop", f"killed-{between_name}-of-several-outputs", killed_between_two_outputs(*between))


@cases.case("stop")
def an_output_of_an_earlier_merge_is_not_taken_for_this_ones(context):
    long = Long(context)
    expect(long.run().code == 0, "no merge")
    file = long.file("code")
    os.utime(file, ns=(0, file.stat().st_mtime_ns - 10**9))
    long.stopped_by(SELECTING, "--overwrite", exists=True)  # its partial file goes, the old output stays
    time.sleep(1.1)
    outcome = long.run("--resume", "--overwrite")
    expect(outcome.code == 0 and "complete already" not in outcome.err, outcome.describe())
    provenance = Merged(long.target).summary["provenance"]
    expect(len(provenance["runs"]) == 2, f"the old output was taken for whole: {provenance['runs']}")


@cases.case("stop")
def resume_without_an_earlier_run_begins(context):
    Long(context).resumes()


# What a method found out before the merge is in the journal: no second look at the inputs.

METHODS = {
    "breadcrumbs": ("breadcrumbs", "parameters: {density: 0.4, gamma: 0.05, rescale: true}"),
    "sce": ("sce", "parameters: {select_topk: 0.3}"),
    "ties-normfrac": ("ties", "elect: normfrac"),
    "model-stock": ("model_stock", "parameters: {filter_wise: true}"),
}


def looks(logs):
    """Whether a run had a phase before the merge in which it read its inputs."""
    log = (logs / "rank-0.log").read_text()
    expect("tensors" in log, f"not the log of a merge: {log}")
    return re.search(r"\b(measure|select)\b", log) is not None


def goes_on_with_what_it_found(method, more):
    def check(context):
        models = "base_model: base\nmodels: [{model: math}, {model: code}]"
        long = Long(context, f"merge_method: {method}\n{models}\n{more}\n")
        long.stopped_by(MERGING, "--log-dir", long.root / "first")
        expect(looks(long.root / "first"), "it did not look at the inputs before the merge")
        long.resumes("--log-dir", long.root / "second", ranks=context.ranks - 1)
        expect(not looks(long.root / "second"), "it looked at the inputs again")
    return check


for method_name, (method_word, method_keys) in METHODS.items():
    cases.add("method", f"goes-on-with-what-{method_name}-found", goes_on_with_what_it_found(method_word, method_keys))


# Ends while the inputs are looked at: what was seen is not looked at again.

LOOKS = ("select", "measure")
SAVED = {"call": "rename", "path": "merged.h5.pass$", "rank": 0}


def account(long, *options, resumes=True, **how):
    """A run to its end: bytes read in each phase, and the share of the inputs that was seen before."""
    logs, file = long.root / "logs", long.root / "summary.json"
    shutil.rmtree(logs, ignore_errors=True)
    options = ("--log-dir", logs, "--summary", file, *options)
    if resumes:
        long.resumes(*options, **how)
    else:
        outcome = long.run(*ROUNDS, *options, **how)
        expect(outcome.code == 0, outcome.describe())
    read = {}
    for phase in json.loads(file.read_text())["phases"]:
        read[phase["name"]] = read.get(phase["name"], 0) + phase["bytes"]
    found = re.search(r"resumed: (\d+) % of the inputs", (logs / "rank-0.log").read_text())
    return read, int(found.group(1)) / 100 if found else 0


def goes_on_with_what_it_saw(sends, *options, job=None, after=2, looks=1):
    """Ended right before the state of a look gets its name: the one before counts. `looks` are all that the job takes."""
    def check(context):
        long = Long(context, job)
        whole, _ = account(long, *options, resumes=False)
        long.begin_again()
        environment = failing(context, sends=sends, after=after, **SAVED)
        outcome = long.run(*ROUNDS, *options, environment=environment)
        expect(outcome.code != 0 and not outcome.late and long.saved.is_file(), f"was not ended: {outcome.describe()}")
        expect((outcome.code == STOPPED) == (sends == signal.SIGUSR1), outcome.describe())
        read, seen = account(long, *options, ranks=context.ranks % 3 + 1)
        looked, all_looks = (sum(run.get(phase, 0) for phase in LOOKS) for run in (read, whole))
        one_look = all_looks / looks
        edges = 0.2 * one_look  # blocks that were seen in part, rows that others have the rest of
        expect(seen > 0.1, f"{seen:.0%} were seen before")
        expect(looked <= all_looks - seen * one_look + edges, f"{seen:.0%} were seen before: {read}, in all {whole}")
        expect(read.get("sample", 0) == 0, f"the sample was taken again: {read}")
        if not options:  # resident: the rest is read once, and what was seen for the merge only
            expect(abs(read["merge"] - seen * one_look) < edges, f"{seen:.0%} were seen before: {read}, in all {whole}")
    return check


# With 1 KiB nothing stays in memory: every look reads all, and the trim over the model takes two.
STREAMING = ("--memory", "1KiB")
cases.add("look", "kill-goes-on-with-what-was-seen", goes_on_with_what_it_saw(signal.SIGKILL))
cases.add("look", "signal-goes-on-with-what-was-seen", goes_on_with_what_it_saw(signal.SIGUSR1, *STREAMING, looks=2))
cases.add("look", "kill-in-the-second-look", goes_on_with_what_it_saw(signal.SIGKILL, *STREAMING, after=8, looks=2))

# Sums of tensors and of the model, order statistics, the trim over the model of another method.
LOOKING = {
    "sums": ("karcher", "", 2, 1),
    "sums-of-rows": ("della", "rescale_by: l1\nparameters: {density: 0.4, epsilon: 0.1, rescale: true}", 2, 1),
    "a-trim": ("ties", "elect: normfrac", 2, 3),
    "sums-of-the-model": ("ties", "elect: normfrac", 14, 3),
    "ranks": ("breadcrumbs", "parameters: {density: 0.4, gamma: 0.05, rescale: true}", 4, 2),
    "sums-after-ranks": ("sce", "parameters: {select_topk: 0.3}", 15, 3),
}
for look_name, (look_word, look_keys, look_after, look_looks) in LOOKING.items():
    look_job = f"merge_method: {look_word}\nbase_model: base\nmodels: [{{model: math}}, {{model: code}}]\n{look_keys}\n"
    cases.add("methodlook", f"goes-on-with-{look_name}",
              goes_on_with_what_it_saw(signal.SIGKILL, *STREAMING, job=look_job, after=look_after, looks=look_looks))


@cases.case("look")
def may_be_ended_again_and_again_by_other_numbers_of_ranks(context):
    long = Long(context)
    seen = []
    for ranks in (context.ranks, 1, 3):
        long.stopped_by({**SAVED, "after": 0}, "--resume", ranks=ranks)
        seen.append(long.saved.stat().st_size)
    _, share = account(long, ranks=2)
    expect(share > 0.2, f"{share:.0%} were seen before")


@cases.case("look")
def a_damaged_state_costs_the_look_but_not_the_result(context):
    long = Long(context)
    long.stopped_by({**SAVED, "after": 1})
    journal, good = long.journal.read_bytes(), long.saved.read_bytes()
    for bad in (good[:8] + bytes([good[8] ^ 1]) + good[9:],  # the head's length
                good[:100] + bytes([good[100] ^ 1]) + good[101:], good[:-1] + bytes([good[-1] ^ 1]),  # head, a part
                good[:-8], good[:50], good + bytes(8)):
        long.begin_again()
        long.journal.write_bytes(journal)
        long.saved.write_bytes(bad)
        outcome = long.resumes()
        expect("is damaged; the inputs are looked at from the beginning" in outcome.err, outcome.describe())
    long.begin_again()
    long.journal.write_bytes(journal)
    long.resumes()  # it is lost: nobody promised it
    long.begin_again()
    long.saved.write_bytes(good)
    long.resumes()  # without a journal it means nothing


@cases.case("look")
def the_state_of_a_look_is_thrown_away_with_its_journal(context):
    long = Long(context)
    long.stopped_by({**SAVED, "after": 1})
    refused(long, OUTPUT, "merged.h5.journal", "--resume", options=())
    outcome = long.run("--overwrite")
    expect(outcome.code == 0 and long.result(long.target) == long.expected, outcome.describe())
    expect(sorted(path.name for path in long.out.iterdir()) == [long.target.name], "something is left")


@cases.case("look")
def a_file_of_the_users_is_not_replaced_by_the_state(context):
    long = Long(context)
    for precious in (b"precious", b""):
        long.saved.write_bytes(precious)
        refused(long, OUTPUT, "merged.h5.pass", "in the way", options=("--overwrite",))


# What is refused, and what is lost by it: nothing.

def refused(long, code, *words, options=("--resume",), lines=1):
    before = snapshot(long.out)
    expect_refusal(long.run(*ROUNDS, *options), code, words, lines)
    expect(snapshot(long.out) == before, "something changed")


@cases.case("refuse")
def a_journal_is_not_thrown_away_by_accident(context):
    long = Long(context)
    long.stopped_by(MERGING)
    refused(long, OUTPUT, "merged.h5.journal", "--resume", "--overwrite", options=())
    outcome = long.run("--overwrite")
    expect(outcome.code == 0 and long.result(long.target) == long.expected, outcome.describe())
    expect(not long.journal.exists(), "the journal is left")


@cases.case("refuse")
def another_job_is_refused_with_the_line(context):
    long = Long(context)
    long.stopped_by(MERGING)
    text = (long.root / "job.yaml").read_text()
    long.job(text + "parameters: {density: 0.3}\n")
    refused(long, JOB, "merged.h5.journal", "another job", "density")
    long.job(text)
    long.resumes()


@cases.case("refuse")
def a_changed_input_is_refused_by_name(context):
    long = Long(context)
    long.stopped_by(MERGING)
    file = long.file("code")
    content, times = file.read_bytes(), (file.stat().st_atime_ns, file.stat().st_mtime_ns)
    os.utime(file, ns=(times[0], times[1] + 10**9))
    refused(long, INPUT, "code/model.safetensors", "modified")
    renamed = content.replace(b"a.weight", b"A.weight")
    file.write_bytes(renamed)
    os.utime(file, ns=times)
    for name in ("base", "math"):
        other = long.file(name)
        was = other.stat()
        other.write_bytes(other.read_bytes().replace(b"a.weight", b"A.weight"))
        os.utime(other, ns=(was.st_atime_ns, was.st_mtime_ns))
    refused(long, INPUT, "base/model.safetensors", "header")
    for name in ("base", "math", "code"):
        other = long.file(name)
        was = other.stat()
        other.write_bytes(other.read_bytes().replace(b"A.weight", b"a.weight"))
        os.utime(other, ns=(was.st_atime_ns, was.st_mtime_ns))
    long.resumes()


@cases.case("refuse")
def a_damaged_journal_is_refused(context):
    long = Long(context)
    long.stopped_by(MERGING)
    good = long.journal.read_bytes()
    for bad in (b"", good[:-1], good[:100], good[:60] + bytes([good[60] ^ 1]) + good[61:]):
        long.journal.write_bytes(bad)
        refused(long, OUTPUT, "merged.h5.journal")
    long.journal.write_bytes(good)
    long.resumes()


@cases.case("refuse")
def a_journal_of_another_version_is_refused(context):
    long = Long(context)
    long.stopped_by(MERGING)
    good = long.journal.read_bytes()
    long.journal.write_bytes(b"mpimjnl0" + good[8:])
    refused(long, OUTPUT, "merged.h5.journal", "version")


@cases.case("refuse")
def a_lost_partial_file_costs_the_merge_but_not_the_result(context):
    long = Long(context)
    for damage in (long.partial.unlink, lambda: long.partial.write_bytes(b"no HDF5"), lambda: os.truncate(long.partial, 5000)):
        long.begin_again()
        long.stopped_by(MERGING)
        damage()
        outcome = long.resumes()
        expect("all is merged again" in outcome.err, outcome.describe())


@cases.case("refuse")
def a_changed_byte_of_the_partial_file_is_found(context):
    long = Long(context)
    long.stopped_by(MERGING)
    with open(long.partial, "r+b") as file:
        data = file.read()
        expected = Merged(long.root / "expected.h5").parameters["F32"][:4096]
        at = data.find(expected[:64])
        expect(at > 0, "the first round is not in the partial file")
        file.seek(at)
        file.write(bytes([data[at] ^ 1]))
    outcome = long.run("--resume", *ROUNDS)
    expect(outcome.code == OUTPUT and "do not read back" in outcome.err, outcome.describe())
    expect(not long.target.exists(), "a file lies under the output's name")


@cases.case("refuse")
def a_journal_left_by_a_run_that_was_complete_is_removed(context):
    long = Long(context)
    long.stopped_by(MERGING)
    journal = long.journal.read_bytes()
    long.resumes()
    long.journal.write_bytes(journal)
    long.resumes()


# Failures in the middle, after a journal.

# Reads until the first half of the merge of one rank is done: sample, sign, selection, merge.
READS = 240
WRITES_OF_THE_SKELETON = 46  # at most; by rank 0 before the first round
FAILURES = {
    "input-that-vanishes": ({"call": "pread", "path": "code/model", "error": 0, "after": READS}, INPUT),
    "disk-error-while-reading": ({"call": "pread", "path": "code/model", "error": "EIO", "after": READS}, INPUT),
    "disk-full-while-syncing": ({"call": "fsync", "path": "merged.h5.partial", "error": "ENOSPC", "after": 4}, RESOURCES),
    "disk-full-in-the-journal": ({"call": "pwrite", "path": "journal.new", "error": "ENOSPC", "after": 2}, RESOURCES),
    "disk-error-in-the-journal": ({"call": "fsync", "path": "journal.new", "error": "EIO", "after": 2}, OUTPUT),
    "disk-full-in-the-state-of-a-look": ({"call": "pwrite", "path": "merged.h5.pass.new", "error": "ENOSPC", "after": 4}, RESOURCES),
    "disk-error-in-the-state-of-a-look": ({"call": "fsync", "path": "merged.h5.pass.new", "error": "EIO", "after": 2}, OUTPUT),
    "disk-full-while-writing": ({"call": "pwrite", "path": "merged.h5.partial", "error": "ENOSPC", "after": 4}, RESOURCES),
    "disk-error-while-writing": ({"call": "pwrite", "path": "merged.h5.partial", "error": "EIO", "after": 4}, OUTPUT),
}


def fails_and_goes_on(fault, code):
    def check(context):
        long = Long(context)
        fault_here = {"rank": 0, **fault}
        if fault["after"] == READS:
            fault_here["after"] //= context.ranks
        if fault["call"] == "pwrite" and "partial" in fault["path"]:
            fault_here["rank"] = context.ranks - 1
            fault_here["after"] += WRITES_OF_THE_SKELETON if context.ranks == 1 else 0
        outcome = long.run(*ROUNDS, "--memory", "1KiB", environment=failing(context, **fault_here))
        expect(outcome.code == code and not outcome.late, outcome.describe())
        expect(long.journal.is_file() and not long.target.exists(), "no journal, or a file under the output's name")
        long.resumes()
    return check


for failure_name, (failure_fault, failure_code) in FAILURES.items():
    cases.add("failure", f"goes-on-after-{failure_name}", fails_and_goes_on(failure_fault, failure_code))


# verify, and what is told of a run.

@cases.case("verify")
def every_damaged_byte_is_found(context):
    tiny = Tiny(context)
    tiny.merges()
    good = tiny.target.read_bytes()
    draw = random.Random(9)
    places = {0, 8, 200, len(good) - 1, len(good) - 40, *(draw.randrange(len(good)) for _ in range(25))}
    for place in sorted(places):
        tiny.target.write_bytes(good[:place] + bytes([good[place] ^ (1 << draw.randrange(8))]) + good[place + 1:])
        outcome = context.run("verify", tiny.target, launcher=context.ranks > 1)
        expect(outcome.code == INPUT and not outcome.late, f"byte {place}: {outcome.describe()}")
        expect(all("error" in line and "merged.h5" in line for line in outcome.err_lines), outcome.describe())
    tiny.target.write_bytes(good)
    expect("whole" in context.run_well("verify", tiny.target).out, "it is whole")


@cases.case("verify")
def damage_in_a_tensor_names_it(context):
    tiny = Tiny(context)
    tiny.merges()
    good = tiny.target.read_bytes()
    place = good.find(Merged(tiny.target).tensors["a.weight"].data) + 77
    tiny.target.write_bytes(good[:place] + bytes([good[place] ^ 16]) + good[place + 1:])
    outcome = context.run("verify", tiny.target)
    expect(outcome.code == INPUT and "a.weight" in outcome.err, outcome.describe())


@cases.case("verify")
def a_shorter_file_is_found(context):
    tiny = Tiny(context)
    tiny.merges()
    size = tiny.target.stat().st_size
    for less in (1, 32, 1000, size // 2, size):
        os.truncate(tiny.target, size - less)
        outcome = context.run("verify", tiny.target, launcher=context.ranks > 1)
        expect(outcome.code == INPUT and len(outcome.err_lines) == 1, f"{less} bytes less: {outcome.describe()}")


@cases.case("verify")
def a_file_without_checksums_says_so(context):
    tiny = Tiny(context)
    outcome = context.run("verify", tiny.file("base"))
    expect_refusal(outcome, INPUT, ["model.safetensors", "no checksums"])


@cases.case("verify")
def the_output_tells_where_it_comes_from(context):
    tiny = Tiny(context)
    tiny.merges()
    told = Merged(tiny.target).summary["provenance"]
    files = {pathlib.Path(each["path"]).parent.name: each["bytes"] for each in told["inputs"]}
    expect(files == {name: tiny.file(name).stat().st_size for name in ("base", "math", "code")}, f"inputs: {files}")
    expect(len(told["runs"]) == 1 and told["runs"][0]["ranks"] == context.ranks, f"runs: {told['runs']}")
    expect(told["runs"][0]["hosts"] == [os.uname().nodename], f"hosts: {told['runs'][0]['hosts']}")
    expect(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", told["runs"][0]["started"]), "no time")


@cases.case("verify")
def every_rank_writes_a_log_on_request(context):
    tiny = Tiny(context)
    tiny.merges("--log-dir", tiny.root / "logs")
    logs = sorted(path.name for path in (tiny.root / "logs").iterdir())
    expect(logs == [f"rank-{rank}.log" for rank in range(context.ranks)], f"logs: {logs}")
    expect("merge" in (tiny.root / "logs" / "rank-0.log").read_text(), "rank 0 said nothing of the merge")
    outcome = tiny.run("--overwrite", "--log-dir", tiny.target)
    expect(outcome.code == OUTPUT and "--log-dir" in outcome.err, outcome.describe())


if __name__ == "__main__":
    cases.main()
