#!/usr/bin/env python3
"""slurm/submit with a real SLURM of two virtual nodes: jobs run, are stopped, queued again, and go on."""

import os
import pathlib
import signal
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from slurm import cluster  # noqa: E402
from slurm.site import Site, write_executable  # noqa: E402
from support.cases import Cases, expect  # noqa: E402
from support.merged import Merged  # noqa: E402
from support.program import OPEN_MPI  # noqa: E402

SKIPPED = 77
# The virtual nodes share one /dev/shm, where Open MPI would take ranks of another node for neighbours.
ONE_HOST_FOR_ALL = {"OMPI_MCA_btl": "self,tcp", "OMPI_MCA_btl_tcp_if_include": "lo", "OMPI_MCA_oob_tcp_if_include": "lo"}
FOR_GOOD = ("COMPLETED", "FAILED", "TIMEOUT", "CANCELLED", "NODE_FAIL")

cases = Cases(__doc__, failing_calls="path of the library that delays system calls")
slurm = None  # the cluster, once it runs


class SiteOnCluster(Site):
    def __init__(self, context, **settings):
        super().__init__(context, TASKS_PER_NODE=2, **settings)
        self.environment = {**OPEN_MPI, **ONE_HOST_FOR_ALL, **slurm.environment}
        self.write_models()

    def slow(self, milliseconds, restarts_too=False):
        """Every write of a round takes so long, unless the job was queued again."""
        library = pathlib.Path(self.context.arguments.failing_calls).resolve()
        first_time = "true" if restarts_too else '[ -z "${SLURM_RESTART_COUNT:-}" ]'
        self.set(MPIMERGE=write_executable(self.root / "slow mpimerge", f'''#!/bin/bash
if {first_time}; then
  export LD_PRELOAD='{library}' FAULT_CALL=pwrite FAULT_PATH=.partial FAULT_DELAY={milliseconds}
fi
exec '{self.context.program.path}' "$@"
'''))

    def submit_one(self, *words):
        """Submits the job and returns what was said, and the number of the one job."""
        done = self.submit_well("job files/ties.yaml", *words)
        expect(len(done.ids) == 1, done.describe())
        return done, done.ids[0]

    def expect_merged(self, output, *options):
        """The output has the bits of a merge outside SLURM, and nothing lies beside it."""
        expected = self.root / f"expected {output.name}"
        self.context.run_well("merge", self.root / "job files" / "ties.yaml", "--output", expected, "-q", *options, ranks=2)
        found, wanted = Merged(output), Merged(expected)
        expect(not found.faults and found.digest == wanted.digest, f"{output.name}: {found.faults} {found.digest}")
        left = [path.name for path in output.parent.glob(f"{output.name}.*")]
        expect(not left, f"beside the output lies {left}")


def wait_for(number, limit, condition, what):
    end = time.monotonic() + limit
    while not condition():
        states = {job["JobState"] for job in slurm.jobs(number)}
        over = states <= set(FOR_GOOD) and not condition()
        expect(not over and time.monotonic() < end, f"job {number} is {', '.join(states)}, not {what} within {limit} s: "
               + slurm.log_of(number)[-1500:])
        time.sleep(0.2)


def wait_for_state(number, *states, limit=45):
    wait_for(number, limit, lambda: slurm.state(number) in states, " or ".join(states))


def wait_until_it_merges(number):
    """The thresholds are known: from then on there is something to go on from."""
    wait_for(number, 40, lambda: "info: select " in slurm.log_of(number), "merging")
    time.sleep(0.5)


def expect_completed(number, done):
    wait_for_state(number, *FOR_GOOD)
    log = done.logs[0].read_text() if done.logs[0].exists() else "no log"
    expect(slurm.state(number) == "COMPLETED", f"job {number} is {slurm.state(number)}: {log[-1500:]}")
    return log


# --- Jobs that finish ---

@cases.case("cluster")
def a_merge_runs_under_srun_with_pmix(context):
    site = SiteOnCluster(context)
    done, number = site.submit_one("--nodes=2", "--comment", 'with "quotes"', "--time=5")
    log = expect_completed(number, done)
    job = slurm.jobs(number)[0]
    expect(job["NumNodes"] == "2" and job["NumTasks"] == "4", f"{job['NumNodes']} nodes, {job['NumTasks']} tasks")
    expect("4 ranks by srun --mpi=pmix --kill-on-bad-exit=1" in log and ", 4 ranks, " in log, log)
    expect(done.logs[0].name == f"ties-{number}.log" and done.logs[0].parent == site.root, str(done.logs))
    expect(done.script.name == f"ties-{number}.sbatch" and "--nodes=2" in done.script.read_text(), str(done.script))
    expect('Comment=with "quotes"' in slurm.command("scontrol", "show", "job", number), "the comment is another")
    site.expect_merged(site.output)


@cases.case("cluster")
def a_merge_runs_under_mpirun(context):
    site = SiteOnCluster(context, LAUNCHER="mpirun")
    done, number = site.submit_one("--nodes=2")
    log = expect_completed(number, done)
    expect("4 ranks by mpirun -n 4" in log and ", 4 ranks, " in log, log)
    site.expect_merged(site.output)


@cases.case("cluster")
def nodes_that_nobody_gave_are_enough_to_stay_resident(context):
    site = SiteOnCluster(context, NODE_MEMORY_MIB="")
    memory = ("--memory", "2MB", "--chunk", "16KiB")
    done, number = site.submit_one("--", *memory)
    log = expect_completed(number, done)
    expect(slurm.jobs(number)[0]["NumNodes"] == "2" and "resident" in log and "partly" not in log, log)


@cases.case("cluster")
def waiting_shows_the_log_and_ends_with_the_code_of_the_job(context):
    site = SiteOnCluster(context)
    done = site.submit("job files/ties.yaml", "--nodes=1", "--wait")
    expect(done.code == 0, done.describe())
    for word in ("waits: ", "runs on n", "completed, exit 0:0", "batch: job", "parameters in"):
        expect(word in done.out, f"`{word}` is missing: {done.describe()}")
    again = site.submit("job files/ties.yaml", "--nodes=1", "--wait")
    expect(again.code == 5 and "failed, exit 5:0" in again.out and "exists" in again.out, again.describe())


@cases.case("cluster")
def what_slurm_refuses_is_exit_1(context):
    site = SiteOnCluster(context)
    done = site.submit("job files/ties.yaml", "--nodes=1", "--partition=nowhere")
    expect(done.code == 1 and "nowhere" in done.err and not done.out, done.describe())
    expect(not list(site.root.glob("*.sbatch")) and not list(site.root.glob(".*")), "a script was left")


@cases.case("cluster")
def a_sweep_merges_with_every_value(context):
    site = SiteOnCluster(context)
    values = ("0.1", "0.3", "0.5", "1")
    done, number = site.submit_one("--nodes=1", "--sweep", f"parameters.density={','.join(values)}")
    expect(done.logs[0].name == f"ties-{number}_*.log", str(done.logs))
    wait_for(number, 60, lambda: all(job["JobState"] in FOR_GOOD for job in slurm.jobs(number)), "done")
    logs = "".join(path.read_text() for path in sorted(site.root.glob(f"ties-{number}_*.log")))
    expect([job["JobState"] for job in slurm.jobs(number)] == ["COMPLETED"] * 4, logs[-1500:])
    for value in values:
        site.expect_merged(site.output.with_name(f"merged-density-{value}.h5"), "--set", f"parameters.density={value}")


@cases.case("cluster")
def a_chain_merges_and_then_checks(context):
    site = SiteOnCluster(context)
    done = site.submit_well("job files/ties.yaml", "--nodes=1", "--check")
    merge, check = done.ids
    expect_completed(merge, done)
    wait_for_state(check, *FOR_GOOD)
    log = done.logs[1].read_text()
    expect(slurm.state(check) == "COMPLETED" and done.logs[1].name == f"ties-check-{check}.log", log)
    ended, began = slurm.jobs(merge)[0]["EndTime"], slurm.jobs(check)[0]["StartTime"]
    expect(ended <= began, f"the merge ended at {ended}, the check began at {began}")
    done = site.submit_well("job files/ties.yaml", "--nodes=1", "--check")  # the output exists
    wait_for_state(done.ids[0], *FOR_GOOD)
    wait_for_state(done.ids[1], "CANCELLED", "FAILED")
    expect(slurm.state(done.ids[0]) == "FAILED" and not done.logs[1].exists(), "a check of a merge that failed")


# --- Jobs that are stopped ---

@cases.case("cluster")
def at_the_time_limit_a_merge_is_queued_again_and_goes_on(context):
    site = SiteOnCluster(context, LAUNCHER="srun --mpi=pmix")
    site.slow(milliseconds=1000)  # 50 rounds
    # SLURM counts limits in minutes and looks every 30 s: this warning comes 10 to 40 s after the start.
    done, number = site.submit_one("--nodes=2", "--time=1", "--signal=B:USR1@20", "--", "--chunk", "4KiB")
    wait_for(number, 70, lambda: slurm.jobs(number)[0]["Restarts"] == "1", "queued again")
    left = sorted(path.suffix for path in site.output.parent.glob("merged.h5*"))
    expect(left == [".journal", ".partial"], f"the first run left {left}: {done.logs[0].read_text()}")
    log = expect_completed(number, done)
    expect("queued again" in log and "restart 1" in log, log)
    site.expect_merged(site.output)


def stopped_early(site):
    """A merge that is told to stop as by the warning, but at once."""
    site.slow(milliseconds=300)
    done, number = site.submit_one("--nodes=1", "--", "--chunk", "4KiB")
    wait_until_it_merges(number)
    slurm.command("scancel", "--signal=USR1", "--batch", number)
    return done, number


@cases.case("cluster")
def under_mpirun_and_where_slurm_itself_queues_again_it_goes_on_too(context):
    site = SiteOnCluster(context, LAUNCHER="mpirun")
    slurm.configure("RequeueExit", 75)
    try:
        done, number = stopped_early(site)
        wait_for(number, 30, lambda: slurm.jobs(number)[0]["Restarts"] == "1", "queued again")
        log = expect_completed(number, done)
    finally:
        slurm.configure("RequeueExit")
    expect(slurm.jobs(number)[0]["Restarts"] == "1" and log.count("batch: job") == 2, log)
    site.expect_merged(site.output)


@cases.case("cluster")
def a_job_is_queued_again_only_so_often_and_the_next_one_goes_on(context):
    site = SiteOnCluster(context, MAX_REQUEUES=0)
    done, number = stopped_early(site)
    wait_for_state(number, *FOR_GOOD)
    job = slurm.jobs(number)[0]
    expect(job["JobState"] == "FAILED" and job["ExitCode"] == "1:0" and "MAX_REQUEUES" in done.logs[0].read_text(), f"{job}")
    expect(pathlib.Path(f"{site.output}.journal").exists(), done.logs[0].read_text())
    site.set(MPIMERGE=context.program.path)
    done, number = site.submit_one("--nodes=2", "--", "--chunk", "4KiB")
    expect_completed(number, done)
    site.expect_merged(site.output)


@cases.case("cluster")
def a_cancelled_merge_ends_in_order_and_is_not_queued_again(context):
    site = SiteOnCluster(context)
    site.slow(milliseconds=300, restarts_too=True)
    done, number = site.submit_one("--nodes=1", "--", "--chunk", "4KiB")
    wait_until_it_merges(number)
    slurm.command("scancel", number)
    wait_for_state(number, "CANCELLED", limit=20)
    log = done.logs[0].read_text()
    expect("not queued again" in log, log)
    left = sorted(path.suffix for path in site.output.parent.glob("merged.h5*"))
    expect(left == [".journal", ".partial"], f"left is {left}: {log}")
    time.sleep(1)
    expect(slurm.state(number) == "CANCELLED", f"it is {slurm.state(number)} again")


@cases.case("cluster")
def a_killed_rank_ends_the_job(context):
    site = SiteOnCluster(context)
    site.slow(milliseconds=1000)
    done, number = site.submit_one("--nodes=1", "--", "--chunk", "4KiB")
    wait_until_it_merges(number)
    os.kill(rank_of(number, 1), signal.SIGKILL)
    wait_for_state(number, *FOR_GOOD, limit=20)
    expect(slurm.state(number) == "FAILED", f"it is {slurm.state(number)}: {done.logs[0].read_text()}")


def rank_of(number, rank):
    """The process of a rank of a job that srun started."""
    wanted = {f"SLURM_JOB_ID={number}".encode(), f"SLURM_PROCID={rank}".encode()}
    found = []
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
            environment = set((process / "environ").read_bytes().split(b"\0"))
        except OSError:  # gone, or of another user
            continue
        if b"merge" in words[:2] and wanted <= environment:
            found.append(int(process.name))
    expect(len(found) == 1, f"rank {rank} of job {number} is {found or 'not to be found'}")
    return found[0]


def main():
    global slurm
    try:
        with cluster.running(nodes=2, cpus=4) as slurm:
            cases.main()
    except cluster.Unavailable as reason:
        required = os.environ.get("MPIMERGE_REQUIRE_SLURM")
        print(f"{'FAILED' if required else 'SKIPPED'}: {pathlib.Path(__file__).name}: no SLURM can run here: {reason}")
        sys.exit(1 if required else SKIPPED)


if __name__ == "__main__":
    main()
