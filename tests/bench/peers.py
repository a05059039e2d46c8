"""Other programs on the same inputs, as many threads as mpimerge has ranks: mergekit, and the authors' way in torch."""

import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import time

from bench.runs import available_memory, job_text

TORCH_TIES = pathlib.Path(__file__).resolve().with_name("torch_ties.py")


class Peer:
    def __init__(self, name, imports, command):
        self.name = name
        self.imports = imports  # what it must be able to import
        self.command = command  # (python, inputs, output, threads, work) -> words


def _mergekit(python, inputs, output, threads, work):
    """mergekit trims tensor by tensor: the same work per element, another result."""
    config = work / "mergekit.yaml"
    config.write_text(job_text(inputs))
    program = pathlib.Path(python).with_name("mergekit-yaml")
    return [program, config, output, "--no-copy-tokenizer", "--num-threads", str(threads)]


def _torch(python, inputs, output, threads, work):
    return [python, "-B", TORCH_TIES, "--threads", str(threads), output, inputs.base, *inputs.tasks]


PEERS = (
    Peer("mergekit", "mergekit.scripts.run_yaml", _mergekit),
    Peer("torch", "torch, safetensors.torch", _torch),
)


def measure(runner, python, inputs, ranks, work, repeats):
    """Every peer that `python` has: its wall time, that of mpimerge beside it, and their proportion."""
    return [_measure(peer, runner, python, inputs, ranks, work, repeats) for peer in PEERS]


def _measure(peer, runner, python, inputs, ranks, work, repeats):
    settings = {**os.environ, "OMP_NUM_THREADS": str(ranks), "MKL_NUM_THREADS": str(ranks), "CUDA_VISIBLE_DEVICES": "",
                "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    start = _timed([python, "-c", f"import {peer.imports}"], settings, quiet=True)
    if start is None:
        return {"name": peer.name, "skipped": f"{python} cannot import {peer.imports}"}
    floats = inputs.output_bytes // 2 * 4
    if peer.name == "torch" and floats * (2 * len(inputs.tasks) + 4) > available_memory():
        return {"name": peer.name, "skipped": "the task vectors and their copies do not fit in memory"}
    output = pathlib.Path(work) / f"peer-{peer.name}"
    walls, own, same = [], [], None
    try:
        for _ in range(repeats):
            shutil.rmtree(output, ignore_errors=True)
            before = _own_wall(runner, inputs, ranks)
            runner.settle()
            wall = _timed(peer.command(python, inputs, output, ranks, pathlib.Path(work)), settings)
            if wall is None:
                return {"name": peer.name, "skipped": "it failed; what it said is above"}
            walls.append(wall)
            own.append((before + _own_wall(runner, inputs, ranks)) / 2)
        same = runner.same_bits(runner.output, output, ranks)
    finally:
        runner.output.unlink(missing_ok=True)
        shutil.rmtree(output, ignore_errors=True)
    wall, mine = statistics.median(walls), statistics.median(own)
    return {"name": peer.name, "wall_seconds": wall, "start_seconds": start, "mpimerge_wall_seconds": mine,
            "ratio": statistics.median(peer_wall / own_wall for peer_wall, own_wall in zip(walls, own)),
            "ratio_without_start": max(wall - start, 0) / mine, "same_bits": same}


def _own_wall(runner, inputs, ranks):
    """A merge by mpimerge, with its default memory; a peer may have driven the inputs out of the page cache."""
    runner.warm_up(inputs, ranks)
    return runner.merge("peer", inputs, None, ranks, keep=True)["wall_seconds"]


def _timed(command, settings, quiet=False):
    """Seconds of a command; None if it fails, and then what it said goes to stderr."""
    begin = time.monotonic()
    try:
        done = subprocess.run([str(word) for word in command], env=settings, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    except OSError as error:
        print(error, file=sys.stderr)
        return None
    if done.returncode != 0:
        if not quiet:
            print(done.stdout[-2000:], file=sys.stderr)
        return None
    return time.monotonic() - begin
