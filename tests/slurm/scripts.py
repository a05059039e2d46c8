#!/usr/bin/env python3
"""What slurm/submit writes, and what the scripts then do, with stand-ins for SLURM, the launchers and Lustre."""

import os
import pathlib
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from slurm.site import SLURM, Site, write_executable  # noqa: E402
from support import jobs  # noqa: E402
from support.cases import Cases, expect  # noqa: E402

GOLDEN = pathlib.Path(__file__).resolve().parent / "golden"

cases = Cases(__doc__)


# --- What is written ---

def expect_golden(site, golden, *words):
    script = site.generate("job files/ties.yaml", *words)
    for path, name in ((SLURM, "SLURM"), (site.context.program.path, "PROGRAM"), (site.context.directory, "HERE")):
        script = script.replace(str(path), f"<{name}>")
    wanted = (GOLDEN / golden).read_text()
    expect(len(script) == len(wanted) and script == wanted, f"other than {golden}:\n{script}")


@cases.case("written")
def merge_is_the_golden_script(context):
    site = Site(context, TASKS_PER_NODE=32)
    site.write_models(1000)
    expect_golden(site, "merge.sbatch", "--nodes", "64", "--", "--overwrite")


@cases.case("written")
def merge_with_options_is_the_golden_script(context):
    site = Site(context, PARTITION="long", ACCOUNT="mine", TIME="2:00:00")
    with site.conf.open("a") as file:
        file.write("SBATCH_OPTIONS=(--constraint='a&b')\n")
    site.write_models(1000)
    expect_golden(site, "merge_options.sbatch", "-N2", "-t", "10", "--partition=short", "-A", "other account", "--exclude",
                  "n[1-2]", "--comment=with \"quotes\" and #", "-J", "my merge", "--hold", "--", "--output", "out 1.h5",
                  "--output=/scratch/it's.h5", "--set", "parameters.density=0.1", "--memory=1GiB", "-q")


@cases.case("written")
def sweep_is_the_golden_script(context):
    site = Site(context)
    site.write_models(1000)
    expect_golden(site, "sweep.sbatch", "--nodes=1", "--sweep", "parameters.density=0.1,0.2,0.35,1")


@cases.case("written")
def outputs_of_a_sweep_keep_their_kind(context):
    site = Site(context)
    site.write_models(100)
    for output, wanted in (("a.b/merged.hdf5", "a.b/merged-density-0.5.hdf5"), ("/x.y/merged", "/x.y/merged-density-0.5"),
                           ("merged-1.0", "merged-1.0-density-0.5")):
        script = site.generate("job files/ties.yaml", "--nodes=1", "--sweep=parameters.density=0.5", "--", "--output", output)
        expect(f"{wanted}\n)" in script, f"{output}: {script}")


@cases.case("written")
def a_directory_is_checked_too(context):
    site = Site(context)
    site.write_models(100)
    script = site.generate("job files/ties.yaml", "--nodes=1", "--check", "--", "--output", "/x.y/merged")
    expect("verify /x.y/merged" in script, script)


@cases.case("written")
def chain_is_the_golden_script(context):
    site = Site(context)
    site.write_models(1000)
    expect_golden(site, "chain.sbatch", "--nodes=1", "--check", "--time=30")


@cases.case("written")
def scripts_are_sound_shell(context):
    for golden in sorted(GOLDEN.iterdir()):
        text = golden.read_text().replace("<", "/").replace(">", "")
        done = subprocess.run(["bash", "-n"], input=text, text=True, capture_output=True, check=False)
        expect(done.returncode == 0, f"{golden.name}: {done.stderr}")
        lines = text.splitlines()
        last_option = max(number for number, line in enumerate(lines) if line.startswith("#SBATCH"))
        expect(all(line.startswith("#") for line in lines[:last_option]), f"{golden.name}: #SBATCH lines are not on top")
        expect("@" not in text.replace("USR1@", ""), f"{golden.name}: a field was not filled")


@cases.case("written")
def a_dry_run_leaves_nothing(context):
    site = Site(context)
    site.write_models(1000)
    before = sorted(site.root.rglob("*"))
    site.generate("job files/ties.yaml")
    expect(sorted(site.root.rglob("*")) == before, "files were made")


@cases.case("written")
def warning_comes_early_enough_for_short_limits(context):
    site = Site(context)
    site.write_models(100)
    for limit, seconds in (("5", 100), ("1", 20), ("30", 300), ("10:30", 210), ("00:10:30", 210), ("0-0:9", 180),
                           ("1-0", 300), ("1-00:00:30", 300), ("UNLIMITED", 300), ("08:09", 163)):
        script = site.generate("job files/ties.yaml", "--nodes=1", "--time", limit)
        expect(f"\n#SBATCH --signal=B:USR1@{seconds}\n" in script, f"--time {limit}: {script.splitlines()[9]}")


# --- The plan ---

def nodes_of(script):
    return int([line for line in script.splitlines() if "--nodes=" in line][0].split("=")[1])


@cases.case("plan")
def the_smallest_number_of_nodes_keeps_inputs_in_memory(context):
    site = Site(context)
    job = site.write_models()
    memory = ("--memory", "300kB", "--chunk", "16KiB")
    found = nodes_of(site.generate(job, "--", *memory))

    def mode(nodes):
        return context.run_well("plan", job, "--ranks", 2 * nodes, *memory, launcher=False).out

    expect(found > 1 and "resident: inputs stay" in mode(found), f"{found} nodes: {mode(found)}")
    expect("resident: inputs stay" not in mode(found - 1), f"{found - 1} nodes do: {mode(found - 1)}")


@cases.case("plan")
def memory_of_the_nodes_is_planned_with_and_said_to_the_job(context):
    site = Site(context, NODE_MEMORY_MIB=20)
    site.write_models()
    script = site.generate("job files/ties.yaml")
    expect("--memory 7MiB" in script, f"14 MiB for 2 ranks: {script.splitlines()[-1]}")
    expect("--memory" not in site.generate("job files/ties.yaml", "--nodes", 1), "--memory without having planned with it")


@cases.case("plan")
def a_sweep_has_enough_nodes_for_every_value(context):
    site = Site(context)
    job = site.write_models()
    options = ("--", "--memory", "300kB", "--chunk", "16KiB", "--set", "nan=allow")
    alone = {value: nodes_of(site.generate(job, *options, "--set", f"parameters.density={value}")) for value in ("1", "0.5")}
    expect(alone["1"] == 1 < alone["0.5"], f"nodes are {alone}")  # density 1 needs one pass and keeps nothing
    for values in ("1,0.5", "0.5,1"):
        found = nodes_of(site.generate(job, "--sweep", f"parameters.density={values}", *options))
        expect(found == alone["0.5"], f"{values}: {found} nodes")


@cases.case("plan")
def faults_of_the_job_come_to_light_before_it_queues(context):
    site = Site(context)
    job = site.write_models(100)
    for code, words in ((3, ("--sweep", "parameters.density=0.5,2")), (3, ("--", "--set", "sign_tie=nobody")),
                        (3, ("--nodes", "3", "--", "--set", "parameters.density=7"))):
        done = site.submit(job, *words, "--dry-run")
        expect(done.code == code and not done.out and "mpimerge: error" in done.err, f"{words}: {done.describe()}")
    (job.parent / "math" / "model.safetensors").unlink()
    done = site.submit(job, "--dry-run")
    expect(done.code == 4 and not done.out and "math" in done.err, done.describe())


@cases.case("plan")
def without_a_plan_nodes_must_be_given(context):
    site = Site(context)
    job = site.write_models(100)
    site.set(MPIMERGE=write_executable(site.root / "other cpu", "#!/bin/sh\nexit 126\n"))
    done = site.submit(job, "--dry-run")
    expect(done.code == 2 and "--nodes" in done.err and not done.out, done.describe())
    done = site.submit_well(job, "--dry-run", "--nodes", "3")
    expect("not checked" in done.err and nodes_of(done.out) == 3, done.describe())


@cases.case("plan")
def sinfo_knows_the_smallest_node(context):
    site = Site(context, TASKS_PER_NODE="", NODE_MEMORY_MIB="")
    site.write_models()
    bin_directory = write_executable(
        site.root / "bin" / "sinfo",
        "#!/bin/sh\ncase \"$*\" in *--partition=big*) echo 2 64 512000 big ;; *--partition=bare*) echo 1 4 1 bare ;;\n"
        "*--partition=*) ;;\n"
        "*) echo 1 2 10 small; echo '2 8 90 main*'; echo '1 12 96 main*' ;; esac\n").parent
    site.environment["PATH"] = f"{bin_directory}:{os.environ['PATH']}"
    script = site.generate("job files/ties.yaml")
    expect("--ntasks-per-node=12\n" in script and "--memory 5MiB" in script, script)  # 0.7 of 90 MiB for 12
    script = site.generate("job files/ties.yaml", "-p", "big")
    expect("--ntasks-per-node=128\n" in script and "--memory 2800MiB" in script, script)
    done = site.submit("job files/ties.yaml", "--partition=bare", "--dry-run")  # what SLURM says of nodes that it was told nothing of
    expect(done.code == 2 and "NODE_MEMORY_MIB" in done.err and not done.out, done.describe())
    done = site.submit("job files/ties.yaml", "--partition=empty", "--dry-run")
    expect(done.code == 2 and "empty partition" in done.err and not done.out, done.describe())
    script = site.generate("job files/ties.yaml", "--nodes=2", "--ntasks-per-node", "5")
    expect("--ntasks-per-node=5\n" in script, script)


# --- Wrong usage ---

@cases.case("usage")
def wrong_usage_is_one_line_and_exit_2(context):
    site = Site(context)
    site.write_models(100)
    site.write_job()
    (site.root / "no_output.yaml").write_text(jobs.job_text("job files/base", ["job files/math"]))
    (site.root / "two.yaml").write_text(jobs.job_text("job files/base", ["job files/math"], output=["a.h5", "b.h5"]))
    job = "job files/ties.yaml"
    table = [((), "job file"), (("--nodes", "3"), "job file"), (("lost.yaml",), "lost.yaml"), (("job files",), "job files"),
             ((job, "--nodes"), "--nodes"), ((job, "--nodes", "--time"), "--nodes"), ((job, "--nodes", "many"), "many"),
             ((job, "--nodes", "0"), "--nodes 0"), ((job, "--nodes", "2-4"), "2-4"), ((job, "--nodes="), "--nodes"),
             ((job, "-t"), "-t"), ((job, "--ntasks-per-node=x"), "x"), ((job, "other.yaml"), "other.yaml"),
             ((job, "--qos=a", "b"), "b"), ((job, "--sweep", "density"), "--sweep density"),
             ((job, "--sweep", "parameters.density="), "--sweep"), ((job, "--sweep", "a=1,,2"), "a=1,,2"),
             ((job, "--sweep", "parameters.density=0.1,0.1"), "differ"), ((job, "--check", "--sweep", "a=1"), "--check"),
             (("two.yaml", "--check"), "2 outputs"), (("two.yaml", "--sweep", "parameters.density=0.5"), "2 outputs"),
             (("no_output.yaml",), "--output"), ((job, "--", "--qos=high"), "--qos"),
             ((job, "--", "--memory"), "--memory"),
             ((job, "--comment=a\nb"), "line break")]
    for words, word in table:
        done = site.submit(*words, *([] if "--" in words else ["--dry-run"]))
        lines = done.err.splitlines()
        notes = [line for line in lines if not line.startswith("submit: error: ")]
        expect(done.code == 2 and len(lines) - len(notes) == 1 and word in lines[-1] and not done.out
               and all("node(s) of" in line for line in notes), f"{words}: {done.describe()}")


@cases.case("usage")
def wrong_settings_are_named(context):
    site = Site(context)
    job = site.write_models(100)
    for settings, word in (({"MPIMERGE": "/nowhere/mpimerge"}, "/nowhere/mpimerge"), ({"TASKS_PER_NODE": "many"}, "many"),
                           ({"NODE_MEMORY_MIB": "96GiB"}, "96GiB")):
        before = dict(site.settings)
        site.set(**settings)
        done = site.submit(job, "--dry-run")
        expect(done.code == 2 and word in done.err and done.err.count("\n") == 1, done.describe())
        site.set(**before)
    done = site.submit(job, MPIMERGE_SITE="/nowhere/site.conf")
    expect(done.code == 2 and "/nowhere/site.conf" in done.err and done.err.count("\n") == 1, done.describe())
    tools = site.root / "tools"
    tools.mkdir()
    for tool in ("bash", "env", "dirname", "basename", "readlink", "sed"):
        (tools / tool).symlink_to(pathlib.Path("/usr/bin") / tool)
    site.set(MPIMERGE=write_executable(site.root / "program", "#!/bin/bash\nexit 126\n"))
    for tasks, word in (("2", "no sbatch"), ("", "no sinfo")):
        site.set(TASKS_PER_NODE=tasks)
        done = site.submit(job, "--nodes=1", PATH=str(tools))
        expect(done.code == 2 and word in done.err.splitlines()[-1], done.describe())


@cases.case("usage")
def help_shows_the_options(context):
    done = Site(context).submit_well("--help")
    for word in ("JOB.yaml", "--nodes", "--check", "--sweep", "--wait", "--dry-run", "site.conf"):
        expect(word in done.out, f"`{word}` is not in the help")


# --- What the scripts do ---

# Every stand-in notes how it was called. srun and mpirun are asked for the version, to see whether ranks find each other, or to
# start the merge.
STAND_INS = {
    "srun": r'''#!/bin/bash
printf 'srun %s\n' "$*" >>"$CALLS"
kind=plain
for word in "$@"; do [[ $word != --mpi=* ]] || kind=${word#*=}; done
if [ "${*: -1}" = --version ]; then
  case " $GOOD " in *" $kind "*) echo mpimerge 1 ;; *" $kind-alone "*) echo mpimerge 1; echo mpimerge 1 ;; *) exit 1 ;; esac
  exit
fi
. "$MERGE"
''',
    "mpirun": '''#!/bin/bash
printf 'mpirun %s\\n' "$*" >>"$CALLS"
. "$MERGE"
''',
    "scontrol": '''#!/bin/bash
printf 'scontrol %s\\n' "$*" >>"$CALLS"
[ "$1" != --oneliner ] || echo "JobId=7 JobState=COMPLETING Reason=$REASON Dependency=(null)"
[ "$1" != requeue ] || exit "${REQUEUE_CODE:-0}"
''',
    "lfs": '''#!/bin/bash
printf 'lfs %s\\n' "$*" >>"$CALLS"
[ -n "$STRIPES" ] || { echo "not on Lustre" >&2; exit 1; }
[ "$1" != getstripe ] || echo "$STRIPES"
''',
}


class Batch:
    """Runs a generated script as SLURM would, among stand-ins."""

    def __init__(self, context, *options, lustre=False, directory="my models", **settings):
        self.site = Site(context, directory, **settings)
        self.site.write_models(100)
        self.script = self.site.root / "script.sbatch"
        self.script.write_text(self.site.generate("job files/ties.yaml", "--nodes=2", *options))
        self.calls_file = self.site.root / "calls"
        for name, text in STAND_INS.items():
            if name != "lfs" or lustre:
                write_executable(self.site.root / "bin" / name, text)

    def start(self, merge="exit 0", arguments=(), **environment):
        self.calls_file.write_text("")
        (self.site.root / "merge").write_text(merge)
        settings = {**os.environ, "PATH": f"{self.site.root}/bin:{os.environ['PATH']}", "CALLS": str(self.calls_file),
                    "MERGE": str(self.site.root / "merge"), "GOOD": "plain", "REASON": "None", "STRIPES": "",
                    "SLURM_JOB_ID": "7", "SLURM_JOB_NUM_NODES": "2", "SLURM_NTASKS": "4", **environment}
        return subprocess.Popen(["bash", self.script, *arguments], cwd=self.site.root, env=settings, text=True,
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def finish(self, process):
        self.log = process.communicate(timeout=30)[0]
        self.calls = self.calls_file.read_text().splitlines()
        return process.returncode

    def run(self, **how):
        return self.finish(self.start(**how))

    def signal(self, signals, **how):
        """Sends the signals, one after the other, once the ranks run."""
        process = self.start(**how)
        for each in signals:
            wait_until(lambda: (self.site.root / "ready").exists())
            (self.site.root / "ready").unlink()
            process.send_signal(each)
        return self.finish(process)

    def starts(self):
        """The calls that start the merge, the launcher's words alone."""
        return [call.split(str(self.site.context.program.path))[0].strip() for call in self.calls if " merge " in call]


def wait_until(condition):
    end = time.monotonic() + 20
    while not condition():
        expect(time.monotonic() < end, "waited in vain")
        time.sleep(0.02)


@cases.case("batch")
def the_launcher_is_the_first_with_which_ranks_find_each_other(context):
    batch = Batch(context)
    for good, wanted in (("plain pmix pmi2", "srun --kill-on-bad-exit=1"), ("pmix pmi2", "srun --mpi=pmix --kill-on-bad-exit=1"),
                         ("pmi2", "srun --mpi=pmi2 --kill-on-bad-exit=1"), ("", "mpirun -n 4"),
                         ("plain-alone pmi2", "srun --mpi=pmi2 --kill-on-bad-exit=1"), ("plain-alone pmix-alone", "mpirun -n 4")):
        expect(batch.run(GOOD=good) == 0, batch.log)
        expect(batch.starts() == [wanted], f"{good or 'nothing'} is good: {batch.starts()}")


@cases.case("batch")
def the_launcher_of_the_site_is_not_tried(context):
    for number, (launcher, wanted) in enumerate((("srun --mpi=pmi2 --cpu-bind=cores", "srun --mpi=pmi2 --cpu-bind=cores --kill-on-bad-exit=1"),
                                                 ("mpirun", "mpirun -n 4"))):
        batch = Batch(context, directory=f"site {number}", LAUNCHER=launcher)
        expect(batch.run(GOOD="") == 0, batch.log)
        expect(batch.starts() == [wanted] and len(batch.calls) == 1, f"{launcher}: {batch.calls}")


@cases.case("batch")
def two_ranks_on_two_nodes_are_tried_where_there_are_two(context):
    batch = Batch(context)
    for nodes, wanted in (("2", "--nodes=2 --ntasks=2 --ntasks-per-node=1"), ("1", "--nodes=1 --ntasks=2 --ntasks-per-node=2")):
        batch.run(SLURM_JOB_NUM_NODES=nodes)
        expect(wanted in batch.calls[0], f"{nodes} nodes: {batch.calls[0]}")


@cases.case("batch")
def exit_codes_are_those_of_the_program(context):
    batch = Batch(context)
    for code in (0, 3, 5, 70, 137):
        found = batch.run(merge=f"exit {code}")
        expect(found == code and not any("requeue" in call for call in batch.calls), f"{code} became {found}: {batch.log}")


@cases.case("batch")
def an_unfinished_merge_is_queued_again(context):
    batch = Batch(context, MAX_REQUEUES=2)
    expect(batch.run(merge="exit 75") == 75 and batch.calls[-1] == "scontrol requeue 7", f"{batch.calls}: {batch.log}")
    expect(batch.run(merge="exit 75", SLURM_RESTART_COUNT="1") == 75 and batch.calls[-1] == "scontrol requeue 7", batch.log)
    expect(batch.run(merge="exit 75", SLURM_RESTART_COUNT="2") == 1 and "scontrol requeue 7" not in batch.calls, batch.log)
    expect("MAX_REQUEUES" in batch.log, batch.log)
    never = Batch(context, directory="never", MAX_REQUEUES=0)
    expect(never.run(merge="exit 75") == 1 and "MAX_REQUEUES" in never.log, never.log)
    expect(batch.run(merge="exit 75", REQUEUE_CODE="1") == 75 and "slurm/submit" in batch.log, batch.log)


# The ranks of a stand-in: ready for signals, then gone with 75.
STOPPABLE = '''trap 'touch got-usr1; exit 75' USR1
trap 'exit 75' TERM
touch ready
for i in {1..200}; do sleep 0.05; done
'''


@cases.case("batch")
def the_warning_reaches_the_ranks_of_every_launcher(context):
    for number, launcher in enumerate(("srun", "mpirun")):
        batch = Batch(context, directory=f"site {number}", LAUNCHER=launcher)
        code = batch.signal([signal.SIGUSR1], merge=STOPPABLE)
        expect(code == 75 and (batch.site.root / "got-usr1").exists(), f"{launcher}: exit {code}: {batch.log}")
        expect(batch.calls[-1] == "scontrol requeue 7", f"{batch.calls}")


@cases.case("batch")
def a_second_warning_does_no_harm(context):
    batch = Batch(context)
    patient = "n=0\ntrap 'n=$((n + 1)); touch ready; [ $n -lt 3 ] || exit 75' USR1\ntouch ready\nfor i in {1..200}; do sleep 0.05; done\n"
    expect(batch.signal([signal.SIGUSR1] * 3, merge=patient) == 75, batch.log)


@cases.case("batch")
def a_warning_before_the_start_is_not_lost(context):
    batch = Batch(context)
    slow = 'if [ "${*: -1}" = --version ]; then touch ready; sleep 1; fi\n'
    path = batch.site.root / "bin" / "srun"
    path.write_text(path.read_text().replace("kind=plain\n", "kind=plain\n" + slow))
    expect(batch.signal([signal.SIGUSR1]) == 75, batch.log)
    expect(not batch.starts() and batch.calls[-1] == "scontrol requeue 7", f"{batch.calls}")


@cases.case("batch")
def the_time_limit_queues_again_and_scancel_does_not(context):
    batch = Batch(context)
    # SLURM sends SIGTERM to the script and to the ranks; here the ranks end by themselves.
    ends = "touch ready; sleep 1; exit 75"
    expect(batch.signal([signal.SIGTERM], merge=ends, REASON="TimeLimit") == 75, batch.log)
    expect(batch.calls[-1] == "scontrol requeue 7", f"{batch.calls}")
    expect(batch.signal([signal.SIGTERM], merge=ends, REASON="None") == 75, batch.log)
    expect("scontrol requeue 7" not in batch.calls and "not queued again" in batch.log, f"{batch.calls}: {batch.log}")
    expect(batch.signal([signal.SIGTERM], merge="touch ready; sleep 1; exit 0") == 0, batch.log)


@cases.case("batch")
def a_sweep_takes_the_value_of_its_task(context):
    batch = Batch(context, "--sweep", "parameters.density=0.1,0.5")
    for task, value in (("0", "0.1"), ("1", "0.5")):
        expect(batch.run(SLURM_ARRAY_TASK_ID=task) == 0, batch.log)
        call = batch.calls[-1]
        expect(f" --set parameters.density={value} " in call and call.endswith(f"merged-density-{value}.h5"), call)


@cases.case("batch")
def a_chain_merges_and_then_checks(context):
    batch = Batch(context, "--check")
    expect(batch.run(arguments=["merge"]) == 0 and " merge " in batch.calls[-1] and "--resume" in batch.calls[-1], f"{batch.calls}")
    expect(batch.run(arguments=["check"]) == 0, batch.log)
    expect(batch.calls[-1].endswith(f" verify {batch.site.output}"), f"{batch.calls}")


@cases.case("batch")
def stripes_of_the_site_are_set_on_lustre(context):
    batch = Batch(context, lustre=True, STRIPE_COUNT=16, STRIPE_SIZE="4M")
    expect(batch.run(STRIPES="1") == 0, batch.log)
    wanted = f"lfs setstripe --stripe-count 16 --stripe-size 4M {batch.site.output.parent}"
    expect(batch.calls[1] == wanted, f"{batch.calls}")
    batch.run(STRIPES="")
    expect(not any("setstripe" in call for call in batch.calls), f"not on Lustre: {batch.calls}")


@cases.case("batch")
def stripes_are_advised_where_the_site_does_not_say(context):
    batch = Batch(context, lustre=True)
    for stripes, advised in (("1", True), ("0", True), ("16", False), ("-1", False), ("", False)):
        expect(batch.run(STRIPES=stripes) == 0, batch.log)
        expect(("STRIPE_COUNT" in batch.log) == advised, f"{stripes} stripes: {batch.log}")
        expect(not any("setstripe" in call for call in batch.calls), f"{batch.calls}")


if __name__ == "__main__":
    cases.main()
