"""A site for the tests: its settings, a job with its models, and slurm/submit run there."""

import dataclasses
import os
import pathlib
import re
import subprocess

import numpy as np

from support import jobs, tensors
from support.cases import expect

SOURCE = pathlib.Path(__file__).resolve().parents[2]
SLURM = SOURCE / "slurm"
SUBMIT = SLURM / "submit"


def write_executable(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


@dataclasses.dataclass
class Submission:
    code: int
    out: str
    err: str

    @property
    def ids(self):
        return re.findall(r"^job     (\d+)$", self.out, re.MULTILINE)

    @property
    def logs(self):
        return [pathlib.Path(path) for path in re.findall(r"^log     (.+)$", self.out, re.MULTILINE)]

    @property
    def script(self):
        return pathlib.Path(re.findall(r"^script  (.+)$", self.out, re.MULTILINE)[0])

    def describe(self):
        return f"exit {self.code}; stdout: {self.out.strip()[-600:]}; stderr: {self.err.strip()[-600:]}"


class Site:
    """A directory with a space in its name, which holds site.conf and a job of two tasks."""

    def __init__(self, context, directory="my models", **settings):
        self.context = context
        self.root = pathlib.Path(context.directory) / directory
        self.root.mkdir()
        self.environment = {}
        self.settings = {"MPIMERGE": context.program.path, "TASKS_PER_NODE": 2, "NODE_MEMORY_MIB": 1000, "WARNING_SECONDS": 300,
                         "LAUNCHER": "auto", "MAX_REQUEUES": 20}
        self.set(**settings)

    def set(self, **settings):
        """Writes the settings as the site's file is when nothing is filled in, and these after it."""
        self.settings.update(settings)
        lines = [f'{key}="{value}"' for key, value in self.settings.items()]
        self.conf = self.root / "site.conf"
        self.conf.write_text((SLURM / "site.conf").read_text() + "\n".join(lines) + "\n")

    def write_models(self, elements=100_000):
        """base, math and code: float tensors that shards of 4 KiB cut in many pieces."""
        random = np.random.default_rng(20250203)
        for name in ("base", "math", "code"):
            content = {f"layer.{number}": tensors.round_to("F32", (elements,), random.standard_normal(elements))
                       for number in range(2)}
            tensors.write_model(self.root / "job files" / name, content)
        return self.write_job()

    def write_job(self, text=None, output="merged.h5"):
        job = self.root / "job files" / "ties.yaml"
        job.parent.mkdir(exist_ok=True)
        text = text or jobs.job_text("base", ["math", "code"], output=output, output_hints="{alignment: 4KiB}")
        job.write_text(text)
        self.output = job.parent / output
        return job

    def submit(self, *words, limit=60, **environment):
        settings = {**os.environ, "MPIMERGE_SITE": str(self.conf), **self.environment, **environment}
        done = subprocess.run([str(SUBMIT), *map(str, words)], cwd=self.root, env=settings, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=limit, check=False)
        return Submission(done.returncode, done.stdout, done.stderr)

    def submit_well(self, *words, **how):
        done = self.submit(*words, **how)
        expect(done.code == 0, f"submit {' '.join(map(str, words))}: {done.describe()}")
        return done

    def generate(self, *words, **environment):
        """The script that submit would give to sbatch."""
        return self.submit_well("--dry-run", *words, **environment).out
