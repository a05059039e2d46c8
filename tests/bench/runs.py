"""Runs the floor and the program on the same files, takes their times, and puts them into proportion."""

import dataclasses
import json
import os
import pathlib
import re
import shutil
import statistics
import sys

import numpy as np

from support.program import Program

TOUCHED = 4 << 30
DROP_CACHES = pathlib.Path("/proc/sys/vm/drop_caches")
FLOOR = "floor"


class Unable(Exception):
    """The benchmark cannot go on; the text says why and what would help."""


def parse_bytes(text):
    """64MiB, 2GiB, 1000: as the program's --memory takes them."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(|KiB|MiB|GiB)", text)
    if not found:
        raise Unable(f"`{text}` is no size; expected one such as 64MiB or 2GiB")
    factor = {"": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}[found[2]]
    return int(float(found[1]) * factor)


def human_bytes(count):
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= factor:
            return f"{count / factor:.4g} {unit}"
    return f"{count} B"


def available_memory():
    for line in pathlib.Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return sys.maxsize


def require_disk(directory, wanted):
    free = shutil.disk_usage(directory).free
    if wanted > free:
        raise Unable(f"{directory} has {human_bytes(free)} free, this needs {human_bytes(wanted)}; choose another --work "
                     "or smaller models")


@dataclasses.dataclass(frozen=True)
class Inputs:
    """One merge: the base, its tasks, and how much that is to read and to write."""

    base: pathlib.Path
    tasks: list
    output_bytes: int

    @property
    def files(self):
        """Every file that is read, once per task that names it."""
        return [str(file) for model in (self.base, *self.tasks) for file in sorted(model.glob("*.safetensors"))]

    @property
    def bytes(self):
        return sum(os.path.getsize(file) for file in self.files)


class Runner:
    """Starts floor and program in the same way: by mpirun, on files in the same state, timed from outside."""

    def __init__(self, mpirun, program, floor, limit, work, cold):
        self.program = Program(mpirun, str(program), limit)
        self._floor = Program(mpirun, str(floor), limit)
        self._work = pathlib.Path(work)
        self._cold = cold
        self.output = self._work / "merged.h5"

    def warm_up(self, inputs, ranks):
        """Fills the page cache once, unless every run shall find it empty."""
        if not self._cold:
            self.floor(inputs, ranks)

    def floor(self, inputs, ranks):
        written = self._work / "floor.bin"
        self.settle()
        outcome = self._floor.run([written, inputs.output_bytes, *inputs.files], ranks=ranks)
        written.unlink(missing_ok=True)
        _expect_success(outcome, "mpimerge_floor")
        account = json.loads(outcome.out)
        return {"what": FLOOR, "wall_seconds": outcome.seconds, "work_seconds": account["total_seconds"], **account}

    def merge(self, what, inputs, memory, ranks, keep=False):
        """One merge, with the program's own choice of memory where `memory` is None. Its output stays with `keep`."""
        job, summary = self._work / "job.yaml", self._work / "summary.json"
        job.write_text(job_text(inputs))
        self.settle()
        limit = [] if memory is None else ["--memory", memory]
        outcome = self.program.run(["merge", job, "--output", self.output, "--summary", summary, "--overwrite", "-q",
                                    *limit], ranks=ranks)
        if not keep:
            self.output.unlink(missing_ok=True)
        _expect_success(outcome, "mpimerge")
        account = json.loads(summary.read_text())
        return {"what": what, "wall_seconds": outcome.seconds, "memory_bytes": memory,
                "work_seconds": sum(phase["seconds"] for phase in account["phases"]),
                **{key: account[key] for key in ("ranks", "memory", "phases", "peak_rss_bytes")}}

    def same_bits(self, a, b, ranks):
        """Whether two checkpoints have the same tensors, bit for bit."""
        outcome = self.program.run(["diff", a, b], ranks=ranks)
        if outcome.code not in (0, 1):
            raise Unable(f"mpimerge diff {a} {b}: {outcome.describe()}")
        return outcome.code == 0

    def settle(self):
        """No run pays for what the one before it left to write, or for memory that the host of a virtual machine took
        back meanwhile: free memory is touched once, which takes seconds per GiB where that has happened."""
        os.sync()
        if self._cold:
            DROP_CACHES.write_text("3\n")
        np.ones(min(TOUCHED, available_memory() // 2), dtype=np.uint8)


def job_text(inputs):
    """The paper's recipe, in words that mpimerge and mergekit both read."""
    models = "".join(f"  - model: {json.dumps(str(task))}\n" for task in inputs.tasks)
    return (f"merge_method: ties\nbase_model: {json.dumps(str(inputs.base))}\nmodels:\n{models}"
            "parameters: {density: 0.2, weight: 1.0, lambda: 1.0}\ndtype: float32\nout_dtype: bfloat16\n")


def _expect_success(outcome, name):
    if outcome.late or outcome.code != 0:
        raise Unable(f"{name}: {outcome.describe()}")


def memory_modes(inputs, ranks, streaming):
    """Memory per rank for each mode: all inputs, half of them, a small budget. Modes that make no sense here are None."""
    share = inputs.bytes // ranks
    whole = share * 6 // 5 + (64 << 20) + len(inputs.files) * (4 << 20)
    modes = {"resident": whole, "half": share // 2, "streaming": streaming}
    # The inputs are in the page cache besides, but the kernel takes that back where it must.
    if whole * ranks > available_memory():
        modes["resident"] = None
    if streaming >= modes["half"]:
        modes["half"] = None
    return modes


def compare(runner, inputs, ranks, modes, repeats):
    """All runs: in each repeat the floor and every mode once, each time in another order."""
    kinds = [FLOOR] + [mode for mode, memory in modes.items() if memory is not None]
    runner.warm_up(inputs, ranks)
    runs = []
    for repeat in range(repeats):
        first = repeat % len(kinds)
        for kind in kinds[first:] + kinds[:first]:
            run = runner.floor(inputs, ranks) if kind == FLOOR else runner.merge(kind, inputs, modes[kind], ranks)
            runs.append({"repeat": repeat, **run})
    return runs


def summarise(runs):
    """Per kind of run: medians, and the proportion to the floor of the same repeat."""
    kinds = list(dict.fromkeys(run["what"] for run in sorted(runs, key=lambda run: run["what"] != FLOOR)))
    floors = {run["repeat"]: run for run in runs if run["what"] == FLOOR}
    return {kind: _summary([run for run in runs if run["what"] == kind], floors) for kind in kinds}


def _summary(runs, floors):
    result = {key: statistics.median(run[key] for run in runs) for key in ("wall_seconds", "work_seconds")}
    result["ratio"] = _ratios(runs, floors, "wall_seconds")
    result["work_ratio"] = _ratios(runs, floors, "work_seconds")
    if runs[0]["what"] == FLOOR:
        for key in ("read_seconds", "write_seconds"):
            result[key] = statistics.median(run[key] for run in runs)
        return {**result, "read_bytes": runs[0]["read_bytes"], "write_bytes": runs[0]["write_bytes"]}
    phases = []
    for number, phase in enumerate(runs[0]["phases"]):
        seconds = statistics.median(run["phases"][number]["seconds"] for run in runs)
        phases.append({"name": phase["name"], "seconds": seconds, "bytes": phase["bytes"]})
    return {**result, "memory_bytes": runs[0]["memory_bytes"], "memory": runs[0]["memory"], "phases": phases,
            "peak_rss_bytes": max(run["peak_rss_bytes"] for run in runs)}


def _ratios(runs, floors, key):
    ratios = [run[key] / floors[run["repeat"]][key] for run in runs]
    return {"median": statistics.median(ratios), "min": min(ratios), "max": max(ratios)}
