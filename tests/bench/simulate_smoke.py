#!/usr/bin/env python3
"""tests/bench/simulate at 16 simulated ranks: its JSON is complete and adds up. No time is judged."""

import json
import math
import pathlib
import subprocess
import sys
import tempfile

SIMULATE = pathlib.Path(__file__).resolve().parent / "simulate"
KEYS = {"file_system", "tasks", "ranks", "nodes", "parameters", "seconds", "busy", "waiting", "communicating", "efficiency",
        "efficiency_of_one", "collectives", "phases", "wall_seconds"}
PHASES = {"start", "select", "guess", "merge", "write", "check"}


def run(*options):
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "results.json"
        subprocess.run([sys.executable, "-B", SIMULATE, "--json", file, *options], check=True, stdout=subprocess.DEVNULL)
        return json.loads(file.read_text(encoding="utf-8"))["results"]


def check(condition, what):
    if not condition:
        sys.exit(f"simulate_smoke: {what}")


def check_scaling():
    results = run("--ranks", "1,16", "--tasks", "2", "--bytes-per-rank", "64MiB", "--tensors", "10")
    check(len(results) == 6, f"expected 2 rank counts on 3 file systems, found {len(results)} results")
    for result in results:
        check(set(result) == KEYS, f"keys {sorted(result)}")
        check(set(result["phases"]) == PHASES, f"phases {sorted(result['phases'])}")
        parts = result["busy"] + result["waiting"] + result["communicating"]
        # The ranks leave the last collective at times of their own; all parts are means over the ranks.
        check(math.isclose(parts, result["seconds"], rel_tol=0.01), f"{parts} s in parts, {result['seconds']} s in all")
        check((result["ranks"] == 1) == (result["waiting"] == 0), f"{result['ranks']} ranks wait {result['waiting']} s")


def check_selection():
    for result in run("--ranks", "16", "--tasks", "3", "--selection"):
        check(result["real"]["wrong_thresholds"] == 0, "the real selection is wrong under SMPI")
        real, skeleton = (result[which]["allreduce_bytes"] for which in ("real", "skeleton"))
        # An uncommon bracket costs the real one a round more.
        check(abs(real - skeleton) <= 0.35 * skeleton, f"the selection reduces {real} bytes, its skeleton {skeleton}")


check_scaling()
check_selection()
