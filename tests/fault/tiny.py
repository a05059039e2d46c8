"""A small merge in an empty directory, and the claim that a broken one is refused as it should be."""

import os
import pathlib
import stat

import numpy as np

from support import jobs, tensors
from support.cases import expect
from support.merged import Merged

USAGE, JOB, INPUT, OUTPUT, RESOURCES = 2, 3, 4, 5, 6
MODELS = ("base", "math", "code")


def model(seed):
    """Three floating tensors and one of integers, large enough that each of some ranks has a part."""
    random = np.random.default_rng(seed)
    return {
        "a.weight": tensors.round_to("F32", (40, 80), random.standard_normal(3200)),
        "b.bias": tensors.round_to("BF16", (1600,), random.standard_normal(1600)),
        "c.weight": tensors.round_to("F16", (20, 3, 50), random.standard_normal(3000)),
        "ids": tensors.raw("I64", (300,), np.arange(300, dtype="<i8").tobytes()),
    }


class Tiny:
    """base/, math/, code/ and job.yaml, all in order until a case breaks one thing."""

    OUTPUT_NAME = "merged.h5"

    def __init__(self, context):
        self.context = context
        self.root = pathlib.Path(context.directory)
        self.models = {name: model(seed) for seed, name in enumerate(MODELS)}
        for name, content in self.models.items():
            tensors.write_model(self.root / name, content)
        self.out = self.root / "out"
        self.out.mkdir()
        self.target = self.out / self.OUTPUT_NAME
        self.job(jobs.job_text("base", ["math", "code"]))

    def job(self, text):
        (self.root / "job.yaml").write_text(text)

    def file(self, name):
        return self.root / name / "model.safetensors"

    def rewrite(self, name, content):
        """Another content for a model: name -> Tensor."""
        self.models[name] = content
        tensors.write_model(self.root / name, content)

    def shard(self, name):
        """Splits a model in two shards with an index; returns the names of the files."""
        content = list(self.models[name].items())
        self.file(name).unlink()
        tensors.write_shards(self.root / name, [dict(content[:2]), dict(content[2:])])
        return [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]

    def run(self, *options, output=None, **how):
        target = ["--output", output or self.target]
        return start(self.context, "merge", "job.yaml", *target, "-q", *options, **how)

    def merges(self, *options, **how):
        """Nothing is wrong: exit 0, nothing on stderr, a whole file and nothing beside it."""
        outcome = self.run(*options, **how)
        expect(outcome.code == 0 and not outcome.late and not outcome.err_lines, outcome.describe())
        target = how.get("output") or self.target
        expect(target.is_file(), "no output was written")
        expect(not Merged(target).faults, f"the output is not whole: {Merged(target).faults}")
        left = set(os.listdir(target.parent)) - {target.name}
        expect(target.parent != self.out or not left, f"beside the output lies {sorted(left)}")

    def refused(self, code, *words, lines=1, options=(), **how):
        """One line (or `lines`) that holds all words, the right code, and no trace in the output directory."""
        before = snapshot(self.out)
        outcome = self.run(*options, **how)
        expect_refusal(outcome, code, words, lines)
        expect(snapshot(self.out) == before, f"the output directory held {describe(before)}, now {describe(snapshot(self.out))}")
        return outcome


def start(context, *arguments, **how):
    """One rank needs no launcher, and is faster without."""
    return context.run(*arguments, launcher=context.ranks > 1, **how)


def expect_abort(outcome, code, words, most_lines):
    """A job that had to be aborted: each rank that failed may say so, and the launcher may add its own."""
    said = [line for line in outcome.err_lines if line.startswith("mpimerge: ")]
    expect(not outcome.late and outcome.code == code, f"expected exit {code}: {outcome.describe()}")
    expect(1 <= len(said) <= most_lines, f"expected 1 to {most_lines} line(s) of mpimerge: {outcome.describe()}")
    for word in ("error", *words):
        expect(all(word in line for line in said), f"`{word}` is not named: {outcome.describe()}")


def expect_refusal(outcome, code, words, lines=1):
    expect(not outcome.late, outcome.describe())
    expect(outcome.code == code, f"expected exit {code}: {outcome.describe()}")
    said = outcome.err_lines
    expect(len(said) == lines, f"expected {lines} line(s) on stderr: {outcome.describe()}")
    expect(all("error" in line for line in said), f"not an error line: {outcome.describe()}")
    expect(not outcome.out.strip(), f"stdout says: {outcome.out.strip()[:200]}")
    everything = "\n".join(said)
    for word in words:
        expect(word in everything, f"`{word}` is not named: {outcome.describe()}")


def snapshot(directory):
    """Names, kinds, times and bytes of everything in a directory."""
    content = {}
    for path in sorted(pathlib.Path(directory).iterdir()):
        status = path.lstat()
        is_file = stat.S_ISREG(status.st_mode)
        content[path.name] = (status.st_mode, status.st_mtime_ns, path.read_bytes() if is_file else None)
    return content


def describe(content):
    return ", ".join(content) or "nothing"
