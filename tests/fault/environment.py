"""Places where a program runs that are not as on the developer's machine: the result must be the same there."""

import json
import os
import stat
import subprocess

import numpy as np

from fault.system import failing, shell, unprivileged
from fault.tiny import JOB, OUTPUT, USAGE, Tiny, expect_refusal, start
from support import jobs, tensors
from support.cases import expect
from support.merged import Merged

FULL = "standard output: cannot be written: No space left on device"
CLOSED = "standard output: cannot be written: Bad file descriptor"


def register(cases):
    for name, words in STREAMS.items():
        cases.add("environment", f"{name}-of-every-rank", streams(words, inside=True))
        if name not in MPIRUN_CANNOT:
            cases.add("environment", f"{name}-of-the-launcher", streams(words, inside=False))
    for error in ("ENOLCK", "ENOSYS", "EOPNOTSUPP"):
        cases.add("environment", f"file-system-without-locks-{error.lower()}", without_locks(error))
    for mask, mode in ((0o077, 0o600), (0o022, 0o644), (0o027, 0o640)):
        cases.add("environment", f"umask-{mask:03o}", umask(mask, mode))
    for locale in ("C", "C.UTF-8", "de_DE.UTF-8"):
        cases.add("environment", f"locale-{locale}", with_locale(locale))
    for name, option in OTHER_OPTIONS.items():
        cases.add("environment", name, other_options(option))
    for function in (more_ranks_than_blocks, read_only_inputs, locks_that_the_user_asks_for,
                     names_with_spaces_quotes_and_umlauts, result_on_a_full_stdout, account_on_a_full_stdout,
                     errors_on_a_full_stderr, no_home, no_environment, directory_for_temporary_files_is_missing,
                     working_directory_is_deleted, memory_of_its_own_for_every_rank, verbosity_of_its_own_for_every_rank,
                     one_rank_without_its_arguments):
        cases.case("environment")(function)


class Usual:
    """What a merge gives where nothing is unusual, and the claim that another gives the same."""

    def __init__(self, context):
        self.tiny = Tiny(context)
        self.tiny.job(jobs.job_text("base", ["math", ("code", {"weight": 1.5})], {"density": 0.25, "lambda": 0.5}))
        self.file = self.tiny.root / "usual.h5"
        self.tiny.merges(output=self.file)
        self.merged = Merged(self.file)

    def expect_same(self, *options, output=None, **how):
        self.tiny.merges(*options, output=output, **how)
        self.expect_same_file(output or self.tiny.target)

    def expect_same_file(self, file):
        found = Merged(file)
        expect(not found.faults, f"the output is not whole: {found.faults}")
        expect(found.digest == self.merged.digest, "other bytes than usual")
        for key in ("parameters", "tasks", "signs", "conflicts"):
            expect(found.summary[key] == self.merged.summary[key],
                   f"{key}: {found.summary[key]}, usually {self.merged.summary[key]}")


# --- streams ---------------------------------------------------------------------------------------------------------

STREAMS = {
    "stdin-closed": "<&-",
    "stdout-closed": ">&-",
    "stderr-closed": "2>&-",
    "all-streams-closed": "<&- >&- 2>&-",
    "stdout-full": ">/dev/full",
    "stderr-full": "2>/dev/full",
    "stdout-to-a-reader-that-left": "| true",
    "stderr-to-a-reader-that-left": "2>&1 >/dev/null | true",
}

# Open MPI 4.1: with two of its streams closed, mpirun mixes them up with its own and dies, whatever it runs.
MPIRUN_CANNOT = {"all-streams-closed", "stdout-to-a-reader-that-left", "stderr-to-a-reader-that-left"}


def streams(words, inside):
    """A merge that logs and prints ends well; what it says may be lost, the result not, nor hold a word of it."""
    script = f'"$@" {words}' if "|" in words else f'exec "$@" {words}'
    def check(context):
        usual = Usual(context)
        where = {"inside" if inside else "before": shell(script)}
        outcome = start(context, "merge", "job.yaml", "--output", usual.tiny.target, **where)
        if "|" not in words:  # there the exit code is that of the reader
            expect(outcome.code == 0 and not outcome.late, outcome.describe())
        usual.expect_same_file(usual.tiny.target)
        expect(os.listdir(usual.tiny.out) == ["merged.h5"], f"left behind: {os.listdir(usual.tiny.out)}")
    return check


def result_on_a_full_stdout(context):
    """Where stdout is what was asked for, losing it is an error."""
    tiny = Tiny(context)
    tiny.merges(output=tiny.root / "whole.h5")
    commands = {"inspect": ["inspect", "base", "--json"], "diff": ["diff", "base", "base"], "help": ["--help"],
                "verify": ["verify", "whole.h5"]}
    if context.ranks == 1:
        commands["plan"] = ["plan", "job.yaml", "--ranks", "2"]
    for arguments in commands.values():
        for words, said in ((">/dev/full", FULL), (">&-", CLOSED)):
            outcome = start(context, *arguments, inside=shell(f'exec "$@" {words}'))
            expect_refusal(outcome, OUTPUT, [said])
    expect(not any(tiny.out.iterdir()), "something was written")


def account_on_a_full_stdout(context):
    """A merge's table is in its summary as well: a warning is enough."""
    usual = Usual(context)
    outcome = start(context, "merge", "job.yaml", "--output", usual.tiny.target, inside=shell('exec "$@" >/dev/full'))
    expect(outcome.code == 0 and sum(FULL in line for line in outcome.err_lines) == 1, outcome.describe())
    usual.expect_same_file(usual.tiny.target)


def errors_on_a_full_stderr(context):
    tiny = Tiny(context)
    (tiny.root / "job.yaml").unlink()
    for words in ("2>/dev/full", "2>&-"):
        outcome = tiny.run(inside=shell(f'exec "$@" {words}'))
        expect(outcome.code == JOB and not outcome.late, outcome.describe())


# --- file systems ----------------------------------------------------------------------------------------------------

def more_ranks_than_blocks(context):
    """Five elements in all: most ranks have none."""
    tiny = Tiny(context)
    for number, name in enumerate(tiny.models):
        values = np.arange(5, dtype=np.float32) * (number + 1) + number
        tiny.rewrite(name, {"a": tensors.round_to("F32", (2, 2), values[:4]), "b": tensors.round_to("BF16", (1,), values[4:]),
                            "ids": tensors.raw("I64", (1,), bytes(8)), "none": tensors.round_to("F16", (0, 3), [])})
    tiny.merges("--output", tiny.root / "alone.h5", ranks=1)
    alone = Merged(tiny.root / "alone.h5")
    for ranks in (context.ranks, 7):
        tiny.merges("--overwrite", ranks=ranks)
        expect(Merged(tiny.target).digest == alone.digest, f"other bytes at {ranks} ranks than at one")


def read_only_inputs(context):
    usual = Usual(context)
    directories = [usual.tiny.root / name for name in usual.tiny.models]
    for directory in directories:
        for file in directory.iterdir():
            file.chmod(0o444)
        directory.chmod(0o555)
    (usual.tiny.root / "job.yaml").chmod(0o444)
    usual.expect_same(before=unprivileged())
    for directory in directories:
        directory.chmod(0o755)


def with_hdf5_base(usual):
    """The job with its base in HDF5, so that HDF5 opens an input too."""
    base = usual.tiny.root / "base.h5"
    usual.tiny.job(jobs.job_text("base", ["base-again"]))
    tensors.write_model(usual.tiny.root / "base-again", usual.tiny.models["base"])
    usual.tiny.merges(output=base)
    usual.tiny.job(jobs.job_text("base.h5", ["math", ("code", {"weight": 1.5})], {"density": 0.25, "lambda": 0.5}))


def without_locks(error):
    def check(context):
        usual = Usual(context)
        with_hdf5_base(usual)
        usual.expect_same(environment=failing(context, "flock", error=error))
    return check


def locks_that_the_user_asks_for(context):
    """The user's own setting stays; where it cannot work, that is said."""
    tiny = Tiny(context)
    settings = {"HDF5_USE_FILE_LOCKING": "TRUE"}
    outcome = tiny.run(environment={**failing(context, "flock", error="ENOLCK"), **settings})
    expect_refusal(outcome, OUTPUT, ["merged.h5", "lock"])
    tiny.merges(environment=settings)


def umask(mask, mode):
    def check(context):
        tiny = Tiny(context)
        summary = tiny.root / "summary.json"
        tiny.merges("--summary", summary, before=shell(f'umask {mask:03o}; exec "$@"'))
        for file in (tiny.target, summary):
            found = stat.S_IMODE(file.stat().st_mode)
            expect(found == mode, f"{file.name} has the mode {found:03o}, expected {mode:03o}")
    return check


def names_with_spaces_quotes_and_umlauts(context):
    usual = Usual(context)
    tiny = usual.tiny
    odd = tiny.root / "größe 50 % \"a\" 'b' $HOME;\\ #:&*"
    odd.mkdir()
    for name in tiny.models:
        (tiny.root / name).rename(odd / f"{name} ü")
    job = odd / "the job.yaml"
    job.write_text(jobs.job_text("base ü", ["math ü", (f"{odd}/code ü", {"weight": 1.5})], {"density": 0.25, "lambda": 0.5},
                                 output=json.dumps("out ü's.h5")))
    summary = odd / "sum mary.json"
    outcome = start(context, "merge", job, "--summary", summary, "-q")
    expect(outcome.code == 0 and not outcome.err_lines, outcome.describe())
    found = Merged(odd / "out ü's.h5")
    expect(found.digest == usual.merged.digest, "other bytes than usual")
    expect(json.loads(summary.read_text())["tasks"][0]["name"] == "math ü", "the summary names the task otherwise")
    outcome = start(context, "diff", odd / "out ü's.h5", usual.file)
    expect(outcome.code == 0, outcome.describe() + outcome.out)


# --- the environment -------------------------------------------------------------------------------------------------

def with_locale(name):
    """Numbers in jobs, options, headers and results have a point, whatever the language."""
    def check(context):
        usual = Usual(context)
        settings = {"LC_ALL": name, "LANG": name}
        if name == "de_DE.UTF-8":
            made = subprocess.run(["localedef", "-i", "de_DE", "-f", "UTF-8", usual.tiny.root / name],
                                  capture_output=True, check=False)
            settings["LOCPATH"] = str(usual.tiny.root)
            if made.returncode != 0:
                print("note: no locale with a decimal comma here; the system's rules stand in")
        summary = usual.tiny.root / "summary.json"
        usual.expect_same("--memory", "1.5MiB", "--summary", summary, "--set", "parameters.lambda=0.5", environment=settings)
        expect(json.loads(summary.read_text())["tasks"][1]["weight"] == 1.5, "the weight is another")
        outcome = start(context, "diff", "base", "math", "--atol", "0.5", environment=settings)
        expect(outcome.code == 1 and outcome.out == start(context, "diff", "base", "math", "--atol", "0.5").out, outcome.out)
    return check


def no_home(context):
    Usual(context).expect_same(before=["env", "-u", "HOME"])


def no_environment(context):
    """As a cron job's or a container's may be; what Open MPI itself needs for root stays."""
    kept = [f"{key}={value}" for key, value in os.environ.items() if key.startswith(("OMPI_", "ASAN_", "LSAN_", "UBSAN_"))]
    kept += [f"{key}=1" for key in ("OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM")]
    Usual(context).expect_same(before=["env", "-i", "PATH=/usr/bin:/bin", *kept])


def directory_for_temporary_files_is_missing(context):
    Usual(context).expect_same(environment={"TMPDIR": "/nowhere"})


def working_directory_is_deleted(context):
    """Of every rank; mpirun does not start in such a place."""
    usual = Usual(context)
    gone = shell('mkdir "gone$$" && cd "gone$$" && rmdir "../gone$$" && exec "$@"')
    arguments = ["merge", usual.tiny.root / "job.yaml", "--output", usual.tiny.target, "-q"]
    outcome = start(context, *arguments, inside=gone)
    said = [line for line in outcome.err_lines if "mpimerge" in line]
    expect(outcome.code == 0 and not said, outcome.describe())  # Open MPI has to say something
    usual.expect_same_file(usual.tiny.target)
    outcome = start(context, "merge", "job.yaml", "--output", usual.tiny.target, "-q", inside=gone)
    expect(outcome.code == JOB and not outcome.late, outcome.describe())  # relative to nothing


# --- ranks that were not started alike -------------------------------------------------------------------------------

def by_rank(first, others):
    """Words before the program: a shell that adds arguments, others for rank 0 than for the rest."""
    return shell(f'if [ "${{OMPI_COMM_WORLD_RANK:-0}}" = 0 ]; then exec "$@" {first}; else exec "$@" {others}; fi')


def memory_of_its_own_for_every_rank(context):
    """As on nodes with different memory: more is read here, less there, and the bits are the same."""
    usual = Usual(context)
    for words in (("--memory 1KiB", "--memory 64MiB"), ("--memory 64MiB", "--memory 1KiB"), ("", "--memory=100KiB")):
        usual.expect_same("--overwrite", inside=by_rank(*words))


def verbosity_of_its_own_for_every_rank(context):
    usual = Usual(context)
    outcome = start(context, "merge", "job.yaml", "--output", usual.tiny.target, inside=by_rank("-q", "-v"))
    expect(outcome.code == 0, outcome.describe())
    usual.expect_same_file(usual.tiny.target)


OTHER_OPTIONS = {
    "ranks-of-other-options": "--overwrite",
    "ranks-of-other-chunks": "--chunk 4KiB",
    "ranks-of-other-overrides": "--set parameters.density=0.3",
    "ranks-of-unknown-options": "--frobnicate",
}


def other_options(words):
    """With one rank there is nothing to differ: the option is rank 0's."""
    def check(context):
        tiny = Tiny(context)
        if context.ranks == 1:
            expect_refusal(tiny.run("--frobnicate"), USAGE, ["--frobnicate"])
        else:
            tiny.refused(USAGE, words.split()[0], inside=by_rank("", words))
    return check


def one_rank_without_its_arguments(context):
    """A command of another rank is another program: without an agreement they would wait for each other."""
    tiny = Tiny(context)
    words = by_rank("merge job.yaml --output out/merged.h5 -q", "inspect base")
    outcome = start(context, inside=words)
    if context.ranks == 1:
        expect(outcome.code == 0, outcome.describe())
    else:
        expect_refusal(outcome, USAGE, ["inspect base", "merge job.yaml", "--memory"])
        expect(not any(tiny.out.iterdir()), "something was written")
