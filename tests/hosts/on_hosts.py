#!/usr/bin/env python3
"""Merges on three hosts over TCP: the bits of a local run, and a bounded end, to go on from, when a host is lost."""

import os
import pathlib
import re
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from fault.interrupted import ROUNDS, Long  # noqa: E402
from fault.system import failing  # noqa: E402
from hosts import network  # noqa: E402
from support.cases import Cases, expect  # noqa: E402
from support.merged import Merged  # noqa: E402
from support.program import OPEN_MPI  # noqa: E402

SKIPPED = 77
HOSTS = 3
BUG = 70
LOST = "host3"
BOUND = 30  # seconds within which each thing that is waited for happens
cases = Cases(__doc__, failing_calls="the library made from failing_calls.cpp")


class Spread(Long):
    """A merge on all hosts, two ranks on each."""

    def __init__(self, context, **launcher):
        super().__init__(context)
        self.local = context.program
        self.use(net.names, **launcher)

    def use(self, names, **launcher):
        self.context.program = net.program(self.local, names, **launcher)
        self.context.ranks = 2 * len(names)

    def started(self, *options):
        """A slow run in the middle of its merge."""
        slow = failing(self.context, "pwrite", path="merged.h5.partial", delay=500, rank=self.context.ranks - 1)
        command = [self.context.program.mpirun, "--oversubscribe", "--bind-to", "none", "-n", str(self.context.ranks),
                   self.context.program.path, "merge", "job.yaml", "--output", str(self.target), "-q", *ROUNDS, *options]
        child = subprocess.Popen(command, cwd=self.root, env={**OPEN_MPI, **os.environ, **slow}, stdin=subprocess.DEVNULL,
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True, text=True)
        wait_until(lambda: self.journal.exists() or child.poll() is not None, "no journal was written")
        return child

    def ended(self, child, begin):
        """The job's exit code and stderr; nothing of it runs on any host, and nothing looks like a result."""
        try:
            _, err = child.communicate(timeout=BOUND)
            wait_until(lambda: not any(map(net.processes, net.names)), "not all processes ended")
        except subprocess.TimeoutExpired:
            expect(False, f"the job did not end; these run: {({name: net.processes(name) for name in net.names})}")
        finally:
            for name in net.names:
                net.crash(name)
        seconds = time.monotonic() - begin
        print(f"note: exit {child.returncode}, the last process ended after {seconds:.1f} s")
        expect(child.returncode != 0, "the job ended well")
        expect(not self.target.exists() and self.journal.is_file(), "no journal, or a file under the output's name")
        return child.returncode, err

    def goes_on_without(self, lost):
        left = [name for name in net.names if name != lost]
        self.use(left)
        self.resumes()
        runs = Merged(self.target).summary["provenance"]["runs"]
        expect([run["hosts"] for run in runs] == [net.names, left], f"runs: {runs}")


def wait_until(condition, otherwise):
    begin = time.monotonic()
    while not condition():
        expect(time.monotonic() - begin < BOUND, otherwise)
        time.sleep(0.05)


def says_that_it_lost(err):
    expect("lost communication" in err and LOST in err, f"the lost host is not named: {err}")


@cases.case("hosts")
def three_hosts_make_the_bits_of_a_local_run(context):
    spread = Spread(context)
    outcome = spread.run(*ROUNDS)
    expect(outcome.code == 0, outcome.describe())
    expect(spread.result(spread.target) == spread.expected, "another result than of a local run")
    runs = Merged(spread.target).summary["provenance"]["runs"]
    expect([run["hosts"] for run in runs] == [net.names], f"runs: {runs}")


@cases.case("hosts")
def a_cut_cable_ends_the_job_and_the_others_go_on(context):
    spread = Spread(context)
    child = spread.started()
    begin = time.monotonic()
    with net.cut(LOST):
        _, err = spread.ended(child, begin)
    says_that_it_lost(err)
    spread.goes_on_without(LOST)


@cases.case("hosts")
def a_crashed_host_ends_the_job_and_the_others_go_on(context):
    spread = Spread(context)
    child = spread.started()
    begin = time.monotonic()
    net.crash(LOST)
    _, err = spread.ended(child, begin)
    says_that_it_lost(err)
    spread.goes_on_without(LOST)


@cases.case("hosts")
def ranks_on_both_sides_of_a_cut_end_by_themselves_where_the_launcher_notices_nothing(context):
    spread = Spread(context, keepalive=())
    child = spread.started("--watchdog", "2")
    begin = time.monotonic()
    with net.cut(LOST):
        wait_until(lambda: not any("mpimerge" in net.processes(name).values() for name in net.names), "ranks still run")
        print(f"note: the last rank ended after {time.monotonic() - begin:.1f} s")
    code, err = spread.ended(child, begin)
    expect(code == BUG, f"exit {code}")
    barks = re.findall(r"^mpimerge: error: \[rank \d/6 (host\d)\] no progress for 2 s in phase merge, round \d+; .*--resume", err,
                       re.MULTILINE)
    expect(LOST in barks and set(barks) != {LOST}, f"not from both sides: {err}")
    spread.goes_on_without(LOST)


if __name__ == "__main__":
    try:
        network.enter()
        net = network.Network(HOSTS)
    except network.Unavailable as reason:
        print(f"SKIPPED: {pathlib.Path(__file__).name}: no hosts can be made here: {reason}")
        sys.exit(1 if os.environ.get("MPIMERGE_REQUIRE_HOSTS") else SKIPPED)
    cases.main()
