"""Runs merges of the digit models by mpimerge, several at once, and takes the accuracy of each."""

import concurrent.futures
import dataclasses
import itertools
import json
import os
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from evaluate import TASKS, accuracy, folder, read_model  # noqa: E402

# A merge of such small models mostly waits for MPI to start.
MERGES_PER_CORE = 3
# One process needs no network, no PCI device and no shared job files of Open MPI: less than half of the time to start.
QUICK_START = {"OMPI_MCA_pml": "ob1", "HWLOC_COMPONENTS": "-linuxio,-pci,-opencl,-gl", "PMIX_MCA_gds": "hash"}


@dataclasses.dataclass(frozen=True)
class Merge:
    """One merge, and on what its accuracy is taken."""
    seed: int
    job: str  # JSON, which is YAML
    tasks: tuple = tuple(TASKS)
    splits: tuple = ("test",)


@dataclasses.dataclass
class Result:
    accuracy: dict  # split -> task -> accuracy
    summary: dict


def job(models_of, method, models, **keys):
    """A job of models in the folder of a seed (`models_of`), or of paths."""
    base = {} if method == "average" else {"base_model": str(folder(models_of) / "base")}
    paths = [str(folder(models_of) / model) for model in models]
    return json.dumps({"merge_method": method, **base, "models": [{"model": path} for path in paths], **keys})


def of_tasks(seed, method, tasks=tuple(TASKS), splits=("test",), **keys):
    """A merge of the models that were fine-tuned on these tasks."""
    return Merge(seed, job(seed, method, [f"task_{task}" for task in tasks], **keys), tuple(tasks), splits)


class Merges:
    """Merges by one program into one folder. What was merged once is not merged again."""

    def __init__(self, program, directory):
        self.program = str(program)
        self.directory = pathlib.Path(directory).resolve()
        self.directory.mkdir(parents=True, exist_ok=True)
        self.done = {}
        self._number = itertools.count()

    def run(self, wanted):
        """The results of a list of merges, in its order."""
        todo = [merge for merge in dict.fromkeys(wanted) if merge not in self.done]
        with concurrent.futures.ThreadPoolExecutor(MERGES_PER_CORE * (os.cpu_count() or 1)) as pool:
            self.done.update(zip(todo, pool.map(self._run_one, todo)))
        return [self.done[merge] for merge in wanted]

    def _run_one(self, merge):
        name = self.directory / f"{next(self._number)}"
        job_file, output, summary = (name.with_suffix(suffix) for suffix in (".yaml", ".h5", ".json"))
        job_file.write_text(merge.job)
        command = [self.program, "merge", job_file, "--output", output, "--summary", summary, "--overwrite", "-q"]
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False,
                              env={**QUICK_START, **os.environ})
        if done.returncode != 0:
            raise RuntimeError(f"{job_file}: exit {done.returncode}: {done.stderr.strip()[-500:]}")
        model = read_model(output)
        accuracies = {split: {task: accuracy(model, task, split, merge.seed) for task in merge.tasks}
                      for split in merge.splits}
        result = Result(accuracies, json.loads(summary.read_text()))
        for file in (job_file, output, summary):
            file.unlink()
        return result
